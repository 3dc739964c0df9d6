// From a draft to what the API takes, and back: positions on screen become canonical indices of the completions.

import { groups, newDraft, proposalOutcome, ranksOf } from "/static/labeling/ranking.js";

/** Return text as the API takes it: no control characters but tab and line ends, no broken surrogates. */
export const clean = (text) => text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "").toWellFormed();

const tenths = (seconds) => Math.round(seconds * 10) / 10;

/** Return the body of the submission. `basis`: {guideline_version, flag_set_version}. */
export function toSubmission(item, draft, basis) {
  const body = { token: item.token, submission_id: draft.submission_id };
  if (item.kind === "demonstration") return { ...body, response: clean(draft.response) };
  return { ...body, ...toLabel(item, draft), ...basis };
}

/** Return what is said of a comparison, without proof of any lease. */
export function toLabel(item, draft) {
  const canonical = item.completions.map((completion) => completion.index);
  const inOrder = (values) => canonical.map((_, index) => values[canonical.indexOf(index)]);
  const flags = Object.entries(draft.flags).filter(([, positions]) => positions.length);
  const all = [[...canonical].sort((a, b) => a - b)];
  const order = groups(draft.ranks).map((group) => group.map((position) => canonical[position]));
  return {
    ranking: draft.outcome === "ranked" ? order : all,
    outcome: draft.outcome,
    quality: draft.quality.every(Boolean) ? inOrder(draft.quality) : [],
    flags: Object.fromEntries(flags.map(([name, positions]) => [name, positions.map((each) => canonical[each])])),
    spans: draft.spans.map(({ position, start, end }) => ({ completion: canonical[position], start, end })),
    note: clean(draft.note),
    active_s: tenths(draft.active_s),
    read_s: inOrder(draft.read_s).map(tenths),
    input: draft.inputs.length > 1 ? "both" : (draft.inputs[0] ?? ""),
    proposal: proposalOutcome(draft),
  };
}

/** Return the draft from which a stored answer would be submitted again. */
export function fromAnswer(item, answer) {
  const canonical = item.completions.map((completion) => completion.index);
  const k = canonical.length;
  if (item.kind === "demonstration") return { ...newDraft(k), response: answer.response };
  const positions = (indices) => indices.map((index) => canonical.indexOf(index));
  return {
    ...newDraft(k),
    ranks: answer.outcome === "ranked" ? ranksOf(answer.ranking.map(positions), k) : Array(k).fill(0),
    quality: canonical.map((index) => answer.quality[index] ?? 0),
    flags: Object.fromEntries(Object.entries(answer.flags).map(([name, indices]) => [name, positions(indices)])),
    spans: answer.spans.map(({ completion, start, end }) => ({ position: canonical.indexOf(completion), start, end })),
    outcome: answer.outcome,
    note: answer.note,
  };
}
