// Demonstrations: one leased request on the sheet, and what became of those given before.

import { $, el, clock, toast, uuid } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";
import { chip, conversation, revisions } from "/static/writing/revisions.js";

const ITEM = "whetstone-writing-item";
const HEARTBEAT_S = 30;
const IDLE_S = 300; // without a key for this long the lease is left to run out
const PAUSE_MS = 700;
const RETRY_MS = 3000;
const SKIPS = { language: "a language I do not know", expertise: "a field I do not know", broken: "it is broken", too_long: "it is too long", offensive: "I do not want to read it", other: "another reason" };
const path = (item, verb) => `/v1/labeling/items/${encodeURIComponent(item.item_id)}/${verb}`;
const clean = (text) => text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "").toWellFormed();

let item = null; // {item_id, token, deadline_s, messages, submission_id, response}: the leased request
let shown = null; // a demonstration given before that is on the sheet
let timer = null;
let sending = false;
let lastKey = Date.now();
let sinceBeat_s = 0;
let changed = () => {};

const keep = () =>
  item ? sessionStorage.setItem(ITEM, JSON.stringify(item)) : sessionStorage.removeItem(ITEM);

export const held = () => item;
export const selected = () => shown;

/** Return true if this tab still holds a request, and put it on the sheet. */
export async function resume() {
  item = JSON.parse(sessionStorage.getItem(ITEM) ?? "null");
  if (!item) return false;
  try {
    await beat();
  } catch (error) {
    if (!error.passing) forget();
  }
  if (item) drawRequest();
  return Boolean(item);
}

/** Take a request, or put the one that is held on the sheet. */
export async function take() {
  if (!item) {
    const found = await call("POST", "/v1/labeling/next", { queue: "demonstration" });
    if (!found) return toast("No request waits for you. New ones appear as customers ask.");
    const { item_id, token, deadline_s, messages, draft } = found;
    const response = localStorage.getItem(`${ITEM}-${item_id}`) ?? draft?.response ?? "";
    item = { item_id, token, deadline_s, messages, submission_id: uuid(), response };
    keep();
  }
  drawRequest();
}

function drawRequest() {
  shown = null;
  $("#answer-title").textContent = "A request";
  $("#answer-state").replaceWith(el("span", { id: "answer-state", class: "chip accent", text: "to be written" }));
  $("#answer-comment").hidden = $("#answer-history").hidden = true;
  $("#skip").hidden = false;
  fill(item.messages, item.response, true);
}

/** Put a demonstration given before on the sheet; one that was returned can be written again. */
export function show(found) {
  shown = { ...found, submission_id: uuid() };
  const [last] = found.history.slice(-1);
  $("#answer-title").textContent = "Your answer";
  $("#answer-state").replaceWith(Object.assign(chip(found.state), { id: "answer-state" }));
  $("#answer-comment").hidden = !last.comment;
  $("#answer-comment .text").textContent = last.comment;
  $("#answer-history").hidden = false;
  const entries = found.history.map((each) => ({
    text: each.response,
    state: each.verdict || "waiting",
    comment: each.comment,
    at: each.created_at,
  }));
  $(".revisions", $("#answer-history")).replaceChildren(...revisions(entries));
  $("#skip").hidden = true;
  $("#left").textContent = "";
  fill(found.messages, found.response, found.state === "returned");
}

function fill(messages, response, open) {
  $("#messages").replaceChildren(...conversation(messages));
  $("#response").value = response;
  $("#response").disabled = !open;
  $("#send").hidden = !open;
  ready();
}

function ready() {
  $("#send").disabled = sending || !$("#response").value.trim();
}

function typed() {
  lastKey = Date.now();
  ready();
  if (shown) return;
  item.response = $("#response").value;
  keep();
  $("#saved").textContent = "…";
  later(PAUSE_MS);
}

function later(delay_ms) {
  clearTimeout(timer);
  timer = setTimeout(() => item && saveDraft(item), delay_ms);
}

async function saveDraft(of) {
  try {
    await call("PUT", path(of, "draft"), { token: of.token, draft: { response: of.response } });
    $("#saved").textContent = "draft saved";
  } catch (error) {
    if (error.passing) {
      $("#saved").textContent = "kept here, not on the server yet";
      later(RETRY_MS);
    } else lost(error);
  }
}

/** Submit what is on the sheet; tried again until the server has said that it is stored. */
export async function send() {
  if (sending || $("#send").hidden || !$("#response").value.trim()) return;
  clearTimeout(timer);
  sending = true;
  ready();
  const response = clean($("#response").value);
  const request = shown
    ? [`/v1/labeling/demonstrations/${shown.id}/revise`, { submission_id: shown.submission_id, response }]
    : [path(item, "submit"), { token: item.token, submission_id: item.submission_id, response }];
  try {
    await untilStored(request);
    if (!shown) {
      localStorage.removeItem(`${ITEM}-${item.item_id}`);
      forget();
    }
    toast("Stored. A reviewer reads it now");
    changed();
  } catch (error) {
    if (shown) report(error);
    else lost(error);
  } finally {
    sending = false;
    ready();
  }
}

async function untilStored([at, body]) {
  for (;;) {
    try {
      return await call("POST", at, body);
    } catch (error) {
      if (!error.passing) throw error;
      $("#saved").textContent = "not stored yet, trying again";
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

export const skipReasons = SKIPS;

/** Give the request back with a reason. */
export async function skip(reason) {
  const given = item;
  forget();
  await call("POST", path(given, "skip"), { token: given.token, reason, note: "" });
  changed();
}

function lost(error) {
  if (error.status === 401) return report(error);
  toast(`${error.message}. What you wrote is kept here; take the request again.`, "bad");
  if (error.code === "lease_lost") {
    localStorage.setItem(`${ITEM}-${item.item_id}`, item.response);
    forget();
    changed();
  }
}

function forget() {
  item = null;
  keep();
  $("#left").textContent = $("#saved").textContent = "";
}

async function beat() {
  const { deadline_s } = await call("POST", path(item, "heartbeat"), { token: item.token });
  if (!item) return;
  item.deadline_s = deadline_s;
  keep();
}

function tick() {
  if (!item) return;
  const left_s = item.deadline_s - Date.now() / 1000;
  if (!shown) $("#left").textContent = `${clock(left_s)} left`;
  sinceBeat_s += 1;
  if (sinceBeat_s < HEARTBEAT_S || Date.now() - lastKey > IDLE_S * 1000) return;
  sinceBeat_s = 0;
  beat().catch((error) => error.code === "lease_lost" && lost(error));
}

/** Connect the sheet; `onChange()` hears when an answer was stored or a request given back. */
export function wire(onChange) {
  changed = onChange;
  $("#response").addEventListener("input", typed);
  $("#send").addEventListener("click", () => send());
  setInterval(tick, 1000);
}
