"use strict";

// Whatever is shown goes through textContent; a question full of HTML stays text.

const byId = (id) => document.getElementById(id);
const token = location.hash.slice(1); // of the address that `review` printed; browsers send it to nobody
let state = null;
let busy = false;
let over = false;

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

/** The pieces of a question; those with a word that the other question lacks are marked. */
function marked(pieces) {
  return pieces.flatMap(([text, differs], i) => [...(i ? [" "] : []), differs ? element("mark", text) : text]);
}

function tell(text) {
  if (byId("last").textContent !== text) byId("last").textContent = text;
}

async function post(path, body) {
  return fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
}

/** Ask the server one thing at a time. What it has answered is on disk. */
async function ask(path, body) {
  if (busy || over) return;
  busy = true;
  try {
    let response = await post(path, body), refusal = "";
    if (!response.ok) {
      refusal = (await response.json()).detail;
      if (response.status !== 409) return tell(response.status === 401 ? "Open the address that `review` printed." : refusal);
      response = await post("/state", {});
    }
    if (response.status === 204) return finished();
    show(await response.json());
    if (refusal) tell(refusal);
  } catch {
    tell("Not saved: `review` does not answer. Is it still running?");
  } finally {
    busy = false;
  }
}

function finished() {
  over = true;
  for (const id of ["pair", "cluster", "pair-buttons", "cluster-buttons", "other-buttons"]) byId(id).hidden = true;
  byId("title").textContent = "Finished";
  tell("All answers are saved. You can close this page.");
}

function show(next) {
  state = next;
  const { done, total, part, pair, cluster, kind } = state;
  byId("progress").hidden = byId("other-buttons").hidden = false;
  byId("bar").max = Math.max(total, 1);
  byId("bar").value = done;
  byId("count").textContent = `${done.toLocaleString("en")} of ${total.toLocaleString("en")}${part && `, ${part}`}`;
  byId("pair").hidden = byId("pair-buttons").hidden = !pair;
  byId("cluster").hidden = byId("cluster-buttons").hidden = !cluster;
  if (kind === "pair") {
    byId("title").textContent = pair ? "Do they ask the same?" : "Every pair has an answer";
    if (pair) showPair(pair);
  } else {
    byId("title").textContent = cluster ? "Are these all the same?" : "Every cluster is settled";
    if (cluster) showCluster(cluster);
  }
  tell(state.last);
}

function showPair({ first, second, differs }) {
  byId("first").replaceChildren(...marked(first));
  byId("second").replaceChildren(...marked(second));
  byId("differs").textContent = differs && `differs: ${differs}`;
}

function showCluster({ members, near }) {
  byId("members").replaceChildren(...members.map((member, i) => row(member, "member", i ? "" : "representative")));
  byId("near").replaceChildren(...near.map((one) => row(one, "near", one.size > 1 ? `and ${one.size - 1} more` : "")));
  byId("beside").hidden = !near.length;
  chosenChanged();
}

function row({ number, text }, kind, note) {
  const item = element("li"), label = element("label"), box = element("input"), words = element("span");
  box.type = "checkbox";
  box.value = number;
  box.name = kind;
  box.addEventListener("change", chosenChanged);
  words.dir = "auto";
  words.append(...marked(text));
  const beside = element("div");
  beside.append(words);
  if (note) beside.append(element("small", note));
  label.append(box, beside);
  item.append(label);
  return item;
}

function chosen() {
  return [...document.querySelectorAll("#cluster input:checked")];
}

/** The questions that a step of a cluster is about, or null if others must be chosen first. */
function about({ of }) {
  const boxes = chosen(), numbers = boxes.map((box) => Number(box.value)), near = boxes.filter((box) => box.name === "near");
  if (of === undefined) return [];
  if (of === "1") return boxes.length === 1 && !near.length ? numbers : null;
  if (of === "near") return boxes.length === 1 && near.length === 1 ? numbers : null;
  const representative = state.cluster.members[0].number;
  if (boxes.length === 1 && numbers[0] !== representative) return [representative, ...numbers]; // of the representative
  return boxes.length === 2 && near.length < 2 ? numbers : null;
}

function chosenChanged() {
  for (const button of byId("cluster-buttons").children) button.disabled = about(button.dataset) === null;
}

function press(button) {
  if (button.disabled || button.parentNode.hidden) return;
  const { do: step } = button.dataset;
  if (step === "finish") return ask("/finish", {});
  const questions = button.parentNode.id === "cluster-buttons" ? about(button.dataset) : [];
  if (questions && state) ask("/step", { ticket: state.ticket, do: step, questions });
}

for (const button of document.querySelectorAll("button")) button.addEventListener("click", () => press(button));

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
  const key = event.key.toLowerCase();
  const button = [...document.querySelectorAll("button")].find((one) => one.dataset.key === key && !one.parentNode.hidden);
  if (button) return press(button);
  if (!state?.cluster) return;
  const boxes = /^[1-9]$/.test(key) ? byId("members").querySelectorAll("input") : byId("near").querySelectorAll("input");
  const place = /^[1-9]$/.test(key) ? Number(key) - 1 : "abcde".indexOf(key);
  if (key.length === 1 && boxes[place]) boxes[place].click();
});

addEventListener("hashchange", () => location.reload());
ask("/state", {});
