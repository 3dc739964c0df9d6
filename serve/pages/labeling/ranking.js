// What one answer consists of, as plain values: ranks, quality, flags, and what the API wants of them.
// Positions are those of the cards on screen; canonical indices appear only in `toSubmission`.

import { uuid } from "/static/shared/dom.js";

export const FLAGS = [
  ["fails_instruction", "i", "ignores the instruction"],
  ["inappropriate", "a", "unfit for an assistant"],
  ["hallucination", "h", "hallucination"],
  ["violates_constraint", "c", "violates a constraint"],
  ["harmful_advice", "x", "harmful"],
  ["denigrates_protected_class", "d", "denigrates"],
];

/** Return text as the API takes it: no control characters but tab and line ends, no broken surrogates. */
const clean = (text) => text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "").toWellFormed();

/** Return a fresh draft for `k` completions. */
export function newDraft(k) {
  const none = Array(k).fill(0);
  return {
    ranks: none,
    quality: none,
    flags: {},
    all_bad: false,
    note: "",
    response: "",
    active_s: 0,
    submission_id: uuid(),
  };
}

/** Return the tie groups of positions, best first; positions without a rank are left out. */
export function groups(ranks) {
  const used = [...new Set(ranks.filter((rank) => rank > 0))].sort((a, b) => a - b);
  return used.map((rank) => ranks.flatMap((each, position) => (each === rank ? [position] : [])));
}

/** Return the positions that have no rank yet. */
export const unranked = (ranks) => ranks.flatMap((rank, position) => (rank > 0 ? [] : [position]));

export const letter = (position) => String.fromCharCode(65 + position);

/** Return ranks where everything is tied, and whether it is all bad: the first press ties, the second says bad. */
export function tieAll(draft) {
  const tied = draft.ranks.every((rank) => rank === 1);
  return { ...draft, ranks: draft.ranks.map(() => 1), all_bad: tied && !draft.all_bad };
}

/** Return the draft with one rank set (0 clears it). */
export function setRank(draft, position, rank) {
  return { ...draft, all_bad: false, ranks: draft.ranks.with(position, rank) };
}

/** Return the draft with one quality set; the same value again clears it. */
export function setQuality(draft, position, value) {
  return { ...draft, quality: draft.quality.with(position, draft.quality[position] === value ? 0 : value) };
}

/** Return the draft with one flag of one completion toggled. */
export function toggleFlag(draft, position, name) {
  const before = draft.flags[name] ?? [];
  const after = before.includes(position) ? before.filter((each) => each !== position) : [...before, position];
  return { ...draft, flags: { ...draft.flags, [name]: after } };
}

/** Return what stands in the way of submitting, in words; an empty string if nothing does. */
export function problem(item, draft) {
  if (item.kind === "demonstration") return draft.response.trim() ? "" : "Write the answer first.";
  const missing = unranked(draft.ranks);
  if (missing.length) return `Still without a rank: ${missing.map(letter).join(", ")}.`;
  const rated = draft.quality.filter((value) => value > 0).length;
  if (rated && rated < draft.quality.length) return "Give every answer a quality, or none.";
  return "";
}

/** Return the body of the submission, in canonical indices. */
export function toSubmission(item, draft) {
  const body = { token: item.token, submission_id: draft.submission_id };
  if (item.kind === "demonstration") return { ...body, response: clean(draft.response) };
  const canonical = item.completions.map((completion) => completion.index);
  const flags = Object.entries(draft.flags).filter(([, positions]) => positions.length);
  if (draft.all_bad) flags.push(["all_bad", canonical.map((_, position) => position)]);
  const quality = Array(canonical.length);
  draft.quality.forEach((value, position) => (quality[canonical[position]] = value));
  return {
    ...body,
    ranking: groups(draft.ranks).map((group) => group.map((position) => canonical[position])),
    quality: draft.quality.every((value) => value > 0) ? quality : [],
    flags: Object.fromEntries(flags.map(([name, positions]) => [name, positions.map((each) => canonical[each])])),
    note: clean(draft.note),
    active_s: Math.round(draft.active_s * 10) / 10,
  };
}
