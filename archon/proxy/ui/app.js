// The page: a key, a question, past requests. What is open is named in the address (#trace=ID), so it can be kept.

import { ask, get, key, ServerError } from "./api.js";
import { byId, el, put, seconds, usd, when } from "./dom.js";
import { graph } from "./graph.js";
import { showInside } from "./inside.js";

let models = [];
let running = null;

function notice(text) {
  const box = byId("notice");
  box.hidden = !text;
  put(box, text ? [el("span", {}, text), el("button", { type: "button", class: "quiet small", onclick: () => notice("") }, "Close")] : []);
}

async function guarded(work) {
  try {
    notice("");
    await work();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof ServerError && error.status === 401 && !key.get()) return locked();
    notice(error.message);
  }
}

function locked() {
  byId("key-state").textContent = "this service asks for a key";
  byId("key").focus();
}

async function load() {
  models = (await get("/ui/api/models")).data;
  const chosen = byId("model").value;
  put(byId("model"), ...grouped());
  if (models.some((each) => each.id === chosen)) byId("model").value = chosen;
  preview();
  byId("key-state").textContent = key.get() ? "in use for this tab" : "";
  await past();
}

function grouped() {
  const options = (wanted) => models.filter((each) => Boolean(each.picture) === wanted).map((each) => el("option", { value: each.id }, each.id));
  const [graphs, plain] = [options(true), options(false)];
  return [
    graphs.length ? el("optgroup", { label: "Architectures" }, ...graphs) : null,
    plain.length ? el("optgroup", { label: "Plain models" }, ...plain) : null,
  ].filter(Boolean);
}

function preview() {
  const found = models.find((each) => each.id === byId("model").value);
  put(byId("preview"), found?.picture ? graph(found.picture) : []);
  byId("words").textContent = found?.picture ? stages(found.picture) : found ? "A plain model, passed through." : "";
}

// "generator × 2 and generator × 2 → critic → fuser": boxes of one column stand side by side.
function stages(picture) {
  const columns = new Map();
  for (const box of picture.boxes) columns.set(box.x, [...(columns.get(box.x) ?? []), box.lines[0]]);
  return [...columns.keys()].sort((a, b) => a - b).map((x) => columns.get(x).join(" + ")).join(" → ");
}

async function past() {
  const rows = (await get("/ui/api/traces?limit=50")).data;
  const open = opened();
  put(
    byId("past"),
    ...rows.map((row) =>
      el(
        "li",
        {},
        el(
          "a",
          { href: "#trace=" + encodeURIComponent(row.trace_id), class: row.trace_id === open ? "chosen" : "" },
          el("span", { class: "what" }, row.question || row.architecture || row.trace_id),
          el("span", { class: "faint" }, [when(row.at), row.architecture, usd(row.list_cost_usd), seconds(row.seconds)].filter(Boolean).join(" · ")),
          row.error ? el("span", { class: "tag bad" }, "failed") : null,
        ),
      ),
    ),
    rows.length ? null : el("li", { class: "faint" }, "None yet."),
  );
}

const opened = () => decodeURIComponent(new URLSearchParams(location.hash.slice(1)).get("trace") ?? "");

async function open(id) {
  const stored = await get("/ui/api/traces/" + encodeURIComponent(id));
  byId("empty").hidden = true;
  byId("answer-card").hidden = !stored.trace.runs;
  byId("answer").textContent = (stored.trace.runs ?? []).map((run) => run.answer?.text ?? "There is no answer.").join("\n\n");
  byId("progress").textContent = "";
  showInside(byId("inside"), stored);
}

async function submit() {
  running?.abort();
  running = new AbortController();
  begin();
  try {
    const answered = await ask(byId("model").value, byId("question").value, listeners(), running.signal);
    byId("progress").textContent = "";
    await follow(answered.get("x-archon-trace-id"));
  } catch (error) {
    byId("progress").textContent = error.name === "AbortError" ? "stopped" : "failed";
    await pastSoon();
    throw error;
  } finally {
    running = null;
    byId("stop").hidden = true;
    byId("send").disabled = false;
    byId("answer").classList.remove("waiting");
  }
}

function begin() {
  byId("empty").hidden = true;
  byId("inside").hidden = true;
  byId("answer-card").hidden = false;
  byId("answer").textContent = "";
  byId("answer").classList.add("waiting");
  byId("progress").textContent = "running";
  byId("stop").hidden = false;
  byId("send").disabled = true;
}

function listeners() {
  return {
    text: (piece) => {
      byId("answer").classList.remove("waiting");
      byId("answer").append(document.createTextNode(piece));
    },
    progress: (event) => (byId("progress").textContent = told(event)),
  };
}

function told(event) {
  return [event.layer?.replaceAll("_", " "), event.node, event.state].filter(Boolean).join(" · ") || "running";
}

// A request is listed just after its end, a plain model's a second later.
function pastSoon() {
  setTimeout(() => guarded(past), 1500);
  return past();
}

// The trace is written just after the answer: it is looked for a few times.
async function follow(id) {
  if (!id) return pastSoon();
  for (let left = 10; left; left--) {
    try {
      await open(id);
      break;
    } catch (error) {
      if (error.status !== 404 || left === 1) throw error;
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  }
  history.replaceState(null, "", "#trace=" + encodeURIComponent(id));
  return past();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key").value.trim());
  byId("key").value = "";
  guarded(load);
});
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(submit);
});
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
});
byId("model").addEventListener("change", preview);
byId("stop").addEventListener("click", () => running?.abort());
byId("refresh").addEventListener("click", () => guarded(past));
addEventListener("hashchange", () => opened() && guarded(() => open(opened()).then(past)));

guarded(async () => {
  await load();
  if (opened()) await open(opened());
});
