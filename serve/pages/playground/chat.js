// The one conversation in sight, as chat or as text to be completed: asking, regenerating, branching, drawing.

import { $, announce, el, toast } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";
import { offer } from "/static/playground/feedback.js";
import * as history from "/static/playground/history.js";
import { filled } from "/static/playground/parameters.js";
import { consents, learnMe, request, session } from "/static/playground/session.js";
import { ask } from "/static/playground/stream.js";
import * as tree from "/static/playground/tree.js";
import { answerTurn, showAnswer, userTurn } from "/static/playground/turns.js";

const REDRAW_MS = 60;

export let chat = history.newChat("chat", true);
let running = null; // the AbortController of the answer that is being written
let hooks = { changed() {}, share() {}, replay() {} };

export const use = (found) => (hooks = found);
export const busy = () => Boolean(running);
export const stop = () => running?.abort();

/** Show another chat. */
export function open(found) {
  stop();
  chat = found;
  draw();
}

/** Ask what the person wrote, below the last turn. */
export async function submit(text) {
  const content = filled(text, session.variables);
  const parent = tree.path(chat.tree).at(-1)?.id;
  const asked = tree.add(chat.tree, parent, { role: "user", content });
  await answer(asked);
}

/** Ask for another answer beside the last one. */
export async function regenerate(node = tree.last(chat.tree, "assistant")) {
  if (node && !busy()) await answer(chat.tree.nodes[node.parent]);
}

/** Ask a changed turn, beside the old one. */
async function edit(node, content) {
  if (busy()) return;
  await answer(tree.add(chat.tree, node.parent, { role: "user", content }));
}

/** Put changed words into the policy's mouth, beside its own, and go on from there. */
function branch(node, content) {
  if (busy()) return;
  tree.add(chat.tree, node.parent, { role: "assistant", content, finish: "written by you", model: node.model });
  history.keep(chat);
  draw();
  $("#prompt").focus();
}

async function answer(asked) {
  const complete = chat.mode === "complete";
  const model = $("#model").value;
  const logged = consents();
  const node = tree.add(chat.tree, asked.id, { role: "assistant", content: "", model, logged });
  running = new AbortController();
  draw();
  hooks.changed();
  const about = complete ? asked.content : tree.messages(chat.tree, asked.id);
  const state = await receive(node, request(about, { model, complete }), complete);
  for (const choice of state?.choices.slice(1) ?? []) {
    // only the first of several answers is logged
    tree.add(chat.tree, asked.id, { ...node, ...said(choice), logged: false });
  }
  if (state?.choices.length > 1) tree.choose(chat.tree, node.id);
  running = null;
  history.keep(chat);
  draw();
  hooks.changed();
  announce(node.fault || "Answer complete");
  learnMe().catch(() => {});
}

const said = ({ text, finish, tokens }) => ({ content: text, finish, tokens: tokens.length ? tokens : undefined });

/** Let an answer come in; on return the node says how it went. */
async function receive(node, [path, body], complete) {
  const { signal } = running;
  let state = null;
  let drawn = 0;
  try {
    for await (state of ask(path, body, { consent: node.logged, conversation: chat.id, signal })) {
      Object.assign(node, said(state.choices[0]), { answer: state.id, version: state.version, first_s: state.first_s });
      if (performance.now() - drawn < REDRAW_MS) continue;
      drawn = performance.now();
      const turn = $(`#turns [data-turn="${node.id}"]`);
      if (turn) showAnswer(turn, node, { writing: true, complete });
      follow();
    }
    Object.assign(node, { usage: state?.usage, total_s: state?.total_s });
  } catch (error) {
    if (error.name === "AbortError") node.finish = "stopped";
    else Object.assign(node, { fault: `${sentence(error.message)}`, retryAfter_s: error.passing ? error.retryAfter_s : 0 });
    if (error.status === 401) report(error);
    node.total_s = state?.total_s;
  }
  if (signal.aborted) node.finish = "stopped";
  return state;
}

const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1)}.`.replace(/\.\.$/, ".");

/** Draw the turns in sight. */
export function draw() {
  const turns = tree.path(chat.tree);
  $("#welcome").hidden = turns.length > 0;
  const nodes = [];
  let before = null;
  for (const node of turns) {
    if (node.role === "assistant") {
      if (swapped(before, node)) nodes.push(swapNotice(before, node));
      before = node.version ? node : before;
    }
    nodes.push(element(node));
  }
  $("#turns").replaceChildren(...nodes);
  follow(true);
}

const swapped = (before, node) => before?.version && node.version && before.model === node.model && before.version !== node.version;

function swapNotice(before, node) {
  const loaded = session.models.some((model) => model.id === before.version);
  const stay = el("button", { type: "button", class: "quiet", text: `Stay on ${before.version}` });
  stay.addEventListener("click", () => {
    $("#model").value = before.version;
    toast(`This chat asks ${before.version} from now on.`);
  });
  return el("p", { class: "notice", role: "status" }, `The policy was swapped here: ${before.version} → ${node.version}. `, loaded ? stay : null);
}

function element(node) {
  const all = tree.siblings(chat.tree, node.id);
  const shown = {
    siblings: { place: all.indexOf(node.id), total: all.length },
    step: (offset) => {
      if (busy()) return;
      tree.step(chat.tree, node.id, offset);
      draw();
      history.keep(chat);
    },
  };
  const complete = chat.mode === "complete";
  if (node.role === "user") return userTurn(node, { ...shown, complete, edit: (text) => edit(node, text) });
  const turn = answerTurn(node, { ...shown, ...(isWriting(node) ? { writing: true } : actions(node)), complete });
  offer(turn, node, () => history.keep(chat));
  if (isWriting(node)) $(".rate", turn).hidden = true;
  return turn;
}

const isWriting = (node) => busy() && node.id === tree.path(chat.tree).at(-1)?.id && !node.finish;

function actions(node) {
  const kept = node.logged && node.answer && !node.fault && node.finish !== "written by you";
  return {
    retry: () => regenerate(node),
    regenerate: () => regenerate(node),
    branch: chat.mode === "chat" ? (text) => branch(node, text) : null,
    replay: chat.mode === "chat" ? () => hooks.replay(tree.messages(chat.tree, node.parent)) : null,
    share: kept && node.finish !== "stopped" ? hooks.share : null,
    queue: kept && session.me.role === "operator" ? sendToLabelers : null,
  };
}

async function sendToLabelers(node) {
  try {
    const { comparison_id } = await call("POST", "/v1/queue", { interaction_id: node.answer });
    toast(`At the head of the queue: ${comparison_id}`);
  } catch (error) {
    report(error);
  }
}

/** Keep the end in sight, unless the person scrolled up to read. */
function follow(always = false) {
  const thread = $("#thread");
  const behind = thread.scrollHeight - thread.scrollTop - thread.clientHeight;
  if (always || behind < 120) thread.scrollTop = thread.scrollHeight;
}

/** Let the person change the last thing they asked. */
export function editLast() {
  const node = tree.last(chat.tree, "user");
  if (node && !busy()) $(`#turns [data-turn="${node.id}"] .edit-turn`)?.click();
}

/** Return the request that would be sent now, or was sent last if nothing is written, for showing it as code. */
export function nextRequest(text) {
  const content = filled(text, session.variables).trim() ? filled(text, session.variables) : null;
  const asked = tree.last(chat.tree, "user");
  if (chat.mode === "complete") return request(content ?? asked?.content ?? "Once upon a time", { complete: true });
  if (!content && asked) return request(tree.messages(chat.tree, asked.id));
  const parent = tree.path(chat.tree).at(-1)?.id;
  return request([...(parent ? tree.messages(chat.tree, parent) : []), { role: "user", content: content ?? "Hello!" }]);
}
