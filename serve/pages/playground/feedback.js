// Rating one answer: thumbs, then, if the person wants, why and what it should have said. No sibling is touched.

import { $, $$, el, toast, uuid } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";

const REASONS = {
  1: ["correct", "helpful", "well written"],
  "-1": ["wrong", "not what was asked", "made up", "too long", "harmful"],
};

/** Send feedback on an answer; return whether it was stored. */
export async function tell(body) {
  try {
    await call("POST", "/v1/feedback", { id: uuid(), ...body });
    return true;
  } catch (error) {
    if (error.status === 404) toast("This answer was not logged, so it cannot be rated.", "bad");
    else report(error);
    return false;
  }
}

/** Offer the controls of `turn` for `node`, which remembers its rating; `keep` is called when that changed. */
export function offer(turn, node, keep = () => {}) {
  const [up, down, more] = [$(".up", turn), $(".down", turn), $(".more", turn)];
  $(".rate", turn).hidden = !(node.logged && node.answer && node.content);
  const show = () => {
    up.setAttribute("aria-pressed", String(node.rating === 1));
    down.setAttribute("aria-pressed", String(node.rating === -1));
    const chips = (REASONS[node.rating] ?? []).map((words) =>
      el("button", { type: "button", class: "reason", "aria-pressed": "false", text: words }),
    );
    for (const chip of chips) chip.addEventListener("click", () => toggle(chip));
    $(".reasons", more).replaceChildren(...chips);
  };
  const press = async (value) => {
    const before = node.rating;
    node.rating = before === value ? 0 : value;
    show();
    if (!(await tell({ interaction_id: node.answer, rating: node.rating }))) node.rating = before;
    show();
    keep();
    more.hidden = !node.rating;
  };
  up.addEventListener("click", () => press(1));
  down.addEventListener("click", () => press(-1));
  $(".dismiss", turn).addEventListener("click", () => (more.hidden = true));
  more.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = words(more);
    const empty = !said.comment && !said.edit && !said.reasons.length;
    if (!empty && !(await tell({ interaction_id: node.answer, rating: node.rating, ...said }))) return;
    more.hidden = true;
    if (!empty) toast("Thank you: stored");
  });
  show();
}

const toggle = (chip) => chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));

function words(more) {
  return {
    reasons: $$(".reason[aria-pressed=true]", more).map((chip) => chip.textContent),
    comment: clean($(".comment", more).value),
    edit: clean($(".edit", more).value),
  };
}

/** Return text as the API takes it: no control characters but tab and line ends, no broken surrogates. */
const clean = (text) => text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "").toWellFormed().trim();
