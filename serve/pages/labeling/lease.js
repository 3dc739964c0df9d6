// The leased item of this tab: fetched, kept across reloads, kept alive while somebody works, counted down.

import { call } from "/static/shared/api.js";

const ITEM = "whetstone-item";
const HEARTBEAT_S = 30;
const IDLE_S = 300; // without a key or click for this long the lease is left to run out
const REACTION_S = 30; // longer gaps between two actions do not count as working on the item

const draftKey = (item) => `whetstone-draft-${item.item_id}`;
let lastAction = Date.now();

/** Return the item that this tab still holds, or null. */
export async function resume() {
  const item = JSON.parse(sessionStorage.getItem(ITEM) ?? "null");
  if (!item) return null;
  try {
    return await beat(item);
  } catch (error) {
    if (!error.passing) sessionStorage.removeItem(ITEM);
    return error.passing ? item : null;
  }
}

/** Lease the next item; null when the queue has nothing for this person. */
export async function next(queue) {
  const item = await call("POST", "/v1/labeling/next", { queue });
  if (item) sessionStorage.setItem(ITEM, JSON.stringify({ ...item, queue }));
  return item && { ...item, queue };
}

/** Renew the lease and return the item with its new deadline. */
export async function beat(item) {
  const path = `/v1/labeling/items/${encodeURIComponent(item.item_id)}/heartbeat`;
  const { deadline_s } = await call("POST", path, { token: item.token });
  const renewed = { ...item, deadline_s };
  sessionStorage.setItem(ITEM, JSON.stringify(renewed));
  return renewed;
}

/** Forget the item, and its draft unless `keepDraft`. */
export function drop(item, keepDraft = false) {
  sessionStorage.removeItem(ITEM);
  if (!keepDraft) localStorage.removeItem(draftKey(item));
}

export const loadDraft = (item) => JSON.parse(localStorage.getItem(draftKey(item)) ?? "null");
export const saveDraft = (item, draft) => localStorage.setItem(draftKey(item), JSON.stringify(draft));

/** Note that somebody is working; return the seconds to count as work since the last action. */
export function acted() {
  const gap_s = (Date.now() - lastAction) / 1000;
  lastAction = Date.now();
  return Math.min(gap_s, REACTION_S);
}

/** Call `tick(secondsLeft)` each second, renew while somebody works, and `lost()` once the lease is gone. */
export function keepAlive(item, tick, lost) {
  let current = item;
  let sinceBeat_s = 0;
  const timer = setInterval(async () => {
    const left_s = current.deadline_s - Date.now() / 1000;
    tick(left_s);
    if (left_s <= 0) return stop(lost);
    sinceBeat_s += 1;
    if (sinceBeat_s < HEARTBEAT_S || Date.now() - lastAction > IDLE_S * 1000) return;
    sinceBeat_s = 0;
    try {
      current = await beat(current);
    } catch (error) {
      if (error.code === "lease_lost") stop(lost);
    }
  }, 1000);
  const stop = (then) => {
    clearInterval(timer);
    then?.();
  };
  tick(current.deadline_s - Date.now() / 1000);
  return stop;
}
