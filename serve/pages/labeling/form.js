// The form beside the answers: rating and flags of the focused answer, the order, the note, what stands in the way.

import { $, $$, announce, el } from "/static/shared/dom.js";
import { shown } from "/static/labeling/keymap.js";
import * as rank from "/static/labeling/ranking.js";
import { change, focus, on, type, undo, work } from "/static/labeling/work.js";

const NARROW_PX = 820; // up to here the flags begin folded
const ANCHORS = { 1: "very bad", 4: "middling", 7: "excellent" };
const PLACES = ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th"];

let flagSet = [];
let chips = []; // one per position; they wander between the groups and keep the keyboard

/** Take the flags of the guidelines: [{name, words, closed_domain_only}]. */
export function useFlags(flags) {
  flagSet = flags;
  drawFlags();
}

/** Return the flags that the item on the desk offers. */
export const offered = () => flagSet.filter((flag) => !flag.closed_domain_only || (work.item?.closed_domain ?? true));

function drawItem({ item }) {
  if (!item) return;
  for (const part of $$("#form [data-for]")) part.hidden = part.dataset.for !== item.kind;
  for (const part of $$("#form section:not([data-for])")) part.hidden = item.kind !== "comparison";
  $("#response").value = work.draft.response;
  $("#note").value = work.draft.note;
  chips = item.completions.map((_, position) => newChip(position));
  drawFlags();
}

function newChip(position) {
  const name = rank.letter(position);
  const chip = el("button", { type: "button", class: "chip-letter", draggable: "true", tabindex: "-1", text: name });
  chip.addEventListener("focus", () => (work.focused === position && work.step === 2) || focus(position, 2));
  chip.addEventListener("click", () => clicked(position));
  chip.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", String(position)));
  return chip;
}

function drawFlags() {
  const buttons = offered().map((flag, index) =>
    el(
      "button",
      {
        type: "button",
        tabindex: "-1",
        "aria-pressed": "false",
        dataset: { flag: flag.name },
        onclick: () => flagFocused(index),
      },
      el("kbd", { text: shown(`flag-${index + 1}`) ?? "" }),
      el("span", { text: flag.words }),
    ),
  );
  $("#flags").replaceChildren(...buttons);
  if (work.item) drawRating(work);
}

/** Toggle the n-th offered flag of the focused answer. */
export function flagFocused(index) {
  const flag = offered()[index];
  if (!flag) return;
  change((draft) => rank.toggleFlag(draft, work.focused, flag.name));
  const on = (work.draft.flags[flag.name] ?? []).includes(work.focused);
  announce(`${rank.letter(work.focused)}: ${flag.words}${on ? "" : ", taken back"}`);
}

/** Rate the focused answer. */
export function rate(value) {
  const position = work.focused;
  change((draft) => rank.setQuality(draft, position, value));
  const given = work.draft.quality[position];
  announce(given ? `${rank.letter(position)} rated ${given} of 7` : `${rank.letter(position)} has no rating`);
}

/** Change the order, and say where the focused answer stands then. */
export function order(edit) {
  change(edit);
  announce(rank.standing(work.draft, work.focused));
}

function drawRating({ item, draft, focused }) {
  if (item.kind !== "comparison") return;
  const name = rank.letter(focused);
  $("#rated").textContent = name;
  for (const [index, button] of $$("#quality button").entries())
    button.setAttribute("aria-checked", String(draft.quality[focused] === index + 1));
  let count = 0;
  for (const button of $$("#flags button")) {
    const on = (draft.flags[button.dataset.flag] ?? []).includes(focused);
    count += on;
    button.setAttribute("aria-pressed", String(on));
  }
  $("#flag-count").textContent = count ? `${count} on ${name}` : "";
}

function drawDraft({ item, draft, seen, busy }) {
  drawRating(work);
  if (item.kind === "comparison") drawOrder();
  for (const [field, node] of [
    ["note", $("#note")],
    ["response", $("#response")],
  ])
    if (node.value !== draft[field] && document.activeElement !== node) node.value = draft[field];
  const obstacle = rank.problem(item, draft, seen);
  $("#submit").setAttribute("aria-disabled", String(busy || Boolean(obstacle)));
  $("#obstacle").textContent = obstacle || rank.warnings(item, draft)[0] || "";
}

function drawOrder() {
  const { draft, focused, step } = work;
  const had = document.activeElement;
  const proposed = rank.proposal(draft);
  const ranks = draft.outcome === "ranked" ? (proposed ?? draft.ranks) : draft.ranks.map(() => 0);
  const groups = rank.groups(ranks);
  const open = rank.unranked(ranks);
  const rows = groups.map((group, place) => row(PLACES[place], group, place));
  if (!rows.length && draft.outcome === "ranked") rows.push(row(PLACES[0], [], 0)); // somewhere to drop the first
  if (open.length) rows.push(row(draft.outcome === "ranked" ? "open" : "all", open, -1));
  $("#order").replaceChildren(...rows);
  $("#order").classList.toggle("proposed", Boolean(proposed));
  chips.forEach((chip, position) => {
    chip.tabIndex = position === focused ? 0 : -1;
    chip.setAttribute("aria-current", String(position === focused && step === 2));
    chip.setAttribute("aria-label", rank.standing({ ranks }, position).replace(" is now", ","));
  });
  if (chips.includes(had)) had.focus({ preventScroll: true });
  $("#proposal").hidden = !proposed;
  for (const [id, outcome] of [
    ["all-good", "all_good"],
    ["all-bad", "all_bad"],
  ])
    $(`#${id}`).setAttribute("aria-pressed", String(draft.outcome === outcome));
}

function row(title, group, place) {
  const node = el(
    "li",
    { class: place < 0 ? "open" : "" },
    el("span", { class: "place muted small", text: title }),
    el(
      "span",
      { class: "stack" },
      group.map((position) => chips[position]),
    ),
  );
  node.addEventListener("dragover", (event) => {
    event.preventDefault();
    node.dataset.drop = zone(event, node, place);
  });
  node.addEventListener("dragleave", () => delete node.dataset.drop);
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    drop(Number(event.dataTransfer.getData("text/plain")), place, zone(event, node, place));
  });
  return node;
}

/** Dropped on the upper or lower edge of a group, an answer goes before or after it; in the middle it ties. */
function zone(event, node, place) {
  if (place < 0) return "join";
  const { top, height } = node.getBoundingClientRect();
  const share = (event.clientY - top) / height;
  return share < 0.25 ? "before" : share > 0.75 ? "after" : "join";
}

function drop(position, place, where) {
  focus(position, 2);
  const proposed = rank.proposal(work.draft);
  const from = (draft) => (proposed ? rank.confirm(draft) : draft);
  if (place < 0) return order((draft) => rank.setRank(draft, position, 0));
  order((draft) => rank.moveTo(from(draft), position, where === "after" ? place + 1 : place, where === "join"));
}

/** A chip that is clicked and has no rank goes to the end of the order: best first, one after the other. */
function clicked(position) {
  focus(position, 2);
  const { draft } = work;
  if (draft.outcome !== "ranked" || draft.ranks[position] || rank.proposal(draft)) return;
  order((before) => rank.moveTo(before, position, rank.groups(before.ranks).length, false));
}

/** Put the keyboard on the order, in the second step. */
export const toOrder = () => chips[work.focused]?.focus({ preventScroll: true });

function drawFocus({ item, focused, step }) {
  if (!item) return;
  drawRating(work);
  $("#rate").classList.toggle("now", step === 1);
  $("#rank").classList.toggle("now", step === 2);
  if (item.kind === "comparison") $(step === 2 ? "#rank" : "#rate").scrollIntoView({ block: "nearest" });
  chips.forEach((chip, position) => {
    chip.tabIndex = position === focused ? 0 : -1;
    chip.setAttribute("aria-current", String(position === focused && step === 2));
  });
}

/** Begin drawing. */
export function begin() {
  $("#quality").append(
    ...[1, 2, 3, 4, 5, 6, 7].map((value) =>
      el("button", {
        type: "button",
        role: "radio",
        tabindex: "-1",
        text: String(value),
        "aria-checked": "false",
        "aria-label": ANCHORS[value] ? `${value}, ${ANCHORS[value]}` : String(value),
        onclick: () => rate(value),
      }),
    ),
  );
  $("#flags-fold").open = innerWidth > NARROW_PX;
  on("item", drawItem);
  on("draft", drawDraft);
  on("focus", drawFocus);
  $("#note").addEventListener("input", (event) => type("note", event.target.value));
  $("#response").addEventListener("input", (event) => type("response", event.target.value));
  $("#confirm").addEventListener("click", () => order(rank.confirm));
  $("#all-good").addEventListener("click", () => change((draft) => rank.toggleOutcome(draft, "all_good")));
  $("#all-bad").addEventListener("click", () => change((draft) => rank.toggleOutcome(draft, "all_bad")));
}

/** Take the last change back; return false if there is none. */
export function takeBack() {
  if (!undo()) return false;
  announce("Taken back");
  return true;
}
