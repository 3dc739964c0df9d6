// What one answer consists of and what may become of it, as plain values and pure functions. Positions are those of the
// cards on screen; canonical indices appear only in submission.js.

import { uuid } from "/static/shared/dom.js";

/** Return a fresh draft for `k` completions. */
export function newDraft(k) {
  const none = Array(k).fill(0);
  return {
    ranks: none, // 0 for none, 1 for the best; equal numbers tie
    quality: none, // 0 for none, 1 to 7
    flags: {}, // name -> positions
    spans: [], // {position, start, end}, in code points
    outcome: "ranked",
    proposed: null, // the ranks that were taken over from the proposal
    agreed: "", // the warnings that the person has read and keeps
    note: "",
    response: "",
    own: "", // an answer of their own, where none is right
    own_id: uuid(),
    inputs: [], // "keys", "mouse"
    active_s: 0,
    read_s: none,
    submission_id: uuid(),
  };
}

export const letter = (position) => String.fromCharCode(65 + position);

/** Return the tie groups of positions, best first; positions without a rank are left out. */
export function groups(ranks) {
  const used = [...new Set(ranks.filter((rank) => rank > 0))].sort((a, b) => a - b);
  return used.map((rank) => ranks.flatMap((each, position) => (each === rank ? [position] : [])));
}

/** Return the ranks of tie groups. */
export function ranksOf(order, k) {
  const ranks = Array(k).fill(0);
  order.forEach((group, place) => group.forEach((position) => (ranks[position] = place + 1)));
  return ranks;
}

/** Return the positions that have no rank yet. */
export const unranked = (ranks) => ranks.flatMap((rank, position) => (rank > 0 ? [] : [position]));

const ordered = (draft, ranks) => ({ ...draft, outcome: "ranked", ranks });

/** Return the draft with one rank set (0 clears it). */
export const setRank = (draft, position, rank) => ordered(draft, draft.ranks.with(position, rank));

/** Return the draft with an answer tied with the one before it in the order; unranked, with the card before it. */
export function tieAbove(draft, position) {
  const order = groups(draft.ranks);
  const place = order.findIndex((group) => group.includes(position));
  const above = place > 0 ? order[place - 1][0] : place < 0 ? position - 1 : -1;
  if (above < 0 || !draft.ranks[above]) return draft;
  return setRank(draft, position, draft.ranks[above]);
}

/** Return the draft with an answer moved to a place of the order: into that group (`join`), or before it. */
export function moveTo(draft, position, place, join) {
  const order = groups(draft.ranks).map((group) => group.filter((each) => each !== position));
  if (join && order[place]) order[place].push(position);
  else order.splice(place, 0, [position]);
  return ordered(
    draft,
    ranksOf(
      order.filter((group) => group.length),
      draft.ranks.length,
    ),
  );
}

/** Return the draft with a verdict on all answers set, or taken back. */
export const toggleOutcome = (draft, outcome) => ({
  ...draft,
  outcome: draft.outcome === outcome ? "ranked" : outcome,
});

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

/** Return the ranks that follow from complete ratings; null while there is an order already, or a rating is missing. */
export function proposal(draft) {
  if (draft.outcome !== "ranked" || draft.ranks.some(Boolean) || !draft.quality.every(Boolean)) return null;
  const values = [...new Set(draft.quality)].sort((a, b) => b - a);
  return draft.quality.map((value) => values.indexOf(value) + 1);
}

/** Return the draft with the proposed order taken over. */
export function confirm(draft) {
  const ranks = proposal(draft);
  return ranks ? { ...draft, ranks, proposed: ranks } : draft;
}

/** Return what became of the proposed order: `accepted`, `changed`, or nothing if it was not used. */
export function proposalOutcome(draft) {
  if (!draft.proposed || draft.outcome !== "ranked") return "";
  return JSON.stringify(groups(draft.ranks)) === JSON.stringify(groups(draft.proposed)) ? "accepted" : "changed";
}

const names = (positions) => positions.map(letter).join(", ");

/** Return what stands in the way of submitting, in words; an empty string if nothing does. `seen`: per position. */
export function problem(item, draft, seen) {
  if (item.kind === "demonstration") return draft.response.trim() ? "" : "Write the answer first.";
  const hidden = seen.flatMap((whole, position) => (whole ? [] : [position]));
  if (hidden.length) return `Not yet seen to the end: ${names(hidden)}.`;
  const rated = draft.quality.filter(Boolean).length;
  if (rated && rated < draft.quality.length) return "Give every answer a rating, or none.";
  if (draft.outcome !== "ranked") return "";
  const missing = unranked(draft.ranks);
  if (missing.length && !item.rules.partial_order) return `Still without a rank: ${names(missing)}.`;
  if (draft.ranks.length - missing.length < 2) return "Put at least two answers in order.";
  const tied = groups(draft.ranks).find((group) => group.length > 1);
  if (tied && !item.rules.ties) return `This queue takes no ties: ${names(tied)}.`;
  return "";
}

/** Return what is odd about a draft that may be submitted, in words; each is asked about once. */
export function warnings(item, draft) {
  if (item.kind === "demonstration" || draft.outcome !== "ranked") return [];
  const found = [];
  const { quality, ranks } = draft;
  for (let a = 0; a < ranks.length; a += 1)
    for (let b = 0; b < ranks.length; b += 1)
      if (ranks[a] && ranks[b] && quality[a] > quality[b] && quality[b] && ranks[a] > ranks[b])
        found.push(`${letter(a)} is rated ${quality[a]}, above ${letter(b)} (${quality[b]}), but stands below it.`);
  const missing = unranked(ranks);
  if (missing.length) found.push(`Not compared: ${names(missing)}.`);
  return found;
}

const PLACES = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"];

/** Return where an answer stands, as a sentence. */
export function standing(draft, position) {
  const order = groups(draft.ranks);
  const place = order.findIndex((group) => group.includes(position));
  if (place < 0) return `${letter(position)} has no rank`;
  const others = order[place].filter((each) => each !== position).map(letter);
  const last = others.pop();
  const tied = last ? `, tied with ${others.length ? `${others.join(", ")} and ` : ""}${last}` : "";
  return `${letter(position)} is now ${PLACES[place]}${tied}`;
}

/** Return whether so much is answered that the next item may be fetched. */
export function nearlyDone(item, draft) {
  if (item.kind === "demonstration") return draft.response.length > 40;
  const most = draft.ranks.length - 1;
  const count = (values) => values.filter(Boolean).length;
  return draft.outcome !== "ranked" || count(draft.ranks) >= most || count(draft.quality) >= most;
}
