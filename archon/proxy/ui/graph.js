// An architecture as a picture: boxes to choose from, the path of the winning answer drawn strong.

import { svg } from "./dom.js";

const KINDS = ["generator", "fuser", "ranker", "critic", "verifier", "tests", "tests_evaluator"];

/**
 * The picture of a graph.
 * `choose(id)` is called for a box; without it the picture is still. `run` = {path, failed, badge(id)} of one run.
 */
export function graph(picture, { choose = null, run = null } = {}) {
  const walked = new Set((run?.path.edges ?? []).map(([source, target]) => source + "→" + target));
  const reached = new Set(run?.path.nodes ?? []);
  const root = svg("svg", {
    class: "graph" + (run ? " ran" : ""),
    viewBox: `0 0 ${picture.width} ${picture.height + (run ? 12 : 0)}`,
    role: choose ? "group" : "img",
    "aria-label": picture.words,
  });
  root.style.setProperty("--wide", picture.width + "px");
  root.append(
    svg(
      "defs",
      {},
      ...["tip", "wontip"].map((id) =>
        svg(
          "marker",
          { id, class: id, viewBox: "0 0 8 8", refX: 4, refY: 4, markerWidth: 9, markerHeight: 9, orient: "auto", markerUnits: "userSpaceOnUse" },
          svg("path", { d: "M1,1L6,4L1,7" }),
        ),
      ),
    ),
  );
  for (const edge of [...picture.edges].sort((a, b) => strong(a) - strong(b))) {
    const [look, tip] = strong(edge) ? ["edge won", "wontip"] : ["edge", "tip"];
    root.append(svg("path", { class: look, d: edge.path, "marker-end": `url(#${tip})` }));
  }
  for (const box of picture.boxes) root.append(drawn(box));
  return root;

  function strong(edge) {
    return walked.has(edge.source + "→" + edge.target) ? 1 : 0;
  }

  function drawn(box) {
    const kind = KINDS.includes(box.kind) ? box.kind : "generator";
    const state = [reached.has(box.id) ? "won" : "", run?.failed.has(box.id) ? "failed" : ""].join(" ");
    const act = choose && {
      tabindex: 0,
      role: "button",
      "aria-label": `${box.lines.join(", ")}${reached.has(box.id) ? ", on the path of the answer" : ""}`,
      onclick: () => choose(box.id),
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        choose(box.id);
      },
    };
    const group = svg("g", { class: `box ${kind} ${state}`, "data-node": box.id, ...(act ?? {}) });
    group.append(
      svg("rect", { x: box.x, y: box.y, width: 190, height: box.height, rx: 8 }),
      svg("rect", { class: "mark", x: box.x, y: box.y + 8, width: 3, height: box.height - 16, rx: 1.5 }),
      ...box.lines.map((line, at) =>
        svg("text", { class: at ? "minor" : "major", x: box.x + 14, y: box.y + 10 + 17 * (at + 1) - 4 }, line),
      ),
    );
    const badge = run?.badge(box.id);
    if (badge) group.append(svg("text", { class: "badge", x: box.x + 190, y: box.y + box.height + 12 }, badge));
    return group;
  }
}
