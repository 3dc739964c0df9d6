// The items that this tab holds: the one on the desk, one fetched ahead, one whose skip can still be taken back.
// Leased, kept across reloads, kept alive while somebody works.

import { call } from "/static/shared/api.js";

const STORE = "whetstone-items";
const HEARTBEAT_S = 30;
const IDLE_S = 300; // without a key or click for this long the leases are left to run out
const MARGIN_S = 5; // an item that was fetched ahead is not begun with less time than this

let items = [];
let ahead = null; // promise of {item} or {error}: what is being fetched ahead
let ready = null; // its item, once it is here
let lastAction = Date.now();

const keep = () => sessionStorage.setItem(STORE, JSON.stringify(items));

/** Return the address of a move on an item. */
export const path = (item, verb) => `/v1/labeling/items/${encodeURIComponent(item.item_id)}/${verb}`;

/** Note that somebody is there. */
export const acted = () => (lastAction = Date.now());

/** Return the items that this tab still holds, the one on the desk first. */
export async function resume() {
  const before = JSON.parse(sessionStorage.getItem(STORE) ?? "[]");
  items = before;
  for (const item of before) {
    try {
      await beat(item);
    } catch (error) {
      if (!error.passing) drop(item);
    }
  }
  return items;
}

async function lease(queue) {
  const item = await call("POST", "/v1/labeling/next", { queue });
  if (!item) return null;
  item.rules ??= { ties: true, partial_order: false, daily_goal: 0 };
  item.queue ??= queue;
  drop(item);
  items.push(item);
  keep();
  return item;
}

/** Fetch one item ahead, unless that is under way or done. */
export function prefetch(queue) {
  if (ahead) return;
  const mine = (ahead = lease(queue).then(
    (item) => ({ item }),
    (error) => ({ error }),
  ));
  mine.then(({ item }) => (ready = ahead === mine ? item : ready));
}

/** Return the next item: the one fetched ahead, or a fresh one; null when the queue has nothing for this person. */
export async function next(queue) {
  const { item, error } = (await ahead) ?? {};
  ahead = ready = null;
  if (error && !error.passing) throw error;
  if (item && item.deadline_s - Date.now() / 1000 > MARGIN_S) return item;
  return lease(queue);
}

/** Put an item in front of the others, as if fetched ahead; what was fetched ahead goes back to everybody. */
export function putBack(item) {
  giveBackAhead();
  ready = item;
  ahead = Promise.resolve({ item });
}

/** Hand the item that was fetched ahead back to everybody, also while the page is going away. */
export function giveBackAhead() {
  const [waiting, known] = [ahead, ready];
  ahead = ready = null;
  if (known) giveBack(known);
  else waiting?.then(({ item }) => item && giveBack(item));
}

function giveBack(item) {
  drop(item);
  const given = call("POST", path(item, "return"), { token: item.token }, { keepalive: true });
  given.catch(() => {}); // then the lease runs out
}

/** Hand an item back to everybody before it was answered. */
export const handBack = (item) => giveBack(item);

/** Return the item that was begun and is still held, or undefined. */
export const onDesk = () => items.find((item) => item.item_id !== ready?.item_id);

/** Hold an item again that was let go too early. */
export function adopt(item) {
  drop(item);
  items.unshift(item);
  keep();
}

/** Forget an item: it was answered, skipped, or lost. */
export function drop(item) {
  items = items.filter((each) => each.item_id !== item.item_id);
  keep();
}

async function beat(item) {
  const { deadline_s } = await call("POST", path(item, "heartbeat"), { token: item.token });
  item.deadline_s = deadline_s;
  keep();
}

/** Call `tick()` each second, renew while somebody works, and `lost(item)` once a lease is gone. */
export function keepAlive(tick, lost) {
  let sinceBeat_s = 0;
  setInterval(() => {
    tick();
    for (const item of items.filter((each) => each.deadline_s <= Date.now() / 1000)) end(item, lost);
    sinceBeat_s += 1;
    if (sinceBeat_s < HEARTBEAT_S || Date.now() - lastAction > IDLE_S * 1000) return;
    sinceBeat_s = 0;
    for (const item of items) beat(item).catch((error) => (error.code === "lease_lost" ? end(item, lost) : null));
  }, 1000);
}

function end(item, lost) {
  drop(item);
  if (ready?.item_id === item.item_id) ahead = ready = null;
  lost(item);
}
