// Practice: items with a known answer, on the same desk, each followed by its explanation. No label comes of it.

import { $, el, toast } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";
import { letter } from "/static/labeling/ranking.js";
import { toLabel } from "/static/labeling/submission.js";
import { busy, work } from "/static/labeling/work.js";

const ROUTE = "/v1/labeling/practice";
const RULES = { ties: true, partial_order: false, daily_goal: 0 };

let given = {};

/** Begin where this person stopped, or anew after the last item. */
export async function start() {
  try {
    const state = await call("GET", ROUTE);
    put(state.item ? state : await call("POST", ROUTE));
  } catch (error) {
    report(error);
  }
}

function put({ item, answered, of }) {
  if (!item) return given.done();
  // its explanation speaks of the first and the second answer, so they stand in their own order
  const completions = item.completions.toSorted((a, b) => a.index - b.index);
  given.show({ ...item, completions, item_id: `practice-${item.id}`, rules: RULES, language: "" }, null, "practice");
  $("#banner").hidden = false;
  $("#banner-text").textContent = `Practice ${answered + 1} of ${of}: the right answer is explained after each.`;
  $("#banner-act").textContent = "Stop";
  $("#banner-act").onclick = stop;
}

function stop() {
  $("#banner").hidden = true;
  given.done();
}

/** Have the answer on the desk judged, and explain it. */
export async function answer() {
  const { item, draft } = work;
  const { ranking, outcome } = toLabel(item, draft);
  busy(true);
  try {
    const judged = await call("POST", `${ROUTE}/${encodeURIComponent(item.id)}`, { ranking, outcome });
    explain(item, judged);
  } catch (error) {
    report(error);
  } finally {
    busy(false);
  }
}

function explain(item, { passed, wrong, explanation, score }) {
  const name = (index) => letter(item.completions.findIndex((completion) => completion.index === index));
  const dialog = $("#practice-dialog");
  $("#practice-title").textContent = passed ? "Right" : "Not quite";
  $("#practice-title").className = passed ? "good" : "bad";
  const missed = wrong.map(([better, worse]) => `${name(better)} is better than ${name(worse)}`);
  $("#practice-verdict").textContent = missed.length
    ? `${missed.join("; ")}.`
    : "Your order has all that it must have.";
  $("#practice-explanation").textContent = explanation;
  const state = score.passed ? ", passed" : `; ${score.pass_percent} % are needed`;
  $("#practice-score").replaceChildren(
    el("b", { text: `${score.right} of ${score.of} right` }),
    ` after ${score.answered}${state}`,
  );
  $("#practice-on").firstChild.textContent = score.answered < score.of ? "Next " : "Finish ";
  dialog.returnValue = "";
  dialog.showModal();
}

async function closed() {
  if ($("#practice-dialog").returnValue !== "on") return stop();
  try {
    const state = await call("GET", ROUTE);
    if (state.item) return put(state);
    toast(state.passed ? "Practice passed." : "Not passed yet: Practise begins again.");
    stop();
  } catch (error) {
    report(error);
  }
}

/** Wire practice. `handlers`: show(item, draft, mode), done(). */
export function begin(handlers) {
  given = handlers;
  for (const id of ["#practise", "#practise-open"]) $(id).addEventListener("click", start);
  $("#practice-dialog").addEventListener("close", closed);
}
