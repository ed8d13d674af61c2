// Elements from data. Every text goes through textContent: what a model wrote is never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: el("p", {class: "faint", onclick: f}, "text", child, …). A null child or attribute is left out. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** Replaces what an element holds. */
export function put(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

export const byId = (id) => document.getElementById(id);

export function usd(cost) {
  if (cost === null || cost === undefined) return "price unknown";
  if (cost === 0) return "$0";
  return "$" + (cost < 0.01 ? cost.toFixed(6) : cost.toFixed(4));
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 1 ? Math.round(value * 1000) + " ms" : value.toFixed(2) + " s";
}

export const count = (value, word) => `${(value ?? 0).toLocaleString("en")} ${word}${value === 1 ? "" : "s"}`;

export function when(unix) {
  const at = new Date(unix * 1000);
  const today = new Date().toDateString() === at.toDateString();
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return today ? time : at.toLocaleDateString([], { month: "short", day: "numeric" }) + " " + time;
}
