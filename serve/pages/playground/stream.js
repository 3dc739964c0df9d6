// Reading a streamed answer: server-sent events in, pieces of text out.

import { ApiError, send } from "/static/shared/api.js";

/** Yield the data of each event of a `text/event-stream` body, until `[DONE]`. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += done ? "\n\n" : value;
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
    if (done) return;
  }
}

/**
 * Ask for a streamed answer and yield what it is so far after each event:
 * {id, version, text, finish, usage, first_s, total_s}. Seconds count from the request.
 */
export async function* ask(path, body, { consent, signal }) {
  const began = performance.now();
  const headers = consent ? {} : { "X-Whetstone-Consent": "no" };
  const answer = await send("POST", path, body, { headers, signal });
  const state = {
    id: answer.headers.get("X-Request-Id") ?? "",
    version: answer.headers.get("X-Policy-Version") ?? "",
    text: "",
    finish: "",
    usage: null,
    first_s: 0,
    total_s: 0,
  };
  for await (const event of events(answer.body)) {
    if (event.error) throw new ApiError(event.error.code ?? 500, event.error);
    const choice = event.choices?.[0];
    const piece = choice?.delta?.content ?? choice?.text ?? "";
    state.id = event.id ?? state.id;
    state.version = event.model ?? state.version;
    state.finish = choice?.finish_reason ?? state.finish;
    state.usage = event.usage ?? state.usage;
    state.text += piece;
    state.total_s = (performance.now() - began) / 1000;
    if (piece && !state.first_s) state.first_s = state.total_s;
    yield state;
  }
}
