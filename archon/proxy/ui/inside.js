// One run, opened up: what it cost, its graph, when each node ran, and everything about the node that is chosen.

import { count, el, put, seconds, usd } from "./dom.js";
import { graph } from "./graph.js";

/** Shows a stored request in `place`. */
export function showInside(place, stored) {
  const run = stored.trace;
  place.hidden = false;
  const facts = el("dl", { class: "facts" }, ...summary(stored));
  if (!run.picture) {
    put(place, el("div", { class: "card" }, el("h2", {}, "Inside"), facts, plain(run)));
    return;
  }
  const detail = el("section", { class: "card detail", "aria-live": "polite" });
  const view = { run, path: new Set(run.path.candidates), winner: run.path.answer };
  const choose = (id) => {
    for (const box of place.querySelectorAll("[data-node]")) {
      box.classList.toggle("chosen", box.dataset.node === id);
    }
    put(detail, node(view, id, choose));
  };
  const drawn = graph(run.picture, {
    choose,
    run: {
      path: run.path,
      failed: new Set(run.nodes.filter((each) => each.error).map((each) => each.id)),
      badge: (id) => badge(run, id),
    },
  });
  const notes = remarks(run);
  put(
    place,
    el("div", { class: "card" }, el("h2", {}, "Inside"), facts, el("div", { class: "scroll" }, drawn), legend(), times(run, choose)),
    detail,
    notes && el("section", { class: "card" }, el("h2", {}, "Worth knowing"), notes),
  );
  choose(run.output);
}

function summary(stored) {
  const told = stored.summary;
  const calls = stored.trace.calls ?? [];
  const pairs = [
    ["model", told.model],
    ["status", told.status ?? "ok"],
    ["calls", told.calls ?? calls.length],
    ["from cache", told.cache_hits ?? calls.filter((call) => call.cached).length],
    ["tokens", tokens(told)],
    ["list cost", usd(told.list_usd ?? told.cost_usd)],
    ["time", seconds(told.seconds)],
    ["trace", stored.trace_id],
  ];
  return pairs
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
}

function tokens(told) {
  if (told.prompt_tokens === undefined) return undefined;
  return `${told.prompt_tokens.toLocaleString("en")} in, ${told.completion_tokens.toLocaleString("en")} out`;
}

function plain(run) {
  if (!run.messages) return el("p", { class: "faint" }, run.omitted ?? "A plain model: its request was passed through.");
  return conversation(run.messages);
}

function badge(run, id) {
  const usage = run.usage[id];
  return usage?.calls ? `${count(usage.calls, "call")} · ${usd(usage.cost_usd)}` : "";
}

function legend() {
  return el(
    "p",
    { class: "legend faint" },
    el("span", { class: "line won" }),
    "path of the answer that won",
    el("span", { class: "gap" }, "choose a node to look into it"),
  );
}

// When each node ran, on one axis.
function times(run, choose) {
  const end = Math.max(...run.nodes.map((each) => each.seconds[1] ?? 0), 1e-9);
  const rows = run.nodes.map((each) => {
    const [from, to] = [each.seconds[0], each.seconds[1] ?? each.seconds[0]];
    const bar = el("span", { class: "bar" + (each.error ? " failed" : "") });
    bar.style.setProperty("--from", (100 * from) / end + "%");
    bar.style.setProperty("--long", Math.max(0.5, (100 * (to - from)) / end) + "%");
    return el(
      "button",
      { type: "button", class: "time", "data-node": each.id, onclick: () => choose(each.id) },
      el("span", { class: "name" }, each.layer.replaceAll("_", " "), " ", el("span", { class: "faint" }, each.id)),
      el("span", { class: "track" }, bar),
      el("span", { class: "figure" }, seconds(to - from)),
    );
  });
  return el("div", { class: "times", role: "group", "aria-label": "When each node ran" }, ...rows);
}

function node(view, id, choose) {
  const { run } = view;
  const record = run.nodes.find((each) => each.id === id);
  const sources = run.picture.edges.filter((edge) => edge.target === id).map((edge) => edge.source);
  const usage = run.usage[id];
  const dropped = run.calls.filter((call) => call.node === id && call.error);
  const given = sources.flatMap((source) => run.nodes.find((each) => each.id === source)?.candidates ?? []);
  return [
    el("h2", {}, record.layer.replaceAll("_", " "), " ", el("span", { class: "faint" }, id)),
    el(
      "p",
      { class: "faint" },
      [
        seconds((record.seconds[1] ?? record.seconds[0]) - record.seconds[0]),
        usage ? count(usage.calls, "call") : "",
        usage ? `${usage.prompt_tokens.toLocaleString("en")} tokens in, ${usage.completion_tokens.toLocaleString("en")} out` : "",
        usage ? usd(usage.cost_usd) : "",
      ]
        .filter(Boolean)
        .join(" · "),
    ),
    record.error && el("p", { class: "error" }, record.error),
    el(
      "details",
      { open: sources.length === 0 },
      el("summary", {}, sources.length ? `Given: ${count(given.length, "candidate")} from ${sources.join(", ")}` : "Given: the conversation"),
      sources.length ? given.map((each) => candidate(view, each, choose)) : conversation(run.messages),
    ),
    el("h3", {}, `Made: ${count(record.candidates.length, "candidate")}`),
    ...record.candidates.map((each) => candidate(view, each, choose)),
    dropped.length ? el("h3", {}, `Dropped: ${count(dropped.length, "draw")}`) : null,
    ...dropped.map((call) => el("p", { class: "error" }, `${call.model}, sample ${call.sample}: ${call.error}`)),
    judgements(run, id),
  ];
}

// What a node's models said that is no candidate: rankings, verdicts, tests.
function judgements(run, id) {
  const known = new Set(run.nodes.flatMap((each) => each.candidates.map((one) => one.text)));
  const said = run.calls.filter((call) => call.node === id && !call.error && call.text && !known.has(call.text));
  if (!said.length) return null;
  return el(
    "details",
    {},
    el("summary", {}, `What its model said: ${count(said.length, "call")}`),
    ...said.map((call) => el("div", { class: "candidate" }, el("p", { class: "who" }, `${call.model} · ${call.role}`), el("div", { class: "text" }, call.text))),
  );
}

function candidate(view, each, choose) {
  const won = each.id === view.winner;
  const made = each.id.slice(0, each.id.lastIndexOf("#"));
  return el(
    "article",
    { class: "candidate" + (won ? " winner" : view.path.has(each.id) ? " onpath" : "") },
    el(
      "p",
      { class: "who" },
      el("span", {}, each.model, " "),
      el("span", { class: "faint" }, each.id),
      won && el("span", { class: "tag won" }, "won"),
      each.score !== undefined && el("span", { class: "tag" }, "score " + Number(each.score).toPrecision(3)),
      each.verdict !== undefined && el("span", { class: "tag " + (each.verdict ? "good" : "bad") }, each.verdict ? "verified" : "not verified"),
      each.logprob !== undefined && el("span", { class: "tag" }, "log p " + each.logprob.toFixed(1)),
    ),
    el("div", { class: "text" }, each.text ?? "(texts are not kept)"),
    each.tests && tests(each.tests),
    each.critique && folded("Critique", each.critique),
    each.reasoning && folded("Verifier's reasoning", each.reasoning),
    each.parents &&
      el(
        "p",
        { class: "parents faint" },
        "made from ",
        ...each.parents.map((parent) =>
          el("button", { type: "button", class: "link", onclick: () => choose(parent.slice(0, parent.lastIndexOf("#"))) }, parent),
        ),
      ),
    !each.parents && made && null,
  );
}

function tests(results) {
  return el(
    "ul",
    { class: "tests" },
    ...results.map(([text, passed]) =>
      el("li", { class: passed === true ? "good" : passed === false ? "bad" : "" }, passed === true ? "passed " : passed === false ? "failed " : "undecided ", el("code", {}, text)),
    ),
  );
}

function folded(title, text) {
  return el("details", {}, el("summary", {}, title), el("div", { class: "text" }, text));
}

function conversation(messages) {
  if (!messages?.length) return el("p", { class: "faint" }, "(texts are not kept)");
  return messages.map((message) =>
    el(
      "div",
      { class: "candidate" },
      el("p", { class: "who faint" }, message.role),
      el("div", { class: "text" }, typeof message.content === "string" ? message.content : JSON.stringify(message.content ?? message.tool_calls, null, 2)),
    ),
  );
}

function remarks(run) {
  const rows = run.notes.map((note) => el("li", {}, el("span", { class: "faint" }, `${note.node}, ${note.kind}: `), note.message));
  return rows.length ? el("ul", { class: "list notes" }, ...rows) : null;
}
