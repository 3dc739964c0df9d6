// The account of whoever is here: limits, keys, shared chats, erasure with a receipt.

import { $, ago, el, toast } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";
import * as history from "/static/playground/history.js";
import { learnMe, session } from "/static/playground/session.js";
import { copy } from "/static/playground/turns.js";

const RECEIPT = "whetstone-receipt";
const LOOK_AGAIN_MS = 2000;

/** Wire the dialog; `cleared` is called when the chats of this browser are gone. */
export function wire(cleared) {
  $("#account").hidden = false;
  $("#account").addEventListener("click", show);
  $("#export-all").addEventListener("click", () =>
    history.download("chats.json", JSON.stringify(history.chats(), null, 2)),
  );
  $("#forget-all").addEventListener("click", () => {
    history.forgetAll();
    toast("The chats of this browser are gone.");
    cleared();
  });
  $("#erase").addEventListener("click", () => ($("#erase-sure").hidden = false));
  $("#erase-sure").addEventListener("click", erase);
}

/** Show the dialog, up to date. */
export async function show() {
  $("#account-dialog").showModal();
  $("#erase-sure").hidden = true;
  const receipt = localStorage.getItem(RECEIPT);
  if (receipt) watch(receipt);
  await Promise.all([learnMe().catch(() => {}), showKeys(), showShares()]);
  const { owner, role, key_id, consent, limits } = session.me;
  $("#account-who").textContent = owner
    ? `${owner}, ${role}, key ${key_id}. Training on your prompts: ${consent ? "allowed by this key" : "off for this key"}.`
    : "";
  const facts = [
    ["Requests a minute", limits?.requests_per_minute, limits?.requests_left],
    ["Tokens a day", limits?.tokens_per_day, limits?.tokens_left_today],
  ];
  $("#account-limits").replaceChildren(...facts.flatMap(([name, most, left]) => [
    el("dt", { text: name }),
    el("dd", { text: most ? `${left} of ${most} left` : "no limit" }),
  ]));
}

async function list(selector, path, draw, none) {
  try {
    const found = await call("GET", path);
    $(selector).replaceChildren(...(found.length ? found.map(draw) : [el("li", { class: "muted", text: none })]));
  } catch (error) {
    $(selector).replaceChildren(el("li", { class: "muted", text: error.status === 404 ? "Not available here." : error.message }));
  }
}

const showKeys = () => list("#account-keys", "/v1/keys", (key) => {
  const state = key.revoked_at ? "revoked" : key.expires_at && Date.parse(key.expires_at) < Date.now() ? "expired" : "";
  const mine = key.id === session.me.key_id;
  const revoke = el("button", { type: "button", class: "quiet", text: "Revoke", onclick: () => act(`/v1/keys/${key.id}/revoke`, "POST", showKeys) });
  return el("li", {}, el("code", { text: key.id }),
    el("span", { class: "muted small", text: `made ${ago(key.created_at)}${key.last_used_at ? `, used ${ago(key.last_used_at)}` : ""}` }),
    mine ? el("span", { class: "chip accent", text: "in use here" }) : null,
    state ? el("span", { class: "chip", text: state }) : mine ? null : revoke);
}, "No keys.");

const showShares = () => list("#account-shares", "/v1/shares", (share) => {
  const link = `${location.origin}/share#${share.id}`;
  return el("li", {}, el("a", { href: link, target: "_blank", text: `made ${ago(share.created_at)}` }),
    el("span", { class: "muted small", text: `until ${new Date(share.expires_at).toLocaleDateString()}` }),
    el("button", { type: "button", class: "quiet", text: "Copy link", onclick: () => copy(link) }),
    el("button", { type: "button", class: "quiet", text: "Take back", onclick: () => act(`/v1/shares/${share.id}`, "DELETE", showShares) }));
}, "Nothing is shared.");

async function act(path, method, again) {
  try {
    await call(method, path, method === "POST" ? {} : undefined);
    await again();
  } catch (error) {
    report(error);
  }
}

/** Let the person make a link to the chat up to an answer. */
export function share(node) {
  const dialog = $("#share-dialog");
  $("#share-made").hidden = true;
  $("#share-error").textContent = "";
  $("#share-form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      const made = await call("POST", "/v1/shares", { interaction_id: node.answer, days: Number($("#share-days").value) });
      $("#share-link").value = `${location.origin}/share#${made.id}`;
      $("#share-made").hidden = false;
      $("#share-link").select();
    } catch (error) {
      $("#share-error").textContent = error.message;
    }
  };
  $("#share-copy").onclick = () => copy($("#share-link").value);
  $("#share-close").onclick = () => dialog.close();
  dialog.showModal();
}

async function erase() {
  $("#erase-sure").hidden = true;
  try {
    const receipt = await call("POST", "/v1/erasures", {});
    localStorage.setItem(RECEIPT, receipt.id);
    showReceipt(receipt);
    watch(receipt.id);
  } catch (error) {
    $("#erase-receipt").textContent = error.message;
  }
}

/** Follow an erasure until it is done or the dialog is closed. */
async function watch(id) {
  try {
    const receipt = await call("GET", `/v1/erasures/${encodeURIComponent(id)}`);
    showReceipt(receipt);
    const over = ["done", "failed"].includes(receipt.state);
    if (!over && $("#account-dialog").open) setTimeout(() => watch(id), LOOK_AGAIN_MS);
  } catch (error) {
    if (error.status === 404) localStorage.removeItem(RECEIPT);
  }
}

function showReceipt({ id, state }) {
  $("#erase-receipt").replaceChildren("Receipt ", el("code", { text: id }), `: ${state}`);
}
