// Curves that grow while the world trains.

import { get, post } from "./api.js";
import { chart, runningMean } from "./chart.js";
import { colour, fill, h } from "./dom.js";

const AXES = { step: "environment steps", updates: "updates", minutes: "minutes of work" };
const PANELS = [
  ["return", "Return of training episodes", "under each task's own reward"],
  ["imagined_return", "Return that heads expect", "in imagination, discounted"],
  ["simulator", "Simulator's own reward", "of the same episodes; a task with its own reward is not trained for it"],
];

/** Which heads have to be fine-tuned again once the world model has been trained on. */
export function leftBehind(facts) {
  const names = facts.heads.filter((head) => !facts.tasks.includes(head.task)).map((head) => head.task);
  return names.length ? `Afterwards to be fine-tuned again, since they are not trained along: ${names.join(", ")}.` : "";
}

export function learningSection(world) {
  let axis = "step", found = { curves: {} }, heads = [], owner = "";
  const panels = PANELS.map(([measure, title, note]) => {
    const drawing = chart({ label: title });
    return { measure, drawing, node: h("div", { class: "card", hidden: true }, h("h3", {}, title), h("p", { class: "small muted" }, note), drawing.node) };
  });
  const none = h("div", { class: "card empty muted" }, "No numbers yet.");
  const buttons = Object.entries(AXES).map(([key, label]) =>
    h("button", { type: "button", ariaPressed: String(key === axis), onclick: () => { axis = key; show(); showAll(); } }, label.replace("environment ", "").replace(" of work", "")));
  const steps = h("input", { type: "number", min: 1, step: 1, value: 2000, ariaLabel: "More environment steps" });
  const problem = h("div", { class: "notice bad", role: "alert" });
  const train = h("button", { type: "button", onclick: () => {
    problem.textContent = "";
    post("run", { world, command: "train", steps: Number(steps.value) }).catch((error) => { problem.textContent = error.message; });
  } }, "Train on");
  const behind = h("p", { class: "small muted" });
  const choose = h("select", { ariaLabel: "Whose numbers", onchange: () => { owner = choose.value; showAll(); } });
  const many = h("div", { class: "many" }), drawings = new Map();
  const all = h("details", { ontoggle: () => showAll() }, h("summary", {}, "All numbers of …"), choose, many);
  const node = h("section", { id: "learning" },
    h("header", {}, h("h2", {}, "Learning"), h("div", { class: "switch", role: "group", ariaLabel: "Against" }, buttons)),
    problem, h("div", { class: "charts" }, none, ...panels.map((panel) => panel.node)),
    h("div", { class: "card" },
      h("div", { class: "buttons" }, h("span", {}, "Train the world and its tasks for"), steps, h("span", {}, "more steps"), train),
      behind,
      all));

  function show() {
    buttons.forEach((button, i) => { button.ariaPressed = String(Object.keys(AXES)[i] === axis); });
    let any = false;
    for (const { measure, drawing, node: panel } of panels) {
      const own = Object.entries(found.curves).filter(([name]) => name.endsWith(`/${measure}`));
      const series = own.flatMap(([name, one]) => {
        const task = name.slice(0, -measure.length - 1), place = heads.indexOf(task);
        const mark = colour(place < 0 ? heads.length : place), shared = { colour: mark, x: one[axis] };
        return [{ ...shared, name: task, y: one.value, dots: true, faint: true }, { ...shared, name: task, y: runningMean(one.value) }];
      });
      panel.hidden = !series.length;
      any ||= series.length > 0;
      drawing.draw(series, { xname: AXES[axis], xlow: 0 });
    }
    none.hidden = any;
  }

  let asking = false;
  async function showAll() {
    if (!all.open || asking || !choose.value) return;
    asking = true;
    try {
      const { curves } = await get("curves", { world, owner: choose.value });
      const names = Object.keys(curves).filter((name) => curves[name].value.length > 1);
      fill(many, [choose.value, names], () => {
        drawings.clear();
        return names.map((name) => {
          const short = name.slice(choose.value.length + 1), drawing = chart({ label: short, height: 110, small: true });
          drawings.set(name, drawing);
          return h("div", {}, h("h4", {}, short.replaceAll("_", " ")), drawing.node);
        });
      });
      for (const name of names) drawings.get(name)?.draw([{ name, colour: "var(--series-1)", x: curves[name].updates, y: curves[name].value }]);
    } catch (error) {
      problem.textContent = error.message;
    } finally { asking = false; }
  }

  return {
    node,
    world(facts) {
      heads = facts.heads.map((head) => head.task);
      const owners = ["world", ...heads];
      fill(choose, owners, () => owners.map((name) => h("option", { value: name }, name === "world" ? "the world model" : name)));
      if (owners.includes(owner)) choose.value = owner;
      behind.textContent = leftBehind(facts);
      show();
    },
    curves(next) { found = next; show(); showAll(); },
    jobs(jobs) { train.disabled = jobs.some((job) => job.kind === "train" && (job.state === "running" || job.state === "stopping")); },
  };
}
