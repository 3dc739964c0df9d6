// Drawing an item and its draft. Reads state, holds none; everything that a person does goes to the handlers.

import { $, $$, el, fromTemplate } from "/static/shared/dom.js";
import * as rank from "/static/labeling/ranking.js";

const ANCHORS = ["worst", "", "", "middling", "", "", "best"];

/** Draw a new item. `handlers`: change(draft -> draft), focus(position), mark(position). */
export function drawItem(item, draft, handlers) {
  const comparison = item.kind === "comparison";
  $("#messages").replaceChildren(
    ...item.messages.map((message) =>
      el(
        "div",
        { class: `message ${message.role}` },
        el("div", { class: "who", text: message.role }),
        el("p", { class: "text", text: message.content }),
      ),
    ),
  );
  const words = item.messages.reduce((sum, message) => sum + message.content.split(/\s+/).filter(Boolean).length, 0);
  $("#prompt-size").textContent = `${words} words`;
  const cards = item.completions.map((completion, position) => newCard(completion, position, handlers));
  $("#cards").replaceChildren(...cards);
  $("#writing").hidden = comparison;
  $("#note-box").hidden = !comparison;
  $("#response").value = draft.response;
  $("#note").value = draft.note;
  for (const hint of $$("[data-for]")) hint.hidden = hint.dataset.for !== item.kind;
}

function newCard(completion, position, { change, focus, mark }) {
  const card = fromTemplate("card");
  $(".letter", card).textContent = rank.letter(position);
  $(".text", card).textContent = completion.text || "(empty)";
  $(".cut", card).hidden = completion.finished;
  $(".quality", card).append(
    ...[1, 2, 3, 4, 5, 6, 7].map((value) =>
      el("button", {
        type: "button",
        role: "radio",
        tabindex: "-1",
        text: String(value),
        title: ANCHORS[value - 1],
        onclick: () => change((draft) => rank.setQuality(draft, position, value)),
      }),
    ),
  );
  $(".flags", card).append(
    ...rank.FLAGS.map(([name, key, words]) =>
      el(
        "button",
        {
          type: "button",
          tabindex: "-1",
          dataset: { flag: name },
          onclick: () => change((draft) => rank.toggleFlag(draft, position, name)),
        },
        el("kbd", { text: key }),
        ` ${words}`,
      ),
    ),
  );
  card.addEventListener("focusin", () => mark(position));
  card.addEventListener("click", () => focus(position));
  return card;
}

/** Draw what changes with the draft. */
export function drawDraft(item, draft, sending) {
  const order = rank.groups(draft.ranks);
  $$("#cards .card").forEach((card, position) => {
    const place = order.findIndex((group) => group.includes(position));
    const badge = $(".rank", card);
    badge.textContent = place < 0 ? "–" : `${place + 1}${order[place].length > 1 ? " =" : ""}`;
    badge.classList.toggle("none", place < 0);
    card.classList.toggle("ranked", place >= 0);
    for (const [index, button] of $$(".quality button", card).entries())
      button.setAttribute("aria-checked", String(draft.quality[position] === index + 1));
    for (const button of $$(".flags button", card))
      button.setAttribute("aria-pressed", String((draft.flags[button.dataset.flag] ?? []).includes(position)));
  });
  drawOrder(item, draft, order);
  const obstacle = rank.problem(item, draft);
  $("#submit").disabled = sending || Boolean(obstacle);
  $("#submit").title = obstacle;
}

function drawOrder(item, draft, order) {
  const chips = (positions, kind) =>
    el("span", { class: `group ${kind}` }, positions.map((position) => el("b", { text: rank.letter(position) })));
  const open = rank.unranked(draft.ranks);
  const parts = order.flatMap((group, place) => [
    place ? el("span", { class: "better", text: "›" }) : null,
    chips(group, ""),
  ]);
  if (draft.all_bad) parts.push(el("span", { class: "chip bad", text: "all bad" }));
  if (open.length && item.kind === "comparison")
    parts.push(el("span", { class: "muted small", text: "not ranked:" }), chips(open, "open"));
  $("#order-strip").replaceChildren(...parts.filter(Boolean));
}
