// What all of the page shares: who is here, what is loaded, what the next request is made with.

import { $, ago, el } from "/static/shared/dom.js";
import { call } from "/static/shared/api.js";
import * as parameters from "/static/playground/parameters.js";

export const session = {
  me: { owner: "", role: "client", consent: true, limits: null },
  versions: [],
  models: [],
  values: parameters.defaults(),
  variables: {},
  mode: "chat",
};

/** Whether the next request may be logged: the key allows it and the switch of this chat is on. */
export const consents = () => session.me.consent && $("#consent").checked;

/** Learn who is here; an older server may not say. */
export async function learnMe() {
  try {
    session.me = await call("GET", "/v1/me");
  } catch (error) {
    if (error.status !== 404) throw error;
  }
  showLimits();
}

/** Show what is left of this key's limits; loud when it is little. */
export function showLimits() {
  const words = leftWords(session.me.limits);
  $("#limits").hidden = !words.text;
  $("#limits").textContent = words.text;
  $("#limits").classList.toggle("error", words.low);
}

/** Return what is left of some limits in words, and whether that is less than a tenth. */
export function leftWords(limits) {
  const { requests_per_minute, requests_left, tokens_per_day, tokens_left_today } = limits ?? {};
  const parts = [];
  if (requests_per_minute) parts.push(`${requests_left} requests this minute`);
  if (tokens_per_day) parts.push(`${short(tokens_left_today)} tokens today`);
  const low = (requests_per_minute && requests_left < requests_per_minute / 10) ||
    (tokens_per_day && tokens_left_today < tokens_per_day / 10);
  return { text: parts.length ? `${parts.join(" · ")} left` : "", low: Boolean(low) };
}

const short = (count) => (count >= 10_000 ? `${Math.floor(count / 1000)} k` : String(count));

/** Learn which policies are loaded and draw every picker of them. */
export async function learnModels(found) {
  const [models, versions] = await Promise.all([
    found ?? call("GET", "/v1/models"),
    call("GET", "/v1/versions").catch(() => session.versions),
  ]);
  session.versions = versions;
  const operator = session.me.role === "operator";
  session.models = models.data.filter((model) => operator || !hidden(model, versions));
  for (const picker of document.querySelectorAll("select.model, #model")) drawPicker(picker);
}

/** Whether a model is there for operators only: a candidate that is nothing else. */
function hidden(model, versions) {
  if (model.id === "candidate") return true;
  const is = (model.root ?? model.id) === model.id && /^policy-/.test(model.id);
  return is && versions.length > 0 && !versions.some((each) => each.version === model.id);
}

/** Fill a picker with what is loaded, keeping its choice; what is gone stays visible as such. */
export function drawPicker(picker, wanted = picker.value) {
  const known = session.models.some((model) => model.id === wanted);
  const options = session.models.map((model) => el("option", { value: model.id, text: words(model) }));
  if (wanted && !known && session.models.length) options.push(el("option", { value: wanted, text: `${wanted} (not loaded)` }));
  picker.replaceChildren(...options);
  if (wanted) picker.value = wanted;
}

function words(model) {
  const exact = model.root && model.root !== model.id ? ` → ${model.root}` : "";
  const since = session.versions.find((each) => each.version === model.root)?.promoted_at;
  return model.id + exact + (since && model.id === "live" ? ` · promoted ${ago(since)}` : "");
}

/** Return [path, body] of a request for `messages` (chat) or a prompt (complete). */
export function request(asked, { model = $("#model").value, values = session.values, complete = false } = {}) {
  const body = { model, stream: true, stream_options: { include_usage: true }, ...parameters.toBody(values, complete ? "complete" : "chat") };
  if (complete) return ["/v1/completions", { ...body, prompt: asked }];
  const system = parameters.filled(values.system.trim(), session.variables);
  return ["/v1/chat/completions", { ...body, messages: [...(system ? [{ role: "system", content: system }] : []), ...asked] }];
}
