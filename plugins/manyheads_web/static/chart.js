// Line charts in SVG that follow their width, read out values under the pointer or the arrow keys, and redraw at once.

import { h, s, short } from "./dom.js";

const TOP = 8, BOTTOM = 34, RIGHT = 10;

/**
 * A chart; `draw(series, options)` shows series {name, colour, x, y, dots, faint, dash} of equal lengths of x and y.
 * Options: `bounds` [{y, name}] are lines across, `low` and `high` of the y axis at least, `xname`, `yname`.
 */
export function chart({ label, height = 230, small = false }) {
  const legend = h("ul", { class: "legend", hidden: small });
  const tip = h("div", { class: "tip", hidden: true });
  const picture = s("svg", { role: "img", "aria-label": label, height });
  const box = h("div", { class: "chart", tabIndex: small ? -1 : 0, role: "group", ariaLabel: `${label}; arrow keys read values` }, picture, tip);
  const node = h("figure", {}, legend, box);
  let series = [], options = {}, frame = null, at = null;

  const scales = () => {
    const xs = series.flatMap((one) => one.x), ys = series.flatMap((one) => one.y.filter(Number.isFinite));
    const bounds = (options.bounds ?? []).map((bound) => bound.y);
    const span = (values, low, high) => {
      let from = low ?? Infinity, to = high ?? -Infinity;
      for (const value of values) { if (value < from) from = value; if (value > to) to = value; }
      if (!(from <= to)) return [0, 1];
      return from === to ? [from - (Math.abs(from) || 1) / 2, to + (Math.abs(to) || 1) / 2] : [from, to];
    };
    const [x0, x1] = span(xs, options.xlow);
    let [y0, y1] = span([...ys, ...bounds], options.low, options.high);
    if (options.low === undefined) y0 -= (y1 - y0) * 0.05;
    if (options.high === undefined || y1 > options.high) y1 += (y1 - y0) * 0.05;
    const yticks = ticks(y0, y1, small ? 3 : 5), left = Math.max(...yticks.map((tick) => short(tick).length)) * 7 + 12;
    const width = Math.max(box.clientWidth, 120), bottom = height - (small ? 20 : BOTTOM);
    return {
      x0, x1, y0, y1, left, width, bottom, yticks,
      x: (value) => left + ((value - x0) / (x1 - x0)) * (width - left - RIGHT),
      y: (value) => bottom - ((value - y0) / (y1 - y0)) * (bottom - TOP),
    };
  };

  const render = () => {
    frame = null;
    if (!box.clientWidth) return;
    const to = scales(), parts = [];
    picture.setAttribute("viewBox", `0 0 ${to.width} ${height}`);
    for (const tick of to.yticks) {
      parts.push(s("line", { class: "tick", x1: to.left, x2: to.width - RIGHT, y1: to.y(tick), y2: to.y(tick) }));
      parts.push(s("text", { x: to.left - 6, y: to.y(tick) + 4, "text-anchor": "end" }, short(tick)));
    }
    for (const tick of ticks(to.x0, to.x1, Math.max(2, Math.floor(to.width / (small ? 90 : 110)))))
      parts.push(s("text", { x: to.x(tick), y: to.bottom + 16, "text-anchor": "middle" }, short(tick)));
    if (!small && options.xname) parts.push(s("text", { x: to.width - RIGHT, y: height - 3, "text-anchor": "end" }, options.xname));
    for (const one of series) parts.push(...drawn(one, to));
    (options.bounds ?? []).forEach(({ y, name }, i) => { // names to the left and right in turn, so that near ones stay apart
      parts.push(s("line", { class: "bound", x1: to.left, x2: to.width - RIGHT, y1: to.y(y), y2: to.y(y) }));
      const place = i % 2 ? { x: to.width - RIGHT - 6, "text-anchor": "end" } : { x: to.left + 6 };
      if (name) parts.push(s("text", { class: "bound-name", y: to.y(y) - 5, ...place }, name));
    });
    if (at !== null) parts.push(s("line", { class: "cursor", x1: to.x(at), x2: to.x(at), y1: TOP, y2: to.bottom }));
    picture.replaceChildren(...parts);
  };

  const schedule = () => { frame ??= requestAnimationFrame(render); };

  const readout = (x) => {
    at = x;
    if (x === null || !series.length) { at = null; tip.hidden = true; schedule(); return; }
    const to = scales(), lines = [];
    const nearest = (one) => one.x.reduce((best, value, i) => Math.abs(value - x) < Math.abs(one.x[best] - x) ? i : best, 0);
    const first = series.find((one) => one.x.length);
    if (!first) return;
    at = first.x[nearest(first)];
    for (const one of series.filter((each) => each.x.length && !each.faint))
      lines.push(h("div", {}, `${one.name}: ${short(one.y[nearest(one)])}`));
    tip.replaceChildren(h("div", { class: "muted" }, `${options.xname ?? ""} ${short(at)}`), ...lines);
    tip.hidden = false;
    const place = to.x(at);
    tip.style.left = place > to.width / 2 ? "auto" : `${place + 10}px`;
    tip.style.right = place > to.width / 2 ? `${to.width - place + 10}px` : "auto";
    schedule();
  };

  box.addEventListener("pointermove", (event) => {
    const to = scales(), x = event.clientX - box.getBoundingClientRect().left;
    readout(to.x0 + ((x - to.left) / (to.width - to.left - RIGHT)) * (to.x1 - to.x0));
  });
  box.addEventListener("pointerleave", () => readout(null));
  box.addEventListener("blur", () => readout(null));
  box.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const { x0, x1 } = scales();
    readout(Math.min(x1, Math.max(x0, (at ?? x0) + way * (x1 - x0) / 50)));
  });
  new ResizeObserver(schedule).observe(box);

  return {
    node,
    draw(next, more = {}) {
      series = next;
      options = more;
      const named = series.filter((one) => !one.faint);
      legend.hidden = small || named.length < 2;
      legend.replaceChildren(...named.map((one) => {
        const mark = h("i");
        mark.style.background = one.colour;
        return h("li", {}, mark, h("span", {}, one.name));
      }));
      schedule();
    },
  };
}

function drawn(one, to) {
  const points = one.x.map((x, i) => [to.x(x), to.y(one.y[i])]);
  if (one.dots) return points.map(([x, y]) => s("circle", { cx: x, cy: y, r: 2, fill: one.colour, opacity: one.faint ? 0.35 : 0.9 }));
  if (points.length === 1) return [s("circle", { cx: points[0][0], cy: points[0][1], r: 3, fill: one.colour })];
  const way = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  return [s("path", { d: way, fill: "none", stroke: one.colour, "stroke-width": one.faint ? 1 : 1.9, "stroke-linejoin": "round", opacity: one.faint ? 0.35 : 1, ...(one.dash ? { "stroke-dasharray": one.dash } : {}) })];
}

/** About `count` round numbers between two. */
export function ticks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((each) => each >= raw * 0.999) ?? raw;
  const found = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) found.push(Number(tick.toPrecision(12)));
  return found;
}

/** Mean over a centred window of a tenth of the values. */
export function runningMean(values) {
  const half = Math.floor(values.length / 20), sums = [0];
  for (const value of values) sums.push(sums.at(-1) + value);
  return values.map((_, i) => {
    const from = Math.max(i - half, 0), to = Math.min(i + half + 1, values.length);
    return (sums[to] - sums[from]) / (to - from);
  });
}
