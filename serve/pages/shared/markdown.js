// A small part of Markdown as DOM nodes: hostile text in, inert elements out, in linear time.
// Headings, lists, quotes, tables, fenced code, emphasis, code, links to http(s) and mailto. No HTML, no images, no
// nesting, so no depth that hostile text could reach.

import { el, toast } from "/static/shared/dom.js";

const HIDDEN = /[\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;
const MARKS = ["**", "__", "*", "_"];
const MOST_NODES = 2000; // of one run of text; the rest of it stays plain
const MOST_COLUMNS = 30;
const RULE = /^ {0,3}\|?( *:?-{2,}:? *\|)+( *:?-{2,}:? *)?$/; // under a table's head
const LONGEST_WORDS = 500;
const LONGEST_ADDRESS = 2000;

/** Return text with characters that hide or reorder others spelled out. */
export const visible = (text) =>
  text.replace(HIDDEN, (hidden) => `⟦U+${hidden.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟧`);

/** Return the nodes of a text. `anchor(address, words)` makes its links: `opened` ones, or `spelled` out. */
export function render(text, anchor = opened) {
  const lines = visible(text).split("\n");
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    const [node, next] = block(lines, at, (run) => inline(run, anchor));
    if (node) nodes.push(node);
    at = next;
  }
  return nodes;
}

/** Return code with a button that copies it. */
export function code(text, language = "") {
  const copy = el("button", { type: "button", class: "quiet copy-code", text: "Copy" });
  copy.addEventListener("click", () => navigator.clipboard?.writeText(text).then(() => toast("Copied")));
  return el("div", { class: "code" }, copy, el("pre", { dir: "ltr" }, el("code", { dataset: { language }, text })));
}

function block(lines, at, inline) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = /^\s{0,3}(`{3,}|~{3,})\s*([\w+-]{0,20})/.exec(line);
  if (fence) return fenced(lines, at, fence);
  const heading = /^(#{1,6}) +(.*)/.exec(line);
  if (heading) return [el(`h${Math.min(6, heading[1].length + 2)}`, { dir: "auto" }, inline(heading[2])), at + 1];
  if (/^ {0,3}([-*_])( *\1){2,} *$/.test(line)) return [el("hr"), at + 1];
  if (/^>/.test(line)) return gathered(lines, at, /^> ?/, (inner) => el("blockquote", { dir: "auto" }, inline(inner)));
  if (RULE.test(lines[at + 1] ?? "") && line.includes("|")) return table(lines, at, inline);
  if (/^\s*[-*+] +\S/.test(line)) return list(lines, at, /^\s*[-*+] +/, "ul", inline);
  const number = /^\s*(\d{1,9})[.)] +\S/.exec(line);
  if (number) return list(lines, at, /^\s*\d{1,9}[.)] +/, "ol", inline, number[1]);
  return paragraph(lines, at, inline);
}

function fenced(lines, at, [, mark, language]) {
  const inside = [];
  let next = at + 1;
  for (; next < lines.length && !lines[next].trim().startsWith(mark); next += 1) inside.push(lines[next]);
  return [code(inside.join("\n"), language), next + 1];
}

function gathered(lines, at, prefix, make) {
  const inside = [];
  let next = at;
  for (; next < lines.length && prefix.test(lines[next]); next += 1) inside.push(lines[next].replace(prefix, ""));
  return [make(inside.join("\n")), next];
}

function list(lines, at, prefix, tag, inline, start) {
  const items = [];
  let next = at;
  for (; next < lines.length && lines[next].trim(); next += 1) {
    if (prefix.test(lines[next])) items.push(lines[next].replace(prefix, ""));
    else if (/^\s/.test(lines[next])) items[items.length - 1] += `\n${lines[next].trim()}`;
    else break;
  }
  const attributes = start && start !== "1" ? { start } : {};
  return [el(tag, attributes, ...items.map((item) => el("li", { dir: "auto" }, inline(item)))), next];
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").slice(0, MOST_COLUMNS);

function table(lines, at, inline) {
  const row = (tag, line) => el("tr", {}, ...cells(line).map((cell) => el(tag, { dir: "auto" }, inline(cell.trim()))));
  const body = el("tbody");
  let next = at + 2;
  for (; next < lines.length && lines[next].includes("|"); next += 1) body.append(row("td", lines[next]));
  return [el("div", { class: "table" }, el("table", {}, el("thead", {}, row("th", lines[at])), body)), next];
}

const BREAKS = /^(#{1,6} |>|\s*[-*+] +\S|\s*\d{1,9}[.)] +\S|\s{0,3}(`{3}|~{3}))/;

function paragraph(lines, at, inline) {
  let next = at + 1;
  while (next < lines.length && lines[next].trim() && !BREAKS.test(lines[next])) next += 1;
  return [el("p", { dir: "auto" }, inline(lines.slice(at, next).join("\n"))), next];
}

/** Return the nodes of a run of text; a mark whose end was sought in vain is not sought again. */
function inline(text, anchor) {
  const nodes = [];
  const endless = new Set();
  let plain = "";
  let at = 0;
  const put = (node) => {
    if (plain) nodes.push(plain);
    plain = "";
    nodes.push(node);
  };
  while (at < text.length) {
    const found = nodes.length < MOST_NODES ? special(text, at, endless, anchor) : null;
    if (found) put(found.node);
    else plain += text[at];
    at = found ? found.next : at + 1;
  }
  if (plain) nodes.push(plain);
  return nodes;
}

function special(text, at, endless, anchor) {
  const character = text[at];
  if (character === "`") {
    const inside = between(text, at, "`", endless);
    return inside && { node: el("code", { text: inside.content }), next: inside.next };
  }
  if (character === "[") return link(text, at, anchor);
  if (character === "h" && /^https?:\/\//.test(text.slice(at, at + 8)) && !/\w/.test(text[at - 1] ?? "")) {
    let [address] = /^[^\s<>"'`]+/.exec(text.slice(at, at + LONGEST_ADDRESS));
    while (".,;:!?)]".includes(address.at(-1))) address = address.slice(0, -1);
    const href = safe(address);
    return href && { node: anchor(href, address), next: at + address.length };
  }
  const mark = MARKS.find((each) => text.startsWith(each, at));
  if (!mark || /\s/.test(text[at + mark.length] ?? " ") || /\w/.test(text[at - 1] ?? "")) return null;
  const inside = between(text, at, mark, endless);
  if (!inside || /\s$/.test(inside.content)) return null;
  return { node: el(mark.length === 2 ? "strong" : "em", { text: inside.content }), next: inside.next };
}

function between(text, at, mark, endless) {
  if (endless.has(mark)) return null;
  const end = text.indexOf(mark, at + mark.length);
  if (end < 0) endless.add(mark);
  if (end <= at + mark.length) return null;
  return { content: text.slice(at + mark.length, end), next: end + mark.length };
}

function link(text, at, anchor) {
  if (text[at - 1] === "!") return null; // an image is not fetched and stays as it was written
  const near = text.slice(at, at + LONGEST_WORDS + LONGEST_ADDRESS);
  const middle = near.slice(0, LONGEST_WORDS).indexOf("](");
  const end = middle < 0 ? -1 : near.indexOf(")", middle);
  const href = end < 0 ? null : safe(near.slice(middle + 2, end));
  return href && { node: anchor(href, near.slice(1, middle)), next: at + end + 1 };
}

function safe(address) {
  try {
    const parsed = new URL(address);
    return ["http:", "https:", "mailto:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

const opened = (href, text) => el("a", { href, rel: "noopener noreferrer nofollow", target: "_blank", text });

/** A link as words with its address beside them: nothing to click, nothing hidden. */
export const spelled = (href, words) =>
  el("span", { class: "address", text: words === href || `${words}/` === href ? words : `${words} ⟨${href}⟩` });
