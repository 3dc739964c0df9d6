// One turn as elements: the text and its ways of being read, what is known of an answer, and what can be done with it.

import { $, el, fromTemplate, toast } from "/static/shared/dom.js";
import { render, visible } from "/static/shared/markdown.js";
import { figures } from "/static/playground/stream.js";

const LONGEST_MARKDOWN = 20_000; // characters; longer answers are shown as they are

/** How answers are read: `markdown`, `raw` or `tokens`; one choice for the whole page. */
export const reading = {
  get way() {
    return localStorage.getItem("whetstone-reading") ?? "markdown";
  },
  set way(chosen) {
    localStorage.setItem("whetstone-reading", chosen);
  },
};

/** Put the text of an answer into `root`, as the person wants to read it. */
export function showText(root, node, { plain = false } = {}) {
  const way = plain || node.content.length > LONGEST_MARKDOWN ? "raw" : reading.way;
  root.classList.toggle("raw", way !== "markdown");
  if (way === "tokens" && node.tokens?.length) root.replaceChildren(...node.tokens.map(token));
  else if (way === "markdown") root.replaceChildren(...render(node.content));
  else root.textContent = visible(node.content);
}

function token({ token: text, logprob, top }) {
  const share = (value) => `${(100 * Math.exp(value)).toFixed(1)} %`;
  const others = top.map(([other, value]) => `${JSON.stringify(other)}  ${share(value)}`);
  const title = [`${JSON.stringify(text)}  ${share(logprob)}`, ...(others.length ? ["", ...others] : [])].join("\n");
  const sure = Math.exp(logprob);
  const level = sure > 0.9 ? "" : sure > 0.5 ? "likely" : sure > 0.1 ? "unsure" : "rare";
  return el("span", { class: `token ${level}`, title, tabindex: 0, text: visible(text) });
}

/** Return the element of what a person said; `actions` may hold edit, step, siblings. */
export function userTurn(node, actions = {}) {
  const turn = fromTemplate("turn-user");
  turn.dataset.turn = node.id ?? "";
  turn.classList.toggle("prompt", Boolean(actions.complete));
  $(".text", turn).textContent = visible(node.content);
  arrows($(".siblings", turn), actions);
  const edit = $(".edit-turn", turn);
  edit.hidden = !actions.edit;
  edit.addEventListener("click", () => editor(turn, node.content, "Ask this", actions.edit));
  return turn;
}

/** Return the element of an answer; what `actions` lacks is not offered. */
export function answerTurn(node, actions = {}) {
  const turn = fromTemplate("turn-assistant");
  turn.dataset.turn = node.id ?? "";
  showAnswer(turn, node, actions);
  arrows($(".siblings", turn), actions);
  for (const name of ["regenerate", "branch", "share", "queue", "replay"]) {
    const button = $(`.${name}`, turn);
    button.hidden = !actions[name];
    if (name === "branch") button.addEventListener("click", () => editor(turn, node.content, "Go on from this", actions.branch));
    else button.addEventListener("click", () => actions[name]?.(node));
  }
  $(".copy", turn).addEventListener("click", () => copy(node.content));
  $(".copy-id", turn).addEventListener("click", () => copy(node.answer));
  $(".menu", turn).addEventListener("toggle", () => place($(".menu", turn)));
  $(".menu", turn).addEventListener("click", (event) => event.target.closest("button") && ($(".menu", turn).open = false));
  return turn;
}

/** Open a menu upwards and towards the middle, or downwards where there is no room above. */
function place(menu) {
  const list = $(".list", menu);
  const [here, around] = [menu, menu.closest(".thread, .pane-thread") ?? document.body].map((node) => node.getBoundingClientRect());
  list.classList.toggle("below", menu.open && here.top - around.top < list.offsetHeight + 8);
  list.classList.toggle("start", menu.open && here.right - around.left < around.width / 2);
  if (menu.open) list.scrollIntoView({ block: "nearest" });
}

/** Bring an answer's element up to date with what is known of it. */
export function showAnswer(turn, node, { writing = false, complete = false, retry } = {}) {
  turn.classList.toggle("streaming", writing);
  showText($(".text", turn), node, { plain: complete && reading.way === "markdown" });
  $(".text", turn).setAttribute("aria-busy", String(writing));
  $(".version", turn).textContent = node.version ?? "";
  $(".figures", turn).textContent = writing ? "" : figures(node);
  $(".copy-id", turn).hidden = !node.answer || writing;
  $(".copy-id", turn).title = `Copy the response id ${node.answer ?? ""}`;
  $(".meta", turn).classList.toggle("writing", writing);
  $(".error", turn).textContent = node.fault ?? "";
  const again = $(".retry", turn);
  again.hidden = !node.fault || !retry;
  if (!again.hidden) countDown(again, node.retryAfter_s ?? 0, retry);
}

/** Offer a retry, once its time has come. */
function countDown(button, left_s, retry) {
  if (button.dataset.armed) return;
  button.dataset.armed = "yes";
  button.addEventListener("click", () => retry());
  const until = Date.now() + left_s * 1000;
  const show = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0 && button.isConnected) setTimeout(show, 250);
  };
  button.isConnected ? show() : requestAnimationFrame(show);
}

function arrows(root, { siblings, step }) {
  root.hidden = !siblings || siblings.total < 2;
  if (root.hidden) return;
  $(".place", root).textContent = `${siblings.place + 1} / ${siblings.total}`;
  const [back, on] = [$(".back", root), $(".on", root)];
  back.disabled = siblings.place === 0;
  on.disabled = siblings.place === siblings.total - 1;
  back.addEventListener("click", () => step(-1));
  on.addEventListener("click", () => step(1));
}

/** Let the person change a text in place. */
function editor(turn, text, words, done) {
  if ($(".editor", turn)) return;
  const box = el("textarea", { rows: 3, maxlength: 20000, "aria-label": "Changed text", dir: "auto" });
  box.value = text;
  const form = el("form", { class: "editor" }, box,
    el("div", { class: "row" },
      el("button", { type: "submit", class: "primary", text: words }),
      el("button", { type: "button", class: "quiet", text: "Cancel", onclick: () => form.remove() })));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (box.value.trim()) done(box.value);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    if (event.key === "Escape") form.remove();
    if (event.key === "Enter" || event.key === "Escape") event.stopPropagation();
  });
  turn.append(form);
  box.focus();
}

/** Copy a text, saying so. */
export function copy(text) {
  navigator.clipboard?.writeText(text).then(() => toast("Copied"), () => toast("The browser did not allow that", "bad"));
}
