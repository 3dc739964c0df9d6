// The panel beside the conversation: parameters, system prompt, variables, presets, how answers are read.

import { $, $$, el } from "/static/shared/dom.js";
import * as parameters from "/static/playground/parameters.js";
import { session } from "/static/playground/session.js";
import { reading } from "/static/playground/turns.js";

let showFields = () => {};
let redraw = () => {};

/** Draw and wire the panel; `drawAnswers` is called when answers are to be read in another way. */
export function wire(drawAnswers) {
  redraw = drawAnswers;
  parameters.limit("max_tokens", Number($("#fields").dataset.maxTokens));
  Object.assign(session.values, parameters.defaults());
  showFields = parameters.draw($("#fields"), "", session.values, () => {});
  $("#prompt").addEventListener("input", showVariables);
  $("#system").addEventListener("input", () => {
    session.values.system = $("#system").value;
    showVariables();
  });
  $("#reset").addEventListener("click", () => setValues({}));
  $("#preset").addEventListener("change", () => $("#preset").value && setValues(parameters.presets()[$("#preset").value]));
  $("#preset-forget").addEventListener("click", () => {
    parameters.savePreset($("#preset").value, null);
    showPresets();
  });
  $("#preset-form").addEventListener("submit", (event) => {
    event.preventDefault();
    parameters.savePreset($("#preset-name").value.trim(), session.values);
    $("#preset-name").value = "";
    showPresets();
  });
  for (const button of $$("[data-way]")) button.addEventListener("click", () => read(button.dataset.way));
  showPresets();
  read(reading.way);
}

/** Draw an input for each variable in sight. */
export function showVariables() {
  const names = ["chat", "complete"].includes(session.mode) ? parameters.variables($("#prompt").value, $("#system").value) : parameters.variables($("#prompt").value);
  parameters.drawVariables($("#variables"), names, session.variables);
}

function showPresets() {
  const names = Object.keys(parameters.presets()).sort();
  $("#preset").replaceChildren(el("option", { value: "", text: names.length ? "Choose…" : "None saved" }), ...names.map((name) => el("option", { value: name, text: name })));
}

/** Take other values for what is set here; what they lack is as at the start. */
export function setValues(values) {
  Object.assign(session.values, parameters.defaults(), values);
  $("#system").value = session.values.system;
  showFields();
  showVariables();
}

/** Show all answers in another way. */
export function read(way) {
  reading.way = way;
  for (const button of $$("[data-way]")) button.setAttribute("aria-pressed", String(button.dataset.way === way));
  redraw();
}
