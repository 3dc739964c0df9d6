// Drawing an item: its conversation and its answers, in one of three views, rendered or literal. Text goes in as text.

import { $, $$, el, fromTemplate, toast } from "/static/shared/dom.js";
import { render, spelled, visible } from "/static/shared/markdown.js";
import { difference } from "/static/labeling/compare.js";
import * as rank from "/static/labeling/ranking.js";
import * as reading from "/static/labeling/reading.js";
import { focus, on, work } from "/static/labeling/work.js";

const STACKED_FROM_WORDS = 150; // median answer from which on answers stand below each other unless chosen otherwise
const VIEW = "whetstone-view";

let view = "stacked";
let whole = "stacked"; // the view to go back to from a pair
let raw = localStorage.getItem("whetstone-raw") === "on";
let folded = new Set();
let partner = 0; // the answer that the focused one is compared with

const wordsOf = (text) => text.split(/\s+/).filter(Boolean).length;

function drawItem({ item }) {
  if (!item) return;
  folded = new Set();
  partner = 0;
  const comparison = item.kind === "comparison";
  $("#messages").replaceChildren(...item.messages.map(message));
  $("#prompt-size").textContent = `${item.messages.reduce((sum, each) => sum + wordsOf(each.content), 0)} words`;
  $("#language").hidden = !item.language;
  $("#language").textContent = item.language ?? "";
  $("#cards").replaceChildren(...item.completions.map(newCard));
  $("#writing").hidden = comparison;
  $("#views").hidden = !comparison;
  chooseView(ownView() ?? fitting(item), false);
  reading.watch($$("#cards .text"));
}

const ownView = () => localStorage.getItem(VIEW);

function fitting(item) {
  const counts = item.completions.map((completion) => wordsOf(completion.text)).sort((a, b) => a - b);
  return counts[counts.length >> 1] > STACKED_FROM_WORDS || counts.length < 3 ? "stacked" : "grid";
}

function write(node, text) {
  node.classList.toggle("raw", raw);
  node.replaceChildren(...(raw ? [visible(text)] : render(text, spelled)));
  for (const button of $$("button", node)) button.tabIndex = -1; // Tab leads from the answers to the order
}

function message({ role, content }) {
  const text = el("div", { class: "text", dir: "auto" });
  write(text, content);
  const copy = el("button", {
    type: "button",
    class: "copy quiet small",
    text: "Copy",
    onclick: () => toCopy(content),
  });
  const head = el("div", { class: "who" }, role);
  if (role !== "system")
    return el("div", { class: `message ${role}` }, el("div", { class: "row spread" }, head, copy), text);
  return el("details", { class: "message system" }, el("summary", { class: "who", text: "system" }), text);
}

const toCopy = (text) => navigator.clipboard?.writeText(text).then(() => toast("Copied"));

function newCard(completion, position) {
  const card = fromTemplate("card");
  const name = rank.letter(position);
  card.setAttribute("aria-label", `Answer ${name}`);
  $(".letter", card).textContent = name;
  write($(".text", card), completion.text || "(empty)");
  $(".words", card).textContent = `${wordsOf(completion.text)} words`;
  $(".cut", card).hidden = completion.finished;
  const twin = work.item.completions.findIndex((each) => each.index === completion.similar_to);
  $(".similar", card).hidden = twin < 0;
  $(".similar", card).textContent = twin < 0 ? "" : `very similar to ${rank.letter(twin)}`;
  $(".show-all", card).textContent = `Show all ${wordsOf(completion.text)} words`;
  for (const selector of [".fold", ".show-all"]) $(selector, card).addEventListener("click", () => fold(position));
  $(".copy", card).addEventListener("click", () => toCopy(completion.text));
  card.addEventListener("focusin", () => position === work.focused || focus(position, 1));
  card.addEventListener("click", () => focus(position, 1));
  return card;
}

function drawDraft({ item, draft, seen }) {
  if (item.kind !== "comparison") return;
  const order = rank.groups(draft.ranks);
  $$("#cards .card").forEach((card, position) => {
    const place = draft.outcome === "ranked" ? order.findIndex((group) => group.includes(position)) : -1;
    const badge = $(".rank", card);
    badge.textContent = place < 0 ? "" : `${place + 1}${order[place].length > 1 ? " =" : ""}`;
    badge.hidden = place < 0;
    badge.title = place < 0 ? "" : rank.standing(draft, position);
    card.classList.toggle("ranked", place >= 0);
    $(".rated", card).hidden = !draft.quality[position];
    $(".rated", card).textContent = `${draft.quality[position]} of 7`;
    const flagged = Object.values(draft.flags).filter((positions) => positions.includes(position)).length;
    const marked = draft.spans.filter((span) => span.position === position).length;
    const told = [flagged && `${flagged} ${flagged > 1 ? "flags" : "flag"}`, marked && `${marked} marked`].filter(
      Boolean,
    );
    $(".card-flags", card).replaceChildren(...told.map((text) => el("span", { class: "chip bad", text })));
    $(".unseen", card).hidden = seen[position];
  });
}

function drawFocus({ item, focused }) {
  if (item?.kind !== "comparison") return;
  const cards = $$("#cards .card");
  const before = cards.findIndex((card) => card.getAttribute("aria-current") === "true");
  if (before >= 0 && before !== focused) partner = before;
  cards.forEach((card, position) => {
    card.setAttribute("aria-current", String(position === focused));
    card.tabIndex = position === focused ? 0 : -1;
  });
  if (view === "pair") drawPair();
}

/** Put the focused answer in sight and, in the first step, the keyboard on it. */
export function reveal() {
  const card = $$("#cards .card")[work.focused];
  if (!card) return;
  if (work.step === 1 && !card.contains(document.activeElement)) card.focus({ preventScroll: true });
  card.scrollIntoView({ block: card.offsetHeight > $(".answers").clientHeight * 0.8 ? "start" : "nearest" });
}

/** Show the first part of an answer that was not in sight yet. */
export function revealUnseen(position) {
  folded.delete(position);
  drawFolds();
  reading.firstUnseen(position)?.scrollIntoView({ block: "center" });
}

/** Fold an answer, or show all of it. */
export function fold(position = work.focused) {
  if (!folded.delete(position)) folded.add(position);
  drawFolds();
}

function drawFolds() {
  $$("#cards .card").forEach((card, position) => {
    card.classList.toggle("folded", folded.has(position));
    $(".show-all", card).hidden = !folded.has(position);
    $(".fold", card).hidden = folded.has(position);
  });
}

/** Show answers `stacked`, as a `grid`, or the focused one beside another as a `pair`. */
export function chooseView(name, keep = true) {
  const pairBefore = view === "pair";
  view = name;
  if (name !== "pair") whole = name;
  if (keep) localStorage.setItem(VIEW, name);
  $("#cards").className = name;
  for (const button of $$("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === name));
  if (pairBefore && name !== "pair") redraw();
  if (name === "pair") drawPair();
}

/** Compare the focused answer with the one that had the focus before, or stop that. */
export const toggleDifference = () => chooseView(view === "pair" ? whole : "pair", false);

export const nextView = () => chooseView(view === "stacked" ? "grid" : "stacked");

function drawPair() {
  const { item, focused } = work;
  if (!item || item.completions.length < 2) return;
  const other = partner === focused ? (focused ? focused - 1 : 1) : partner;
  const [left, right] = [other, focused].map((position) => item.completions[position].text);
  const [a, b] = difference(visible(left), visible(right));
  $$("#cards .card").forEach((card, position) => {
    card.classList.toggle("paired", position === other || position === focused);
    const pieces = position === other ? a : position === focused ? b : null;
    if (pieces) show($(".text", card), pieces, position === other ? "del" : "ins");
  });
}

const show = (node, pieces, tag) => {
  const marks = $$(".mark-seen", node);
  node.classList.add("raw");
  node.replaceChildren(...pieces.map(({ same, text }) => (same ? text : el(tag, { text }))), ...marks);
};

/** Show text rendered or literally. */
export function toggleRaw() {
  raw = !raw;
  localStorage.setItem("whetstone-raw", raw ? "on" : "off");
  redraw();
}

function redraw() {
  $("#raw").setAttribute("aria-pressed", String(raw));
  const { item } = work;
  if (!item) return;
  $("#messages").replaceChildren(...item.messages.map(message));
  $$("#cards .card .text").forEach((node, position) => {
    const marks = $$(".mark-seen", node);
    write(node, item.completions[position].text || "(empty)");
    node.append(...marks);
  });
  if (view === "pair") drawPair();
}

/** Fold the prompt, or show it. */
export function foldPrompt() {
  const open = $("#messages").hidden;
  $("#messages").hidden = !open;
  $("#prompt").classList.toggle("closed", !open);
  $("#work").classList.toggle("no-prompt", !open);
  $("#prompt-fold").setAttribute("aria-expanded", String(open));
}

/** Begin drawing. */
export function begin() {
  on("item", drawItem);
  on("draft", drawDraft);
  on("focus", drawFocus);
  $("#raw").setAttribute("aria-pressed", String(raw));
  $("#raw").addEventListener("click", toggleRaw);
  $("#prompt-fold").addEventListener("click", foldPrompt);
  for (const button of $$("[data-view]"))
    button.addEventListener("click", () => chooseView(button.dataset.view, button.dataset.view !== "pair"));
}
