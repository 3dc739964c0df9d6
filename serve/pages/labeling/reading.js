// What was read, and for how long: measured on the screen, not asked. An answer counts as seen once marks all along it,
// no further apart than half a screen, were in sight; its seconds count while somebody is there.

import { measured, saw, work } from "/static/labeling/work.js";

const REACTION_S = 30; // longer gaps between two moves do not count as working
const TICK_MS = 1000;

let lastMove = performance.now();
let counted = lastMove;
let unseen = new Map(); // position -> marks not yet in sight
let inSight = new Set();
const marks = new IntersectionObserver((entries) => entries.forEach(markSeen));
const cards = new IntersectionObserver((entries) => entries.forEach(cardSeen), { threshold: [0, 0.25, 0.5] });

/** Note a move of the person. */
export function moved() {
  lastMove = performance.now();
}

/** Watch the answers of a new item. `nodes`: the element of each answer's text, in the order of positions. */
export function watch(nodes) {
  marks.disconnect();
  cards.disconnect();
  unseen = new Map();
  inSight = new Set();
  counted = performance.now();
  const heights = nodes.map((node) => node.offsetHeight); // all read before any mark is put in
  nodes.forEach((node, position) => {
    node.dataset.position = position;
    cards.observe(node);
    const count = Math.max(1, Math.ceil(heights[position] / (innerHeight / 2)));
    const made = Array.from({ length: count + 1 }, (_, index) => mark(position, index / count));
    unseen.set(position, new Set(made));
    node.append(...made);
    made.forEach((each) => marks.observe(each));
  });
}

function mark(position, share) {
  const node = document.createElement("i");
  node.className = "mark-seen";
  node.dataset.position = position;
  node.style.top = `${share * 100}%`;
  return node;
}

function markSeen({ isIntersecting, target }) {
  if (!isIntersecting) return;
  const position = Number(target.dataset.position);
  marks.unobserve(target);
  unseen.get(position)?.delete(target);
  if (unseen.get(position)?.size === 0) saw(position);
}

function cardSeen({ isIntersecting, intersectionRatio, intersectionRect, target }) {
  const position = Number(target.dataset.position);
  const much = isIntersecting && (intersectionRatio >= 0.5 || intersectionRect.height > innerHeight / 3);
  if (much) inSight.add(position);
  else inSight.delete(position);
}

/** Return the first part of an answer that was not in sight yet, or undefined. */
export const firstUnseen = (position) => unseen.get(position)?.values().next().value;

/** Count the time since the last call: as work if somebody was there, as reading for what was on screen. */
export function count() {
  const now = performance.now();
  const gap_s = (Math.min(now, lastMove + REACTION_S * 1000) - counted) / 1000;
  counted = now;
  if (!work.item || document.hidden || gap_s <= 0) return;
  measured(gap_s, Object.fromEntries([...inSight].map((position) => [position, gap_s])));
}

/** Begin counting. */
export function begin() {
  for (const name of ["keydown", "pointerdown", "pointermove", "wheel", "scroll"])
    addEventListener(name, moved, { passive: true, capture: true });
  setInterval(count, TICK_MS);
}
