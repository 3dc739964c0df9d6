// The history of a text as a list: what was said of each revision, and which words came and went.

import { ago, el } from "/static/shared/dom.js";
import { difference } from "/static/labeling/compare.js";

export const CHIPS = {
  draft: ["", "draft"],
  submitted: ["steel", "in review"],
  waiting: ["steel", "in review"],
  returned: ["accent", "returned"],
  accepted: ["good", "accepted"],
  rejected: ["bad", "rejected"],
};

/** Return the chip of a state. */
export function chip(state) {
  const [kind, text] = CHIPS[state];
  return el("span", { class: `chip ${kind}`, text });
}

/** Return a written prompt as one text. */
export const whole = ({ text, shots }) =>
  [text, ...shots.map(({ query, response }) => `${query}\n→ ${response}`)].join("\n\n");

/** Return the conversation as elements. */
export const conversation = (messages) =>
  messages.map(({ role, content }) =>
    el(
      "div",
      { class: `message ${role}` },
      el("div", { class: "who", text: role }),
      el("p", { class: "text", text: content }),
    ),
  );

/**
 * Return list items, the latest first, one per revision that changed the text or its state.
 * `entries`: {text, state, comment, at}, the oldest first.
 */
export function revisions(entries) {
  const told = entries.filter(
    (entry, index) =>
      index === entries.length - 1 || entry.state !== entries[index + 1].state || paused(entry, entries[index + 1]),
  );
  return told
    .map((entry, index) => {
      const before = told[index - 1]?.text ?? "";
      const changed = entry.text === before ? null : el("p", { class: "text small" }, marked(before, entry.text));
      return el(
        "li",
        {},
        el("div", { class: "row" }, chip(entry.state), el("time", { class: "muted small", text: ago(entry.at) })),
        entry.comment && entry.state !== told[index - 1]?.state
          ? el("p", { class: "text small", text: `“${entry.comment}”` })
          : null,
        changed,
      );
    })
    .toReversed();
}

const PAUSE_S = 60; // edits that follow each other faster are told as one

const paused = (entry, next) => Date.parse(next.at) - Date.parse(entry.at) > PAUSE_S * 1000;

/** Return the text with what came marked as inserted, behind what went. */
function marked(before, after) {
  const [old, now] = difference(before, after);
  const gone = old.filter(({ same, text }) => !same && text.trim());
  return [
    ...gone.flatMap(({ text }) => [el("del", { text: text.trim() }), " "]),
    ...now.map(({ same, text }) => (same ? text : el("ins", { text }))),
  ];
}
