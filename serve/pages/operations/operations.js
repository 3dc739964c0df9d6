// The operations page: asks the API every few seconds, draws what changed, and carries out the moves.

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
  redraw("#round", [status.round, status.round_requested, status.round_outlook], () => sections.round(status));
  redraw("#canary", [status.canary, policies.map((each) => each.version)], () => sections.canary(status, policies, ask));
  redraw("#slots", [status.slots, status.aliases.live, status.canary], () => sections.slots(status));
  redraw("#policies", [policies, status.canary], () => sections.policyRows(policies, status.canary, ask));
  redraw("#swaps", swaps, () => sections.swaps(swaps));
  redraw("#audit", audit, () => sections.audit(audit));
  for (const button of $$("[data-round]")) button.disabled = Boolean(status.round_requested);
  $("#cancel-round").hidden = status.round?.state !== "running" && !status.round_requested;
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

const MOVES = {
  promote: {
    title: "Promote",
    text: "It answers all new requests once it is loaded and probed. What is live now stays warm as previous.",
    method: "POST",
    path: "promote",
    done: ({ version }) => `${version} is live as soon as it is loaded`,
  },
  rollback: {
    title: "Roll back to",
    go: "Roll back",
    text: "It is still warm: new requests go there at once.",
    method: "POST",
    path: "rollback",
    done: ({ version }) => `${version} is live as soon as it is loaded`,
  },
  canary: {
    title: "Canary",
    go: "Route",
    text: "This share of the callers of live gets its answers, each conversation always from the same policy. 0 only keeps it loaded. It ends by itself when it does markedly worse than live.",
    method: "POST",
    path: "canary",
    done: ({ canary }) => `${canary.version} answers ${canary.share} % of the callers as soon as it is loaded`,
  },
  "end canary": {
    title: "End canary",
    go: "End",
    text: "Nobody is routed to it any more; what it is answering is finished.",
    method: "DELETE",
    path: "canary",
    done: ({ ended }) => `${ended.version} is no canary any more`,
  },
};

/** Open the dialog for a move of a policy; `share` is what a canary's field begins with. */
function ask(kind, policy, share = 5) {
  const move = MOVES[kind];
  const promote = kind === "promote";
  const refused = promote && !policy.decision.promote;
  pending = { kind, policy };
  $("#confirm-title").textContent = `${move.title} ${policy.version}`;
  $("#confirm-text").textContent = move.text;
  $("#confirm-checks").replaceChildren(
    ...(promote || kind === "canary" ? sections.checkItems(policy.decision.reasons) : []),
  );
  $("#override-box").hidden = !refused;
  $("#override").checked = false;
  $("#share-box").hidden = kind !== "canary";
  $("#share").disabled = kind !== "canary"; // a hidden field must not keep the form from being sent
  $("#share").value = share;
  $("#reason").value = "";
  $("#confirm-error").textContent = "";
  $("#confirm-go").textContent = move.go ?? move.title;
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
  const move = MOVES[kind];
  const body = { reason: $("#reason").value.trim() };
  if (kind === "promote") Object.assign(body, { version: policy.version, override: $("#override").checked });
  if (kind === "canary") Object.assign(body, { version: policy.version, share: Number($("#share").value) });
  try {
    const answer = await call(move.method, `/v1/operations/${move.path}`, body);
    $("#confirm").close();
    toast(move.done(answer));
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

async function cancelRound() {
  try {
    const { cancelled } = await call("DELETE", "/v1/operations/rounds/current");
    toast(cancelled ? `${cancelled} ends within seconds` : "Took the request back");
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
    $("#cancel-round").addEventListener("click", cancelRound);
    document.addEventListener("visibilitychange", () => document.hidden || refresh().catch(() => {}));
    keepFresh();
  },
);
