// Calling Whetstone's API with the key of this tab.

import { $, toast } from "/static/shared/dom.js";

const STORE = `whetstone-key-${document.body.dataset.page}`;

/** An answer that was no success, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(status, error = {}, retryAfter_s = 2) {
    super(error.message ?? "no answer from the server");
    this.status = status;
    this.code = error.code ?? "";
    this.reasons = error.reasons ?? [];
    this.retryAfter_s = retryAfter_s;
  }

  /** True if the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 503 || this.status === 429;
  }
}

export const secret = () => sessionStorage.getItem(STORE) ?? "";

/** Send a request; return the Response, or throw an ApiError. */
export async function send(method, path, body, { headers = {}, signal } = {}) {
  const init = { method, signal, headers: { Authorization: `Bearer ${secret()}`, ...headers } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0);
  }
  if (answer.ok) return answer;
  const parsed = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, parsed.error, Number(answer.headers.get("Retry-After") ?? 2));
}

/** Send a request; return the decoded body, or null where there is none. */
export async function call(method, path, body, options) {
  const answer = await send(method, path, body, options);
  return answer.status === 204 ? null : answer.json();
}

/** Ask for a key until `check` passes, then show the app and run `start` with what `check` returned. */
export function signIn(check, start) {
  const form = $("#sign-in");
  const attempt = async (first) => {
    try {
      const found = await check();
      form.hidden = true;
      $("#app").hidden = $("#sign-out").hidden = false;
      start(found);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      form.hidden = false;
      if (!error.passing) sessionStorage.removeItem(STORE);
      $("#sign-in-error").textContent = first && error.status === 401 ? "" : error.message;
      $("#key").focus();
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(STORE, $("#key").value.trim());
    $("#key").value = "";
    attempt(false);
  });
  $("#sign-out").addEventListener("click", signOut);
  if (secret()) attempt(true);
  else {
    form.hidden = false;
    $("#key").focus();
  }
}

/** Forget the key and begin again. */
export function signOut() {
  sessionStorage.clear();
  location.reload();
}

/** Show an error to the person; a key that stopped working leads back to the start. */
export function report(error) {
  if (error.status === 401) signOut();
  else toast(error.message, "bad");
}
