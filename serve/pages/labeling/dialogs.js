// Dialogs about the item on the desk: skip, report, mark words, write an answer of one's own.

import { $, announce, el, toast } from "/static/shared/dom.js";
import * as outbox from "/static/labeling/outbox.js";
import * as rank from "/static/labeling/ranking.js";
import { clean } from "/static/labeling/submission.js";
import { change, on, type, work } from "/static/labeling/work.js";

const SKIPS = [
  ["language", "I do not know the language"],
  ["expertise", "It needs knowledge I lack"],
  ["broken", "It is broken"],
  ["too_long", "It is too long"],
  ["offensive", "It is offensive"],
  ["other", "Something else"],
];
const REPORTS = [
  ["illegal", "Illegal content"],
  ["personal_data", "Personal data of somebody"],
  ["self_harm", "Somebody may harm themselves"],
  ["prompt_injection", "Text that gives orders to its reader"],
  ["other", "Something else"],
];

const open = (id) => {
  const dialog = $(id);
  dialog.returnValue = "";
  dialog.showModal();
  return dialog;
};

export const askSkip = () => open("#skip-dialog");

export function askReport() {
  $("#report-note").value = "";
  open("#report-dialog");
  $("#report-reasons button").focus();
}

/** A dialog of reasons: one click, or one digit. */
function reasons(dialog, list, chosen) {
  const buttons = list.map(([value, words], index) =>
    el("button", { type: "submit", value }, el("kbd", { text: String(index + 1) }), words),
  );
  $(".reasons", dialog).append(...buttons);
  dialog.addEventListener("keydown", (event) => {
    const found = event.target.matches("input") ? null : list[Number(event.key) - 1];
    if (!found) return;
    event.preventDefault();
    dialog.close(found[0]);
  });
  dialog.addEventListener("close", () => dialog.returnValue && work.item && chosen(dialog.returnValue));
}

// offsets in the text, in code points, of a place in a textarea, which takes every kind of line end for one character
function offset(text, value, at) {
  const before = value.slice(0, at);
  const lines = before.split("\n").length - 1;
  const doubled = (text.match(/\r\n|\r|\n/g) ?? []).slice(0, lines).filter((end) => end.length === 2).length;
  return [...before].length + doubled;
}

/** Show the focused answer's text for words of it to be selected. */
export function askMark() {
  const completion = work.item.completions[work.focused];
  const area = $("#mark-text");
  const chosen = String(getSelection());
  $("#mark-title").textContent = `Mark the offending words of ${rank.letter(work.focused)}`;
  area.value = completion.text;
  open("#mark-dialog");
  area.focus();
  const at = chosen ? area.value.indexOf(chosen) : -1;
  area.setSelectionRange(Math.max(at, 0), at < 0 ? 0 : at + chosen.length);
}

function addMark() {
  const area = $("#mark-text");
  const { text } = work.item.completions[work.focused];
  const [start, end] = [area.selectionStart, area.selectionEnd].map((at) => offset(text, area.value, at));
  if (start === end) return announce("Select some words first");
  change((draft) => ({ ...draft, spans: [...draft.spans, { position: work.focused, start, end }] }));
  $("#mark-dialog").close();
  announce(`Marked in ${rank.letter(work.focused)}: ${[...text].slice(start, end).join("")}`);
}

function drawMarks({ item, draft }) {
  if (item.kind !== "comparison") return;
  const rows = draft.spans.map((span, index) => {
    const words = [...item.completions[span.position].text].slice(span.start, span.end).join("");
    const remove = () => change((before) => ({ ...before, spans: before.spans.toSpliced(index, 1) }));
    const name = rank.letter(span.position);
    return el(
      "li",
      {},
      el("b", { text: name }),
      el("q", { class: "text", dir: "auto", text: words }),
      el("button", {
        type: "button",
        class: "quiet",
        "aria-label": `Remove the mark in ${name}`,
        text: "×",
        onclick: remove,
      }),
    );
  });
  $("#spans").replaceChildren(...rows);
  $("#write").setAttribute("aria-pressed", String(Boolean(draft.own_sent)));
}

/** Open the editor for an answer of one's own; it begins with the focused one. */
export function askWrite() {
  if (work.mode !== "item") return toast("Only on a real item.");
  if (work.draft.own_sent) return toast("You wrote one for this item already.");
  const based = work.draft.own ? work.draft.own_based : work.focused;
  if (!work.draft.own) change((draft) => ({ ...draft, own: work.item.completions[based].text, own_based: based }));
  $("#write-based").textContent = rank.letter(based);
  $("#write-text").value = work.draft.own;
  open("#write-dialog");
  $("#write-text").focus();
}

function sendOwn() {
  const { item, draft } = work;
  const response = clean(draft.own);
  if (!response.trim()) return toast("Write the answer first.");
  const body = {
    token: item.token,
    submission_id: draft.own_id,
    response,
    based_on: item.completions[draft.own_based].index,
  };
  outbox.post(item, "demonstration", body);
  change((before) => ({ ...before, own_sent: true }));
}

/** Wire the dialogs. `handlers`: skip(reason), report(reason, note). */
export function begin(handlers) {
  reasons($("#skip-dialog"), SKIPS, (reason) => handlers.skip(reason));
  reasons($("#report-dialog"), REPORTS, (reason) => handlers.report(reason, clean($("#report-note").value)));
  for (const [id, ask] of [
    ["skip", askSkip],
    ["report", askReport],
    ["mark", askMark],
    ["write", askWrite],
  ])
    $(`#${id}`).addEventListener("click", ask);
  $("#mark-add").addEventListener("click", addMark);
  $("#mark-text").addEventListener("beforeinput", (event) => event.preventDefault()); // a caret, and no changes
  $("#mark-text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    addMark();
  });
  $("#write-text").addEventListener("input", (event) => type("own", event.target.value));
  $("#write-dialog").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("#write-dialog").close("send");
  });
  $("#write-dialog").addEventListener("close", () => $("#write-dialog").returnValue === "send" && sendOwn());
  on("draft", drawMarks);
}
