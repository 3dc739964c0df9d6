// The review page: what waits, one of it on the desk, and the reviewer's word.

import { $, ago, el, toast } from "/static/shared/dom.js";
import { call, report, signIn } from "/static/shared/api.js";
import { conversation, revisions, whole } from "/static/writing/revisions.js";
import * as item from "/static/review/item.js";

const REFRESH_S = 15;
const KINDS = { plain: "plain", few_shot: "few-shot", user_based: "user-based" };
const AT = "/v1/operations";
const TEXTS = ["prompts", "demonstrations"];

const TITLES = {
  report: "Reported",
  disagreement: "Labelers differ",
  skips: "Skipped by three",
  prompts: "Written prompts",
  demonstrations: "Demonstrations",
};

let waiting = []; // {sort, id, words, note, at, record}
let chosen = null; // one of them, on the desk
let sending = false;

const firstWords = (text) => text.trim().split("\n")[0].slice(0, 80);

async function refresh() {
  const [items, written, given] = await Promise.all(
    ["reviews", "written", "demonstrations"].map((name) => call("GET", `${AT}/${name}`)),
  );
  const order = Object.keys(TITLES);
  waiting = [
    ...items.map((each) => ({
      sort: each.reason,
      id: each.item_id,
      words: each.details[0] ?? "no details",
      note: each.details.length > 1 ? `${each.details.length} remarks` : "",
      at: each.created_at,
      record: each,
    })),
    ...written.map((each) => ({
      sort: "prompts",
      id: each.id,
      words: firstWords(each.text),
      note: KINDS[each.kind],
      at: each.created_at,
      record: each,
    })),
    ...given.map((each) => ({
      sort: "demonstrations",
      id: each.id,
      words: firstWords(each.messages.at(-1).content),
      note: each.revision ? "written again" : "",
      at: each.history.at(-1).created_at,
      record: each,
    })),
  ].sort((a, b) => order.indexOf(a.sort) - order.indexOf(b.sort)); // each sort stays by age
  drawList();
  $("#fresh").textContent = new Date().toLocaleTimeString([], { hourCycle: "h23" });
}

function drawList() {
  const groups = Object.entries(TITLES).flatMap(([sort, title]) => {
    const found = waiting.filter((each) => each.sort === sort);
    if (!found.length) return [];
    return [
      el("h2", { text: `${title} (${found.length})` }),
      el(
        "ol",
        {},
        found.map((each) =>
          el(
            "li",
            {},
            el(
              "button",
              { type: "button", "aria-current": each.id === chosen?.id && "true", onclick: () => guarded(() => choose(each)) },
              el("span", { class: "words", text: each.words }),
              el("span", { class: "muted small", text: [each.note, ago(each.at)].filter(Boolean).join(", ") }),
            ),
          ),
        ),
      ),
    ];
  });
  const focused = document.activeElement?.closest?.("#list button") && chosen;
  $("#list").replaceChildren(...groups);
  $("#nothing").hidden = waiting.length > 0;
  if (focused) $("#list [aria-current]")?.focus();
}

async function choose(entry) {
  chosen = entry;
  const sheet = entry === null ? "welcome" : TEXTS.includes(entry.sort) ? "text" : "item";
  if (sheet === "item") item.show(await call("GET", `${AT}/reviews/${entry.id}`));
  else if (sheet === "text") await showText(entry);
  for (const id of ["welcome", "item", "text"]) $(`#${id}`).hidden = id !== sheet;
  drawList();
  if (sheet === "item") item.focus(0);
  window.scrollTo(0, 0);
}

async function showText({ sort, id, record }) {
  $("#comment").value = "";
  $("#history").open = false;
  $("#history").hidden = sort === "demonstrations" && !record.revision;
  if (sort === "demonstrations") {
    $("#text-title").textContent = "Demonstration";
    $("#text-kind").textContent = record.source === "comparison" ? "none of the answers was right" : "requested";
    const answer = { role: "assistant", content: record.response };
    $("#text-body").replaceChildren(...conversation([...record.messages, answer]));
    const told = (each) => ({ text: each.response, state: each.verdict || "waiting", comment: each.comment, at: each.created_at });
    return drawHistory(record.history.map(told));
  }
  const found = await call("GET", `${AT}/written/${id}`);
  $("#text-title").textContent = `Written prompt, ${found.use_case.replaceAll("_", " ")}`;
  $("#text-kind").textContent = KINDS[found.kind];
  $("#text-body").replaceChildren(el("p", { class: "text", text: found.text }), ...found.shots.map(pair));
  drawHistory(found.history.map((each) => ({ ...each, text: whole(each), at: each.created_at })));
}

const drawHistory = (entries) => $(".revisions", $("#history")).replaceChildren(...revisions(entries));

const pair = ({ query, response }, number) =>
  el(
    "div",
    { class: "pair" },
    el("div", { class: "who muted small", text: `Pair ${number + 1}` }),
    el("p", { class: "text", text: query }),
    el("p", { class: "text muted", text: `→ ${response}` }),
  );

/** Say something final of what is on the desk, and go on to the next. */
async function decide(path, body, words) {
  if (sending) return;
  sending = true;
  try {
    const place = waiting.findIndex((each) => each.id === chosen.id);
    await call("POST", `${AT}/${path}`, body);
    toast(words);
    await refresh();
    await choose(waiting[place] ?? waiting.at(-1) ?? null);
  } finally {
    sending = false;
  }
}

async function resolve(kind) {
  const words = { ranked: "Stored, it counts from now on", reopened: "It is open again", discarded: "It is out for good" };
  if (kind === "ranked" && $("#rank").disabled) return;
  await decide(`reviews/${chosen.id}`, item.verdict(kind), words[kind]);
}

async function judge(verdict) {
  const comment = $("#comment").value.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "").toWellFormed();
  const words = { accepted: "Accepted", returned: "Its writer reads your comment", rejected: "Rejected" }[verdict];
  const move = { accepted: "accept", returned: "return", rejected: "reject" }[verdict];
  if (verdict === "returned" && !comment.trim()) {
    $("#comment").focus();
    return toast("Say what should change; the writer reads it");
  }
  if (chosen.sort === "demonstrations") return decide(`demonstrations/${chosen.id}/review`, { verdict, comment }, words);
  return decide(`written/${chosen.id}/${move}`, { revision: chosen.record.revision, comment }, words);
}

/** Ask before something that cannot be undone. */
function sure(title, text, go) {
  $("#sure-title").textContent = title;
  $("#sure-text").textContent = text;
  $("#sure-go").textContent = title;
  $("#sure").returnValue = "";
  $("#sure").showModal();
  return new Promise((done) =>
    $("#sure").addEventListener("close", () => done($("#sure").returnValue === "yes" ? go() : null), { once: true }),
  );
}

const guarded = (action) =>
  Promise.resolve(action()).catch(async (error) => {
    report(error);
    if (error.status === 409 || error.status === 404) await refresh().catch(() => {});
  });

function onKey(event) {
  if ($("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") return handled(event, finish);
  const typing = event.target.matches("input, textarea, select");
  if (typing && event.key === "Escape") return handled(event, () => event.target.blur());
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { "[": -1, "]": 1 }[event.key];
  if (step && waiting.length) {
    const place = waiting.findIndex((each) => each.id === chosen?.id);
    const next = waiting[Math.max(0, Math.min(waiting.length - 1, place + step))];
    return handled(event, () => guarded(() => choose(next)));
  }
  const action = $("#item").hidden ? undefined : item.keyAction(event);
  if (action) handled(event, action);
}

function finish() {
  if (!$("#item").hidden && !$("#rank").hidden) guarded(() => resolve("ranked"));
  else if (!$("#text").hidden) guarded(() => judge("accepted"));
}

function handled(event, action) {
  event.preventDefault();
  action();
}

function wire() {
  document.addEventListener("keydown", onKey);
  $("#rank").addEventListener("click", () => guarded(() => resolve("ranked")));
  $("#reopen").addEventListener("click", () => guarded(() => resolve("reopened")));
  $("#discard").addEventListener("click", () =>
    guarded(() => sure("Discard this item", "Nobody is given it any more. Its labels are kept.", () => resolve("discarded"))),
  );
  $("#accept").addEventListener("click", () => guarded(() => judge("accepted")));
  $("#return").addEventListener("click", () => guarded(() => judge("returned")));
  $("#reject").addEventListener("click", () =>
    guarded(() => sure("Reject this text", "It never trains, and cannot be changed any more.", () => judge("rejected"))),
  );
}

async function keepFresh() {
  try {
    if (!document.hidden) await refresh();
  } catch (error) {
    if (error.status === 401) return report(error);
    $("#fresh").textContent = `not fresh: ${error.message}`;
  }
  setTimeout(keepFresh, REFRESH_S * 1000);
}

signIn(
  () => call("GET", `${AT}/reviews`),
  () => {
    wire();
    keepFresh();
  },
);
