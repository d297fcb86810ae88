"use strict";

// Shows the Markdown of a model card. It may come from a stranger: nothing of it becomes HTML, and no image is loaded.

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|!?\[([^\]]*)\]\(([^)\s]*)\)|<(https?:[^>\s]+)>/g;

/** The parts of a line: text, code, bold text, and links to other sites; of other links and images their text. */
function inline(line) {
  const parts = [];
  let end = 0;
  for (const found of line.matchAll(INLINE)) {
    const [whole, code, bold, label, target, plain] = found;
    parts.push(line.slice(end, found.index));
    end = found.index + whole.length;
    if (code !== undefined) parts.push(made("code", code));
    else if (bold !== undefined) parts.push(made("strong", bold));
    else if (/^https?:\/\//.test(plain ?? target) && !whole.startsWith("!")) {
      const link = made("a", label ?? plain);
      link.href = plain ?? target;
      link.rel = "noopener noreferrer";
      parts.push(link);
    } else parts.push(label);
  }
  return [...parts, line.slice(end)];
}

function made(name, text) {
  const one = document.createElement(name);
  one.textContent = text;
  return one;
}

function filled(name, ...children) {
  const one = document.createElement(name);
  one.append(...children);
  return one;
}

const cells = (row) => row.replace(/^\s*\||\|\s*$/g, "").split("|").map((cell) => cell.trim());

function table(lines) {
  const [head, , ...rows] = lines;
  const row = (line, kind) => filled("tr", ...cells(line).map((cell) => filled(kind, ...inline(cell))));
  const wide = filled("div", filled("table", filled("thead", row(head, "th")), filled("tbody", ...rows.map((line) => row(line, "td")))));
  wide.className = "wide";
  return wide;
}

/** The items of a list; a line that begins none continues the last. */
function list(lines) {
  const items = [];
  for (const line of lines) {
    const found = line.match(/^\s*(?:[-*]|\d+\.)\s+(.*)/);
    if (found) items.push(found[1]);
    else items.push(`${items.pop()} ${line.trim()}`);
  }
  return filled("ul", ...items.map((item) => filled("li", ...inline(item))));
}

/** The elements that show a card, without its title. */
function shownCard(card) {
  const pieces = card.replace(/<!--[^]*?-->/g, "").split(/(^```[^]*?^```$)/m);
  return pieces.flatMap((piece) => {
    if (piece.startsWith("```")) return [made("pre", piece.split("\n").slice(1, -1).join("\n"))];
    return piece.split(/\n\s*\n|(?<=^#.*)\n/m).map((block) => block.trim()).filter(Boolean).flatMap((block) => {
      const lines = block.split("\n");
      const heading = block.match(/^(#+)\s+(.*)$/);
      if (heading) return heading[1] === "#" ? [] : [filled("h3", ...inline(heading[2]))];
      if (lines.length > 1 && /^\s*\|?[\s:|-]+$/.test(lines[1]) && lines[0].includes("|")) return [table(lines)];
      if (/^(?:[-*]|\d+\.)\s/.test(block)) return [list(lines)];
      return [filled("p", ...inline(lines.join(" ")))];
    });
  });
}
