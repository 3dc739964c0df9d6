// "Check what labelers would see": one text, the rules of curation, and nothing stored.

import { $ } from "/static/shared/dom.js";
import { ApiError, call, resume } from "/static/shared/api.js";

const KINDS = {
  email: ["e-mail address", "e-mail addresses"],
  phone: ["phone number", "phone numbers"],
  card: ["card number", "card numbers"],
  iban: ["IBAN", "IBANs"],
  ip: ["IP address", "IP addresses"],
  ssn: ["social security number", "social security numbers"],
  wallet: ["wallet", "wallets"],
  secret: ["key or token", "keys or tokens"],
};

function inWords(masked) {
  const parts = Object.entries(masked).map(([kind, count]) => `${count} ${(KINDS[kind] ?? [kind, kind])[count === 1 ? 0 : 1]}`);
  return parts.length ? `Masked: ${parts.join(", ")}.` : "Nothing was masked.";
}

function show({ kept, explanation, text = "", masked = {}, use_case: useCase, use_case_why: why, language }) {
  $("#preview-verdict").textContent = kept ? "Labelers may see this:" : "No labeler would see this.";
  $("#preview-why").textContent = explanation;
  $("#preview-seen").textContent = text;
  $("#preview-seen").hidden = !kept;
  const tags = kept ? ` Filed as ${useCase.replaceAll("_", " ")} (${why})${language ? `, in the language ${language}` : ""}.` : "";
  $("#preview-found").textContent = kept ? inWords(masked) + tags : "";
  $("#preview-result").hidden = false;
}

async function check() {
  $("#preview-send").disabled = true;
  $("#preview-note").textContent = "Checking…";
  try {
    if (!(await resume())) {
      $("#preview-note").textContent = "Sign in on the Playground first; the answer depends on your key.";
      return;
    }
    show(await call("POST", "/v1/privacy/preview", { text: $("#preview-text").value }));
    $("#preview-note").textContent = "";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    $("#preview-note").textContent = error.message;
  } finally {
    $("#preview-send").disabled = false;
  }
}

$("#preview").addEventListener("submit", (event) => {
  event.preventDefault();
  check();
});
