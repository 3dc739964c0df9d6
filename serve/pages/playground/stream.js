// Reading an answer as it is written: server-sent events in, what was said so far out.

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
    if (done) throw new ApiError(0, { message: "the answer broke off" });
  }
}

/** Return the token probabilities of one event, in one shape for chats and completions. */
function tokensOf(logprobs) {
  if (!logprobs) return [];
  if (logprobs.content) {
    return logprobs.content.map(({ token, logprob, top_logprobs }) => ({
      token,
      logprob,
      top: (top_logprobs ?? []).map((each) => [each.token, each.logprob]),
    }));
  }
  return (logprobs.tokens ?? []).map((token, place) => ({
    token,
    logprob: logprobs.token_logprobs?.[place] ?? 0,
    top: Object.entries(logprobs.top_logprobs?.[place] ?? {}),
  }));
}

function take(state, choice) {
  const said = (state.choices[choice.index ?? 0] ??= { text: "", finish: "", tokens: [] });
  const piece = choice.delta?.content ?? choice.text ?? "";
  said.text += piece;
  said.finish = choice.finish_reason ?? said.finish;
  said.tokens.push(...tokensOf(choice.logprobs));
  return piece;
}

/**
 * Ask for a streamed answer and yield what it is so far after each event:
 * {id, version, choices: [{text, finish, tokens}], usage, first_s, total_s}. Seconds count from the request.
 */
export async function* ask(path, body, { consent, conversation, signal }) {
  const began = performance.now();
  const headers = consent ? {} : { "X-Whetstone-Consent": "no" };
  if (conversation) headers["X-Conversation-Id"] = conversation;
  const answer = await send("POST", path, body, { headers, signal });
  const state = {
    id: answer.headers.get("X-Request-Id") ?? "",
    version: answer.headers.get("X-Policy-Version") ?? "",
    choices: [{ text: "", finish: "", tokens: [] }],
    usage: null,
    first_s: 0,
    total_s: 0,
  };
  for await (const event of events(answer.body)) {
    if (event.error) throw new ApiError(Number(event.error.code) || 500, event.error);
    let said = "";
    for (const choice of event.choices ?? []) said += take(state, choice);
    state.id = event.id ?? state.id;
    state.version = event.model ?? state.version;
    state.usage = event.usage ?? state.usage;
    state.total_s = (performance.now() - began) / 1000;
    if (said && !state.first_s) state.first_s = state.total_s;
    yield state;
  }
}

/** Return the figures of an answer in words, most telling first. */
export function figures({ finish, usage, first_s, total_s, logged }) {
  const words = [finish];
  if (usage) words.push(`${usage.prompt_tokens} → ${usage.completion_tokens} tokens`);
  if (first_s) words.push(`first after ${Math.round(first_s * 1000)} ms`);
  if (total_s) words.push(`${total_s.toFixed(2)} s`);
  if (logged === false) words.push("not logged");
  return words.filter(Boolean).join(" · ");
}
