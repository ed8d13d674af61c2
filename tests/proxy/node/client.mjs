// Every form of call of the official Node client against one server and model; prints what came as one JSON object.
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "what is 2 + 2?" }];
const parameters = { type: "object", properties: { a: { type: "integer" } } };
const tools = [{ type: "function", function: { name: "add", parameters } }];
const schema = { type: "object", properties: { total: { type: "integer" } }, required: ["total"], additionalProperties: false };
const seen = {};

const whole = await client.chat.completions.create({ model, messages });
seen.chat = whole.choices[0].message.content;
seen.prompt_tokens = whole.usage.prompt_tokens;

seen.pieces = [];
const chunks = await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
for await (const chunk of chunks) {
  if (chunk.choices[0]?.delta?.content) seen.pieces.push(chunk.choices[0].delta.content);
  if (chunk.usage) seen.streamed_prompt_tokens = chunk.usage.prompt_tokens;
}

const helper = client.chat.completions.stream({ model, messages, tools });
seen.tool = (await helper.finalChatCompletion()).choices[0].message.tool_calls[0].function;

const format = { type: "json_schema", json_schema: { name: "sum", strict: true, schema } };
seen.parsed = (await client.chat.completions.parse({ model, messages, response_format: format })).choices[0].message.parsed;

seen.text = (await client.completions.create({ model, prompt: "what is 2 + 2?" })).choices[0].text;
seen.response = (await client.responses.create({ model, input: "what is 2 + 2?" })).output_text;

seen.deltas = [];
const events = await client.responses.create({ model, input: "what is 2 + 2?", stream: true });
for await (const event of events) {
  if (event.type === "response.output_text.delta") seen.deltas.push(event.delta);
  seen.last = event.type;
}

seen.models = [];
for await (const each of client.models.list()) seen.models.push(each.id);

try {
  await client.chat.completions.create({ model: "archon/loser", messages });
} catch (error) {
  seen.error = [error.constructor.name, error.status, error.code, Boolean(error.requestID)];
}

console.log(JSON.stringify(seen));
