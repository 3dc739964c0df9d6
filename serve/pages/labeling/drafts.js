// Drafts: in this browser at once, on the server soon after, and whichever is newer when an item comes back.

import { call } from "/static/shared/api.js";
import { path } from "/static/labeling/held.js";

const PAUSE_MS = 1500; // without a change for this long the draft goes to the server
const KEPT_S = 7 * 86_400;
const PREFIX = "whetstone-draft-";

let labeler = "";
let timer = 0;
let unsent = null;
let told = () => {};

const key = (item) => `${PREFIX}${labeler}-${item.item_id}`;

/** Begin for a labeler; `say(words)` hears how the saving goes. Drafts that nobody came back for are forgotten. */
export function open(name, say) {
  labeler = name;
  told = say;
  for (const each of Object.keys(localStorage).filter((each) => each.startsWith(PREFIX)))
    if (Date.now() / 1000 - (JSON.parse(localStorage.getItem(each))?.saved_s ?? 0) > KEPT_S)
      localStorage.removeItem(each);
}

/** Return the newest draft of an item, or null. */
export function load(item) {
  const here = JSON.parse(localStorage.getItem(key(item)) ?? "null");
  const there = item.draft?.ranks ? item.draft : null;
  return (here?.saved_s ?? 0) >= (there?.saved_s ?? 0) ? (here ?? there) : there;
}

/** Keep a draft, in this browser now and on the server a moment later. */
export function save(item, draft) {
  const kept = { ...draft, saved_s: Date.now() / 1000 };
  localStorage.setItem(key(item), JSON.stringify(kept));
  told("draft kept");
  unsent = { item, draft: kept };
  clearTimeout(timer);
  timer = setTimeout(flush, PAUSE_MS);
}

/** Send the newest draft now. */
export async function flush() {
  clearTimeout(timer);
  const now = unsent;
  unsent = null;
  if (!now) return;
  try {
    await call("PUT", path(now.item, "draft"), { token: now.item.token, draft: now.draft });
    told("draft saved");
  } catch (error) {
    told(error.passing ? "no connection: draft kept in this browser" : "draft kept in this browser");
  }
}

/** Forget a draft: the answer is stored. */
export function forget(item) {
  if (unsent?.item.item_id === item.item_id) unsent = null;
  localStorage.removeItem(key(item));
}
