// The labeling page: puts one item after the other on the desk and sends each answer once.

import { $, announce, clock, toast } from "/static/shared/dom.js";
import { call, report, signIn } from "/static/shared/api.js";
import * as answers from "/static/labeling/answers.js";
import * as cards from "/static/labeling/cards.js";
import * as dialogs from "/static/labeling/dialogs.js";
import * as drafts from "/static/labeling/drafts.js";
import * as form from "/static/labeling/form.js";
import * as guidelines from "/static/labeling/guidelines.js";
import * as held from "/static/labeling/held.js";
import * as legend from "/static/labeling/legend.js";
import * as moves from "/static/labeling/moves.js";
import * as outbox from "/static/labeling/outbox.js";
import * as practice from "/static/labeling/practice.js";
import * as queues from "/static/labeling/queues.js";
import * as rank from "/static/labeling/ranking.js";
import * as reading from "/static/labeling/reading.js";
import * as skips from "/static/labeling/skips.js";
import * as statistics from "/static/labeling/statistics.js";
import { toSubmission } from "/static/labeling/submission.js";
import { change, focus, on, place, work } from "/static/labeling/work.js";

const LOOK_AGAIN_S = 10;
const SOON_S = 120;

const onTheirWay = new Map(); // item_id -> {item, draft} of answers that are not stored yet
let lookAgain = 0;
let fetching = false;

/** Show the next item, unless one is on the desk already. */
async function nextItem() {
  clearTimeout(lookAgain);
  if (fetching) return;
  fetching = true;
  try {
    show(await held.next(queues.chosen()));
  } catch (error) {
    show(null);
    await instead(error);
  } finally {
    fetching = false;
  }
}

/** Do what the server asks for before it hands out an item. */
async function instead(error) {
  if (error.status === 401) return report(error);
  $("#empty-title").textContent = "No item for now";
  $("#empty-text").textContent = error.message;
  clearTimeout(lookAgain);
  if (error.code === "must_acknowledge") return (await guidelines.acknowledge()) && setTimeout(nextItem);
  if (error.code === "must_practise") return practice.start();
  lookAgain = setTimeout(nextItem, Math.max(LOOK_AGAIN_S, error.retryAfter_s) * 1000);
}

function show(item, draft = item && drafts.load(item), mode = "item") {
  clearTimeout(lookAgain);
  place(item, draft, mode);
  $("#work").hidden = !item;
  $("#lease").hidden = mode !== "item" || !item;
  $("#empty").hidden = Boolean(item);
  if (!item) {
    lookAgain = setTimeout(nextItem, LOOK_AGAIN_S * 1000);
    $("#empty-title").textContent = "Nothing left in this queue";
    $("#empty-text").textContent =
      "You have answered everything that is open for you. This page looks again every 10 s.";
    return announce("Nothing left in this queue");
  }
  scrollTo(0, 0);
  showLease();
  focus(0, 1);
  if (item.kind === "demonstration") $("#response").focus();
  else cards.reveal();
  if (mode === "item") queues.begun(item);
}

function showLease() {
  if (work.mode !== "item" || !work.item) return;
  const left_s = work.item.deadline_s - Date.now() / 1000;
  $("#lease").textContent = `${clock(left_s)} left`;
  $("#lease").classList.toggle("bad", left_s < SOON_S);
}

/** Send the answer on the desk, unless something stands in the way; what is odd is asked about once. */
async function submit() {
  const { item, mode, busy, seen } = work;
  if (!item || busy) return;
  reading.count();
  const obstacle = rank.problem(item, work.draft, seen);
  if (obstacle) {
    if (seen.includes(false)) cards.revealUnseen(seen.indexOf(false));
    return toast(obstacle);
  }
  const odd = rank.warnings(item, work.draft).join(" ");
  if (odd && odd !== work.draft.agreed) {
    change((draft) => ({ ...draft, agreed: odd }));
    announce(odd);
    return toast(`${odd} Submit again to keep it so.`);
  }
  if (mode === "practice") return practice.answer();
  if (mode === "revision") return answers.revise();
  const { draft } = work;
  onTheirWay.set(item.item_id, { item, draft });
  held.drop(item);
  outbox.post(item, "submit", toSubmission(item, draft, guidelines.basis()));
  await nextItem();
}

function stored(entry) {
  if (entry.what === "skip") return;
  if (entry.what === "demonstration") return toast("Your answer is stored.");
  const sent = onTheirWay.get(entry.item_id);
  onTheirWay.delete(entry.item_id);
  drafts.forget(sent?.item ?? { item_id: entry.item_id });
  announce("Stored");
  legend.counted();
  queues.counted();
  if (!work.item) nextItem();
}

function refused(entry, error) {
  if (entry.what !== "submit") return toast(`Not stored: ${error.message}`, "bad");
  const sent = onTheirWay.get(entry.item_id);
  onTheirWay.delete(entry.item_id);
  if (error.code === "lease_lost") {
    toast("This item went back to the queue; your draft is kept for when you get it again.", "bad");
    if (!work.item) nextItem();
    return;
  }
  toast(`Not stored: ${error.message}`, "bad");
  if (!sent) return;
  if (work.item && work.mode === "item") held.putBack(work.item);
  held.adopt(sent.item);
  show(sent.item, { ...sent.draft });
}

function waiting(count, error) {
  $("#saved").textContent = error ? `${count} not stored yet: ${error.message}; trying again` : "";
}

function lost(item) {
  if (skips.lost(item)) return;
  if (work.item?.item_id !== item.item_id || work.mode !== "item") return;
  toast("This item went back to the queue; your draft is kept for when you get it again.", "bad");
  nextItem();
}

async function reportItem(reason, note) {
  const { item } = work;
  try {
    await call("POST", held.path(item, "report"), { token: item.token, reason, note });
    toast("Reported; nobody is given this item until an operator has looked at it.");
  } catch (error) {
    if (error.code !== "lease_lost") return report(error);
  }
  held.drop(item);
  drafts.forget(item);
  await nextItem();
}

async function changeQueue() {
  held.giveBackAhead();
  await drafts.flush();
  if (work.item && work.mode === "item") held.handBack(work.item);
  await nextItem();
}

/** Leave practice or a revision, and go back to the item that waits. */
function backToWork() {
  skips.flush();
  const waits = held.onDesk();
  if (waits) show(waits);
  else nextItem();
}

function wire(labeler) {
  reading.begin();
  cards.begin();
  form.begin();
  legend.begin();
  skips.begin({ next: nextItem, show });
  dialogs.begin({ skip: skips.skip, report: reportItem });
  guidelines.begin(labeler);
  queues.begin(changeQueue);
  statistics.begin();
  practice.begin({ show, done: backToWork });
  answers.begin({ show, done: backToWork });
  moves.begin({ submit, unskip: skips.unskip });
  drafts.open(labeler, (words) => outbox.waiting() || ($("#saved").textContent = words));
  on("draft", ({ item, draft, mode }) => {
    if (mode !== "item") return;
    drafts.save(item, draft);
    if (rank.nearlyDone(item, draft)) held.prefetch(queues.chosen());
  });
  $("#submit").addEventListener("click", submit);
  $("#again").addEventListener("click", nextItem);
  $("#menu").addEventListener("click", (event) => event.target.matches("button") && ($("#menu").open = false));
  addEventListener("pagehide", () => {
    skips.flush();
    held.giveBackAhead();
  });
  outbox.open(labeler, { stored, refused, waiting });
  held.keepAlive(showLease, lost);
}

signIn(
  () => call("GET", "/v1/labeling/me"),
  async (me) => {
    wire(me.labeler);
    await Promise.all([guidelines.load(), queues.load(me)]).catch(report);
    const [first, second] = await held.resume();
    if (second) held.putBack(second);
    if (first) show(first);
    else await nextItem();
  },
);
