// Does one thing with OpenAI's JavaScript client and prints what came of it as one JSON object.
// Address and key come from OPENAI_BASE_URL and OPENAI_API_KEY, which the client reads itself.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });
const hello = { model: "live", messages: [{ role: "user", content: "hello" }], temperature: 0, max_tokens: 24 };

const things = {
  async chat() {
    const { data, response, request_id } = await client.chat.completions.create(hello).withResponse();
    const version = response.headers.get("x-policy-version");
    return { text: data.choices[0].message.content, id: data.id, request_id, version, model: data.model, usage: data.usage };
  },

  async stream() {
    const options = { stream: true, stream_options: { include_usage: true } };
    let text = "", usage = null, chunks = 0;
    for await (const chunk of await client.chat.completions.create({ ...hello, ...options })) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
      chunks += 1;
    }
    return { text, usage, chunks };
  },

  async helper() {
    const runner = client.chat.completions.stream(hello);
    let deltas = "";
    runner.on("content", (delta) => (deltas += delta));
    const final = await runner.finalChatCompletion();
    return { text: final.choices[0].message.content, deltas };
  },

  async text() {
    const answer = await client.completions.create({ model: "live", prompt: ["one", "two"], temperature: 0, max_tokens: 4 });
    return { indices: answer.choices.map((choice) => choice.index), texts: answer.choices.map((choice) => choice.text) };
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids };
  },

  async abort() {
    const stream = await client.chat.completions.create({ ...hello, max_tokens: 64, stream: true });
    for await (const chunk of stream) {
      if (chunk) stream.controller.abort();
    }
    const after = await client.chat.completions.create({ ...hello, max_tokens: 2 });
    return { after: after.usage.completion_tokens };
  },

  async refusals() {
    const wrong = [
      () => new OpenAI({ maxRetries: 0, apiKey: "ws-wrong" }).chat.completions.create(hello),
      () => client.chat.completions.create({ ...hello, model: "gpt-4" }),
      () => client.chat.completions.create({ ...hello, temperature: 9 }),
      () => client.chat.completions.create({ ...hello, service_tier: "flex" }),
    ];
    const found = [];
    for (const ask of wrong) {
      await ask().then(
        () => found.push(null),
        (error) => found.push([error.constructor.name, error.status, error.code, error.param ?? null]),
      );
    }
    return { found };
  },

  // Asks until it is refused, then once more with a client that may try again.
  async patience() {
    let refused = null;
    for (let asked = 0; asked < 40 && !refused; asked += 1) {
      await client.chat.completions.create(hello).catch((error) => (refused = error));
    }
    const statuses = [];
    const counting = async (url, init) => {
      const response = await fetch(url, init);
      statuses.push(response.status);
      return response;
    };
    const answer = await new OpenAI({ maxRetries: 2, fetch: counting }).chat.completions.create(hello);
    return {
      refused: [refused.constructor.name, refused.status],
      retry_after: refused.headers.get("retry-after"),
      statuses,
      text: answer.choices[0].message.content,
    };
  },
};

console.log(JSON.stringify(await things[process.argv[2]]()));
