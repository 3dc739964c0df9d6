// What a request is made with: parameters and their bounds, the system prompt, presets, variables in braces.

import { el } from "/static/shared/dom.js";

/** Name -> default, bounds and what it does, in words. */
export const FIELDS = {
  temperature: { value: 0.7, min: 0, max: 2, step: 0.05, label: "Temperature", hint: "0 always says the likeliest" },
  top_p: { value: 1, min: 0.05, max: 1, step: 0.05, label: "Top-p", hint: "share of likely tokens to draw from" },
  max_tokens: { value: 128, min: 1, max: 4096, step: 1, label: "Max tokens", hint: "longest answer" },
  stop: { value: "", id: "stop-at", label: "Stop at", hint: "up to four texts, one a line" },
  presence_penalty: { value: 0, min: -2, max: 2, step: 0.1, label: "Presence penalty", hint: "against any repetition" },
  frequency_penalty: { value: 0, min: -2, max: 2, step: 0.1, label: "Frequency penalty", hint: "the more, the oftener" },
  seed: { value: "", min: 0, max: 4294967295, step: 1, label: "Seed", hint: "same seed, same answer" },
  n: { value: 1, min: 1, max: 8, step: 1, label: "Answers", hint: "kept side by side; the first is logged" },
};
const RARE = ["stop", "presence_penalty", "frequency_penalty", "seed", "n"];
const PRESETS = "whetstone-presets";

/** Take over the server's bound of a parameter. */
export function limit(name, max) {
  FIELDS[name].max = max;
  FIELDS[name].value = Math.min(FIELDS[name].value, max);
}

export const defaults = () => ({
  system: "",
  logprobs: false,
  ...Object.fromEntries(Object.entries(FIELDS).map(([name, field]) => [name, field.value])),
});

/** Return what is wrong with a value, in words; an empty string if nothing is. */
export function problem(name, value) {
  const field = FIELDS[name];
  if (name === "stop") return stops(value).length > 4 ? "Stop at takes at most four texts." : "";
  if (name === "seed" && value === "") return "";
  const number = Number(value);
  const whole = field.step === 1;
  if (value === "" || !Number.isFinite(number) || number < field.min || number > field.max || (whole && number % 1)) {
    return `${field.label} must be a ${whole ? "whole " : ""}number from ${field.min} to ${field.max}.`;
  }
  return "";
}

/** Return the first problem of a whole set of values. */
export function problems(values) {
  const found = Object.keys(FIELDS).map((name) => problem(name, values[name]));
  if (Number(values.n) > 1 && Number(values.temperature) === 0) found.push("At temperature 0 all answers are the same.");
  return found.find(Boolean) ?? "";
}

const stops = (text) => text.split("\n").filter(Boolean).map((line) => line.replaceAll("\\n", "\n"));

/** Return the fields of a request that differ from what the API assumes, and those that everybody wants to see. */
export function toBody(values, kind) {
  const body = {
    temperature: Number(values.temperature),
    top_p: Number(values.top_p),
    max_tokens: Number(values.max_tokens),
  };
  for (const name of ["presence_penalty", "frequency_penalty"]) if (Number(values[name])) body[name] = Number(values[name]);
  if (values.stop) body.stop = stops(values.stop);
  if (values.seed !== "") body.seed = Number(values.seed);
  if (Number(values.n) > 1) body.n = Number(values.n);
  if (values.logprobs && kind === "chat") Object.assign(body, { logprobs: true, top_logprobs: 5 });
  if (values.logprobs && kind === "complete") body.logprobs = 5;
  return body;
}

/** Return the names in {{braces}} of some texts, each once. */
export function variables(...texts) {
  return [...new Set(texts.flatMap((text) => [...text.matchAll(/\{\{\s*([\p{L}\w-]{1,40})\s*\}\}/gu)].map((m) => m[1])))];
}

/** Return a text with its variables filled in; unknown ones stay. */
export const filled = (text, values) =>
  text.replace(/\{\{\s*([\p{L}\w-]{1,40})\s*\}\}/gu, (whole, name) => values[name] || whole);

/** Draw the fields into `root`, prefixed ids, and keep `values` up to date; return what redraws them. */
export function draw(root, prefix, values, changed) {
  const rows = Object.entries(FIELDS).map(([name, field]) => [name, row(prefix + (field.id ?? name), name, field, values, changed)]);
  const tokens = el("input", { type: "checkbox", id: `${prefix}logprobs`, onchange: () => set("logprobs", tokens.checked) });
  const set = (name, value) => {
    values[name] = value;
    changed();
  };
  const often = rows.filter(([name]) => !RARE.includes(name)).map(([, made]) => made.node);
  const rare = rows.filter(([name]) => RARE.includes(name)).map(([, made]) => made.node);
  const more = el("details", { class: "rare" }, el("summary", { text: "More" }));
  more.append(el("div", { class: "fields" }, ...rare, el("label", { class: "check" }, tokens, "Token probabilities")));
  root.replaceChildren(...often, more);
  const show = () => {
    for (const [, made] of rows) made.show();
    tokens.checked = values.logprobs;
  };
  show();
  return show;
}

function row(id, name, field, values, changed) {
  const slider = field.max <= 2;
  const attributes = { id, title: field.hint, min: field.min, max: field.max, step: field.step };
  const input = name === "stop" ? el("textarea", { id, rows: 2, title: field.hint, placeholder: field.hint })
    : el("input", { ...attributes, type: slider ? "range" : "number", placeholder: name === "seed" ? "random" : "" });
  const output = slider ? el("output", { for: id }) : null;
  const fault = el("span", { class: "error small", role: "alert" });
  const show = () => {
    if (document.activeElement !== input || slider) input.value = values[name];
    if (output) output.textContent = Number(values[name]).toFixed(2);
    fault.textContent = problem(name, values[name]);
  };
  input.addEventListener("input", () => {
    values[name] = name === "stop" || input.value === "" ? input.value : Number(input.value);
    show();
    changed();
  });
  return { node: el("label", {}, field.label, output, input, fault), show };
}

/** Return name -> saved values. */
export const presets = () => JSON.parse(localStorage.getItem(PRESETS) ?? "{}");

/** Save a preset, or forget it where `values` is null. */
export function savePreset(name, values) {
  const all = presets();
  if (values) all[name] = { ...values };
  else delete all[name];
  localStorage.setItem(PRESETS, JSON.stringify(all));
}

/** Draw one input per variable and keep `values`, name -> value, up to date. */
export function drawVariables(root, names, values) {
  const known = new Set([...root.querySelectorAll("input")].map((input) => input.name));
  if (known.size === names.length && names.every((name) => known.has(name))) return;
  const inputs = names.map((name) => {
    const input = el("input", { name, value: values[name] ?? "", placeholder: "value", maxlength: 2000 });
    input.addEventListener("input", () => (values[name] = input.value));
    return el("label", {}, `{{${name}}}`, input);
  });
  root.replaceChildren(...inputs);
  root.hidden = !names.length;
}
