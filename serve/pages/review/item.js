// One item under review: what was said of it side by side, and the reviewer's ranking, by keyboard.

import { $, $$, announce, el, fromTemplate } from "/static/shared/dom.js";
import { conversation } from "/static/writing/revisions.js";

const REASONS = { skips: "skipped by three", report: "reported", disagreement: "labelers differ" };
const VERDICTS = { all_bad: "all bad", all_good: "all good" };
const letter = (index) => String.fromCharCode(65 + index);

let item = null; // as the server describes it
let ranks = []; // per answer; 0 for none
let outcome = "ranked";
let at = 0; // the answer in focus

/** Return tie groups of answers, best first. */
const groups = () => {
  const used = [...new Set(ranks.filter((rank) => rank > 0))].sort((a, b) => a - b);
  return used.map((rank) => ranks.flatMap((each, index) => (each === rank ? [index] : [])));
};

/** Draw an item. */
export function show(found) {
  item = found;
  ranks = Array(found.completions.length).fill(0);
  outcome = "ranked";
  at = 0;
  const comparison = found.kind === "comparison";
  $("#item-title").textContent = comparison ? "Comparison" : "Request for a demonstration";
  $("#item-reason").textContent = REASONS[found.reason];
  $("#details").replaceChildren(...found.details.map((words) => el("li", { class: "text", text: words })));
  $("#item-messages").replaceChildren(...conversation(found.messages));
  $("#cards").replaceChildren(...found.completions.map(card));
  $("#said-box").hidden = found.labels.length === 0;
  $("#said").replaceChildren(...said(found));
  $("#note").value = "";
  $("#rank").hidden = $("#keys").hidden = $("#order").hidden = !comparison;
  const left = found.slots_left;
  $("#reopen").textContent = left ? `Back to the queue (${left} wanted)` : "Let the labels stand";
  draw();
}

function card(completion, index) {
  const node = fromTemplate("card");
  $(".letter", node).textContent = letter(index);
  $(".text", node).textContent = completion.text || "(empty)";
  $(".cut", node).hidden = completion.finished;
  node.addEventListener("click", () => focus(index));
  node.addEventListener("focusin", () => mark(index));
  return node;
}

/** Return the table of what labelers said: one column each, without names. */
function said({ labels, completions }) {
  const letters = (indices) => indices.map(letter).join(" = ");
  const order = ({ outcome: verdict, ranking }) => VERDICTS[verdict] ?? ranking.map(letters).join(" > ");
  const flags = (label, index) =>
    Object.entries(label.flags)
      .filter(([, indices]) => indices.includes(index))
      .map(([name]) => name.replaceAll("_", " "));
  const row = (name, cells) =>
    el("tr", {}, el("th", { scope: "row", text: name }), cells.map((text) => el("td", { class: "text", text })));
  const about = (label, index) =>
    [label.quality.length ? `quality ${label.quality[index]}` : "", ...flags(label, index)].filter(Boolean).join(", ") || "–";
  const heads = labels.map((_, number) => el("th", { scope: "col", text: `Labeler ${number + 1}` }));
  return [
    el("thead", {}, el("tr", {}, el("td", {}), heads)),
    el(
      "tbody",
      {},
      row("Order", labels.map(order)),
      completions.map((_, index) => row(letter(index), labels.map((label) => about(label, index)))),
      labels.some((label) => label.note) ? row("Note", labels.map((label) => label.note || "–")) : null,
    ),
  ];
}

function draw() {
  const order = groups();
  $$("#cards .card").forEach((node, index) => {
    const place = order.findIndex((group) => group.includes(index));
    node.classList.toggle("ranked", place >= 0 || outcome !== "ranked");
    $(".rank", node).textContent = place < 0 ? "" : `${place + 1}${order[place].length > 1 ? " tied" : ""}`;
    node.setAttribute("aria-current", String(index === at));
    node.setAttribute("aria-label", `Answer ${letter(index)}${place < 0 ? ", not ranked" : `, rank ${place + 1}`}`);
  });
  const chips = (indices, kind = "") =>
    el("span", { class: `group ${kind}` }, indices.map((index) => el("b", { text: letter(index) })));
  const open = ranks.flatMap((rank, index) => (rank ? [] : [index]));
  const parts =
    outcome === "ranked"
      ? [
          ...order.flatMap((group, place) => [place ? "›" : "", chips(group)]),
          open.length ? el("span", { class: "muted small", text: "not ranked:" }) : "",
          open.length ? chips(open, "open") : "",
        ]
      : [el("span", { class: "chip accent", text: VERDICTS[outcome] })];
  $("#order").replaceChildren(...parts.filter(Boolean));
  $("#rank").disabled = outcome === "ranked" && open.length > 0;
}

function mark(index) {
  at = index;
  draw();
}

/** Move the focus to an answer. */
export function focus(index) {
  const cards = $$("#cards .card");
  if (!cards.length) return;
  mark(Math.max(0, Math.min(cards.length - 1, index)));
  cards[at].focus({ preventScroll: true });
  cards[at].scrollIntoView({ block: "nearest" });
}

function setRank(digit) {
  outcome = "ranked";
  ranks = ranks.with(at, digit);
  const place = groups().findIndex((group) => group.includes(at));
  const tied = groups()[place].filter((index) => index !== at).map(letter);
  announce(`${letter(at)} is now number ${place + 1}${tied.length ? `, tied with ${tied.join(", ")}` : ""}`);
  draw();
  const next = ranks.findIndex((rank) => !rank);
  if (next >= 0) focus(next);
}

function setOutcome(verdict) {
  outcome = outcome === verdict ? "ranked" : verdict;
  announce(outcome === "ranked" ? "ranked" : VERDICTS[outcome]);
  draw();
}

/** Return what a key does on this item, or undefined. */
export function keyAction(event) {
  if (item?.kind !== "comparison") return undefined;
  const digit = Number(/^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1] ?? NaN);
  if (digit >= 1 && !event.shiftKey) return () => setRank(digit);
  return {
    0: () => setOutcome("all_bad"),
    "=": () => setOutcome("all_good"),
    j: () => focus(at + 1),
    ArrowDown: () => focus(at + 1),
    k: () => focus(at - 1),
    ArrowUp: () => focus(at - 1),
    n: () => $("#note").focus(),
  }[event.key];
}

/** Return the body of a verdict. */
export function verdict(kind) {
  const note = $("#note").value.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "").toWellFormed();
  if (kind !== "ranked") return { verdict: kind, note };
  return outcome === "ranked" ? { verdict: kind, ranking: groups(), note } : { verdict: kind, outcome, note };
}
