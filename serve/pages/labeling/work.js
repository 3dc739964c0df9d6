// What lies on the desk: one item, the draft of its answer, which answer has the focus, what can be undone.
// Others listen; nothing here touches the page.

import * as rank from "/static/labeling/ranking.js";

/** `mode`: `item` (leased), `practice` or `revision`. `step`: 1 rate, 2 order. `seen`: which answers were read. */
export const work = { item: null, mode: "item", draft: null, focused: 0, step: 1, seen: [], busy: false };

const listeners = { item: [], draft: [], focus: [] };
let history = [];
let hand = "keys";
let typing = "";

/** Call `listener(work)` when the `item`, the `draft` or the `focus` changed. */
export const on = (what, listener) => listeners[what].push(listener);
const tell = (what) => listeners[what].forEach((listener) => listener(work));

/** Note whether the person's last move was made by `keys` or `mouse`. */
export const movedBy = (what) => (hand = what);

/** Put an item on the desk, with its draft; null clears the desk. */
export function place(item, draft = null, mode = "item") {
  const fits = draft && (item.kind === "demonstration" || draft.ranks?.length === item.completions.length);
  const fresh = item && rank.newDraft(item.completions.length);
  Object.assign(work, { item, mode, draft: fits ? { ...fresh, ...draft } : fresh, focused: 0, step: 1, busy: false });
  work.seen = item ? item.completions.map(() => false) : [];
  history = [];
  typing = "";
  tell("item");
  if (item) tell("draft");
}

/** Change the draft; what was before can be had back. */
export function change(edit) {
  if (!work.item || work.busy) return;
  const after = edit(work.draft);
  if (after === work.draft) return;
  history.push(work.draft);
  typing = "";
  set(after);
}

/** Change a text of the draft; all that is typed in one go is one step back. */
export function type(field, value) {
  if (!work.item || work.busy) return;
  if (typing !== field) history.push(work.draft);
  typing = field;
  set({ ...work.draft, [field]: value });
}

/** Take the last change back; return false if there is none. */
export function undo() {
  if (!history.length || work.busy) return false;
  const { active_s, read_s, inputs, submission_id } = work.draft;
  set({ ...history.pop(), active_s, read_s, submission_id, inputs });
  typing = "";
  return true;
}

function set(after) {
  const inputs = after.inputs.includes(hand) ? after.inputs : [...after.inputs, hand];
  work.draft = { ...after, inputs };
  tell("draft");
}

/** Add to what was measured, without a step to take back. */
export function measured(active_s, read_s) {
  const { draft } = work;
  work.draft = {
    ...draft,
    active_s: draft.active_s + active_s,
    read_s: draft.read_s.map((before, position) => before + (read_s[position] ?? 0)),
  };
}

/** Note that an answer was on screen in full. */
export function saw(position) {
  if (work.seen[position]) return;
  work.seen = work.seen.with(position, true);
  tell("draft");
}

/** Move the focus to an answer, in a step. */
export function focus(position, step = work.step) {
  const last = (work.item?.completions.length ?? 1) - 1;
  work.focused = Math.min(Math.max(position, 0), Math.max(last, 0));
  work.step = step;
  tell("focus");
}

/** Note that an answer of this item is under way, so that nothing changes it meanwhile. */
export function busy(value) {
  work.busy = value;
  if (work.item) tell("draft");
}
