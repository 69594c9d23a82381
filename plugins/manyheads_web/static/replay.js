// What is in replay: ranges of signals, and episodes to look into.

import { address, get } from "./api.js";
import { chart } from "./chart.js";
import { colour, counted, fill, h, named, number, options, s } from "./dom.js";

const CURVES = 4;

export function replaySection(world) {
  const body = h("div", {}, h("div", { class: "card muted" }, "reading …"));
  const reread = h("button", { type: "button", onclick: () => read() }, "Read again");
  const node = h("section", { id: "replay" },
    h("header", {}, h("h2", {}, "Replay"), reread, h("p", { class: "muted" }, "All that the world has lived through. Rewards are not stored: every task labels these rows in its own way.")),
    body);
  let steps = null, reading = false;

  async function read() {
    if (reading) return;
    reading = true;
    try {
      const facts = await get("replay", { world });
      fill(body, facts, () => shown(world, facts));
    } catch (error) {
      fill(body, error.message, () => h("div", { class: "card muted" }, error.message));
    } finally { reading = false; }
  }

  return {
    node,
    world(found) {
      if (steps === found.steps) return;
      steps = found.steps;
      read();
    },
  };
}

function shown(world, facts) {
  if (!facts.episodes) return h("div", { class: "card empty muted" }, "No episode has been recorded yet.");
  return [
    h("dl", { class: "facts" },
      [["rows", number(facts.rows)], ["episodes", number(facts.episodes)], ["on disk", `${(facts.bytes / 1e6).toFixed(1)} MB`]].map(([label, value]) =>
        h("div", {}, h("dt", {}, label), h("dd", {}, value)))),
    h("div", { class: "card" }, h("h3", {}, "Newest episodes"), viewer(world, facts)),
    ...facts.instances.map((each, i) => h("details", { class: "card", open: i === 0 && facts.instances.length === 1 },
      h("summary", {}, `What was measured in ${named(each.instance)}: ${counted(each.rows, "row")}, ${counted(each.episodes, "episode")}`),
      h("p", { class: "small muted" }, options(each.instance)), signals(each.signals))),
  ];
}

function viewer(world, facts) {
  const drawing = chart({ label: "Signals of the episode", height: 250 }), choose = h("select", { ariaLabel: "Signal" });
  const frame = h("img", { class: "frame", alt: "What was observed in this row", hidden: true }), at = h("input", { type: "range", min: 0, value: 0, step: 1, ariaLabel: "Row of the episode", hidden: true });
  const title = h("h3"), how = h("p", { class: "small muted" }), problem = h("p", { class: "muted" });
  let episode = null;
  const draw = () => {
    if (!episode) return;
    const names = choose.value === "" ? Object.keys(episode.signals).slice(0, CURVES) : [choose.value];
    drawing.draw(names.map((name, i) => ({ name, colour: colour(i), x: episode.signals[name].map((_, row) => row), y: episode.signals[name] })), { xname: "step of the episode" });
  };
  choose.addEventListener("change", draw);
  at.addEventListener("input", () => { frame.src = address("frame", { world, episode: episode.episode, row: at.value }); });
  const rows = facts.newest.map((one) => {
    const button = h("button", { type: "button", class: "plain", onclick: () => pick(one, row) }, `${one.episode}`);
    const row = h("tr", { class: "pick", onclick: () => pick(one, row) }, h("td", {}, button), h("td", { class: "n" }, number(one.rows)), h("td", { class: "n" }, number(one.return)), h("td", { class: "muted" }, one.ended));
    return row;
  });
  async function pick(one, row) {
    rows.forEach((each) => each.classList.toggle("picked", each === row));
    try {
      episode = await get("episode", { world, episode: one.episode });
    } catch (error) { problem.textContent = error.message; return; }
    problem.textContent = "";
    title.textContent = `Episode ${episode.episode} of ${named(episode.instance)}`;
    how.textContent = options(episode.instance);
    const names = Object.keys(episode.signals), before = choose.value;
    choose.replaceChildren(h("option", { value: "" }, `the first ${Math.min(CURVES, names.length)}`), ...names.map((name) => h("option", { value: name }, name.replaceAll("_", " "))));
    if (names.includes(before)) choose.value = before;
    draw();
    frame.hidden = at.hidden = !facts.image;
    if (facts.image) { at.max = episode.rows - 1; at.value = 0; at.dispatchEvent(new Event("input")); }
  }
  if (facts.newest.length) pick(facts.newest[0], rows[0]);
  return h("div", { class: "viewer" },
    h("div", { class: "list scroll", tabIndex: 0, role: "region", ariaLabel: "Newest episodes" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "episode"), h("th", { class: "n" }, "rows"), h("th", { class: "n" }, "simulator's return"), h("th", {}, "ended"))),
      h("tbody", {}, rows))),
    h("div", {}, title, how, choose, problem, drawing.node, frame, at));
}

function signals(list) {
  return h("div", { class: "scroll", tabIndex: 0, role: "region", ariaLabel: "Signals" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, "signal"), h("th", {}, "how often"), ["1%", "50%", "99%"].map((each) => h("th", { class: "n" }, each)), h("th", {}, "unit"), h("th", { class: "meaning" }, "meaning"))),
    h("tbody", {}, list.map((each) => h("tr", {}, h("td", {}, each.signal.replaceAll("_", " ")), h("td", {}, bars(each)), each.quantiles.map((value) => h("td", { class: "n" }, number(value))), h("td", {}, each.unit === "1" ? "" : each.unit), h("td", { class: "muted meaning" }, each.description))))));
}

function bars({ counts, low, high }) {
  const most = Math.max(...counts);
  return s("svg", { class: "bars", viewBox: `0 0 ${counts.length * 3} 22`, preserveAspectRatio: "none", role: "img", "aria-label": `from ${number(low)} to ${number(high)}` },
    counts.map((count, i) => count ? s("rect", { x: i * 3, y: 21 - (20 * count) / most, width: 2, height: (20 * count) / most, fill: "var(--series-1)" }) : null),
    s("line", { x1: 0, x2: counts.length * 3, y1: 21.5, y2: 21.5, stroke: "var(--grid)" }));
}
