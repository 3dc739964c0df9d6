// From a key to a move. What each key means is in keymap.js; what a move does is in the modules that own it.

import { $, announce, toast } from "/static/shared/dom.js";
import * as cards from "/static/labeling/cards.js";
import * as dialogs from "/static/labeling/dialogs.js";
import * as drafts from "/static/labeling/drafts.js";
import * as form from "/static/labeling/form.js";
import * as guidelines from "/static/labeling/guidelines.js";
import { actionOf, nameOf } from "/static/labeling/keymap.js";
import * as held from "/static/labeling/held.js";
import * as legend from "/static/labeling/legend.js";
import * as rank from "/static/labeling/ranking.js";
import { change, focus, movedBy, work } from "/static/labeling/work.js";

const TEXTS = "input:not([type=checkbox]), textarea, select";

let given = {};

/** Take keys from now on. `given`: submit(), unskip(). */
export function begin(handlers) {
  given = handlers;
  document.addEventListener("keydown", onKey);
  for (const [name, hand] of [
    ["keydown", "keys"],
    ["pointerdown", "mouse"],
  ])
    document.addEventListener(name, () => movedBy(hand), { capture: true });
  for (const name of ["keydown", "pointerdown", "wheel", "scroll"])
    document.addEventListener(name, held.acted, { capture: true, passive: true });
  $("#rank").addEventListener("focusin", () => work.step === 2 || focus(work.focused, 2));
}

function onKey(event) {
  if (event.isComposing || event.defaultPrevented || $("dialog[open]")) return;
  const typing = event.target.matches(TEXTS);
  if (typing && event.key === "Escape") return handled(event, leaveText);
  const name = nameOf(event);
  const action = actionOf(name);
  if (!action || (typing && !name.startsWith("Ctrl+"))) return;
  const move = common[action] ?? (work.item?.kind === "comparison" ? onComparison(action) : null);
  if (move) handled(event, move);
}

function handled(event, move) {
  event.preventDefault();
  move();
}

function leaveText() {
  if (work.item?.kind !== "comparison") return document.activeElement.blur();
  if (work.step === 2) form.toOrder();
  else cards.reveal();
}

const common = {
  legend: legend.toggle,
  guidelines: () => guidelines.read(),
  prompt: cards.foldPrompt,
  raw: cards.toggleRaw,
  skip: () => work.mode === "item" && work.item && dialogs.askSkip(),
  report: () => work.mode === "item" && work.item && dialogs.askReport(),
  submit: () => given.submit(),
  undo: () => form.takeBack() || given.unskip() || announce("Nothing to take back"),
  save: () => drafts.flush(),
};

const onItem = {
  next: () => step(1),
  previous: () => step(-1),
  tie: () => form.order((draft) => rank.tieAbove(draft, work.focused)),
  confirm: () => form.order(rank.confirm),
  clear: () => form.order((draft) => rank.setRank(draft, work.focused, 0)),
  "all-bad": () => verdict("all_bad"),
  "all-good": () => verdict("all_good"),
  difference: cards.toggleDifference,
  expand: () => cards.fold(),
  view: cards.nextView,
  mark: () => dialogs.askMark(),
  note: () => $("#note").focus(),
  write: () => dialogs.askWrite(),
};

function onComparison(action) {
  const number = Number(/\d+$/.exec(action)?.[0]);
  if (action.startsWith("digit-")) return () => (work.step === 1 ? rate(number) : setRank(number));
  if (action.startsWith("flag-")) return () => form.flagFocused(number - 1);
  return onItem[action];
}

function step(by) {
  to(work.focused + by);
}

function to(position) {
  focus(position);
  if (work.step === 2) form.toOrder();
  cards.reveal();
}

function rate(value) {
  if (value > 7) return toast("Ratings go from 1 to 7. Tab leads to the order.");
  form.rate(value);
  const open = work.draft.quality.flatMap((each, position) => (each ? [] : [position]));
  if (legend.advances() && open.length) to(open.find((position) => position > work.focused) ?? open[0]);
}

function setRank(digit) {
  form.order((draft) => rank.setRank(draft, work.focused, digit));
  const open = rank.unranked(work.draft.ranks);
  if (open.length) to(open.find((position) => position > work.focused) ?? open[0]);
}

function verdict(outcome) {
  change((draft) => rank.toggleOutcome(draft, outcome));
  const words = outcome === "all_bad" ? "All are bad" : "All are equally good";
  announce(work.draft.outcome === outcome ? words : "Verdict taken back");
}
