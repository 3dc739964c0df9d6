// Answers side by side: two to four versions compared in sight, or two in a blind battle, all from one prompt box.

import { $, $$, announce, el, toast, uuid } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";
import { offer, tell } from "/static/playground/feedback.js";
import * as parameters from "/static/playground/parameters.js";
import { consents, drawPicker, learnMe, request, session } from "/static/playground/session.js";
import { ask } from "/static/playground/stream.js";
import { answerTurn, showAnswer, userTurn } from "/static/playground/turns.js";

const MOST = 4;
const letter = (place) => String.fromCharCode(65 + place);

let panes = [];
let battle = null; // {id, left_today} of the battle in sight
let running = null;
let blind = false;

export const busy = () => Boolean(running);
export const stop = () => running?.abort();

/** Show the panes of a mode, empty; `messages` is what a replay begins with. */
export function open(mode, { models = [], messages = [] } = {}) {
  stop();
  blind = mode === "battle";
  battle = null;
  const wanted = blind ? ["", ""] : models.length ? models : defaultModels();
  panes = wanted.map((model) => make(model, messages));
  draw();
}

function defaultModels() {
  const names = session.models.map((model) => model.id);
  const other = names.find((name) => name !== "live" && !sameVersion(name, "live"));
  return [$("#model").value || "live", other ?? names[0] ?? "live"];
}

function sameVersion(a, b) {
  const exact = (name) => session.models.find((model) => model.id === name)?.root ?? name;
  return exact(a) === exact(b);
}

const make = (model, messages = []) => ({ model, values: { ...session.values }, messages: [...messages], node: null });

function draw() {
  const root = $("#panes");
  root.replaceChildren(...panes.map(element));
  root.dataset.count = panes.length;
  if (!blind && panes.length < MOST) {
    root.append(el("button", { type: "button", class: "add quiet", title: "Another pane", "aria-label": "Another pane", text: "+", onclick: addPane }));
  }
  for (const pane of panes) for (const message of pane.messages) put(pane, message);
  $("#verdict").hidden = true;
}

function addPane() {
  if (busy()) return;
  panes.push(make(panes.at(-1).model, panes[0].messages.filter((each) => each.given)));
  draw();
}

function element(pane, place) {
  const thread = el("div", { class: "pane-thread", tabindex: 0, "aria-label": `Answers of ${letter(place)}` });
  const head = el("header", { class: "row" }, el("strong", { class: "letter", text: letter(place) }));
  if (blind) head.append(el("span", { class: "hidden-name muted", text: "hidden until you vote" }));
  else head.append(...controls(pane, place));
  pane.thread = thread;
  pane.root = el("section", { class: "pane", "aria-label": `Pane ${letter(place)}` }, head, thread);
  thread.addEventListener("scroll", () => follow(pane));
  return pane.root;
}

function controls(pane, place) {
  const picker = el("select", { class: "model", "aria-label": `Model of ${letter(place)}` });
  drawPicker(picker, pane.model);
  picker.addEventListener("change", () => (pane.model = picker.value));
  const fields = el("div", { class: "fields" });
  const system = el("textarea", { rows: 2, maxlength: 4000, dir: "auto" });
  system.value = pane.values.system;
  system.addEventListener("input", () => (pane.values.system = system.value));
  const own = el("details", { class: "own" }, el("summary", { title: "Parameters of this pane", "aria-label": `Parameters of ${letter(place)}`, text: "⚙" }),
    el("div", { class: "sheet panel" }, el("label", { class: "fields" }, "System prompt", system), fields));
  parameters.draw(fields, `pane-${place}-`, pane.values, () => {});
  const close = el("button", { type: "button", class: "quiet", title: "Close this pane", "aria-label": `Close ${letter(place)}`, text: "×" });
  close.hidden = panes.length <= 2;
  close.addEventListener("click", () => {
    if (busy()) return;
    panes.splice(place, 1);
    draw();
  });
  return [picker, own, el("span", { class: "grow" }), close];
}

/** Scroll the other panes along, by share of their height. */
let leading = null;
function follow(pane) {
  if (leading && leading !== pane) return;
  leading = pane;
  const { scrollTop, scrollHeight, clientHeight } = pane.thread;
  const share = scrollTop / Math.max(1, scrollHeight - clientHeight);
  for (const other of panes) {
    if (other !== pane) other.thread.scrollTop = share * (other.thread.scrollHeight - other.thread.clientHeight);
  }
  requestAnimationFrame(() => (leading = null));
}

function put(pane, message) {
  const turn = message.role === "user" ? userTurn(message) : answerTurn({ ...message, content: message.content });
  pane.thread.append(turn);
  pane.thread.scrollTop = pane.thread.scrollHeight;
  return turn;
}

/** Ask all panes the same; a battle begins anew each time. Returns false where nothing could be asked. */
export async function submit(text) {
  if (blind && !(await begin())) return false;
  running = new AbortController();
  $("#verdict").hidden = true;
  const logged = consents();
  await Promise.all(panes.map((pane, place) => askPane(pane, place, text, logged)));
  running = null;
  announce("All answers are complete");
  offerVerdict();
  learnMe().catch(() => {});
  return true;
}

async function begin() {
  if (!consents()) {
    toast("Votes feed training, so battles need “Logged for training” to be on.", "bad");
    return false;
  }
  try {
    battle = await call("POST", "/v1/battles", {});
  } catch (error) {
    report(error);
    return false;
  }
  panes = battle.sides.map((name) => make(name));
  draw();
  return true;
}

async function askPane(pane, place, text, logged) {
  const asked = { role: "user", content: text };
  pane.messages.push(asked);
  put(pane, asked);
  const node = { role: "assistant", content: "", model: pane.model, logged };
  pane.node = node;
  const turn = put(pane, node);
  showAnswer(turn, node, { writing: true });
  const usable = pane.messages.filter((message) => message.content && !message.fault);
  const messages = usable.map(({ role, content }) => ({ role, content }));
  await receive(pane, node, turn, request(messages, { model: pane.model, values: { ...pane.values, n: 1 } }));
  if (blind) node.version = "";
  pane.messages.push(node);
  const finished = answerTurn(node, {});
  turn.replaceWith(finished);
  if (!blind) offer(finished, node);
  pane.thread.scrollTop = pane.thread.scrollHeight;
}

async function receive(pane, node, turn, [path, body]) {
  const { signal } = running;
  try {
    for await (const state of ask(path, body, { consent: node.logged, conversation: uuid(), signal })) {
      const { text, finish, tokens } = state.choices[0];
      Object.assign(node, { content: text, finish, tokens, answer: state.id, version: blind ? "" : state.version });
      Object.assign(node, { usage: state.usage, first_s: state.first_s, total_s: state.total_s });
      showAnswer(turn, node, { writing: true });
    }
  } catch (error) {
    if (error.name === "AbortError") node.finish = "stopped";
    else node.fault = `${error.message}. Send the prompt again to retry.`;
    if (error.status === 401) report(error);
  }
}

const complete = (node) => node?.answer && !node.fault && ["stop", "length"].includes(node.finish);

/** Ask which answer is better, where the answers can be compared. */
function offerVerdict() {
  const nodes = panes.map((pane) => pane.node);
  const first = panes.every((pane) => pane.messages.filter((message) => message.role === "user").length === 1);
  const alike = panes.every((pane) => pane.values.system === panes[0].values.system);
  const fair = nodes.every((node) => complete(node) && node.logged);
  if (!fair || (!blind && !(first && alike))) return;
  const choices = panes.map((_, place) => [letter(place).toLowerCase(), `${letter(place)} is ${panes.length > 2 ? "best" : "better"}`]);
  if (panes.length === 2) choices.splice(1, 0, ["tie", "Tie"], ["both_bad", "Both bad"]);
  const vote = blind ? voteBattle : votePanes;
  $("#verdict").replaceChildren(
    el("span", { class: "muted", text: blind ? "Which answer is better? The names come after your vote." : "Which answer is better?" }),
    ...choices.map(([verdict, words]) => el("button", { type: "button", dataset: { verdict }, text: words, onclick: () => vote(verdict) })),
  );
  $("#verdict").hidden = false;
  announce("Which answer is better?");
}

async function voteBattle(verdict) {
  lock(true);
  try {
    const [a, b] = panes.map((pane) => pane.node.answer);
    const { versions } = await call("POST", `/v1/battles/${battle.id}/vote`, { id: `vote-${battle.id}`, verdict, a, b });
    panes.forEach((pane, place) => {
      pane.node.version = versions["ab"[place]];
      $(".hidden-name", pane.root).textContent = pane.node.version;
      $(".version", pane.root).textContent = pane.node.version;
      offer($(".turn.assistant", pane.root), pane.node);
    });
    thank(`Stored. ${versions.a} was A, ${versions.b} was B. ${battle.left_today} more battles today.`);
  } catch (error) {
    lock(false);
    report(error);
  }
}

async function votePanes(verdict) {
  lock(true);
  const nodes = panes.map((pane) => pane.node);
  const best = nodes["abcd".indexOf(verdict)] ?? nodes[0];
  for (const other of nodes.filter((node) => node !== best)) {
    const body = { better: best.answer, worse: other.answer, ...(verdict.length > 1 ? { verdict } : {}) };
    if (!(await tell(body))) return lock(false);
  }
  thank("Thank you: stored.");
}

function lock(locked) {
  for (const button of $$("#verdict button")) button.disabled = locked;
}

function thank(words) {
  $("#verdict").replaceChildren(el("span", { role: "status", text: words }));
}
