"use strict";

// Shows /openapi.json. All text goes through textContent.

const LONGEST = 20_000; // characters of an answer that are shown
const byId = (id) => document.getElementById(id);
const METHODS = ["get", "post", "put", "delete"];
let described; // the document

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function within(name, className, ...children) {
  const made = element(name, "", className);
  made.append(...children);
  return made;
}

/** A schema, looked up if it is a reference. */
function resolved(schema) {
  if (!schema?.$ref) return schema ?? {};
  const name = schema.$ref.split("/").pop();
  return { ...described.components.schemas[name], name };
}

/** A type in words, such as "list of at most 1,000: text of at most 2,000 characters". */
function typeOf(given) {
  const schema = resolved(given);
  const number = (value) => value.toLocaleString("en").replace("-", "−");
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") {
    const { minItems: least, maxItems: most } = schema;
    const count = least && least === most ? `exactly ${number(most)}` : least && most ? `${number(least)} to ${number(most)}`
      : most ? `at most ${number(most)}` : "";
    return `list${count && ` of ${count}`}: ${typeOf(schema.items)}`;
  }
  if (schema.type === "string") {
    return schema.maxLength ? `text of ${schema.minLength ? `${schema.minLength} to` : "at most"} ${number(schema.maxLength)} characters` : "text";
  }
  if (schema.type === "integer" || schema.type === "number") {
    const kind = schema.type === "integer" ? "whole number" : "number";
    const from = schema.minimum ?? schema.exclusiveMinimum, to = schema.maximum ?? schema.exclusiveMaximum;
    if ((from === undefined && to === undefined) || to >= 2 ** 53) return kind;
    const open = schema.exclusiveMinimum !== undefined || schema.exclusiveMaximum !== undefined;
    return `${kind}, ${open ? "between" : "from"} ${number(from)} ${open ? "and" : "to"} ${to === undefined ? "∞" : number(to)}`;
  }
  if (typeof schema.additionalProperties === "object") {
    return `object${schema.maxProperties ? ` of at most ${number(schema.maxProperties)}` : ""}: ${typeOf(schema.additionalProperties)}`;
  }
  return schema.name ?? { boolean: "true or false", null: "null", object: "object" }[schema.type] ?? "anything";
}

/** The objects within a schema, each by its name once. */
function objectsIn(given, found = new Map()) {
  const schema = resolved(given);
  if (schema.properties && !found.has(schema.name)) {
    found.set(schema.name, schema);
    Object.values(schema.properties).forEach((one) => objectsIn(one, found));
  }
  for (const one of [schema.items, ...(schema.anyOf ?? [])]) if (one) objectsIn(one, found);
  return found;
}

/** A table of names with their types, what they need, and their descriptions. */
function tableOf(rows) {
  const filled = rows.map(([name, schema, needed, description]) => {
    const head = element("th", name);
    head.scope = "row";
    return within("tr", "", head, element("td", [typeOf(schema), needed].filter(Boolean).join("; ")), element("td", description ?? ""));
  });
  return within("div", "wide", within("table", "fields", within("tbody", "", ...filled)));
}

const unless = (required, given) => required ? "" : given === undefined ? "optional" : `default ${JSON.stringify(given)}`;

/** Tables of the fields of a schema, the objects within it after it. */
function fields(given) {
  return [...objectsIn(given).values()].flatMap((schema, i) => {
    const rows = Object.entries(schema.properties).map(([name, field]) => {
      const one = resolved(field);
      return [name, field, unless(schema.required?.includes(name), one.default), one.description];
    });
    return [...(i ? [element("h4", schema.name)] : []), tableOf(rows)];
  });
}

/** The example of a schema, from those of the fields that it requires. */
function exampleOf(given) {
  const schema = resolved(given);
  if (schema.examples) return schema.examples[0];
  if (!schema.properties) return schema.default ?? null;
  return Object.fromEntries((schema.required ?? []).map((name) => [name, exampleOf(schema.properties[name])]));
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The inputs of an operation, and a function that returns what they ask for as { path, body }. */
function inputs(path, operation, id) {
  const schema = operation.requestBody?.content["application/json"]?.schema;
  const boxes = [], parameters = operation.parameters ?? [];
  const labelled = (name, box, text) => {
    box.id = `${id}-${name}`;
    const label = element("label", text);
    label.htmlFor = box.id;
    boxes.push(within("div", "", label, box));
    return box;
  };
  const asked = parameters.map((parameter) => {
    const several = parameter.schema.type === "array";
    const box = labelled(parameter.name, element(several ? "textarea" : "input"), `${parameter.name}${several ? ", one a line" : ""}`);
    if (several) box.rows = 2;
    box.value = parameter.required ? parameter.example ?? parameter.schema.examples?.[0] ?? "" : "";
    box.autocomplete = "off";
    return [parameter, box];
  });
  let body = null;
  if (schema) {
    body = labelled("body", element("textarea"), "Body");
    body.spellcheck = false;
    body.value = JSON.stringify(exampleOf(schema), null, 2);
    body.rows = Math.min(body.value.split("\n").length + 1, 14);
  }
  const read = () => {
    let filled = path;
    const query = new URLSearchParams();
    for (const [parameter, box] of asked) {
      if (parameter.in === "path") filled = filled.replace(new RegExp(`\\{${parameter.name}(:path)?\\}`), encodeURIComponent(box.value));
      else if (box.value) {
        const several = parameter.schema.type === "array" ? box.value.split("\n").filter(Boolean) : [box.value];
        for (const value of several) query.append(parameter.name, value);
      }
    }
    return { path: filled + (query.size ? `?${query}` : ""), body: body?.value };
  };
  return [boxes, read];
}

function shownOperation(path, method, operation) {
  const id = `${method}${path}`.replace(/[^a-z]+/gi, "-").replace(/-$/, "");
  const [boxes, read] = inputs(path, operation, id);
  const secret = Boolean(operation.security);
  const command = element("pre"), answer = element("pre", "", "answer"), status = element("p");
  const send = element("button", "Send");
  send.type = "button";
  status.setAttribute("role", "status");
  answer.hidden = true;
  answer.tabIndex = 0;

  const updated = () => {
    const { path, body } = read();
    const headers = secret ? ` -H "Authorization: Bearer $SIAMESE_TOKEN"` : "";
    let compact = body;
    try { compact = JSON.stringify(JSON.parse(body)); } catch { /* shown as it is typed */ }
    const verb = method === "get" || (method === "post" && body !== undefined) ? "" : ` -X ${method.toUpperCase()}`;
    command.textContent = `curl -s${verb} ${quoted(location.origin + path)}${headers}${body === undefined ? "" : ` --json ${quoted(compact)}`}`;
  };
  send.addEventListener("click", async () => {
    const { path, body } = read();
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    if (secret) headers.Authorization = `Bearer ${byId("token").value}`;
    status.textContent = "Asked …";
    send.disabled = true;
    try {
      const begun = performance.now();
      const response = await fetch(path, { method: method.toUpperCase(), headers, body });
      const text = await response.text();
      status.textContent = `${response.status} in ${Math.round(performance.now() - begun)} ms`;
      status.className = response.ok ? "yes" : "no";
      let pretty = text;
      try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON */ }
      answer.textContent = pretty.length > LONGEST ? `${pretty.slice(0, LONGEST)} …` : pretty;
      answer.hidden = !text;
    } catch (error) {
      status.textContent = `Not sent: ${error.message}`;
      status.className = "no";
      answer.hidden = true;
    }
    send.disabled = false;
  });
  for (const box of boxes) box.addEventListener("input", updated);
  updated();

  const title = within("h2", "", element("span", method.toUpperCase(), `method ${method}`), element("code", ` ${path.replace(":path}", "}")}`));
  const section = within("section", "operation", title, element("p", operation.description ?? ""));
  section.id = id;
  title.id = `${id}-title`;
  section.setAttribute("aria-labelledby", title.id);
  if (secret) section.append(element("p", "Needs the token.", "note"));
  const parameters = operation.parameters ?? [];
  if (parameters.length) {
    const rows = parameters.map(({ name, schema, required, description }) => [name, schema, unless(required, schema.default), description]);
    section.append(element("h3", "Parameters"), tableOf(rows));
  }
  const schema = operation.requestBody?.content["application/json"]?.schema;
  if (schema) section.append(element("h3", "Request"), ...fields(schema));
  for (const [code, response] of Object.entries(operation.responses).filter(([code]) => code.startsWith("2"))) {
    const found = response.content?.["application/json"]?.schema;
    section.append(element("h3", `Answer ${code}`), ...(found ? fields(found) : [element("p", response.content ? Object.keys(response.content)[0] : "without a body", "note")]));
  }
  const failures = Object.keys(operation.responses).filter((code) => !code.startsWith("2"));
  section.append(element("p", `Errors (an object with the field detail): ${failures.join(", ")}`, "note"));
  const trying = within("details", "", element("summary", "Try it"), ...boxes, within("div", "wide", command), send, status, answer);
  section.append(trying);
  const link = element("a");
  link.href = `#${id}`;
  link.append(element("span", method.toUpperCase(), `method ${method}`), element("code", ` ${path.replace(":path}", "}")}`));
  byId("contents").append(within("li", "", link));
  return section;
}

fetch("/openapi.json").then((response) => response.json()).then((found) => {
  described = found;
  byId("title").textContent = `API: ${found.info.title.toLowerCase()}`;
  byId("about").textContent = found.info.description;
  byId("version").textContent = `version ${found.info.version}`;
  const operations = Object.entries(found.paths).flatMap(([path, methods]) => METHODS.filter((method) => methods[method])
    .map((method) => [path, method, methods[method]]));
  byId("access").hidden = !operations.some(([, , operation]) => operation.security);
  byId("operations").append(...operations.map((one) => shownOperation(...one)));
  byId("status").textContent = "";
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}, () => { byId("status").textContent = "The service does not answer."; });
