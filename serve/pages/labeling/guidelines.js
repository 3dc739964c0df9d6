// The guidelines: read beside the work, searched, acknowledged when they changed. They name the flags, too.

import { $, $$ } from "/static/shared/dom.js";
import { call, report } from "/static/shared/api.js";
import { render, spelled } from "/static/shared/markdown.js";
import * as form from "/static/labeling/form.js";

let current = null;
let seenKey = "";

/** Return what a submission says of the guidelines that the labeler had before them. */
export const basis = () =>
  current ? { guideline_version: current.version, flag_set_version: current.flag_set_version } : {};

/** Fetch them; a banner tells of a version that this person has not seen. */
export async function load() {
  current = await call("GET", "/v1/labeling/guidelines");
  form.useFlags(current.flags);
  const before = localStorage.getItem(seenKey);
  if (before === null) localStorage.setItem(seenKey, current.version);
  else if (before !== current.version) banner();
}

function banner() {
  $("#banner").hidden = false;
  $("#banner-text").textContent = `The guidelines changed: ${current.change || `version ${current.version}`}`;
  $("#banner-act").textContent = "Read them";
  $("#banner-act").onclick = () => read();
}

/** Show them; `accept` asks for an acknowledgement. */
export function read(accept = false) {
  if (!current) return;
  const dialog = $("#guidelines-dialog");
  $("#guidelines-version").textContent = `version ${current.version}`;
  $("#guidelines-change").hidden = !(accept && current.change);
  $("#guidelines-change").textContent = `What is new: ${current.change}`;
  $("#guidelines-accept").hidden = !accept;
  $("#guidelines-text").replaceChildren(...sections(render(current.text, spelled)));
  $("#guidelines-search").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  $("#guidelines-text").focus();
  $("#guidelines-text").scrollTop = 0;
  if (accept) return;
  localStorage.setItem(seenKey, current.version);
  $("#banner").hidden = true;
}

/** Return nodes gathered under their headings, so that a search can hide what does not match. */
function sections(nodes) {
  const found = [document.createElement("section")];
  for (const node of nodes) {
    if (/^H[3-6]$/.test(node.tagName)) found.push(document.createElement("section"));
    found.at(-1).append(node);
  }
  return found.filter((section) => section.childNodes.length);
}

function search() {
  const words = $("#guidelines-search").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of $$("#guidelines-text > section"))
    section.hidden = !words.every((word) => section.textContent.toLowerCase().includes(word));
}

/** Ask for an acknowledgement of the version in force; return whether it was given. */
export async function acknowledge() {
  await load();
  const dialog = $("#guidelines-dialog");
  read(true);
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  if (dialog.returnValue !== "accept") {
    $("#empty-text").textContent = "Items come once you have read the guidelines: press g, or Look again.";
    return false;
  }
  try {
    await call("POST", `/v1/labeling/guidelines/${encodeURIComponent(current.version)}/acknowledge`);
    localStorage.setItem(seenKey, current.version);
    return true;
  } catch (error) {
    report(error);
    return false;
  }
}

/** Wire the panel for a labeler. */
export function begin(labeler) {
  seenKey = `whetstone-guidelines-${labeler}`;
  $("#guidelines-open").addEventListener("click", () => read());
  $("#guidelines-search").addEventListener("input", search);
}
