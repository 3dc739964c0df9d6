// The queues that this person may take from, the day's count and goal, and a reminder to rest where items weigh.

import { $, el } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";

const CHOSEN = "whetstone-queue";
const SENSITIVE = /^sensitive\b/; // a queue that needs a skill of this name can weigh on people
const BREAK_AFTER = 20; // items of such a queue
const BREAK_AFTER_S = 1800;

let known = [];
let changed = () => {};
let today = 0;
let goal = 0;
let sinceBreak = 0;
let lastBreak_s = Date.now() / 1000;

/** Return the name of the chosen queue. */
export const chosen = () => $("#queue").value;

/** Fetch the queues; `me` has today's counts. */
export async function load(me) {
  today = (me.labels_today ?? 0) + (me.demonstrations_today ?? 0);
  ({ queues: known } = await call("GET", "/v1/labeling/queues"));
  const before = $("#queue").options.length > 1 ? chosen() : (localStorage.getItem(CHOSEN) ?? "training");
  $("#queue").replaceChildren(...known.map(({ name }) => el("option", { value: name, text: name })));
  $("#queue").value = known.some(({ name }) => name === before) ? before : (known[0]?.name ?? "");
  draw();
}

/** An item of a queue was begun: its rules name the day's goal. */
export function begun(item) {
  goal = item.rules.daily_goal;
  draw();
}

/** One more answer is stored. */
export function counted() {
  today += 1;
  sinceBreak += 1;
  draw();
  const sensitive = known.find(({ name }) => name === chosen())?.needs.some((need) => SENSITIVE.test(need));
  if (!sensitive || $("dialog[open]")) return;
  if (sinceBreak < BREAK_AFTER && Date.now() / 1000 - lastBreak_s < BREAK_AFTER_S) return;
  sinceBreak = 0;
  lastBreak_s = Date.now() / 1000;
  $("#break-dialog").showModal();
}

function draw() {
  $("#tally").textContent = goal ? `${today} today / ${goal} goal` : `${today} today`;
  $("#goal").hidden = !goal;
  $("#goal").value = goal ? Math.min(1, today / goal) : 0;
}

async function list() {
  try {
    ({ queues: known } = await call("GET", "/v1/labeling/queues"));
  } catch (error) {
    return report(error);
  }
  const rows = known.map((queue) => {
    const limits = [
      `${queue.waiting} waiting`,
      `${queue.today} by you today`,
      queue.daily_goal && `goal ${queue.daily_goal}`,
      queue.daily_cap && `at most ${queue.daily_cap} a day`,
      queue.needs.length && `needs ${queue.needs.join(", ")}`,
    ];
    const choose = () => {
      $("#queue").value = queue.name;
      $("#queues-dialog").close();
      change();
    };
    return el(
      "li",
      {},
      el("button", {
        type: "button",
        "aria-pressed": String(queue.name === chosen()),
        onclick: choose,
        text: queue.name,
      }),
      el("span", { class: "muted small", text: limits.filter(Boolean).join(" · ") }),
    );
  });
  $("#queues-list").replaceChildren(...rows);
  $("#queues-dialog").showModal();
}

function change() {
  localStorage.setItem(CHOSEN, chosen());
  $("#queue").blur();
  changed();
}

/** Wire the chooser; `onChange()` hears of another queue. */
export function begin(onChange) {
  changed = onChange;
  $("#queue").addEventListener("change", change);
  $("#queues-open").addEventListener("click", list);
}
