// The Playground: one conversation, its parameters, and who may learn from it.

import { $, $$, announce, el, fromTemplate } from "/static/shared/dom.js";
import { call, report, signIn } from "/static/shared/api.js";
import { offer } from "/static/playground/feedback.js";
import { ask } from "/static/playground/stream.js";

const DEFAULTS = { temperature: "0.7", top_p: "1", max_tokens: "128", seed: "", system: "" };
const EXAMPLES = {
  chat: ["Explain the moon landing to a 6 year old in a few sentences.", "List three colours.", "Where does Tom live?"],
  complete: ["Q: What is the capital of France?\nA:", "Once upon a time", "The frog jumped into"],
};

let mode = "chat";
let messages = [];
let running = null; // the AbortController of the answer that is being written

const number = (id) => ($(`#${id}`).value === "" ? undefined : Number($(`#${id}`).value));

function request(prompt) {
  const body = {
    model: $("#model").value,
    stream: true,
    stream_options: { include_usage: true },
    temperature: number("temperature"),
    top_p: number("top_p"),
    max_tokens: number("max_tokens"),
    seed: number("seed"),
  };
  if (mode === "complete") return ["/v1/completions", { ...body, prompt }];
  const system = $("#system").value.trim();
  const asked = [...(system ? [{ role: "system", content: system }] : []), ...messages];
  return ["/v1/chat/completions", { ...body, messages: asked }];
}

async function submit() {
  const prompt = $("#prompt").value;
  if (running || !prompt.trim() || !$("#max_tokens").reportValidity() || !$("#seed").reportValidity()) return;
  $("#welcome").hidden = true;
  const asked = addTurn("turn-user", mode === "complete" ? "prompt" : "");
  $(".text", asked).textContent = prompt;
  if (mode === "chat") {
    messages.push({ role: "user", content: prompt });
    $("#prompt").value = "";
  }
  const turn = addTurn("turn-assistant", "streaming");
  running = new AbortController();
  showRunning();
  await answer(turn, request(prompt), running.signal);
  running = null;
  showRunning();
  $("#prompt").focus();
}

async function answer(turn, [path, body], signal) {
  const consent = $("#consent").checked;
  let state = null;
  let fault = "";
  try {
    for await (state of ask(path, body, { consent, signal })) {
      $(".text", turn).textContent = state.text;
      $(".version", turn).textContent = state.version;
      follow();
    }
  } catch (error) {
    if (error.name !== "AbortError") fault = `${error.message}. Your prompt is back in the box.`;
    if (error.status === 401) report(error);
  }
  turn.classList.remove("streaming");
  $(".error", turn).textContent = fault;
  if (state) conclude(turn, state, signal.aborted ? "stopped" : fault ? "broken off" : state.finish, consent);
  else $(".figures", turn).textContent = signal.aborted ? "stopped" : "";
  const usable = state && state.text && !fault;
  if (mode === "chat" && usable) messages.push({ role: "assistant", content: state.text });
  if (mode === "chat" && !usable) $("#prompt").value ||= messages.pop().content;
  announce(fault || "Answer complete");
}

function conclude(turn, state, finish, consent) {
  const figures = [finish];
  if (state.usage) figures.push(`${state.usage.prompt_tokens} → ${state.usage.completion_tokens} tokens`);
  if (state.first_s) figures.push(`first after ${Math.round(state.first_s * 1000)} ms`);
  figures.push(`${state.total_s.toFixed(2)} s`);
  if (!consent) figures.push("not logged");
  $(".figures", turn).textContent = figures.filter(Boolean).join(" · ");
  $(".figures", turn).title = state.id;
  if (state.id) offer(turn, state.id, () => state.text, consent);
  follow();
}

function addTurn(template, extra) {
  const turn = fromTemplate(template);
  if (extra) turn.classList.add(extra);
  $("#thread").append(turn);
  follow(true);
  return turn;
}

/** Keep the end in sight, unless the person scrolled up to read. */
function follow(always = false) {
  const thread = $("#thread");
  const behind = thread.scrollHeight - thread.scrollTop - thread.clientHeight;
  if (always || behind < 120) thread.scrollTop = thread.scrollHeight;
}

function showRunning() {
  $("#send").hidden = Boolean(running);
  $("#stop").hidden = !running;
  for (const control of $$("#mode-chat, #mode-complete, #new, #model")) control.disabled = Boolean(running);
}

function setMode(chosen) {
  mode = chosen;
  $("#mode-chat").setAttribute("aria-pressed", String(mode === "chat"));
  $("#mode-complete").setAttribute("aria-pressed", String(mode === "complete"));
  document.body.classList.toggle("complete", mode === "complete");
  $("#new").textContent = mode === "chat" ? "New chat" : "Clear";
  $("#send").textContent = mode === "chat" ? "Send" : "Complete";
  $("#prompt").placeholder =
    mode === "chat"
      ? "Ask something…  Enter sends, Shift+Enter makes a new line"
      : "Text for the policy to continue…  Ctrl+Enter runs";
  clear();
}

function clear() {
  messages = [];
  for (const turn of $$("#thread .turn")) turn.remove();
  $("#welcome").hidden = false;
  $("#examples").replaceChildren(
    ...EXAMPLES[mode].map((text) => el("button", { type: "button", text, onclick: () => useExample(text) })),
  );
  $("#prompt").focus();
}

function useExample(text) {
  $("#prompt").value = text;
  $("#prompt").focus();
}

function showParameters() {
  for (const id of ["temperature", "top_p"]) $(`#${id}-value`).textContent = Number($(`#${id}`).value).toFixed(2);
}

function showConsent() {
  const on = $("#consent").checked;
  document.body.classList.toggle("no-consent", !on);
  $("#consent-state").textContent = on ? "Logged for training: on" : "Logged for training: off";
  sessionStorage.setItem("whetstone-consent", on ? "yes" : "no");
}

function reset() {
  for (const [id, value] of Object.entries(DEFAULTS)) $(`#${id}`).value = value;
  showParameters();
}

function onKey(event) {
  if (event.key === "Escape" && running) running.abort();
  if (event.key !== "Enter" || event.target.id !== "prompt" || event.isComposing) return;
  const chord = event.ctrlKey || event.metaKey;
  if (chord || (mode === "chat" && !event.shiftKey)) {
    event.preventDefault();
    submit();
  }
}

function showModels({ data }) {
  const chosen = $("#model").value;
  $("#model").replaceChildren(
    ...data.map((model) => {
      const exact = model.root && model.root !== model.id ? ` → ${model.root}` : "";
      return el("option", { value: model.id, text: model.id + exact });
    }),
  );
  if (data.some((model) => model.id === chosen)) $("#model").value = chosen;
}

function start(models) {
  showModels(models);
  $("#composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  document.addEventListener("keydown", onKey);
  $("#stop").addEventListener("click", () => running?.abort());
  $("#new").addEventListener("click", clear);
  $("#mode-chat").addEventListener("click", () => setMode("chat"));
  $("#mode-complete").addEventListener("click", () => setMode("complete"));
  $("#reset").addEventListener("click", reset);
  $("#temperature").addEventListener("input", showParameters);
  $("#top_p").addEventListener("input", showParameters);
  $("#consent").checked = sessionStorage.getItem("whetstone-consent") !== "no";
  $("#consent").addEventListener("change", showConsent);
  $("#model").addEventListener("focus", () => call("GET", "/v1/models").then(showModels, report));
  if (matchMedia("(max-width: 860px)").matches) $("#parameters").open = false;
  showParameters();
  showConsent();
  setMode("chat");
}

signIn(() => call("GET", "/v1/models"), start);
