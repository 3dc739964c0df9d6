// The page on label quality: asks for the audit's latest report, draws it, and carries out pauses and resumptions.

import { $, ago, el, toast } from "/static/shared/dom.js";
import { call, report as tell, signIn } from "/static/shared/api.js";
import { columns, figure, percent } from "/static/quality/charts.js";
import { rows } from "/static/quality/people.js";

const REFRESH_S = 10;
const AT = "/v1/operations";
const plain = (value) => value.toFixed(2);
const FIGURES = [
  ["agreement", "Pairs", percent, "Share of pairs on which two labelers agree, where both prefer one"],
  ["agreement_with_ties", "Pairs and ties", percent, "The same, with a tie as a third answer"],
  ["alpha", "Alpha of pairs", plain, "Krippendorff's alpha of the pairs' outcomes: 0 is chance, 1 full agreement"],
  ["quality_alpha", "Alpha of scores", plain, "Krippendorff's alpha of the scores from 1 to 7, ordinal"],
  ["tau", "Kendall's tau-b", plain, "Mean over two labelers' orders of one item"],
];
const MOVES = {
  pause: {
    title: "Pause",
    text: "They are given nothing until you resume them.",
    note: "the labeler reads it",
    choices: ["count as before", "of the last 24 hours, and until resumed, stay out of snapshots"],
    body: (name, reason, second) => ({ labeler: name, reason, ...(second ? { quarantine_hours: 24 } : {}) }),
    needsReason: true,
  },
  resume: {
    title: "Resume",
    text: "They are given items again at once.",
    note: "kept in the audit",
    choices: ["in quarantine count again", "in quarantine stay out for good"],
    body: (name, reason, second) => ({ labeler: name, reason, lift: !second }),
  },
};

const drawn = new Map();
let pending = null;

function redraw(id, data, make) {
  const now = JSON.stringify(data);
  if (drawn.get(id) === now) return;
  drawn.set(id, now);
  const focused = document.activeElement?.getAttribute?.("aria-label");
  $(id).replaceChildren(...make());
  if (focused) $(`[aria-label="${CSS.escape(focused)}"]`, $(id))?.focus();
}

async function refresh() {
  const [{ report, standings, queues }, gold] = await Promise.all([call("GET", `${AT}/quality`), call("GET", `${AT}/gold`)]);
  $("#nothing").hidden = report !== null;
  redraw("#queues", [queues, Math.floor(Date.now() / 60000)], () => queues.map(queueRow));
  redraw("#gold", gold, () => goldRows(gold));
  redraw("#people", [report?.people, standings, Math.floor(Date.now() / 60000)], () => rows(report?.people ?? {}, standings, ask));
  if (report === null) return;
  redraw("#tiles", [report, standings], () => tiles(report, standings));
  redraw("#groups", report.groups, () => groups(report.groups));
  redraw("#bias", [report.slots, report.longer_wins], () => biases(report));
  redraw("#pace", report.per_hour, () => pace(report.per_hour));
  redraw("#flags", report.flags, () => flagRows(report.flags));
  $("#fresh").textContent = `report of ${ago(report.at)}`;
}

function tiles({ labels, people, quarantined, verdicts }, standings) {
  const flagged = Object.values(people).filter((each) => each.flags.length).length;
  const paused = Object.values(standings).filter((each) => each.state === "paused").length;
  const verdict = (verdicts.all_bad ?? 0) + (verdicts.all_good ?? 0);
  return [
    ["Labels looked at", labels],
    ["Labelers", Object.keys(people).length],
    ["Flagged", flagged, flagged > 0],
    ["Paused", paused, paused > 0],
    ["Labels in quarantine", quarantined, quarantined > 0],
    ["All bad, or all good", verdict],
  ].map(([name, value, bad]) => el("div", { class: bad && "bad" }, el("dt", { text: name }), el("dd", { text: String(value) })));
}

function groups(found) {
  return Object.entries(found).map(([name, group]) =>
    el(
      "div",
      { class: "group" },
      el("h3", {}, name === "all" ? "everybody" : name, el("span", { class: "muted small", text: `  ${group.labelers} labelers, ${group.labels} labels` })),
      FIGURES.map(([field, title, shown, about]) => figure(title, group[field], { shown, title: `${about}; ${group[field].n} items` })),
    ),
  );
}

function biases({ slots, longer_wins: longer }) {
  if (!slots.length && longer.value === null) return [el("p", { class: "muted", text: "No decided pair yet." })];
  return [...slots.map((each, at) => figure(`Place ${at + 1}`, each, { half: true })), figure("The longer one", longer, { half: true })];
}

function pace(counts) {
  const total = counts.reduce((sum, each) => sum + each, 0);
  return [
    columns(counts, `${total} labels in the last 24 hours, at most ${Math.max(...counts)} in one`),
    el("div", { class: "row spread muted small" }, el("span", { text: "24 h ago" }), el("span", { text: `${total} in all` }), el("span", { text: "now" })),
  ];
}

const queueRow = ({ name, waiting, oldest_s: since }) =>
  el("tr", {}, el("td", { text: name }), el("td", { text: String(waiting) }), el("td", { class: "muted", text: since === null ? "–" : ago(new Date(since * 1000).toISOString()) }));

function flagRows(flags) {
  const found = Object.entries(flags);
  if (!found.length) return [el("tr", {}, el("td", { class: "muted", colspan: 4, text: "No flag was set on an item that two people saw." }))];
  return found.map(([name, { both, one }]) =>
    el("tr", {}, el("td", { text: name.replaceAll("_", " ") }), el("td", { text: String(both) }), el("td", { text: String(one) }), el("td", { text: both + one ? percent(both / (both + one)) : "–" })),
  );
}

function goldRows(gold) {
  if (!gold.length) return [el("tr", {}, el("td", { class: "muted", colspan: 5, text: "None yet. The audit makes them of what three labelers agree on." }))];
  return gold.slice(-12).reverse().map((check) =>
    el(
      "tr",
      {},
      el("td", { class: "mono", title: check.comparison_id, text: `…${check.comparison_id.slice(-8)}` }),
      el("td", { text: check.source }),
      el("td", { text: check.pairs.map(([better, worse]) => `${better + 1} > ${worse + 1}`).join(", ") }),
      el("td", { text: check.practice ? "practice" : "hidden" }),
      el("td", { class: "muted", text: ago(check.created_at) }),
    ),
  );
}

function ask(move, name) {
  const { title, text, note, choices, needsReason } = MOVES[move];
  pending = { move, name };
  $("#move-title").textContent = `${title} ${name}`;
  $("#move-text").textContent = text;
  $("#reason-note").textContent = note;
  $("#reason").required = Boolean(needsReason);
  $("#reason").value = "";
  [$("#choice-first").textContent, $("#choice-second").textContent] = choices;
  $("#move-form").elements.labels.value = "first";
  $("#move-go").textContent = title;
  $("#move").showModal();
}

async function carryOut() {
  const { move, name } = pending;
  const second = $("#move-form").elements.labels.value === "second";
  try {
    await call("POST", `${AT}/labelers/${move}`, MOVES[move].body(name, $("#reason").value.trim(), second));
    toast(move === "pause" ? `${name} is paused` : `${name} goes on`, "good");
    await refresh();
  } catch (error) {
    tell(error);
  }
}

async function keepFresh() {
  try {
    if (!document.hidden) await refresh();
  } catch (error) {
    if (error.status === 401) return tell(error);
    $("#fresh").textContent = `not fresh: ${error.message}`;
  }
  setTimeout(keepFresh, REFRESH_S * 1000);
}

$("#move").addEventListener("close", () => $("#move").returnValue === "yes" && carryOut());
signIn(() => call("GET", `${AT}/gold`), keepFresh);
