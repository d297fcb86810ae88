"use strict";

// Whatever is shown goes through textContent; a question full of HTML stays text.

const WAIT = 150; // milliseconds without a keystroke before the service is asked
const MOST = 24; // questions of the heat map
const LONGEST = 200; // characters of a further column
const byId = (id) => document.getElementById(id);

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

/** Ask for the status of an element to be told: only what is new, so that a screen reader does not say it twice. */
function tell(id, text, className = "") {
  const status = byId(id);
  if (status.textContent !== text) status.textContent = text;
  status.className = className;
}

async function post(path, body, signal) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  for (;;) {
    const response = await fetch(path, request);
    if (response.status === 503) { // busy: later
      await new Promise((resolve) => setTimeout(resolve, 1000));
      signal.throwIfAborted();
      continue;
    }
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    return answer;
  }
}

/**
 * A function that asks the service after a pause in typing. What was asked last counts: whatever was on its way
 * before is called off, and an answer that comes all the same is not shown.
 */
function asker(path, show, fail) {
  let last = new AbortController();
  return (body) => {
    last.abort();
    const mine = (last = new AbortController());
    if (body === null) return;
    setTimeout(async () => {
      if (mine.signal.aborted) return;
      try {
        const answer = await post(path, body, mine.signal);
        if (!mine.signal.aborted) show(answer);
      } catch (error) {
        if (mine.signal.aborted) return;
        fail(error instanceof TypeError ? "The service does not answer." : `Not answered: ${error.message}`);
      }
    }, WAIT);
  };
}

const percent = (share) => `${Math.round(100 * Math.min(Math.max(share, 0), 1))}%`;
const decimal = (number, digits) => number.toFixed(digits).replace("-", "−");
const signed = (number) => (number < 0 ? "" : "+") + decimal(number, 3);

// JSON has no half surrogate pairs, and a text that is cut in the middle of an emoji ends with one.
const whole = (text) => text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");

/** A word that nobody would see, such as a mark of direction, by its code. */
function visible(word) {
  if (!/^[\p{C}\p{Z}]+$/u.test(word)) return word;
  return [...word].map((letter) => `U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`).join(" ");
}

// Two questions

const explain = asker("/explain", showExplanation, (message) => {
  byId("explanation").hidden = true;
  tell("verdict", message);
});

function pairChanged() {
  const question1 = whole(byId("question1").value), question2 = whole(byId("question2").value);
  if (question1.trim() && question2.trim()) return explain({ question1, question2 });
  explain(null);
  byId("explanation").hidden = true;
  tell("verdict", "Type two questions.");
}

function showExplanation(answer) {
  const { is_duplicate, similarity, threshold, probability } = answer;
  tell(
    "verdict",
    `${is_duplicate ? "Duplicates" : "Not duplicates"}: probability ${Math.round(100 * probability)} %`,
    is_duplicate ? "yes" : "no",
  );
  byId("differs").textContent = differing(answer.differences);
  byId("similarity").textContent = `similarity ${decimal(similarity, 3)}`;
  byId("threshold").textContent = `threshold ${decimal(threshold, 3)}`;
  for (const id of ["similarity", "needle"]) byId(id).style.setProperty("--at", percent(similarity));
  for (const id of ["threshold", "above"]) byId(id).style.setProperty("--at", percent(threshold));
  showWords("words1", answer.words1);
  showWords("words2", answer.words2);
  byId("explanation").hidden = false;
}

function differing(differences) {
  const sides = differences.map(({ first, second }) => `${visible(first) || "–"} / ${visible(second) || "–"}`);
  return sides.length ? `differs: ${sides.join("; ")}` : "";
}

function showWords(id, words) {
  byId(id).replaceChildren(...words.map(({ text, known, share }) => {
    const item = element("li", "", share < 0 ? "negative" : "positive");
    item.append(element("span", visible(text), known ? "" : "unknown"));
    if (!known) item.append(element("span", " not in the vocabulary,", "hidden"));
    if (share !== null) {
      item.append(element("small", signed(share)));
      item.style.setProperty("--amount", percent(Math.min(2 * Math.abs(share), 0.4)));
    }
    return item;
  }));
}

// The archive

const search = asker("/search", showHits, (message) => {
  byId("hits").replaceChildren();
  tell("search-status", message);
});

function searchChanged() {
  const question = whole(byId("search").value);
  if (question.trim()) return search({ questions: [question] });
  search(null);
  byId("hits").replaceChildren();
  tell("search-status", "");
}

function showHits({ hits: [hits], search }) {
  const duplicates = hits.filter((hit) => hit.is_duplicate).length;
  const found = hits.length === 0 ? "Nothing found" : `${duplicates} of the ${hits.length} nearest are duplicates`;
  tell("search-status", search === "exact" ? `${found}.` : `${found}; search ${search}.`);
  byId("hits").replaceChildren(...hits.map((hit) => {
    const item = element("li", "", hit.is_duplicate ? "hit yes" : "hit");
    const verdict = hit.is_duplicate ? "duplicate" : "not a duplicate";
    item.append(element("strong", hit.question), element("small", `${verdict}, similarity ${decimal(hit.similarity, 3)}, score ${decimal(hit.score, 2)}, id ${hit.id}`));
    const columns = Object.entries(hit.payload);
    if (columns.length) {
      const list = element("dl", "", "payload");
      for (const [name, value] of columns) {
        const pair = element("div");
        const text = typeof value === "string" ? value : JSON.stringify(value);
        pair.append(element("dt", name), element("dd", text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text));
        list.append(pair);
      }
      item.append(list);
    }
    if (hit.differences.length) item.append(element("small", differing(hit.differences)));
    return item;
  }));
}

// The heat map

let listed = []; // the questions that were asked for last

const compare = asker("/similarity", showMatrix, (message) => {
  byId("matrix").hidden = true;
  tell("matrix-status", message);
});

function listChanged() {
  listed = whole(byId("questions").value).split("\n").map((line) => line.trim()).filter(Boolean);
  if (listed.length >= 2 && listed.length <= MOST) {
    return compare({ pairs: listed.flatMap((first, i) => listed.slice(i + 1).map((second) => [first, second])) });
  }
  compare(null);
  byId("matrix").hidden = true;
  tell("matrix-status", listed.length > MOST ? `${listed.length} questions: ${MOST} is the most.` : "");
}

function showMatrix({ similarities, threshold }) {
  const n = listed.length;
  const s = Array.from({ length: n }, () => Array(n).fill(1));
  let next = 0;
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) s[i][j] = s[j][i] = similarities[next++];
  byId("columns").replaceChildren(element("td"), ...listed.map((question, j) => {
    const head = element("th", String(j + 1));
    head.scope = "col";
    head.title = question;
    return head;
  }));
  byId("rows").replaceChildren(...listed.map((question, i) => {
    const head = element("th", `${i + 1} ${question}`);
    head.scope = "row";
    head.title = question;
    const row = document.createElement("tr");
    row.append(head, ...s[i].map((similarity, j) => {
      if (i === j) return element("td", "·", "self");
      const cell = element("td", decimal(similarity, 2), similarity > threshold ? "duplicate" : "");
      cell.style.setProperty("--amount", percent(0.6 * similarity));
      return cell;
    }));
    return row;
  }));
  byId("matrix").hidden = false;
  const count = similarities.filter((similarity) => similarity > threshold).length;
  tell("matrix-status", `${count} of ${similarities.length} pairs are duplicates, framed: above the threshold ${decimal(threshold, 3)}.`);
}

for (const id of ["question1", "question2"]) byId(id).addEventListener("input", pairChanged);
byId("search").addEventListener("input", searchChanged);
byId("questions").addEventListener("input", listChanged);

// A browser may have kept what was typed before the page was loaded again.
pairChanged();
listChanged();
fetch("/health").then((response) => response.json()).then(({ archive }) => {
  if (archive === null) return;
  byId("size").textContent = archive === 1 ? "1 question" : `${archive.toLocaleString("en")} questions`;
  byId("archive").hidden = false;
  searchChanged();
}, () => {});
fetch("/model").then((response) => response.json()).then(({ name, licence, card, dimensions, threshold }) => {
  const facts = [licence ? `licence ${licence}` : "no licence known", `${dimensions} dimensions`, `threshold ${decimal(threshold, 3)}`];
  byId("model-facts").textContent = `${name ?? "without a name"}: ${facts.join(", ")}`;
  if (card !== null) byId("card").append(...shownCard(card));
  byId("card-details").hidden = card === null;
  byId("model").hidden = false;
}, () => {});
