// Elements made in one line, and numbers as a person reads them. Text is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties, listeners (`onclick`), attributes and children; null children are left out. */
export function h(tag, properties = {}, ...children) {
  return made(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return made(document.createElementNS(SVG, tag), attributes, children);
}

function made(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.setAttribute("class", value);
    else if (name in node && !(node instanceof SVGElement) && name !== "list") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Puts new children into a node only where they differ, so that focus, scrolling and films stay. */
export function fill(node, key, make) {
  const text = JSON.stringify(key);
  if (node.dataset.key === text) return;
  node.dataset.key = text;
  node.replaceChildren(...[make()].flat(Infinity).filter(Boolean));
}

/** `1,204`, `12.3`, `0.045`, `4.1e−5` */
export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = size >= 1000 ? Math.round(value).toLocaleString("en") : size > 0 && size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", "−");
}

/** An instance as a person reads it: `dmc/cartpole` from `dmc/cartpole {"task": "swingup", …}`. */
export const named = (instance) => instance.split(" ", 1)[0];

/** Its options that say something: `task swingup · action repeat 4`. */
export function options(instance) {
  const at = instance.indexOf("{");
  if (at < 0) return "";
  return Object.entries(JSON.parse(instance.slice(at)))
    .filter(([, value]) => value !== null && value !== false)
    .map(([name, value]) => `${name.replaceAll("_", " ")}${value === true ? "" : ` ${value}`}`).join(" · ");
}

/** `1.2k`, `3.4M`: for axes */
export function short(value) {
  const size = Math.abs(value);
  for (const [limit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (size >= limit) return `${Number((value / limit).toPrecision(3))}${letter}`.replace("-", "−");
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

/** `43%`, `0.3%` */
export function share(value) {
  if (value === null || value === undefined) return "–";
  if (value > 0 && value < 0.001) return "under 0.1%";
  return `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)}%`;
}

/** `45 s`, `3 min 20 s`, `2 h 05 min` */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (part) => String(part).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** `1 head`, `3 heads` */
export const counted = (count, thing) => `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;

/** A colour of the page for the i-th curve. */
export const colour = (i) => `var(--series-${(i % 6) + 1})`;

/** Lines of a specification in words, parts indented. */
export const words = (text) =>
  h("div", { class: "words" }, text.split("\n").map((line) => {
    const node = h("div", {}, line.trimStart());
    node.style.setProperty("--deep", line.length - line.trimStart().length);
    return node;
  }));
