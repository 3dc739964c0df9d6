// The labeling page: shows one item, turns keys into a draft, submits it once.

import { $, $$, announce, clock, el, toast } from "/static/shared/dom.js";
import { call, report, signIn } from "/static/shared/api.js";
import * as lease from "/static/labeling/lease.js";
import * as rank from "/static/labeling/ranking.js";
import * as view from "/static/labeling/view.js";

const SKIPS = [
  "I do not know the language",
  "It needs knowledge I lack",
  "It is broken",
  "It is too long",
  "It is offensive",
  "Something else",
];
const LOOK_AGAIN_S = 10;

let item = null;
let draft = null;
let focused = 0;
let history = [];
let sending = false;
let stopLease = () => {};
let lookAgain = 0;

async function showTally() {
  const me = await call("GET", "/v1/labeling/me");
  const today = me.labels_today + me.demonstrations_today;
  $("#tally").textContent = `${me.labeler}: ${today} today, ${me.labels + me.demonstrations} in all`;
}

async function nextItem() {
  stopLease();
  clearTimeout(lookAgain);
  try {
    show(await lease.next($("#queue").value));
  } catch (error) {
    report(error);
    lookAgain = setTimeout(nextItem, (error.retryAfter_s ?? LOOK_AGAIN_S) * 1000);
  }
}

function show(found) {
  item = found;
  $("#work").hidden = $("#order").hidden = $("#lease").hidden = !item;
  $("#empty").hidden = Boolean(item);
  if (!item) {
    lookAgain = setTimeout(nextItem, LOOK_AGAIN_S * 1000);
    return announce("Nothing left in this queue");
  }
  draft = lease.loadDraft(item) ?? rank.newDraft(item.completions.length);
  if (draft.ranks.length !== item.completions.length) draft = rank.newDraft(item.completions.length);
  history = [];
  focused = 0;
  $("#saved").textContent = "";
  lease.acted();
  view.drawItem(item, draft, { change: (edit) => change(edit(draft)), focus, mark });
  draw();
  stopLease = lease.keepAlive(item, showLease, leaseLost);
  scrollTo(0, 0);
  if (item.kind === "demonstration") $("#response").focus();
  else focus(0);
}

function draw() {
  view.drawDraft(item, draft, sending);
}

function change(after, keep = true) {
  if (!item || sending) return;
  if (keep) history.push(draft);
  draft = { ...after, active_s: draft.active_s + lease.acted() };
  lease.saveDraft(item, draft);
  $("#saved").textContent = "draft kept";
  draw();
}

function mark(position) {
  focused = position;
  $$("#cards .card").forEach((card, index) => card.setAttribute("aria-current", String(index === position)));
}

function focus(position) {
  const cards = $$("#cards .card");
  if (!cards.length) return;
  const card = cards[Math.min(Math.max(position, 0), cards.length - 1)];
  if (!card.contains(document.activeElement)) card.focus({ preventScroll: true });
  mark(cards.indexOf(card));
  card.scrollIntoView({ block: "nearest" });
}

function setRank(digit) {
  change(rank.setRank(draft, focused, digit));
  const place = rank.groups(draft.ranks).findIndex((group) => group.includes(focused));
  announce(place < 0 ? `${rank.letter(focused)} has no rank` : `${rank.letter(focused)} is now number ${place + 1}`);
  const open = rank.unranked(draft.ranks);
  if (digit && open.length) focus(open.find((position) => position > focused) ?? open[0]);
}

async function submit() {
  if (!item || sending) return;
  const obstacle = rank.problem(item, draft);
  if (obstacle) return toast(obstacle);
  draft = { ...draft, active_s: draft.active_s + lease.acted() };
  const path = `/v1/labeling/items/${encodeURIComponent(item.item_id)}/submit`;
  sending = true;
  draw();
  try {
    await untilAnswered(() => call("POST", path, rank.toSubmission(item, draft)));
    announce("Stored");
    await moveOn(false);
    showTally().catch(() => {});
  } catch (error) {
    if (error.code === "lease_lost") await leaseLost();
    else report(error);
  } finally {
    sending = false;
    if (item) draw();
  }
}

/** Repeat a call while the server is away; a submission carries its id, so that it counts once. */
async function untilAnswered(attempt) {
  for (;;) {
    try {
      const answer = await attempt();
      $("#saved").textContent = "stored";
      return answer;
    } catch (error) {
      if (!error.passing) throw error;
      $("#saved").textContent = `not stored yet: ${error.message}; trying again`;
      await new Promise((done) => setTimeout(done, error.retryAfter_s * 1000));
    }
  }
}

async function moveOn(keepDraft) {
  if (item) lease.drop(item, keepDraft);
  item = null;
  await nextItem();
}

async function leaseLost() {
  toast("This item went back to the queue; your draft is kept for when you get it again.", "bad");
  await moveOn(true);
}

function showLease(left_s) {
  $("#lease").textContent = `${clock(left_s)} left`;
  $("#lease").classList.toggle("soon", left_s < 120);
}

function askSkip() {
  const dialog = $("#skip-dialog");
  dialog.returnValue = "";
  dialog.showModal();
}

async function skip(reason) {
  const path = `/v1/labeling/items/${encodeURIComponent(item.item_id)}/skip`;
  try {
    await call("POST", path, { token: item.token, reason });
    await moveOn(false);
  } catch (error) {
    if (error.code === "lease_lost") await leaseLost();
    else report(error);
  }
}

function onKey(event) {
  if (!item || $("dialog[open]")) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return handled(event, submit);
  const typing = event.target.matches("input, textarea, select");
  const leave = () => (item.kind === "comparison" ? focus(focused) : event.target.blur());
  if (typing && event.key === "Escape") return handled(event, leave);
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1];
  const common = { s: askSkip, "?": toggleLegend };
  if (common[event.key]) return handled(event, common[event.key]);
  if (item.kind !== "comparison") return;
  if (digit !== undefined) return handled(event, () => onDigit(Number(digit), event.shiftKey));
  const flag = rank.FLAGS.find(([, key]) => key === event.key);
  if (flag) return handled(event, () => change(rank.toggleFlag(draft, focused, flag[0])));
  const actions = {
    j: () => focus(focused + 1),
    ArrowDown: () => focus(focused + 1),
    k: () => focus(focused - 1),
    ArrowUp: () => focus(focused - 1),
    Backspace: () => setRank(0),
    n: () => $("#note").focus(),
    z: () => history.length && change(history.pop(), false),
  };
  if (actions[event.key]) handled(event, actions[event.key]);
}

function onDigit(digit, shifted) {
  if (shifted) return digit >= 1 && digit <= 7 && change(rank.setQuality(draft, focused, digit));
  if (digit) return setRank(digit);
  change(rank.tieAll(draft));
  announce(draft.all_bad ? "all bad" : "all tied");
}

function handled(event, action) {
  event.preventDefault();
  action();
}

function toggleLegend() {
  $("#legend").hidden = !$("#legend").hidden;
  $("#legend-toggle").setAttribute("aria-expanded", String(!$("#legend").hidden));
  localStorage.setItem("whetstone-legend", $("#legend").hidden ? "off" : "on");
}

function wire() {
  document.addEventListener("keydown", onKey);
  $("#submit").addEventListener("click", submit);
  $("#skip").addEventListener("click", askSkip);
  $("#again").addEventListener("click", nextItem);
  $("#legend-toggle").addEventListener("click", toggleLegend);
  if (localStorage.getItem("whetstone-legend") === "off") toggleLegend();
  $("#response").addEventListener("input", (event) => change({ ...draft, response: event.target.value }, false));
  $("#note").addEventListener("input", (event) => change({ ...draft, note: event.target.value }, false));
  $("#queue").addEventListener("change", changeQueue);
  wireSkip($("#skip-dialog"));
}

function wireSkip(dialog) {
  const choices = SKIPS.map((words, index) =>
    el("button", { type: "submit", value: words }, el("kbd", { text: String(index + 1) }), words),
  );
  $("#skip-reasons").append(...choices);
  dialog.addEventListener("keydown", (event) => {
    const chosen = SKIPS[Number(event.key) - 1];
    if (chosen) handled(event, () => dialog.close(chosen));
  });
  dialog.addEventListener("close", () => dialog.returnValue && item && skip(dialog.returnValue));
}

/** An item left behind comes back to this person, with its draft, when its lease has run out. */
async function changeQueue() {
  localStorage.setItem("whetstone-queue", $("#queue").value);
  $("#queue").blur();
  await moveOn(true);
}

signIn(
  () => call("GET", "/v1/labeling/me"),
  async () => {
    wire();
    $("#queue").value = localStorage.getItem("whetstone-queue") ?? "training";
    showTally().catch(() => {});
    const held = await lease.resume();
    if (held) $("#queue").value = held.queue;
    if (held) show(held);
    else await nextItem();
  },
);
