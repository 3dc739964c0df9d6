// One row per labeler, in the order of their names: ranges, flags, where they stand, and a button.

import { ago, el } from "/static/shared/dom.js";
import { percent } from "/static/quality/charts.js";

const range = ({ low, high }) => (low === null ? "–" : `${percent(low)} – ${percent(high)}`);
const cell = (text, attributes = {}) => el("td", { text, ...attributes });
const pace = (person) => {
  if (person.median_s === null) return "–";
  const word = person.s_per_word === null ? "" : `, ${person.s_per_word.toFixed(2)} s a word`;
  return `${Math.round(person.median_s)} s${word}`;
};

function state(standing, person) {
  if (standing?.state === "paused") return el("span", { class: "chip bad", text: "paused" });
  return person?.flags.length ? el("span", { class: "chip accent", text: "flagged" }) : el("span", { class: "chip good", text: "at work" });
}

function notes(standing, person) {
  const found = [];
  if (standing?.state === "paused") {
    const kept = standing.quarantined_from ? `; labels since ${ago(standing.quarantined_from)} are in quarantine` : "";
    found.push(el("li", { class: "note", text: `Paused ${ago(standing.since)}: ${standing.reason}${kept}` }));
  }
  return [...found, ...(person?.flags ?? []).map((text) => el("li", { text }))];
}

/** Return the rows; `act(move, name)` is called by the buttons. */
export function rows(people, standings, act) {
  const paused = Object.keys(standings).filter((name) => standings[name].state === "paused");
  return [...new Set([...Object.keys(people), ...paused])].sort().flatMap((name) => {
    const [person, standing] = [people[name], standings[name]];
    const move = standing?.state === "paused" ? "resume" : "pause";
    const figures = person
      ? [
          cell(String(person.labels)),
          cell(range(person.agreement), { title: `${person.agreement.n} shared items` }),
          cell(range(person.gold), { title: `${person.gold.n} checks` }),
          cell(range(person.self_agreement)),
          cell(pace(person)),
          cell(range(person.first_wins)),
          cell(range(person.longer_wins)),
        ]
      : [el("td", { class: "muted", colspan: 7, text: "no label among the latest" })];
    const why = notes(standing, person);
    return [
      el(
        "tr",
        { dataset: { labeler: name } },
        el("td", {}, el("b", { text: name }), el("span", { class: "muted small", text: person?.group ? ` ${person.group}` : "" })),
        el("td", {}, state(standing, person)),
        ...figures,
        el("td", {}, el("button", { type: "button", class: "quiet", "aria-label": `${move} ${name}`, onclick: () => act(move, name), text: move === "pause" ? "Pause" : "Resume" })),
      ),
      why.length ? el("tr", { class: "why" }, el("td", { colspan: 10 }, el("ul", {}, why))) : null,
    ].filter(Boolean);
  });
}
