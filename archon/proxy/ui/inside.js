// One run, opened up: what it cost, its graph, when each node ran, and everything about the node that is chosen.

import { count, el, put, seconds, usd } from "./dom.js";
import { graph } from "./graph.js";

/** Shows a stored request in `place`: its run number `at` of several (`n` > 1). */
export function showInside(place, stored, at = 0) {
  const whole = stored.trace;
  place.hidden = false;
  const facts = el("dl", { class: "facts" }, ...summary(stored));
  const head = el("div", { class: "row spread" }, el("h2", {}, "Inside"), runs(place, stored, at));
  if (!whole.picture || !whole.runs?.length) {
    put(place, el("div", { class: "card" }, head, facts, failure(stored), plain(whole)));
    return;
  }
  const run = { ...whole.runs[at], picture: whole.picture, output: whole.output, messages: whole.messages };
  const detail = el("section", { class: "card detail", "aria-live": "polite" });
  const view = { run, path: new Set(run.path.candidates), winner: run.path.winner };
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
    el("div", { class: "card" }, head, facts, failure(stored), el("div", { class: "scroll" }, drawn), legend(), times(run, choose)),
    detail,
    notes && el("section", { class: "card" }, el("h2", {}, "Worth knowing"), notes),
  );
  choose(run.nodes.some((each) => each.id === run.output && each.candidates.length) ? run.output : (run.path.nodes[0] ?? run.output));
}

function runs(place, stored, at) {
  const several = stored.trace.runs ?? [];
  if (several.length < 2) return null;
  const pick = (index) => el("button", { type: "button", class: "quiet small", "aria-pressed": index === at, onclick: () => showInside(place, stored, index) }, `Run ${index + 1}`);
  return el("div", { class: "row", role: "group", "aria-label": "Runs" }, ...several.map((_, index) => pick(index)));
}

function failure(stored) {
  const { error, stopped } = stored.summary;
  if (error) return el("p", { class: "error" }, error);
  return stopped ? el("p", { class: "stopped" }, "Stopped early: " + stopped) : null;
}

function summary(stored) {
  const told = stored.summary;
  const pairs = [
    ["model", told.architecture],
    ["calls", told.calls],
    ["from cache", told.cache_hits],
    ["status", told.status],
    ["tokens", stored.trace.runs ? tokens(stored.trace.runs) : passed(told)],
    ["paid", usd(told.cost_usd)],
    ["list cost", usd(told.list_cost_usd)],
    ["time", seconds(told.seconds)],
    ["seed", told.seed],
    ["trace", stored.trace_id],
  ];
  return pairs
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
}

function tokens(runs) {
  const usages = runs.flatMap((run) => Object.values(run.usage));
  const sum = (name) => usages.reduce((all, usage) => all + usage[name], 0).toLocaleString("en");
  return `${sum("prompt_tokens")} in, ${sum("completion_tokens")} out`;
}

function passed(told) {
  return told.prompt_tokens === null ? "" : `${told.prompt_tokens?.toLocaleString("en")} in, ${told.completion_tokens?.toLocaleString("en")} out`;
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
      el("span", { class: "name" }, ...title(each)),
      el("span", { class: "track" }, bar),
      el("span", { class: "figure" }, seconds(to - from)),
    );
  });
  return el("div", { class: "times", role: "group", "aria-label": "When each node ran" }, ...rows);
}

function title(record) {
  const layer = record.layer.replaceAll("_", " ");
  return record.id === record.layer ? [layer] : [layer, " ", el("span", { class: "faint" }, record.id)];
}

function node(view, id, choose) {
  const { run } = view;
  const record = run.nodes.find((each) => each.id === id);
  const sources = run.picture.edges.filter((edge) => edge.target === id).map((edge) => edge.source);
  const usage = run.usage[id];
  const dropped = run.calls.filter((call) => call.node === id && call.error);
  const given = sources.flatMap((source) => run.nodes.find((each) => each.id === source)?.candidates ?? []);
  return [
    el("h2", {}, ...title(record)),
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
    el("h3", {}, outcome(record, given)),
    ...record.candidates.map((each) => candidate(view, each, choose, given.find((before) => before.id === each.id))),
    dropped.length ? el("h3", {}, `Dropped: ${count(dropped.length, "draw")}`) : null,
    ...dropped.map((call) => el("p", { class: "error" }, `${call.model}, sample ${call.sample}: ${call.error}`)),
    judgements(run, id),
  ];
}

function outcome(record, given) {
  const known = new Set(given.map((each) => each.id));
  const made = record.candidates.length;
  if (!made) return "Nothing came out";
  if (!record.candidates.every((each) => known.has(each.id))) return `Made: ${count(made, "candidate")}`;
  return made < known.size ? `Kept: ${made} of ${known.size} candidates, the best first` : `Passed on: ${count(made, "candidate")}`;
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

// One candidate; what the node itself added to it (`before` = as it was given) stands open.
function candidate(view, each, choose, before = null) {
  const won = each.id === view.winner;
  const fresh = (name) => before !== null && before[name] !== each[name];
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
    each.critique && folded("Critique", each.critique, fresh("critique")),
    each.reasoning && folded("Verifier's reasoning", each.reasoning, fresh("reasoning")),
    each.parents &&
      el(
        "p",
        { class: "parents faint" },
        "made from ",
        ...each.parents.map((parent) =>
          el("button", { type: "button", class: "link", onclick: () => choose(parent.slice(0, parent.lastIndexOf("#"))) }, parent),
        ),
      ),
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

function folded(name, text, open) {
  return el("details", { open }, el("summary", {}, name), el("div", { class: "text aside" }, text));
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
