// All commands of the page, found by typing (Ctrl+K).

import { $, $$, el } from "/static/shared/dom.js";

let commands = [];
let chosen = 0;

/** Take the commands: [words, keys, action]. */
export function wire(all) {
  commands = all;
  const dialog = $("#palette");
  const search = $("#palette-search");
  search.addEventListener("input", () => draw(0));
  search.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (moves[event.key]) draw(chosen + moves[event.key]);
    else if (event.key === "Enter") run($$("#palette-list li")[chosen]);
    else return;
    event.preventDefault();
  });
  $("#palette-list").addEventListener("click", (event) => run(event.target.closest("li")));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

/** Show the palette. */
export function open() {
  $("#palette-search").value = "";
  draw(0);
  $("#palette").showModal();
}

function run(item) {
  if (!item) return;
  $("#palette").close();
  commands[Number(item.dataset.command)][2]();
}

function draw(place) {
  const wanted = $("#palette-search").value.trim().toLowerCase().split(/\s+/);
  const found = commands.flatMap(([words, keys], index) =>
    wanted.every((word) => words.toLowerCase().includes(word)) ? [[words, keys, index]] : [],
  );
  chosen = Math.max(0, Math.min(place, found.length - 1));
  const items = found.map(([words, keys, index], at) =>
    el("li", { role: "option", id: `command-${index}`, "aria-selected": String(at === chosen), dataset: { command: index } },
      words, keys ? el("kbd", { text: keys }) : null),
  );
  $("#palette-list").replaceChildren(...items);
  if (items[chosen]) $("#palette-search").setAttribute("aria-activedescendant", items[chosen].id);
  else $("#palette-search").removeAttribute("aria-activedescendant");
  items[chosen]?.scrollIntoView({ block: "nearest" });
}
