// Rating one answer: thumbs, then, if the person wants, why and what it should have said.

import { $, toast, uuid } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";

/** Offer the controls of `turn` for the answer with this interaction id; what was not logged cannot be rated. */
export function offer(turn, interactionId, text, logged) {
  const [up, down, more] = [$(".up", turn), $(".down", turn), $(".more", turn)];
  let rating = 0;
  $(".rate", turn).hidden = false;
  up.hidden = down.hidden = !logged;

  const tell = async (extra = {}) => {
    const body = { id: uuid(), interaction_id: interactionId, rating, ...extra };
    try {
      await call("POST", "/v1/feedback", body);
      return true;
    } catch (error) {
      if (error.status !== 404) report(error);
      else toast("This answer was not logged, so it cannot be rated. Is training off for your key?", "bad");
      return false;
    }
  };
  const show = () => {
    up.setAttribute("aria-pressed", String(rating === 1));
    down.setAttribute("aria-pressed", String(rating === -1));
  };
  const press = async (value) => {
    rating = rating === value ? 0 : value;
    show();
    if (!(await tell())) rating = 0;
    show();
    more.hidden = rating === 0;
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
