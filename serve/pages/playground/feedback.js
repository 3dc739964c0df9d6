// Rating one answer: thumbs, then, if the person wants, why and what it should have said.

import { $, toast } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";

/** Offer the rating controls of `turn` for the answer with this interaction id. */
export function offer(turn, interactionId, text) {
  const [up, down, more] = [$(".up", turn), $(".down", turn), $(".more", turn)];
  let rating = 0;
  $(".rate", turn).hidden = false;

  const tell = async (extra = {}) => {
    const body = { id: crypto.randomUUID(), interaction_id: interactionId, rating, ...extra };
    try {
      await call("POST", "/v1/feedback", body);
      return true;
    } catch (error) {
      report(error);
      return false;
    }
  };
  const press = async (value) => {
    rating = rating === value ? 0 : value;
    up.setAttribute("aria-pressed", String(rating === 1));
    down.setAttribute("aria-pressed", String(rating === -1));
    more.hidden = rating === 0;
    await tell();
  };
  up.addEventListener("click", () => press(1));
  down.addEventListener("click", () => press(-1));
  $(".copy", turn).addEventListener("click", () => navigator.clipboard?.writeText(text()).then(() => toast("Copied")));
  $(".dismiss", turn).addEventListener("click", () => (more.hidden = true));
  more.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [comment, edit] = [$(".comment", more).value.trim(), $(".edit", more).value.trim()];
    if ((comment || edit) && !(await tell({ comment, edit }))) return;
    more.hidden = true;
    if (comment || edit) toast("Thank you: stored");
  });
}
