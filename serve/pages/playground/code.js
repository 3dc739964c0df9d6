// The request in sight as code that anybody can run: curl, Python, TypeScript. The key is always a placeholder.

import { $, $$ } from "/static/shared/dom.js";
import { copy } from "/static/playground/turns.js";

const KEY = "API_KEY";

/** Return a JSON value as Python writes it. */
export function toPython(value, indent = "") {
  const inner = `${indent}    `;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) {
    if (value.every((each) => typeof each !== "object")) return `[${value.map((each) => toPython(each)).join(", ")}]`;
    return `[\n${value.map((each) => `${inner}${toPython(each, inner)},\n`).join("")}${indent}]`;
  }
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${toPython(each, inner)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const call = (path) => (path.endsWith("chat/completions") ? "chat.completions" : "completions");

/** language -> code of a request. */
export const LANGUAGES = {
  curl: ([path, body], headers) =>
    [
      `curl -N ${location.origin}${path}`,
      `-H "Authorization: Bearer $${KEY}"`,
      `-H "Content-Type: application/json"`,
      ...Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
      `-d ${quoted(JSON.stringify(body, null, 2))}`,
    ].join(" \\\n  "),
  Python: ([path, body], headers) => {
    const fields = Object.entries(body).map(([name, value]) => `    ${name}=${toPython(value, "    ")},`);
    if (Object.keys(headers).length) fields.push(`    extra_headers=${toPython(headers)},`);
    const piece = path.endsWith("chat/completions") ? "chunk.choices[0].delta.content" : "chunk.choices[0].text";
    return `import os

from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key=os.environ["${KEY}"])
stream = client.${call(path)}.create(
${fields.join("\n")}
)
for chunk in stream:
    if chunk.choices:
        print(${piece} or "", end="", flush=True)
`;
  },
  TypeScript: ([path, body], headers) => {
    const piece = path.endsWith("chat/completions") ? "delta?.content" : "text";
    const options = Object.keys(headers).length ? `, { headers: ${JSON.stringify(headers)} }` : "";
    return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${location.origin}/v1", apiKey: process.env.${KEY} });
const stream = await client.${call(path)}.create(${JSON.stringify(body, null, 2)}${options});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.${piece} ?? "");
}
`;
  },
};

/** Show the dialog for a request. */
export function showCode(request, headers) {
  const dialog = $("#code-dialog");
  const choose = (language) => {
    for (const tab of $$("[role=tab]", dialog)) tab.setAttribute("aria-selected", String(tab.textContent === language));
    $("#code-text").textContent = LANGUAGES[language](request, headers);
    localStorage.setItem("whetstone-language", language);
  };
  for (const tab of $$("[role=tab]", dialog)) tab.onclick = () => choose(tab.textContent);
  $("#code-copy").onclick = () => copy($("#code-text").textContent);
  choose(LANGUAGES[localStorage.getItem("whetstone-language")] ? localStorage.getItem("whetstone-language") : "curl");
  dialog.showModal();
}
