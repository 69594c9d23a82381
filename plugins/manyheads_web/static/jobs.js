// Commands at work: how far they are, and how they are stopped.

import { post } from "./api.js";
import { duration, fill, h } from "./dom.js";

const KEEP = 8000; // milliseconds that a job which went well stays in the dock

/** A job with its bar and buttons; `update(job)` shows what has changed. */
export function jobCard({ onclose = null } = {}) {
  const title = h("strong"), state = h("span", { class: "small muted wide", role: "status" });
  const fillBar = h("i"), bar = h("div", { class: "bar wide", role: "progressbar", ariaValueMin: 0, ariaValueMax: 100 }, fillBar);
  const buttons = h("div", { class: "buttons" }), steps = h("ol", { class: "steps wide" });
  const problem = h("div", { class: "wide" }), said = h("pre"), log = h("details", { class: "wide" }, h("summary", {}, "What it says"), said);
  const node = h("div", { class: "job" }, title, buttons, bar, state, steps, problem, log);
  const update = (job) => {
    const { progress } = job, running = job.state === "running" || job.state === "stopping";
    title.textContent = job.title;
    bar.hidden = !running;
    bar.ariaLabel = job.title;
    bar.classList.toggle("unknown", !progress?.total);
    if (progress?.total) {
      const percent = Math.min(100, (100 * progress.done) / progress.total);
      fillBar.style.width = `${percent}%`;
      bar.ariaValueNow = Math.round(percent);
    } else fillBar.style.removeProperty("width");
    state.textContent = describe(job);
    fill(steps, [job.at, job.state, job.commands], () => job.commands.length > 1 && job.commands.map((command, i) =>
      h("li", { class: i < job.at || job.state === "done" ? "done" : i === job.at && running ? "now" : "", title: command.line }, command.title)));
    fill(buttons, [job.state, job.stops, job.id], () => [
      running && h("button", { type: "button", class: "stop", onclick: () => post("stop", { job: job.id }) },
        job.stops ? "Stop at once, without saving" : "Stop"),
      !running && onclose && h("button", { type: "button", class: "plain", ariaLabel: `Close: ${job.title}`, onclick: onclose }, "Close"),
    ]);
    fill(problem, job.error, () => job.error && h("div", { class: "notice bad" }, job.error));
    said.textContent = [...job.commands.slice(0, job.at + 1).map((command) => `$ ${command.line}`), ...job.lines].join("\n");
  };
  return { node, update };
}

function describe(job) {
  const { progress } = job;
  if (job.state === "stopping") return "stopping: the update is finished and saved first";
  if (job.state === "stopped") return `stopped after ${duration(job.seconds)}; what was learned is saved`;
  if (job.state === "failed") return `ended with an error after ${duration(job.seconds)}`;
  if (job.state === "done") return `done in ${duration(job.seconds)}`;
  if (!progress) return `${job.commands[job.at].title} · starting · ${duration(job.seconds)}`;
  const left = progress.seconds_left !== null && progress.done < progress.total ? ` · ${duration(progress.seconds_left)} left` : "";
  const rate = progress.rate ? ` · ${progress.rate >= 100 ? Math.round(progress.rate) : Number(progress.rate.toPrecision(2))}/s` : "";
  return `${progress.done.toLocaleString("en")} of ${progress.total.toLocaleString("en")} ${progress.unit}${rate}${left}`;
}

/** The jobs of other worlds, and those of this one while they run, at the foot of the page. */
export function dock(node, world) {
  const cards = new Map(), closed = new Set();
  node.replaceChildren();
  return (jobs) => {
    for (const job of jobs) {
      const running = job.ended === undefined && (job.state === "running" || job.state === "stopping");
      const wanted = running || (job.state === "failed" && cards.has(job.id));
      if (!cards.has(job.id) && wanted && !closed.has(job.id) && !shownInPage(job, world)) {
        const close = () => { closed.add(job.id); cards.get(job.id)?.holder.remove(); cards.delete(job.id); };
        const card = jobCard({ onclose: close }), holder = h("div", {}, card.node);
        cards.set(job.id, { ...card, holder, close });
        node.append(holder);
      }
      const card = cards.get(job.id);
      if (!card) continue;
      card.update(job);
      if (job.state === "done" || job.state === "stopped") setTimeout(card.close, KEEP);
    }
  };
}

/** Whether the view of that world shows the job where it belongs. */
const shownInPage = (job, world) => job.world === world && (job.kind === "goal" || (job.kind === "train" && job.draft));
