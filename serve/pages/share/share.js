// A chat that somebody shared, read-only. Its id stands behind the # of the address, where no server logs it.

import { $, el } from "/static/shared/dom.js";
import { render, visible } from "/static/shared/markdown.js";

const LABELS = { user: "Question", assistant: "Answer", system: "Instructions" };

function turn({ role, content }) {
  const answer = role === "assistant";
  const text = el("div", { class: answer ? "text" : "text raw", dir: "auto" });
  text.append(...(answer ? render(content) : [visible(content)]));
  return el("article", { class: `turn ${answer ? "assistant" : "user"}`, "aria-label": LABELS[role] }, text);
}

async function show() {
  const id = location.hash.slice(1);
  const answer = /^[\w-]{22}$/.test(id) ? await fetch(`/v1/shares/${id}`).catch(() => null) : null;
  $("#turns").replaceChildren();
  if (!answer?.ok) {
    const gone = !answer || answer.status === 404;
    $("#about").textContent = gone ? "There is no such chat: it was taken back, or its time is over." : "It cannot be read now; try again in a moment.";
    return;
  }
  const share = await answer.json();
  const day = (iso) => new Date(iso).toLocaleDateString(undefined, { dateStyle: "long" });
  $("#about").textContent = `Shared on ${day(share.created_at)}, to be read until ${day(share.expires_at)}. Written by people and a language model.`;
  $("#turns").append(...[...share.messages, { role: "assistant", content: share.completion }].map(turn));
}

addEventListener("hashchange", show);
show();
