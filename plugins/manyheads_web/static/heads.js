// The heads of a world: what they are for, how they do, and how that looks.

import { address, post } from "./api.js";
import { fill, h, number, s, share, words } from "./dom.js";

export function headsSection(world) {
  const list = h("div"), problem = h("div", { class: "notice bad", role: "alert" });
  const playAll = h("button", { type: "button", onclick: () => run("evaluate") }, "Play all heads");
  const node = h("section", { id: "heads" },
    h("header", {}, h("h2", {}, "Heads"), playAll, h("p", { class: "muted" }, "Each is one task's learner on the world. Scores are of episodes in the real simulator, compared with random actions.")),
    problem, list);
  const cards = new Map();
  let running = [];

  function run(command, head, more = {}) {
    problem.textContent = "";
    post("run", { world, command, ...(head ? { head } : {}), ...more }).catch((error) => { problem.textContent = error.message; });
  }

  const busy = () => {
    const kinds = new Set(running.map((job) => `${job.kind} ${job.head ?? ""}`));
    for (const [name, card] of cards) card.busy(kinds.has(`watch ${name}`), kinds.has(`evaluate ${name}`), running.some((job) => job.kind === "train"));
    playAll.disabled = kinds.has("evaluate ");
  };

  return {
    node,
    world(found) {
      playAll.hidden = found.heads.length < 2;
      if (!found.heads.length) {
        cards.clear();
        fill(list, "none", () => h("div", { class: "card empty muted" }, "No head yet. It appears when its training begins."));
        return;
      }
      if (list.dataset.key) { list.replaceChildren(); delete list.dataset.key; }
      const names = found.heads.map((head) => head.task);
      for (const [name, card] of cards) if (!names.includes(name)) { card.node.remove(); cards.delete(name); }
      for (const head of found.heads) {
        if (!cards.has(head.task)) {
          const card = headCard(world, head.task, run);
          cards.set(head.task, card);
          list.prepend(card.node); // the newest first
        }
        cards.get(head.task).update(head);
      }
      busy();
    },
    jobs(jobs) {
      running = jobs.filter((job) => job.state === "running" || job.state === "stopping");
      busy();
    },
  };
}

function headCard(world, name, run) {
  const title = h("div", { class: "title" }), right = h("div");
  const film = h("figure"), score = h("div"), left = h("div", {}, film, score);
  const watch = h("button", { type: "button", onclick: () => run("watch", name) }, "▶ Watch");
  const again = h("button", { type: "button", onclick: () => run("watch", name) }, "Film again");
  const play = h("button", { type: "button", onclick: () => run("evaluate", name) }, "Play 10 episodes");
  const updates = h("input", { type: "number", min: 1, step: 1, value: 500, ariaLabel: `More updates of ${name}` });
  const train = h("button", { type: "button", onclick: () => run("finetune", name, { updates: Number(updates.value) }) }, "Train on");
  const node = h("article", { class: "card head-card", ariaLabel: name }, title, left, right);
  return {
    node,
    busy(filming, playing, training) {
      watch.disabled = again.disabled = filming;
      watch.textContent = filming ? "Filming …" : "▶ Watch";
      play.disabled = playing;
      train.disabled = training;
    },
    update(head) {
      fill(title, [head.task, head.stale, head.head], () => [
        h("h3", {}, head.task),
        h("div", { class: "chips" },
          head.head?.success_rate != null && h("span", { class: `chip ${head.head.success_rate >= 0.8 ? "good" : "warn"}` }, `succeeds ${share(head.head.success_rate)}`),
          head.head?.difference && head.head.difference.low !== null && compared(head.head.difference),
          head.stale && h("span", { class: "chip warn", title: "The world was trained since; fine-tune the head again." }, "of an earlier state of the world"))]);
      fill(film, [head.video, head.problem], () => head.video === null
        ? h("div", { class: "novideo" }, head.problem ? "No film" : [watch, h("span", {}, "An episode is played and filmed, real next to imagined.")])
        : [h("video", { src: address("video", { world, head: head.task, at: head.video }), controls: true, muted: true, loop: true, playsInline: true, preload: "metadata", autoplay: !matchMedia("(prefers-reduced-motion: reduce)").matches, ariaLabel: `${head.task}: real episode next to imagination` }),
           h("figcaption", {}, "A real episode, next to what the world imagines after a short look: with the same actions, and with the head's own.")]);
      fill(score, [head.head, head.random], () => scores(head));
      fill(right, [head], () => [
        head.goal && h("p", { class: "goal-line" }, `“${head.goal}”`),
        head.summary && h("p", { class: "small muted" }, `Wanted: ${head.summary}.`),
        head.problem && h("div", { class: "notice" }, head.problem),
        head.ledger.length > 1 && h("details", {}, h("summary", {}, "Its score at each state of the world"), ledger(head.ledger)),
        head.description && h("details", {}, h("summary", {}, "What it is paid for"), words(head.description)),
        !head.problem && h("div", { class: "buttons work" }, play, head.video !== null && again),
        !head.problem && h("details", {}, h("summary", {}, "Train this head on"),
          h("div", { class: "buttons" }, updates, h("span", { class: "small muted" }, "more updates in imagination"), train)),
      ]);
    },
  };
}

function compared({ low, high }) {
  if (low > 0) return h("span", { class: "chip good" }, "beats random");
  return h("span", { class: `chip ${high < 0 ? "bad" : "warn"}` }, high < 0 ? "worse than random" : "not clearly better than random");
}

/** Mean returns against the world's updates; a fall is what the head forgot. */
const ledger = (scores) => h("div", { class: "scroll" }, h("table", {},
  h("thead", {}, h("tr", {}, h("th", { class: "n" }, "world's updates"), h("th", { class: "n" }, "mean return"), h("th", { class: "n" }, "episodes"))),
  h("tbody", {}, scores.map((one) => h("tr", {}, h("td", { class: "n" }, number(one.world_updates)), h("td", { class: "n" }, number(one.mean)), h("td", { class: "n" }, one.episodes))))));

/** Episodes as dots, the mean with its interval above: random and head on one axis. */
function scores(head) {
  if (!head.head) return h("p", { class: "small muted" }, "Not played yet.");
  const rows = [["random", head.random, "var(--muted)"], ["head", head.head, "var(--series-1)"]].filter(([, played]) => played);
  const values = rows.flatMap(([, played]) => [...played.episodes.map((one) => one.return), played.returns.low, played.returns.high].filter((value) => value !== null));
  const low = Math.min(0, ...values), high = Math.max(...values, low + 1e-9), width = 340, left = 60;
  const x = (value) => left + ((value - low) / (high - low)) * (width - left - 12);
  const picture = s("svg", { viewBox: `0 0 ${width} ${rows.length * 30 + 18}`, role: "img", "aria-label": rows.map(([policy, played]) => `${policy}: mean return ${number(played.returns.mean)}`).join(", ") });
  rows.forEach(([policy, played, colour], i) => {
    const y = 16 + i * 30;
    picture.append(s("text", { x: 0, y: y + 4 }, policy), s("line", { class: "tick", x1: left, x2: width - 12, y1: y, y2: y }),
      ...played.episodes.map((one) => s("circle", { cx: x(one.return), cy: y, r: 4, fill: colour, opacity: 0.3 })),
      ...(played.returns.low === null ? [] : [s("line", { x1: x(played.returns.low), x2: x(played.returns.high), y1: y, y2: y, stroke: colour, "stroke-width": 3 })]),
      s("circle", { cx: x(played.returns.mean), cy: y, r: 6, fill: colour }));
  });
  picture.append(s("text", { x: left, y: rows.length * 30 + 14 }, number(low)), s("text", { x: width - 12, y: rows.length * 30 + 14, "text-anchor": "end" }, number(high)));
  const { mean, low: from, high: to } = head.head.returns;
  return h("figure", { class: "chart" }, picture,
    h("figcaption", {}, h("b", { class: "number" }, number(mean)), ` mean return of ${head.head.episodes.length} episodes`, from !== null && head.head.episodes.length > 1 ? `, 95% interval ${number(from)} to ${number(to)}` : "",
      head.random ? `; random actions ${number(head.random.returns.mean)}` : ""));
}

