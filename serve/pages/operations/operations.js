// The operations page: asks the API every few seconds, draws what changed, and carries out two moves.

import { $, $$, toast } from "/static/shared/dom.js";
import { call, report, signIn } from "/static/shared/api.js";
import * as sections from "/static/operations/sections.js";

const REFRESH_S = 3;
const REDRAW_S = 30; // "3 min ago" grows old even when nothing happens

const drawn = new Map();
let policies = [];
let pending = null;

function redraw(id, data, make) {
  const now = `${JSON.stringify(data)} ${Math.floor(Date.now() / (REDRAW_S * 1000))}`;
  if (drawn.get(id) === now) return;
  const open = $$("details", $(id)).map((node) => node.open);
  drawn.set(id, now);
  $(id).replaceChildren(...make());
  $$("details", $(id)).forEach((node, index) => (node.open = open[index] ?? false));
}

async function refresh() {
  const [status, found, swaps, audit] = await Promise.all(
    ["status", "policies", "swaps?limit=50", "audit?limit=50"].map((path) => call("GET", `/v1/operations/${path}`)),
  );
  policies = found;
  redraw("#aliases", [status.aliases, policies], () => sections.aliases(status, policies, ask));
  redraw("#tiles", [status.counts, status.queues, status.dead_letters], () => sections.tiles(status));
  redraw("#round", [status.round, status.round_requested], () => sections.round(status));
  redraw("#slots", [status.slots, status.aliases.live], () => sections.slots(status));
  redraw("#policies", policies, () => sections.policyRows(policies, ask));
  redraw("#swaps", swaps, () => sections.swaps(swaps));
  redraw("#audit", audit, () => sections.audit(audit));
  for (const button of $$("[data-round]")) button.disabled = Boolean(status.round_requested);
  $("#fresh").textContent = new Date().toLocaleTimeString([], { hourCycle: "h23" });
}

async function keepFresh() {
  try {
    if (!document.hidden) await refresh();
  } catch (error) {
    if (error.status === 401) return report(error);
    $("#fresh").textContent = `not fresh: ${error.message}`;
  }
  setTimeout(keepFresh, REFRESH_S * 1000);
}

/** Open the dialog for a move: "promote" a policy, or "rollback" to it. */
function ask(kind, policy) {
  const promote = kind === "promote";
  const refused = promote && !policy.decision.promote;
  pending = { kind, policy };
  $("#confirm-title").textContent = promote ? `Promote ${policy.version}` : `Roll back to ${policy.version}`;
  $("#confirm-text").textContent = promote
    ? "It answers all new requests once it is loaded and probed. What is live now stays warm as previous."
    : "It is still warm: new requests go there at once.";
  $("#confirm-checks").replaceChildren(...(promote ? sections.checkItems(policy.decision.reasons) : []));
  $("#override-box").hidden = !refused;
  $("#override").checked = false;
  $("#reason").value = "";
  $("#confirm-error").textContent = "";
  $("#confirm-go").textContent = promote ? "Promote" : "Roll back";
  showNeed();
  $("#confirm").showModal();
}

function showNeed() {
  const refused = pending.kind === "promote" && !pending.policy.decision.promote;
  $("#reason-need").textContent = refused ? "needed to go against the gate; kept in the audit" : "kept in the audit";
  $("#confirm-go").disabled = refused && !($("#override").checked && $("#reason").value.trim());
}

async function go(event) {
  event.preventDefault();
  const { kind, policy } = pending;
  const reason = $("#reason").value.trim();
  const body = kind === "promote" ? { version: policy.version, reason, override: $("#override").checked } : { reason };
  try {
    const { version } = await call("POST", `/v1/operations/${kind}`, body);
    $("#confirm").close();
    toast(`${version} is live as soon as it is loaded`);
    await refresh();
  } catch (error) {
    $("#confirm-error").textContent = error.message;
  }
}

async function askForRound(kind) {
  try {
    await call("POST", "/v1/operations/rounds", { kind });
    toast(`Asked the trainer for a ${kind} round`);
    await refresh();
  } catch (error) {
    report(error);
  }
}

signIn(
  () => call("GET", "/v1/operations/status"),
  () => {
    $("#confirm-form").addEventListener("submit", go);
    $("#confirm-form").addEventListener("input", showNeed);
    $("#confirm-cancel").addEventListener("click", () => $("#confirm").close());
    for (const button of $$("[data-round]")) button.addEventListener("click", () => askForRound(button.dataset.round));
    document.addEventListener("visibilitychange", () => document.hidden || refresh().catch(() => {}));
    keepFresh();
  },
);
