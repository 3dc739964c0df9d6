// The writing page: the list of what one wrote, and which sheet is in front.

import { $, ago, el } from "/static/shared/dom.js";
import { call, report, signIn } from "/static/shared/api.js";
import { chip } from "/static/writing/revisions.js";
import * as answers from "/static/writing/answers.js";
import * as prompts from "/static/writing/prompts.js";

const KINDS = { plain: "plain", few_shot: "few-shot", user_based: "user-based" };

const OPEN = "whetstone-writing-open";

let tab = "prompts";
let written = [];
let given = [];

const firstWords = (text) => text.trim().split("\n")[0].slice(0, 80);

function listButton(current, words, notes, open) {
  const name = words || "(nothing written yet)";
  const button = el(
    "button",
    { type: "button", "aria-current": current && "true", onclick: () => guarded(open) },
    el("span", { class: `words ${words ? "" : "none"}`, text: name }),
    el("span", { class: "row small muted" }, notes),
  );
  return el("li", {}, button);
}

function drawList() {
  const promptItems = written.map((each) =>
    listButton(
      each.id === prompts.current()?.id,
      firstWords(each.text),
      [chip(each.state), `${KINDS[each.kind]}, ${ago(each.created_at)}`],
      () => openPrompt(each.id),
    ),
  );
  const held = answers.held();
  const request =
    held &&
    listButton(
      !answers.selected(),
      firstWords(held.messages.at(-1).content),
      [el("span", { class: "chip accent", text: "to be written" })],
      takeRequest,
    );
  const answerItems = given.map((each) =>
    listButton(
      each.id === answers.selected()?.id,
      firstWords(each.messages.at(-1).content),
      [chip(each.state), ago(each.history.at(-1).created_at)],
      async () => showAnswer(answers.show(each)),
    ),
  );
  const items = tab === "prompts" ? promptItems : [request, ...answerItems].filter(Boolean);
  $("#list").replaceChildren(...items);
  $("#nothing").hidden = items.length > 0;
  $("#nothing").textContent = tab === "prompts" ? "You have not written a prompt yet." : "You have not written an answer yet.";
}

async function refresh() {
  [written, given] = await Promise.all([
    call("GET", "/v1/labeling/prompts"),
    call("GET", "/v1/labeling/demonstrations"),
  ]);
  drawList();
}

/** Show one of the three sheets. */
function front(id) {
  for (const sheet of ["editor", "answer", "welcome"]) $(`#${sheet}`).hidden = sheet !== id;
  drawList();
}

async function openPrompt(id) {
  await prompts.open(id);
  sessionStorage.setItem(OPEN, id);
  front("editor");
}

async function beginPrompt() {
  $("#new-prompt").disabled = true; // one at a time, however often it is pressed
  try {
    await prompts.begin();
  } finally {
    $("#new-prompt").disabled = false;
  }
  front("editor");
  $("#text").focus();
}

async function takeRequest() {
  await answers.take();
  showAnswer();
  if (answers.held()) $("#response").focus();
}

function showAnswer() {
  front(answers.held() || answers.selected() ? "answer" : "welcome");
}

async function show(name) {
  await prompts.leave();
  tab = name;
  $("#saved").textContent = "";
  for (const [id, of] of [["show-prompts", "prompts"], ["show-answers", "answers"]])
    $(`#${id}`).setAttribute("aria-pressed", String(of === tab));
  $("#new-prompt").hidden = tab !== "prompts";
  $("#take").hidden = tab !== "answers";
  localStorage.setItem("whetstone-writing-tab", tab);
  if (tab === "answers") showAnswer();
  else front(prompts.current() ? "editor" : "welcome");
}

/** Ask in a dialog; `choices`: [value, words, class]; resolves to the value, or "" if it was cancelled. */
function ask(title, text, choices) {
  const dialog = $("#ask");
  $("#ask-title").textContent = title;
  $("#ask-text").textContent = text;
  $("#ask-choices").replaceChildren(
    ...choices.map(([value, words, kind]) => el("button", { type: "submit", value, class: kind, text: words })),
  );
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

async function remove() {
  const sure = await ask("Delete this prompt?", "It goes with all of its revisions.", [["yes", "Delete it", "danger"]]);
  if (!sure) return;
  await prompts.remove();
  await refresh();
  front("welcome");
}

async function skip() {
  const reason = await ask("Why skip this one?", "It goes to somebody else.", Object.entries(answers.skipReasons));
  if (reason) await answers.skip(reason);
}

const guarded = (action) => Promise.resolve(action()).catch(report);

function onKey(event) {
  if (!(event.ctrlKey || event.metaKey) || $("dialog[open]")) return;
  if (event.key === "Enter" && tab === "prompts" && !$("#editor").hidden && !$("#submit").hidden) guarded(prompts.submit);
  else if (event.key === "Enter" && tab === "answers" && !$("#answer").hidden) guarded(answers.send);
  else if (event.key === "s" && tab === "prompts" && prompts.current()) guarded(() => prompts.save().catch(() => {}));
  else return;
  event.preventDefault();
}

function wire() {
  prompts.wire((changed) => {
    const known = written.some((each) => each.id === changed.id);
    written = known ? written.map((each) => (each.id === changed.id ? changed : each)) : [changed, ...written];
    sessionStorage.setItem(OPEN, changed.id);
    drawList();
  });
  answers.wire(() => refresh().then(showAnswer).catch(report));
  $("#show-prompts").addEventListener("click", () => guarded(() => show("prompts")));
  $("#show-answers").addEventListener("click", () => guarded(() => show("answers")));
  $("#new-prompt").addEventListener("click", () => guarded(beginPrompt));
  $("#take").addEventListener("click", () => guarded(takeRequest));
  $("#delete").addEventListener("click", () => guarded(remove));
  $("#skip").addEventListener("click", () => guarded(skip));
  document.addEventListener("keydown", onKey);
}

signIn(
  () => call("GET", "/v1/labeling/prompts"),
  async () => {
    wire();
    await refresh();
    const requested = await answers.resume();
    await show(requested ? "answers" : (localStorage.getItem("whetstone-writing-tab") ?? "prompts"));
    const last = written.find((each) => each.id === sessionStorage.getItem(OPEN));
    if (last && tab === "prompts") await openPrompt(last.id);
  },
);
