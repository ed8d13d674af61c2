// The server as this page uses it. The key is kept for this tab only, and goes out as a header.

const SLOT = "archon.key";

export const key = {
  get: () => sessionStorage.getItem(SLOT) ?? "",
  set: (value) => (value ? sessionStorage.setItem(SLOT, value) : sessionStorage.removeItem(SLOT)),
};

export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

function headers() {
  return key.get() ? { authorization: "Bearer " + key.get() } : {};
}

async function checked(response) {
  if (response.ok) return response;
  let message = `The server answered ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // not our envelope: the status has to do
  }
  throw new ServerError(message, response.status);
}

export async function get(path) {
  return (await checked(await fetch(path, { headers: headers() }))).json();
}

/** Asks, and tells `on` what comes: text(piece), progress(node). Returns the response's headers. */
export async function ask(model, question, on, signal) {
  const body = {
    model,
    messages: [{ role: "user", content: question }],
    stream: true,
    stream_options: { include_usage: true },
    archon: { progress: true },
  };
  const response = await checked(
    await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { ...headers(), "content-type": "application/json" },
      body: JSON.stringify(body),
      signal,
    }),
  );
  for await (const event of events(response.body)) handle(event, on);
  return response.headers;
}

function handle(event, on) {
  if (event.data === "[DONE]") return;
  const chunk = JSON.parse(event.data);
  if (chunk.error) throw new ServerError(chunk.error.message, 200);
  if (chunk.archon?.progress) on.progress(chunk.archon.progress);
  const choice = (chunk.choices ?? [])[0];
  if (choice?.delta?.content) on.text(choice.delta.content);
  if (choice?.delta?.tool_calls) on.text(JSON.stringify(choice.delta.tool_calls));
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parsed(block);
      if (event.data) yield event;
    }
  }
}

function parsed(block) {
  const event = { name: "", data: "" };
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event.name = line.slice(6).trim();
    if (line.startsWith("data:")) event.data += line.slice(5).trimStart();
  }
  return event;
}
