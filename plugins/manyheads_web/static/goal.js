// A goal: typed in, read back with its curve, corrected by sliders, trained with progress, and watched.

import { address, get, post } from "./api.js";
import { chart } from "./chart.js";
import { fill, h, share, words } from "./dom.js";
import { jobCard } from "./jobs.js";
import { leftBehind } from "./learning.js";

const EPISODES = { best: "var(--series-3)", middle: "var(--series-1)", worst: "var(--series-2)" };
const WAYS = [
  ["imagined", "In imagination", "minutes, without the simulator; right where the world has seen what is asked", true, false],
  ["online", "In imagination, then in the simulator", "the head then collects its own steps; the world stays as it is", true, true],
  ["jointly", "With the world", "trains the world model and its other heads along; for what the world has hardly seen", false, true],
];

export function goalSection(world) {
  const sentence = h("input", { type: "text", maxLength: 500, required: true, placeholder: "What should it do? One English sentence", ariaLabel: "The goal, in one English sentence", autocomplete: "off" });
  const where = h("select", { ariaLabel: "Environment", hidden: true });
  const ask = h("button", { class: "main" }, "Read it back");
  const form = h("form", { class: "say", onsubmit: (event) => { event.preventDefault(); read(); } }, sentence, where, ask);
  const problem = h("div", { class: "notice bad", role: "alert" }), work = h("div", { class: "work", hidden: true }), result = h("div");
  const node = h("section", { id: "goal" },
    h("header", {}, h("h2", {}, "A goal in words"), h("p", { class: "muted" }, "A language model turns the sentence into a checked reward. It is read back before anything is trained.")),
    h("div", { class: "card" }, form, problem, work, result));
  const card = jobCard();
  work.append(card.node);
  let draft = null, waiting = null, latest = null;

  async function read() {
    problem.textContent = "";
    try {
      const job = await post("goal", { world, sentence: sentence.value.trim(), ...(where.hidden ? {} : { environment: where.value }) });
      waiting = job.id;
      draft = null;
      result.replaceChildren();
      work.hidden = false;
      card.update(job);
    } catch (error) { problem.textContent = error.message; }
  }

  async function open(number) {
    try {
      const facts = await get("draft", { draft: number });
      sentence.value ||= facts.goal;
      draft = draftView(facts, async (body) => draft.training(await post("train", body)));
      if (latest) draft.world(latest);
      result.replaceChildren(draft.node);
    } catch (error) { problem.textContent = error.message; }
  }

  return {
    node,
    world(found) {
      where.hidden = found.environments.length < 2;
      fill(where, found.environments, () => found.environments.map((name) => h("option", { value: name }, name)));
      ask.disabled = sentence.disabled = !found.trained;
      sentence.placeholder = found.trained ? "What should it do? One English sentence" : "The world is not trained yet";
      latest = found;
      draft?.world(found);
    },
    async jobs(jobs) {
      const reading = jobs.filter((job) => job.kind === "goal").at(-1);
      if (reading) {
        card.update(reading);
        work.hidden = reading.state === "done";
        ask.disabled = reading.state === "running" || reading.state === "stopping";
      }
      if (reading?.state === "done" && reading.draft && draft?.number !== reading.draft && (waiting === null || waiting === reading.id)) {
        waiting = reading.id;
        draft = { number: reading.draft, world() {}, training() {} };
        await open(reading.draft);
      }
      const training = jobs.filter((job) => job.kind === "train" && job.draft).at(-1);
      if (training && draft && training.draft === draft.number) draft.training(training);
    },
  };
}

function draftView(facts, train) {
  const values = new Map(), rows = [];
  const description = h("div"), findings = h("div"), coverage = h("ul", { class: "share" });
  const reward = chart({ label: "Reward along recorded episodes", height: 210 });
  const measures = facts.measures.map((measure) => ({ ...measure, drawing: chart({ label: measure.label, height: 170 }) }));
  const sliders = facts.numbers.map((number, index) => slider(number, index, (value) => {
    if (value === number.value) values.delete(index); else values.set(index, value);
    drawMeasures();
    judge();
  }));
  rows.push(...sliders);

  function drawMeasures() {
    measures.forEach((measure, place) => {
      const bounds = facts.numbers.flatMap((number, index) => number.measure === place ? [{ y: values.get(index) ?? number.value, name: number.sense }] : []);
      measure.drawing.draw(measure.curves.map(line), { xname: "step of the episode", bounds });
    });
  }

  function show(judged) {
    fill(description, judged.description, () => words(judged.description));
    fill(findings, judged.findings, () => judged.findings.map((each) => h("div", { class: `notice ${each.severity === "error" ? "bad" : ""}` }, each.text)));
    reward.draw(judged.curves.map(line), { xname: "step of the episode", low: 0, high: 1 });
    const found = judged.coverage;
    fill(coverage, found, () => found ? [
      h("li", {}, h("b", {}, share(found.much)), ` of ${found.rows.toLocaleString("en")} recorded steps earn more than half`),
      h("li", {}, "best 50 steps in a row: ", h("b", {}, found.best_stretch.toFixed(2)), " a step"),
      found.successes !== null && h("li", {}, h("b", {}, String(found.successes)), ` of ${found.episodes} episodes succeed`),
    ] : h("li", {}, "Nothing is recorded there yet, so there is no curve."));
  }

  let asking = false, again = false;
  async function judge() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      show(await post("judge", { draft: facts.draft, values: Object.fromEntries(values) }));
      trouble.textContent = "";
    } catch (error) { trouble.textContent = error.message; }
    asking = false;
    if (again) { again = false; judge(); }
  }

  const trouble = h("div", { class: "notice bad", role: "alert" }), seen = facts.experience;
  const unfamiliar = seen && !seen.familiar;
  const updates = h("input", { type: "number", min: 1, step: 1, value: 1500 }), steps = h("input", { type: "number", min: 1, step: 1, value: 4000 });
  const updatesLabel = h("label", {}, "updates", h("br"), updates), stepsLabel = h("label", {}, "new steps", h("br"), steps);
  const radios = WAYS.map(([value, label, note], i) => h("label", {},
    h("input", { type: "radio", name: "way", value, checked: unfamiliar ? value === "jointly" : i === 0, onchange: amounts }), h("span", {}, label, h("small", {}, note))));
  const way = () => radios.map((label) => label.querySelector("input")).find((radio) => radio.checked).value;
  const behind = h("p", { class: "small muted" });
  function amounts() {
    behind.hidden = way() !== "jointly";
    const [, , , imagines, collects] = WAYS.find(([value]) => value === way());
    updatesLabel.hidden = !imagines;
    stepsLabel.hidden = !collects;
  }
  const start = h("button", { class: "main" }, "Train a head for it");
  const film = h("figure"), work = h("div", { class: "work", hidden: true }), card = jobCard();
  work.append(card.node);
  const form = h("form", { class: "work", onsubmit: async (event) => {
    event.preventDefault();
    trouble.textContent = "";
    start.disabled = true;
    const chosen = way();
    try {
      await train({ draft: facts.draft, values: Object.fromEntries(values), way: chosen, ...(chosen === "jointly" ? {} : { updates: Number(updates.value) }), ...(chosen === "imagined" ? {} : { steps: Number(steps.value) }) });
    } catch (error) { trouble.textContent = error.message; start.disabled = false; }
  } }, h("h3", {}, "Is this what you mean? Then train it"), h("fieldset", { class: "ways" }, h("legend", { class: "small muted" }, "How it learns"), radios), behind, h("div", { class: "amounts" }, updatesLabel, stepsLabel, start));

  const node = h("div", {},
    h("p", { class: "quote" }, `“${facts.goal}”`),
    unfamiliar && h("div", { class: "notice" }, `This world has hardly seen what the goal asks for: ${share(seen.fulfilled)} of its steps are so. Imagination alone would be guesswork; train it with the world.`),
    facts.ignored?.length > 0 && h("div", { class: "notice" }, `Not understood, and left out: ${facts.ignored.join(", ")}.`),
    facts.warnings?.map((each) => h("div", { class: "notice" }, each)),
    h("div", { class: "read" },
      h("div", {}, h("h3", {}, "What it will be paid for"), description, findings, trouble,
        facts.decisions?.length > 0 && h("details", {}, h("summary", {}, "Why it reads so"), decisions(facts.decisions))),
      h("div", {}, h("h3", {}, "Reward along recorded episodes"), reward.node, coverage)),
    h("div", { class: "read" },
      h("div", {}, h("h3", {}, "Its numbers"), h("p", { class: "small muted" }, "Move them until the curve says what you mean."), sliders.map((each) => each.node),
        sliders.length > 0 && h("div", { class: "buttons" }, h("button", { type: "button", class: "plain", onclick: () => { rows.forEach((each) => each.reset()); values.clear(); drawMeasures(); judge(); } }, "As they were"))),
      h("div", {}, measures.map((measure) => [h("h3", {}, measure.unit ? `${measure.label} (${measure.unit})` : measure.label), measure.drawing.node]))),
    form, work, film);
  amounts();
  drawMeasures();
  show(facts);
  let head = null, finished = false, latest = null;
  const watch = () => {
    const own = finished && latest?.heads.find((each) => each.task === head);
    fill(film, own && [own.video, own.head], () => own?.video && [
      h("h3", { class: "work" }, `Watch ${head}`),
      h("video", { src: address("video", { world: facts.world, head, at: own.video }), controls: true, muted: true, loop: true, playsInline: true, autoplay: !matchMedia("(prefers-reduced-motion: reduce)").matches, ariaLabel: `${head}: real episode next to imagination` }),
      h("figcaption", {}, own.head && own.head.success_rate !== null ? `It succeeds in ${share(own.head.success_rate)} of ${own.head.episodes.length} episodes in the real simulator. ` : "", "Its card is below, under Heads.")]);
  };
  return {
    node,
    number: facts.draft,
    training(job) {
      head = job.head;
      const running = job.state === "running" || job.state === "stopping";
      work.hidden = false;
      card.update(job);
      start.disabled = running;
      start.textContent = running ? "Training …" : "Train it on";
      finished = job.state === "done";
      watch();
    },
    world(found) { latest = found; behind.textContent = leftBehind(found); watch(); },
  };
}

const line = (one) => ({ name: `${one.name} episode`, colour: EPISODES[one.name], x: one.values.map((_, i) => i), y: one.values });

function slider(number, index, moved) {
  const id = `number-${index}-${Math.random().toString(36).slice(2, 8)}`;
  const shared = { min: number.low, max: number.high, step: number.step, value: number.value };
  const range = h("input", { type: "range", id, ...shared }), exact = h("input", { type: "number", ...shared, step: "any", ariaLabel: `${number.label}, exact` });
  const node = h("div", { class: "slider" },
    h("div", { class: "row" }, h("label", { htmlFor: id }, number.label), h("span", {}, exact, number.unit)), range);
  exact.value = String(Number(number.value.toPrecision(5)));
  const set = (value) => { node.classList.toggle("moved", value !== number.value); moved(value); };
  range.addEventListener("input", () => { exact.value = range.value; set(Number(range.value)); });
  exact.addEventListener("input", () => {
    if (exact.value === "" || !Number.isFinite(Number(exact.value))) return;
    range.value = exact.value;
    set(number.whole ? Math.round(Number(exact.value)) : Number(exact.value));
  });
  return { node, reset() { range.value = number.value; exact.value = String(Number(number.value.toPrecision(5))); node.classList.remove("moved"); } };
}

const decisions = (list) => h("div", { class: "scroll" }, h("table", {},
  h("thead", {}, h("tr", {}, ["about", "question", "answer", "decided by", "why"].map((each) => h("th", {}, each)))),
  h("tbody", {}, list.map((each) => h("tr", {}, h("td", { class: "muted" }, each.about), h("td", {}, each.question), h("td", {}, h("b", {}, each.answer)), h("td", {}, each.step), h("td", { class: "muted" }, each.why))))));
