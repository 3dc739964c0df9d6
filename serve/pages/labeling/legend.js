// The legend of keys, and the dialog in which a person makes them their own.

import { $, $$, el } from "/static/shared/dom.js";
import { ACTIONS, bind, bindings, nameOf, reset, shown } from "/static/labeling/keymap.js";
import { on } from "/static/labeling/work.js";

const SHOWN_FOR = 20; // items after which the legend folds, unless chosen otherwise
const LEGEND = "whetstone-legend";
const DONE = "whetstone-items-done";
const ADVANCE = "whetstone-advance";
const SHORT = [
  ["comparison", ["next", "previous"], "answers"],
  ["comparison", ["digit-1", "digit-7"], "rate", "–"],
  ["comparison", ["flag-1", "flag-2"], "… flags"],
  ["comparison", [], "Tab order"],
  ["comparison", ["digit-1", "digit-9"], "rank, same digit ties", "–"],
  ["comparison", ["tie"], "tie"],
  ["comparison", ["confirm"], "proposal"],
  ["comparison", ["all-good"], "all good"],
  ["comparison", ["all-bad"], "all bad"],
  ["comparison", ["difference"], "difference"],
  ["comparison", ["write"], "write it"],
  ["", ["undo"], "undo"],
  ["", ["skip"], "skip"],
  ["", ["submit"], "submit"],
];

let binding = null; // the action that waits for its key

const done = () => Number(localStorage.getItem(DONE) ?? 0);
const wanted = () => localStorage.getItem(LEGEND) ?? (done() < SHOWN_FOR ? "on" : "off");

/** Note that one more item was answered. */
export function counted() {
  localStorage.setItem(DONE, String(done() + 1));
  if (!localStorage.getItem(LEGEND)) draw();
}

/** Does a rating lead on to the next answer? */
export const advances = () => localStorage.getItem(ADVANCE) === "on";

export function toggle() {
  localStorage.setItem(LEGEND, wanted() === "on" ? "off" : "on");
  draw();
}

function draw() {
  $("#legend").hidden = wanted() === "off";
  $("#legend-toggle").setAttribute("aria-expanded", String(!$("#legend").hidden));
  const keys = (actions, join) =>
    actions.flatMap((action, index) => [index ? join : null, el("kbd", { text: shown(action) })]);
  $("#legend").replaceChildren(
    ...SHORT.map(([kind, actions, words, join = " "]) =>
      el("span", { dataset: { kind } }, keys(actions, join), ` ${words}`),
    ),
  );
  for (const key of $$("kbd[data-key]")) key.textContent = shown(key.dataset.key);
}

function drawKeys() {
  const rows = ACTIONS.map(([action, , words]) =>
    el(
      "button",
      { type: "button", class: "quiet", "aria-pressed": String(binding === action), onclick: () => choose(action) },
      el("span", { text: words }),
      el("span", {}, binding === action ? "press a key…" : bindings()[action].map((key) => el("kbd", { text: key }))),
    ),
  );
  $("#keys-list").replaceChildren(...rows);
}

function choose(action) {
  binding = action;
  drawKeys();
  $("#keys-list [aria-pressed=true]").focus();
}

/** Take a pressed key for the chosen action. `name` names it. */
function take(event, name) {
  if (!binding || ["Shift", "Control", "Alt", "Meta", "AltGraph"].includes(event.key)) return;
  event.preventDefault();
  const action = binding;
  binding = null;
  $("#keys-error").textContent = event.key === "Escape" ? "" : bind(action, name);
  drawKeys();
  draw();
  $$("#keys-list button")[ACTIONS.findIndex(([each]) => each === action)].focus();
}

/** Wire the legend. */
export function begin() {
  draw();
  on("item", ({ item }) => {
    for (const hint of $$("#legend [data-kind]"))
      hint.hidden = Boolean(item && hint.dataset.kind && hint.dataset.kind !== item.kind);
  });
  $("#legend-toggle").addEventListener("click", toggle);
  $("#keys-open").addEventListener("click", () => {
    $("#keys-error").textContent = "";
    $("#advance").checked = advances();
    drawKeys();
    $("#keys-dialog").showModal();
  });
  $("#keys-dialog").addEventListener("keydown", (event) => take(event, nameOf(event)));
  $("#keys-dialog").addEventListener("close", () => (binding = null));
  $("#advance").addEventListener("change", () => localStorage.setItem(ADVANCE, $("#advance").checked ? "on" : "off"));
  $("#keys-reset").addEventListener("click", () => {
    reset();
    drawKeys();
    draw();
  });
}
