// Drawing the sections of the operations page from what the API said. Reads data, holds no state.

import { ago, el } from "/static/shared/dom.js";

const STAGES = {
  sft: ["snapshot", "sft", "evaluate", "register"],
  ppo: ["snapshot", "reward", "start", "ppo", "evaluate", "register"],
};
/** Stages that are shown as a part of another one. */
const WITHIN = { disagree: "reward" };
const SVG = "http://www.w3.org/2000/svg";
const short = (value, digits = 3) => (typeof value === "number" ? Number(value.toPrecision(digits)).toString() : "–");
const percent = (value) => (typeof value === "number" ? `${(value * 100).toFixed(1)} %` : "–");

/** Return the three alias cards. `act(kind, policy)` is called by their buttons. */
export function aliases(status, policies, act) {
  const notes = { live: "answers now", previous: "kept warm to roll back to", candidate: "proposed by the trainer" };
  return Object.entries(notes).map(([name, note]) => {
    const version = status.aliases[name];
    const policy = policies.find((each) => each.version === version);
    const button =
      !policy || name === "live"
        ? null
        : name === "previous"
          ? el("button", { class: "danger", text: "Roll back", onclick: () => act("rollback", policy) })
          : el("button", { class: "primary", text: "Promote", onclick: () => act("promote", policy) });
    return el(
      "article",
      { class: `alias ${name}` },
      el("div", { class: "name", text: name }),
      el("div", { class: "version", text: version ?? "none" }),
      el("div", {
        class: "muted small",
        text: policy ? `${policy.kind}, made ${ago(policy.created_at)}, ${note}` : note,
      }),
      el("div", { class: "row" }, button, policy && name === "candidate" ? verdict(policy) : null),
    );
  });
}

function verdict({ decision }) {
  const [kind, text] = decision.promote ? ["good", "gate passes"] : ["bad", "gate refuses"];
  return el("span", { class: `chip ${kind}`, text });
}

/** Return the tiles of counts and queues. */
export function tiles({ counts, queues, dead_letters: deadLetters }) {
  const shown = [
    ["prompts logged", counts.interactions],
    ["prompts kept", counts.prompts],
    ["labels", counts.labels],
    ["demonstrations", counts.demonstrations],
    ["being sampled", queues.being_sampled],
    ["dead letters", deadLetters ?? 0],
    ...Object.entries(queues)
      .filter(([name]) => name !== "being_sampled")
      .map(([name, count]) => [`${name} queue`, count]),
  ];
  return shown.map(([name, value]) =>
    el("div", {}, el("dt", { text: name }), el("dd", { text: value.toLocaleString("en") })),
  );
}

/** Return the running or last round as steps. */
export function round({ round: last, round_requested: requested, round_outlook: outlook }) {
  const asked = requested ? el("p", { class: "chip accent", text: `${requested} round asked for` }) : null;
  const waits = outlook?.waits_for.length ? `The next one waits for: ${outlook.waits_for.join("; ")}.` : "";
  const next = waits ? el("p", { class: "muted small", text: waits }) : null;
  if (!last) return [el("p", { class: "muted", text: "No round has run yet." }), asked, next].filter(Boolean);
  const stages = STAGES[last.kind].filter((name) => name !== "start" || name === last.stage || name in last.seconds);
  const at = last.state === "done" ? stages.length : stages.indexOf(WITHIN[last.stage] ?? last.stage);
  const state = { running: "accent", done: "good", failed: "bad", cancelled: "steel" }[last.state];
  const steps = stages.map((name, index) => {
    const kind = index < at ? "done" : index > at ? "" : last.state === "running" ? "now" : "failed";
    return el("li", { class: kind }, name, el("small", { text: stageNote(last, name, index === at) }));
  });
  const when = last.finished_at ? `finished ${ago(last.finished_at)}` : `began ${ago(last.created_at)}`;
  const made = last.version ? `, made ${last.version}` : "";
  const why = last.reason ? `: ${last.reason}` : "";
  const told = el("span", { class: "muted small", text: `${last.kind} round, ${when}${made}${why}` });
  return [
    el("div", { class: "row" }, el("span", { class: `chip ${state}`, text: last.state }), told, asked),
    el("ol", { class: "stages" }, steps),
    last.error ? el("p", { class: "error text small", text: last.error }) : null,
    last.state === "running" ? null : next,
  ].filter(Boolean);
}

/** Return how long a stage took, or how far the running one is. */
function stageNote({ seconds, progress }, name, running) {
  if (running && progress.steps) {
    const eta = progress.eta_s > 0 ? `, ${Math.ceil(progress.eta_s)} s left` : "";
    return `${progress.step} of ${progress.steps}${eta}`;
  }
  return seconds[name] === undefined ? "" : `${seconds[name].toFixed(1)} s`;
}

/** Return the canary with its controls. */
export function canary({ canary: running }, policies, act) {
  if (!running) return [el("p", { class: "muted", text: "None. Any policy below can be given a share of the callers." })];
  const policy = policies.find((each) => each.version === running.version);
  const told = `${running.share} % of the callers of live, ${ago(running.since)}, by ${running.actor}`;
  return [
    el(
      "div",
      { class: "row" },
      el("b", { class: "mono", text: running.version }),
      el("span", { class: "muted small", text: told }),
    ),
    el("meter", { min: 0, max: 100, value: running.share, "aria-label": `${running.share} percent of the callers` }),
    el(
      "div",
      { class: "row" },
      policy && el("button", { text: "Change share", onclick: () => act("canary", policy, running.share) }),
      policy && el("button", { class: "danger", text: "End canary", onclick: () => act("end canary", policy) }),
    ),
  ];
}

/** Return one line per engine slot. */
export function slots({ slots: found, aliases, canary: trial }) {
  if (!found.length) return [el("p", { class: "muted", text: "This process serves no model." })];
  return found.map((slot) =>
    el(
      "div",
      { class: "slot" },
      el("b", { text: slot.slot }),
      el("span", { class: "mono", text: slot.version || "empty" }),
      el("span", { class: `chip ${{ ready: "steel", failed: "bad" }[slot.state] ?? ""}`, text: slot.state }),
      slot.state === "ready" && slot.version === aliases.live ? el("span", { class: "chip good", text: "live" }) : null,
      slot.state === "ready" && slot.version === trial?.version
        ? el("span", { class: "chip accent", text: `canary ${trial.share} %` })
        : null,
      el("span", { class: "grow" }),
      el("span", { class: "muted small", text: `${slot.in_flight} in flight` }),
    ),
  );
}

/** Return one table row per policy. */
export function policyRows(policies, trial, act) {
  return policies.map((policy) => {
    const live = policy.aliases.includes("live");
    const figures = policy.figures ?? {};
    const badges = policy.aliases.map((name) =>
      el("span", { class: `chip ${name === "live" ? "good" : "accent"}`, text: name }),
    );
    return el(
      "tr",
      {},
      el("td", { class: "nowrap" }, el("b", { class: "mono", text: policy.version }), badges),
      el("td", { text: policy.kind }),
      el("td", { class: "mono nowrap", text: policy.parent || "–" }),
      el("td", { class: "nowrap muted", text: ago(policy.created_at), title: policy.created_at }),
      el("td", { class: "nowrap" }, winRate(figures.win_rate)),
      el("td", { text: short(figures.kl_nats) }),
      el("td", { text: short(figures.length_ratio) }),
      el("td", {}, gateDetails(policy)),
      el(
        "td",
        { class: "nowrap" },
        live ? null : el("button", { text: "Promote", onclick: () => act("promote", policy) }),
        live || trial ? null : el("button", { class: "quiet", text: "Canary", onclick: () => act("canary", policy) }),
      ),
    );
  });
}

function gateDetails(policy) {
  const reasons = el("ul", { class: "checks" }, checkItems(policy.decision.reasons));
  return el("details", { class: "gate" }, el("summary", {}, verdict(policy)), reasons);
}

/** Return the gate's reasons as list items. */
export const checkItems = (reasons) =>
  reasons.map((reason) => el("li", { class: reason.startsWith("FAIL") ? "fail" : "pass", text: reason }));

function winRate(rate) {
  if (!rate || typeof rate.mean !== "number") return el("span", { class: "muted", text: "–" });
  const text = `${percent(rate.mean)} (${percent(rate.low)} – ${percent(rate.high)}), n ${rate.n}`;
  const x = (value) => String(4 + 120 * value);
  const svg = draw("svg", { class: "whisker", viewBox: "0 0 128 11", role: "img", "aria-label": text });
  svg.append(
    draw("line", { x1: x(0), x2: x(1), y1: "5.5", y2: "5.5" }),
    draw("line", { class: "half", x1: x(0.5), x2: x(0.5), y1: "0", y2: "11" }),
    draw("line", { class: "range", x1: x(rate.low), x2: x(rate.high), y1: "5.5", y2: "5.5" }),
    draw("circle", { cx: x(rate.mean), cy: "5.5", r: "3.2" }),
  );
  return [el("div", { text }), svg];
}

function draw(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** Return the swap events as timeline entries. */
export function swaps(events) {
  if (!events.length) return [el("li", {}, el("span", { class: "muted", text: "No swap yet." }))];
  return events.map((event) => {
    const kind = { live: "good", failed: "bad", deferred: "bad", pending: "steel", staged: "accent" }[event.state];
    const left = event.in_flight && event.previous ? `, ${event.in_flight} in flight stayed on ${event.previous}` : "";
    const loaded = event.load_s ? `loaded in ${event.load_s.toFixed(2)} s` : "was warm";
    const details = { live: `${loaded}${left}`, staged: loaded }[event.state] ?? event.error;
    return entry(event.at, kind, event.state, event.version, `on ${event.replica}`, details);
  });
}

/** Return the audit as timeline entries. */
export function audit(entries) {
  if (!entries.length) return [el("li", {}, el("span", { class: "muted", text: "Nothing yet." }))];
  return entries.map((each) => {
    const kind = each.action === "roll back" || each.action.includes("refused") ? "bad" : "accent";
    const what = each.after ? `${each.before || "none"} → ${each.after}` : each.before || each.subject;
    return entry(each.at, kind, each.action, what, `by ${each.actor}`, each.reason);
  });
}

function entry(at, kind, action, what, where, why) {
  return el(
    "li",
    {},
    el("time", { class: "muted small", datetime: at, title: at, text: ago(at) }),
    el("span", { class: `chip ${kind}`, text: action }),
    el("span", {}, el("span", { class: "mono", text: what }), el("span", { class: "muted small", text: ` ${where}` })),
    why ? el("span", { class: "why", text: why }) : null,
  );
}
