// Small charts in SVG: a bar with its whisker, and a row of columns. Numbers stand beside them as text.

import { el } from "/static/shared/dom.js";

const SVG = "http://www.w3.org/2000/svg";

function draw(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const line = (kind, x1, y1, x2, y2) => draw("line", { class: kind, x1, y1, x2, y2 });

/** Return a share as text, such as 73 %. */
export const percent = (share) => `${Math.round(share * 100)} %`;

/** Return an estimate as text: its value and its range. */
export function words({ value, low, high }, shown = percent) {
  if (value === null) return "–";
  return low === null ? shown(value) : `${shown(value)}  (${shown(low)} – ${shown(high)})`;
}

/** Return one figure as a row: a name, a bar with a whisker, the numbers. */
export function figure(name, estimate, { shown = percent, half = false, title = "" } = {}) {
  const x = (value) => Math.max(0, Math.min(100, value * 100));
  const picture = draw("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
  picture.append(draw("rect", { class: "track", x: 0, y: 2, width: 100, height: 8 }));
  if (half) picture.append(line("half", 50, 0, 50, 12));
  if (estimate.value !== null) {
    picture.append(draw("rect", { class: "fill", x: 0, y: 2, width: x(estimate.value), height: 8 }));
    const [low, high] = [x(estimate.low ?? estimate.value), x(estimate.high ?? estimate.value)];
    picture.append(line("whisker", low, 6, high, 6), line("whisker", low, 3, low, 9), line("whisker", high, 3, high, 9));
  }
  return el(
    "div",
    { class: "figure", title: title || (estimate.n ? `${estimate.n} items` : "") },
    el("span", { text: name }),
    picture,
    el("span", { class: "number small", text: words(estimate, shown) }),
  );
}

/** Return columns, one per count, the last one now. */
export function columns(counts, label) {
  const top = Math.max(1, ...counts);
  const width = 100 / counts.length;
  return draw(
    "svg",
    { viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": label },
    line("half", 0, 39.5, 100, 39.5),
    ...counts.map((count, at) => {
      const height = (count / top) * 38;
      return draw("rect", { class: "bar", x: at * width + width * 0.1, y: 39 - height, width: width * 0.8, height });
    }),
  );
}
