// Skipping: the next item comes at once, and for some seconds the skipped one can be had back.

import { announce, toast } from "/static/shared/dom.js";
import * as drafts from "/static/labeling/drafts.js";
import * as held from "/static/labeling/held.js";
import { shown } from "/static/labeling/keymap.js";
import * as outbox from "/static/labeling/outbox.js";
import { work } from "/static/labeling/work.js";

const UNDO_S = 6; // a skip can be taken back for so long

let pending = null; // {item, draft, reason, timer}
let given = {};

/** Wire it. `handlers`: next(), show(item, draft). */
export const begin = (handlers) => (given = handlers);

/** Skip the item on the desk. */
export async function skip(reason) {
  flush();
  const { item, draft } = work;
  pending = { item, draft, reason, timer: setTimeout(flush, UNDO_S * 1000) };
  toast(`Skipped. ${shown("undo")} brings it back.`);
  announce("Skipped; undo brings it back");
  await given.next();
}

function take() {
  const before = pending;
  clearTimeout(before?.timer);
  pending = null;
  return before;
}

/** Tell the server of a skip that could still have been taken back. */
export function flush() {
  const before = take();
  if (!before) return;
  held.drop(before.item);
  drafts.forget(before.item);
  outbox.post(before.item, "skip", { token: before.item.token, reason: before.reason, note: "" });
}

/** Bring the skipped item back; return false if there is none. */
export function unskip() {
  const before = take();
  if (!before) return false;
  if (work.item && work.mode === "item") held.putBack(work.item);
  given.show(before.item, before.draft);
  announce("The skipped item is back");
  return true;
}

/** Note that a lease is gone; return whether it was the skipped item's. */
export const lost = (item) => pending?.item.item_id === item.item_id && Boolean(take());
