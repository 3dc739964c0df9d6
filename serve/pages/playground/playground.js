// The Playground: wires the parts of the page to each other and to the keyboard.

import { $, $$, el, toast } from "/static/shared/dom.js";
import { call, report, signIn } from "/static/shared/api.js";
import * as account from "/static/playground/account.js";
import * as aside from "/static/playground/aside.js";
import * as chats from "/static/playground/chat.js";
import { showCode } from "/static/playground/code.js";
import * as history from "/static/playground/history.js";
import * as palette from "/static/playground/palette.js";
import * as panes from "/static/playground/panes.js";
import * as parameters from "/static/playground/parameters.js";
import { consents, learnMe, learnModels, session } from "/static/playground/session.js";

const NOTICE = "1"; // raised whenever what is said about storing changes
const WORDS = {
  chat: ["Ask the live policy", "Rate what you get: people's feedback is what the next policy learns from.", "Ask something…", "Send"],
  complete: ["Let it go on", "The policy continues your text, with no chat around it.", "Text to be continued…", "Complete"],
  compare: ["", "", "Ask all panes the same…", "Send"],
  battle: ["", "", "Ask both. Their names come after your vote…", "Battle"],
};
const EXAMPLES = {
  chat: ["Explain the moon landing to a 6 year old in a few sentences.", "List three colours.", "Where does Tom live?"],
  complete: ["Q: What is the capital of France?\nA:", "Once upon a time", "The frog jumped into"],
};

const single = () => ["chat", "complete"].includes(session.mode);
const busy = () => chats.busy() || panes.busy();

async function submit() {
  const text = $("#prompt").value;
  const fault = parameters.problems(session.values);
  if (busy() || !text.trim()) return;
  if (fault) return toast(fault, "bad");
  if (session.mode !== "complete") $("#prompt").value = "";
  const asking = single() ? chats.submit(text) : panes.submit(parameters.filled(text, session.variables));
  showRunning();
  if ((await asking) === false) $("#prompt").value ||= text;
  showRunning();
  showHistory();
  $("#prompt").focus();
}

function stop() {
  chats.stop();
  panes.stop();
}

function showRunning() {
  $("#send").hidden = busy();
  $("#stop").hidden = !busy();
  for (const control of $$(".tools .segments button, #new, #model, #consent")) control.disabled = busy();
  $("#consent").disabled ||= !session.me.consent;
}

function setMode(mode) {
  session.mode = mode;
  for (const button of $$(".tools .segments button")) button.setAttribute("aria-pressed", String(button.id === `mode-${mode}`));
  document.body.dataset.mode = mode;
  const [title, words, placeholder, send] = WORDS[mode];
  $("#welcome-title").textContent = title;
  $("#welcome-words").textContent = words;
  $("#prompt").placeholder = placeholder;
  $("#send").textContent = send;
  $("#thread").hidden = !single();
  $("#panes").hidden = single();
  $("#verdict").hidden = true;
  $("#examples").replaceChildren(...(EXAMPLES[mode] ?? []).map((text) =>
    el("button", { type: "button", text, onclick: () => useExample(text) })));
}

function useExample(text) {
  $("#prompt").value = text;
  $("#prompt").focus();
  aside.showVariables();
}

/** Begin anew in a mode. */
function begin(mode = session.mode) {
  setMode(mode);
  if (single()) chats.open(history.newChat(mode, $("#consent").checked));
  else panes.open(mode);
  showHistory();
  showConsent();
  makeRoom();
  $("#prompt").focus();
}

function openChat(chat) {
  if (busy()) return;
  setMode(chat.mode);
  $("#consent").checked = chat.logged;
  chats.open(chat);
  showConsent();
  showHistory();
  makeRoom();
}

/** Put the list of chats away where it lies over the conversation. */
function makeRoom() {
  if (matchMedia("(max-width: 1100px)").matches) toggleHistory(false);
}

function showHistory() {
  history.draw(chats.chat.id, {
    open: openChat,
    gone: (chat) => (chat.id === chats.chat.id ? begin("chat") : showHistory()),
    renamed: (id, title) => {
      if (chats.chat.id === id) chats.chat.title = title;
      showHistory();
    },
  });
}

function showConsent() {
  const on = consents();
  chats.chat.logged = on;
  document.body.classList.toggle("no-consent", !on);
  $("#consent-state").textContent = on ? "Logged for training: on" : "Logged for training: off";
  $("#consent-why").textContent = session.me.consent
    ? session.mode === "battle" && !on ? "Votes would not be stored, so battles are off too." : on ? "" : "Answers stay in this browser and cannot be rated."
    : "Your key's owner turned it off.";
  $("#consent").disabled = !session.me.consent;
  sessionStorage.setItem("whetstone-consent", $("#consent").checked ? "yes" : "no");
}

function toggleHistory(shown = !document.body.classList.contains("with-history")) {
  document.body.classList.toggle("with-history", shown);
  $("#history-toggle").setAttribute("aria-expanded", String(shown));
}

function toggleParameters(shown = $("#parameters").hidden) {
  $("#parameters").hidden = !shown;
  $("#parameters-toggle").setAttribute("aria-expanded", String(shown));
}

function code() {
  const headers = consents() ? {} : { "X-Whetstone-Consent": "no" };
  showCode(chats.nextRequest($("#prompt").value), headers);
}

/** Ask what was asked before of other versions too. */
function replay(messages) {
  begin("compare");
  const before = messages.slice(0, -1).map((message) => ({ ...message, given: true }));
  panes.open("compare", { messages: before });
  $("#prompt").value = messages.at(-1)?.content ?? "";
  $("#prompt").focus();
}

const COMMANDS = [
  ["New chat", "", () => begin("chat")],
  ["Complete a text", "", () => begin("complete")],
  ["Compare versions", "", () => begin("compare")],
  ["Blind battle", "", () => begin("battle")],
  ["Regenerate the last answer", "Ctrl ⇧ R", () => chats.regenerate()],
  ["Edit the last prompt", "↑", () => chats.editLast()],
  ["Stop", "Esc", stop],
  ["Turn logging for training on or off", "", () => $("#consent").click()],
  ["Show the request as code", "", code],
  ["Search your chats", "", () => (toggleHistory(true), $("#search").focus())],
  ["Show or hide the parameters", "", () => toggleParameters()],
  ["Reset the parameters", "", () => aside.setValues({})],
  ["Show answers as Markdown", "", () => aside.read("markdown")],
  ["Show answers raw", "", () => aside.read("raw")],
  ["Show token probabilities", "", () => aside.read("tokens")],
  ["Account: limits, keys, shared chats, delete my data", "", account.show],
  ["What is stored, and how to delete it", "", () => window.open("/privacy", "_blank", "noopener")],
];

function onKey(event) {
  const chord = event.ctrlKey || event.metaKey;
  if (chord && event.key.toLowerCase() === "k") return handled(event, palette.open);
  if ($("dialog[open]")) return;
  if (chord && event.shiftKey && event.key.toLowerCase() === "r" && single()) return handled(event, () => chats.regenerate());
  if (event.key === "Escape" && busy()) return handled(event, stop);
  if (event.target.id !== "prompt" || event.isComposing) return;
  if (event.key === "ArrowUp" && !$("#prompt").value && single()) return handled(event, chats.editLast);
  if (event.key === "Enter" && (chord || (session.mode !== "complete" && !event.shiftKey))) handled(event, submit);
}

function handled(event, action) {
  event.preventDefault();
  action();
}

function wire() {
  document.addEventListener("keydown", onKey);
  $("#composer").addEventListener("submit", (event) => handled(event, submit));
  $("#stop").addEventListener("click", stop);
  $("#new").addEventListener("click", () => begin(single() ? session.mode : "chat"));
  for (const button of $$(".tools .segments button")) button.addEventListener("click", () => begin(button.id.slice(5)));
  $("#consent").addEventListener("change", showConsent);
  $("#model").addEventListener("focus", () => learnModels().catch(() => {}));
  $("#history-toggle").addEventListener("click", () => toggleHistory());
  $("#history-close").addEventListener("click", () => toggleHistory(false));
  $("#parameters-toggle").addEventListener("click", () => toggleParameters());
  $("#view-code").addEventListener("click", code);
  $("#commands").addEventListener("click", palette.open);
  $("#search").addEventListener("input", showHistory);
  chats.use({ changed: () => (showRunning(), showHistory()), share: account.share, replay });
  palette.wire(COMMANDS);
  account.wire(() => begin("chat"));
}

/** Say once what is stored, and again whenever that changes. */
function notice() {
  const dialog = $("#notice");
  if (!session.me.consent || localStorage.getItem("whetstone-notice") === NOTICE) return;
  dialog.addEventListener("close", () => {
    localStorage.setItem("whetstone-notice", NOTICE);
    if (dialog.returnValue === "off" && $("#consent").checked) $("#consent").click();
    $("#prompt").focus();
  });
  dialog.showModal();
}

async function start(models) {
  await learnMe().catch(report);
  await learnModels(models).catch(report);
  if (session.me.owner) history.useOwner(session.me.owner);
  wire();
  aside.wire(() => single() && chats.draw());
  $("#consent").checked = session.me.consent && sessionStorage.getItem("whetstone-consent") !== "no";
  if (matchMedia("(max-width: 860px)").matches) toggleParameters(false);
  toggleHistory(matchMedia("(min-width: 1280px)").matches);
  begin("chat");
  notice();
}

signIn(() => call("GET", "/v1/models"), start);
