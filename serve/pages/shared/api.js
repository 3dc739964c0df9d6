// Calling Whetstone's API with this browser's session. No script ever holds the key: it is sent once, and a cookie that
// scripts cannot read stands for it.

import { $, toast } from "/static/shared/dom.js";

const SESSIONS = "/v1/sessions";
const READS = ["GET", "HEAD"];

let session = null; // {owner, role, key_id, csrf_token, ends_at}

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

/** Send a request; return the Response, or throw an ApiError. */
export async function send(method, path, body, options = {}) {
  const token = session?.csrf_token;
  try {
    return await once(method, path, body, options);
  } catch (error) {
    if (error.status !== 403 || READS.includes(method) || path === SESSIONS) throw error;
    // another tab may have signed in meanwhile: as the same person, its token is as good; as another, begin again
    const found = await who();
    if (found.key_id !== session?.key_id) restart();
    if (found.key_id !== session?.key_id || found.csrf_token === token) throw error;
    session = found;
    return once(method, path, body, options);
  }
}

async function once(method, path, body, { headers = {}, signal, keepalive = false }) {
  const init = { method, signal, keepalive, headers: { ...headers } };
  if (!READS.includes(method) && session) init.headers["X-CSRF-Token"] = session.csrf_token;
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

const who = async () => (await once("GET", SESSIONS, undefined, {})).json();

/** Send a request; return the decoded body, or null where there is none. */
export async function call(method, path, body, options) {
  const answer = await send(method, path, body, options);
  return answer.status === 204 ? null : answer.json();
}

/** Ask for a key until `check` passes, then show the app and run `start` with what `check` returned. */
export function signIn(check, start) {
  const form = $("#sign-in");
  const attempt = async (open, quiet) => {
    try {
      session = await open();
      const found = await check();
      form.hidden = true;
      $("#app").hidden = $("#sign-out").hidden = $("#who").hidden = false;
      $("#who").textContent = session.owner;
      $("#who").title = `Signed in with a key of role ${session.role}`;
      start(found);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      form.hidden = false;
      $("#sign-in-error").textContent = quiet && error.status === 401 ? "" : error.message;
      $("#key").focus();
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const key = $("#key").value.trim();
    $("#key").value = "";
    attempt(() => call("POST", SESSIONS, { key }), false);
  });
  $("#sign-out").addEventListener("click", signOut);
  attempt(who, true);
}

/** Take up this browser's session on a page that does without one; return it, or null if there is none. */
export async function resume() {
  try {
    session = await who();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    session = null;
  }
  return session;
}

/** End the session, here and on the server, and begin again. */
export async function signOut() {
  try {
    await send("DELETE", SESSIONS);
  } catch (error) {
    if (error.status !== 401) return toast(`You are still signed in: ${error.message}`, "bad");
  }
  restart();
}

function restart() {
  sessionStorage.clear();
  location.reload();
}

/** Show an error to the person; a session that ended leads back to the start. */
export function report(error) {
  if (error.status === 401) restart();
  else toast(error.message, "bad");
}
