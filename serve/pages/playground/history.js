// The chats of this browser: kept here and nowhere else until their owner deletes them.

import { $, ago, el, toast, uuid } from "/static/shared/dom.js";
import { hasUnlogged, newTree, path } from "/static/playground/tree.js";

const MOST_CHATS = 200;
let store = "whetstone-chats";

/** Keep the chats of different people apart in one browser. */
export const useOwner = (owner) => (store = `whetstone-chats-${owner}`);

/** Return an empty chat; `logged` is its consent switch. */
export const newChat = (mode, logged) => ({ id: uuid(), mode, title: "", logged, at: new Date().toISOString(), tree: newTree() });

/** Return all chats, latest first. */
export function chats() {
  try {
    return JSON.parse(localStorage.getItem(store) ?? "[]");
  } catch {
    return [];
  }
}

function write(all) {
  for (let most = Math.min(MOST_CHATS, all.length); ; most = Math.floor(most / 2)) {
    try {
      return localStorage.setItem(store, JSON.stringify(all.slice(0, most)));
    } catch (error) {
      if (!most) throw error;
      toast("This browser has no more room: the oldest chats were dropped from the history.", "bad");
    }
  }
}

/** Keep a chat, unless nothing was said in it. */
export function keep(chat) {
  const first = path(chat.tree)[0];
  if (!first) return;
  chat.title ||= first.content.trim().replace(/\s+/g, " ").slice(0, 60);
  chat.at = new Date().toISOString();
  write([chat, ...chats().filter((each) => each.id !== chat.id)]);
}

/** Forget a chat. */
export const forget = (id) => write(chats().filter((each) => each.id !== id));

/** Forget all chats. */
export const forgetAll = () => localStorage.removeItem(store);

/** Return whether a chat contains something that only this browser has. */
export const unlogged = (chat) => !chat.logged || hasUnlogged(chat.tree);

/** Save a text as a file of this person. */
export function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

const matches = (chat, wanted) =>
  `${chat.title} ${Object.values(chat.tree.nodes).map((node) => node.content).join(" ")}`.toLowerCase().includes(wanted);

/** Draw the list, with the chats that contain what is searched; `actions` has open and gone. */
export function draw(current, actions) {
  const wanted = $("#search").value.trim().toLowerCase();
  const found = chats().filter((chat) => matches(chat, wanted));
  $("#chats").replaceChildren(...found.map((chat) => entry(chat, chat.id === current, actions)));
  $("#no-chats").hidden = found.length > 0;
  $("#no-chats").textContent = wanted ? "No chat contains that." : "Your chats will be listed here, in this browser only.";
}

function entry(chat, open, actions) {
  const title = el("button", { type: "button", class: "open", "aria-current": open ? "true" : null, dir: "auto" },
    el("span", { class: "title", text: chat.title }),
    el("span", { class: "small muted" }, `${chat.mode === "complete" ? "text · " : ""}${ago(chat.at)}`,
      unlogged(chat) ? el("span", { class: "chip", text: "not logged", title: "Only this browser has it" }) : null));
  title.addEventListener("click", () => actions.open(chat));
  const button = (words, label, act) =>
    el("button", { type: "button", class: "quiet", title: words, "aria-label": `${words}: ${chat.title}`, text: label, onclick: act });
  const row = el("li", {}, title, el("span", { class: "acts" },
    button("Rename", "✎", () => rename(row, chat, actions)),
    button("Export", "⤓", () => download(`chat-${chat.id}.json`, JSON.stringify(chat, null, 2))),
    button("Delete", "×", () => remove(chat, actions))));
  return row;
}

function rename(row, chat, actions) {
  const input = el("input", { value: chat.title, maxlength: 100, "aria-label": "New name" });
  const form = el("form", {}, input);
  const done = () => {
    if (!form.isConnected) return;
    write(chats().map((each) => (each.id === chat.id ? { ...each, title: input.value.trim() || chat.title } : each)));
    actions.renamed(chat.id, input.value.trim() || chat.title);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    done();
  });
  input.addEventListener("blur", done);
  row.replaceChildren(form);
  input.select();
}

function remove(chat, actions) {
  forget(chat.id);
  actions.gone(chat);
  const undo = el("button", { type: "button", class: "quiet", text: "Undo" });
  const note = el("div", { class: "toast" }, "Deleted from this browser. ", undo);
  undo.addEventListener("click", () => {
    write([chat, ...chats()]);
    note.remove();
    actions.open(chat);
  });
  $("#toasts").append(note);
  setTimeout(() => note.remove(), 8000);
}
