// A person's own figures: counts and ranges, nothing about others.

import { $, el } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";

const percent = (share) => `${Math.round(share * 100)} %`;
const range = ({ low, high }) => `${percent(low)} to ${percent(high)}`;

/** [field of /me, words, how it is shown]; a field that is absent or null has too few answers behind it. */
const FIGURES = [
  ["labels_today", "Rankings today", String],
  ["labels", "Rankings in all", String],
  ["demonstrations_today", "Demonstrations today", String],
  ["demonstrations", "Demonstrations in all", String],
  ["median_s", "Median time per ranking", (seconds) => `${Math.round(seconds)} s`],
  ["self_agreement", "Agreement with yourself, when asked again", range],
  ["agreement", "Agreement with others", range],
  ["gold", "Items with a known answer that you ranked right", range],
];

async function show() {
  try {
    const me = await call("GET", "/v1/labeling/me");
    const rows = FIGURES.flatMap(([field, words, shown]) => [
      el("dt", { text: words }),
      el("dd", { text: me[field] === null || me[field] === undefined ? "too few yet" : shown(me[field]) }),
    ]);
    $("#statistics-list").replaceChildren(...rows);
    $("#statistics-dialog").showModal();
  } catch (error) {
    report(error);
  }
}

/** Wire the dialog. */
export const begin = () => $("#statistics-open").addEventListener("click", show);
