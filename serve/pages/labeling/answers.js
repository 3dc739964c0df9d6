// A person's recent answers: each can be corrected for a while; the earlier one is kept beside it.

import { $, ago, el, toast } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";
import * as drafts from "/static/labeling/drafts.js";
import * as guidelines from "/static/labeling/guidelines.js";
import { letter } from "/static/labeling/ranking.js";
import { fromAnswer, toSubmission } from "/static/labeling/submission.js";
import { busy, work } from "/static/labeling/work.js";

const ROUTE = "/v1/labeling/labels";
const RULES = { ties: true, partial_order: true, daily_goal: 0 }; // of items that come without any

let given = {};

async function list() {
  try {
    const { labels } = await call("GET", ROUTE);
    const rows = labels.map(row);
    $("#answers-list").replaceChildren(...(rows.length ? rows : [el("li", { class: "muted", text: "None yet." })]));
    $("#answers-dialog").showModal();
  } catch (error) {
    report(error);
  }
}

function row({ id, kind, queue, submitted_at_s, revise_until_s }) {
  const left_s = revise_until_s - Date.now() / 1000;
  const what = kind === "demonstration" ? "written answer" : "ranking";
  return el(
    "li",
    {},
    el(
      "span",
      { class: "grow" },
      what,
      el("span", { class: "muted small", text: ` in ${queue}, ${ago(new Date(submitted_at_s * 1000).toISOString())}` }),
    ),
    left_s > 0
      ? el("button", {
          type: "button",
          text: `Change (${Math.ceil(left_s / 60)} min left)`,
          onclick: () => correct(id),
        })
      : kind === "comparison" &&
          el("button", { class: "quiet", type: "button", text: "See", onclick: (event) => see(id, event.target) }),
  );
}

/** Show what was answered; and what others answered, where the queue shows that once an answer is final. */
async function see(id, button) {
  try {
    const { completions, answer, others = [] } = await call("GET", `${ROUTE}/${encodeURIComponent(id)}`);
    const name = (index) => letter(completions.findIndex((completion) => completion.index === index));
    const order = ({ outcome, ranking }) =>
      outcome === "ranked"
        ? ranking.map((group) => group.map(name).join(" = ")).join(" > ")
        : outcome.replace("_", " ");
    const told = [`yours: ${order(answer)}`, ...others.map((other) => `another: ${order(other)}`)];
    button.replaceWith(el("span", { class: "small", text: told.join(" · ") }));
  } catch (error) {
    report(error);
  }
}

async function correct(id) {
  try {
    const found = await call("GET", `${ROUTE}/${encodeURIComponent(id)}`);
    $("#answers-dialog").close();
    await drafts.flush();
    const item = { ...found, label_id: id, rules: found.rules ?? RULES };
    given.show(item, fromAnswer(item, found.answer), "revision");
    $("#banner").hidden = false;
    $("#banner-text").textContent =
      "You are changing an answer that is stored. Submit stores the correction beside it.";
    $("#banner-act").textContent = "Leave it as it is";
    $("#banner-act").onclick = stop;
  } catch (error) {
    report(error);
  }
}

function stop() {
  $("#banner").hidden = true;
  given.done();
}

/** Store the correction on the desk. */
export async function revise() {
  const { item, draft } = work;
  const { token: _, ...body } = toSubmission(item, draft, guidelines.basis());
  busy(true);
  try {
    await call("POST", `${ROUTE}/${encodeURIComponent(item.label_id)}/revise`, body);
    toast("The correction is stored.");
    stop();
  } catch (error) {
    report(error);
  } finally {
    busy(false);
  }
}

/** Wire the list. `handlers`: show(item, draft, mode), done(). */
export function begin(handlers) {
  given = handlers;
  $("#answers-open").addEventListener("click", list);
}
