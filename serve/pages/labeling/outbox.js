// What was answered and is not stored yet. It survives reloads and dead networks; each entry carries an id made here,
// so that it counts once however often it is sent.

import { call } from "/static/shared/api.js";
import { path } from "/static/labeling/held.js";

const LONGEST_WAIT_S = 60; // who is told to wait longer than this was refused

let store = "whetstone-outbox";
let entries = [];
let running = false;
let wake = () => {};
let handlers = { stored: () => {}, refused: () => {}, waiting: () => {} };

const kept = () => JSON.parse(localStorage.getItem(store) ?? "[]");
const keep = (all) => localStorage.setItem(store, JSON.stringify(all));

/** Begin with what `labeler` left behind. `handlers`: stored(entry), refused(entry, error), waiting(count, error). */
export function open(labeler, given) {
  store = `whetstone-outbox-${labeler}`;
  handlers = given;
  entries = kept();
  addEventListener("online", () => wake());
  run();
}

/** Send something about an item, now or as soon as that works. `what` is the last word of the address. */
export function post(item, what, body) {
  const entry = { path: path(item, what), body, item_id: item.item_id, what };
  entries.push(entry);
  keep([...kept(), entry]); // another tab of the same person may have written meanwhile: its entries stay
  run();
}

/** Return how many entries are not stored yet. */
export const waiting = () => entries.length;

async function run() {
  if (running) return wake();
  running = true;
  while (entries.length) await attempt(entries[0]);
  running = false;
}

async function attempt(entry) {
  try {
    handlers.waiting(entries.length, null);
    await call("POST", entry.path, entry.body);
    done(entry);
    handlers.stored(entry);
  } catch (error) {
    const hopeless = error.status === 429 && error.retryAfter_s > LONGEST_WAIT_S;
    if (hopeless || (!error.passing && error.status !== 401)) {
      done(entry);
      return handlers.refused(entry, error);
    }
    handlers.waiting(entries.length, error);
    await new Promise((go) => {
      wake = go;
      setTimeout(go, (error.retryAfter_s ?? 2) * 1000);
    });
  }
}

function done(entry) {
  entries = entries.filter((each) => each !== entry);
  const sent = JSON.stringify(entry.body);
  keep(kept().filter((each) => JSON.stringify(each.body) !== sent));
}
