// The prompt on the sheet: what is typed is kept here at once and on the server after a pause, revision by revision.

import { $, $$, el, fromTemplate, toast, uuid } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";
import { chip, revisions, whole } from "/static/writing/revisions.js";

const PAUSE_MS = 700;
const RETRY_MS = 3000;
const OPEN = ["draft", "returned"];
const PATH = "/v1/labeling/prompts";
const localKey = (id) => `whetstone-writing-${id}`;
const clean = (text) => text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "").toWellFormed();

let prompt = null; // as the server last said
let content = null; // as it stands on the sheet: {kind, use_case, text, shots}
let timer = null;
let saving = null; // promise of the save under way
let changed = () => {}; // called with a prompt whenever the server said something new of it

export const current = () => prompt;

const contentOf = ({ kind, use_case, text, shots }) => ({ kind, use_case, text, shots });
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const sent = () => ({
  ...content,
  text: clean(content.text),
  shots:
    content.kind === "few_shot"
      ? content.shots.map(({ query, response }) => ({ query: clean(query), response: clean(response) }))
      : [],
});

/** Begin a new prompt and put it on the sheet. */
export async function begin() {
  await leave();
  const blank = { kind: "plain", use_case: "generation", text: "", shots: [] };
  show(await call("POST", PATH, { ...blank, submission_id: uuid() }));
  changed(prompt);
}

/** Put one of the prompts on the sheet; what was typed here and not saved yet goes on top. */
export async function open(id) {
  await leave();
  show(await call("GET", `${PATH}/${id}`));
  const local = JSON.parse(localStorage.getItem(localKey(id)) ?? "null");
  if (!local || !OPEN.includes(prompt.state) || same(local.content, content)) return;
  content = local.content;
  draw();
  if (local.revision === prompt.revision) later(0);
  else $("#conflict").hidden = false;
}

function show(found) {
  prompt = found;
  content = contentOf(found);
  draw();
}

/** Save what is waiting, then clear the sheet. */
export async function leave() {
  if (timer) await save().catch(() => {});
  $("#conflict").hidden = true;
  clearTimeout(timer);
  timer = null;
}

function draw() {
  const open = OPEN.includes(prompt.state);
  for (const radio of $$("[name=kind]")) radio.checked = radio.value === content.kind;
  $("#use-case").value = content.use_case;
  $("#text").value = content.text;
  $("#shots").replaceChildren(...content.shots.map(shotItem));
  for (const field of $$("input, select, textarea, button", $("#form"))) field.disabled = !open;
  drawKind();
  drawState();
}

function drawKind() {
  const few = content.kind === "few_shot";
  $("#shots-box").hidden = !few;
  $("#text-title").textContent = few ? "Instruction" : "Prompt";
  $("#text").placeholder = {
    plain: "Ask for something that people would ask an assistant for.",
    few_shot: "What is to be done with each query, for example: Classify the mood of the sentence.",
    user_based: "A task for a use case that customers described.",
  }[content.kind];
  const count = content.shots.length;
  $("#gives").textContent = count < 2 ? "at least two pairs" : `gives ${count} training items`;
}

/** Draw what the server says of the prompt: state, comment, problem, history, and which moves are open. */
function drawState() {
  $("#state").replaceWith(Object.assign(chip(prompt.state), { id: "state" }));
  $("#comment").hidden = !prompt.comment;
  $("#comment .text").textContent = prompt.comment;
  const open = OPEN.includes(prompt.state);
  $("#problem").textContent = open && prompt.problem ? `Before it can be submitted: ${prompt.problem}.` : "";
  $("#submit").hidden = !open;
  $("#submit").disabled = Boolean(prompt.problem);
  $("#delete").hidden = !open;
  $("#withdraw").hidden = prompt.state !== "submitted";
  const count = prompt.prompt_ids.length;
  if (prompt.state === "accepted")
    $("#problem").textContent = `Now in the pool as ${count} training ${count === 1 ? "item" : "items"}.`;
  if ($("#history").open) drawHistory().catch(report);
}

async function drawHistory() {
  const { history } = await call("GET", `${PATH}/${prompt.id}`);
  const entries = history.map((each) => ({ ...each, text: whole(each), at: each.created_at }));
  $(".revisions", $("#history")).replaceChildren(...revisions(entries));
}

function shotItem(shot, place) {
  const item = fromTemplate("shot");
  $(".number", item).textContent = `Pair ${place + 1}`;
  $(".remove", item).setAttribute("aria-label", `Remove pair ${place + 1}`);
  $(".query", item).value = shot.query;
  $(".response", item).value = shot.response;
  const edit = (name) => (event) => {
    content.shots[place] = { ...content.shots[place], [name]: event.target.value };
    typed();
  };
  $(".query", item).addEventListener("input", edit("query"));
  $(".response", item).addEventListener("input", edit("response"));
  $(".remove", item).addEventListener("click", () => setShots(content.shots.toSpliced(place, 1)));
  return item;
}

function setShots(shots) {
  content.shots = shots;
  $("#shots").replaceChildren(...shots.map(shotItem));
  drawKind();
  typed();
}

function addShot() {
  setShots([...content.shots, { query: "", response: "" }]);
  $$("#shots .query").at(-1).focus();
}

/** Keep what was typed: here now, on the server after a pause. */
function typed() {
  localStorage.setItem(localKey(prompt.id), JSON.stringify({ revision: prompt.revision, content }));
  $("#saved").textContent = "…";
  later(PAUSE_MS);
}

function later(delay_ms) {
  clearTimeout(timer);
  timer = setTimeout(() => save().catch(() => {}), delay_ms);
}

/** Save the sheet as the next revision; throws if it could not be stored. */
export async function save() {
  clearTimeout(timer);
  timer = null;
  await saving?.catch(() => {});
  if (!$("#conflict").hidden) throw new Error("choose first which version goes on");
  if (!OPEN.includes(prompt.state) || same(sent(), contentOf(prompt))) return saved();
  saving = call("PUT", `${PATH}/${prompt.id}`, { ...sent(), revision: prompt.revision });
  try {
    prompt = await saving;
  } catch (error) {
    refused(error);
    throw error;
  }
  drawState();
  changed(prompt);
  if (same(sent(), contentOf(prompt))) saved();
  else later(PAUSE_MS);
}

function saved() {
  localStorage.removeItem(localKey(prompt.id));
  $("#saved").textContent = `saved, revision ${prompt.revision}`;
}

function refused(error) {
  if (error.passing) {
    $("#saved").textContent = "kept here, not on the server yet";
    later(RETRY_MS);
  } else if (error.status === 409) {
    $("#conflict").hidden = false;
    $("#saved").textContent = "changed elsewhere";
  } else {
    $("#saved").textContent = "not saved";
    report(error);
  }
}

async function keepMine() {
  const mine = content;
  const found = await call("GET", `${PATH}/${prompt.id}`);
  show(found);
  $("#conflict").hidden = true;
  if (!OPEN.includes(found.state)) return toast("It is with a reviewer by now and cannot be changed", "bad");
  content = mine;
  draw();
  await save();
}

async function takeTheirs() {
  const theirs = await call("GET", `${PATH}/${prompt.id}`); // first: should it fail, the choice stays, and what was typed
  localStorage.removeItem(localKey(prompt.id));
  show(theirs);
  $("#conflict").hidden = true;
}

async function move(name, words) {
  await save();
  prompt = await call("POST", `${PATH}/${prompt.id}/${name}`, { revision: prompt.revision });
  draw();
  changed(prompt);
  toast(words);
}

export const submit = () =>
  prompt.problem && !timer ? toast(`Before it can be submitted: ${prompt.problem}.`) : move("submit", "A reviewer reads it now");

/** Delete the prompt on the sheet. */
export async function remove() {
  clearTimeout(timer);
  timer = null;
  await saving?.catch(() => {});
  await call("DELETE", `${PATH}/${prompt.id}`);
  localStorage.removeItem(localKey(prompt.id));
  prompt = null;
}

/** Connect the sheet; `onChange(prompt)` hears whatever the server says of the prompt. */
export function wire(onChange) {
  changed = onChange;
  const guarded = (action) => () => action().catch((error) => error.status === undefined || report(error));
  $("#form").addEventListener("input", (event) => {
    if (event.target.name === "kind") content.kind = event.target.value;
    else if (event.target.id === "text") content.text = event.target.value;
    else if (event.target.id === "use-case") content.use_case = event.target.value;
    else return; // a pair, which has its own listener
    if (event.target.name === "kind") drawKind();
    typed();
  });
  $("#form").addEventListener("submit", (event) => event.preventDefault());
  $("#add-shot").addEventListener("click", addShot);
  $("#submit").addEventListener("click", guarded(async () => submit()));
  $("#withdraw").addEventListener("click", guarded(() => move("withdraw", "It is a draft again")));
  $("#keep-mine").addEventListener("click", guarded(keepMine));
  $("#take-theirs").addEventListener("click", guarded(takeTheirs));
  $("#history").addEventListener("toggle", () => $("#history").open && drawHistory().catch(report));
}
