// One world: its goal, heads, curves and replay.

import { get } from "./api.js";
import { fill, h, named, number } from "./dom.js";
import { goalSection } from "./goal.js";
import { headsSection } from "./heads.js";
import { learningSection } from "./learning.js";
import { replaySection } from "./replay.js";

export function world(page, name) {
  const title = h("h1", {}, name), chips = h("div", { class: "chips" }), facts = h("dl", { class: "facts" });
  const notice = h("div", { class: "notice bad", role: "alert" }), details = h("div", { class: "card" }, h("p", { class: "muted" }, "reading …"));
  const goal = goalSection(name), heads = headsSection(name), learning = learningSection(name), replay = replaySection(name);
  const about = h("section", { id: "about" }, h("header", {}, h("h2", {}, "The world")), details);
  const sections = [["Goal", goal.node], ["Heads", heads.node], ["Learning", learning.node], ["Replay", replay.node], ["World", about]];
  const jump = h("nav", { class: "jump", ariaLabel: "Parts of this page" }, sections.map(([label, node]) =>
    h("a", { href: location.hash, onclick: (event) => { event.preventDefault(); node.scrollIntoView(); node.querySelector("h2").focus(); } }, label)));
  for (const [, node] of sections) node.querySelector("h2").tabIndex = -1;
  page.replaceChildren(
    h("div", { class: "head" },
      h("div", {}, h("a", { class: "back", href: "#/" }, "← all worlds"), title, chips), facts),
    notice, jump, ...sections.map(([, node]) => node));

  let gone = "", trouble = "", saved = null;
  const warn = () => { notice.textContent = gone ? `${gone} What you see here was read before.` : trouble; };
  return {
    world(found) {
      title.textContent = found.title;
      document.title = `${found.title} · manyheads`;
      fill(chips, [found.fresh, found.environments], () => [
        found.fresh && h("span", { class: "chip live" }, "learning now"),
        ...found.environments.map((each) => h("span", { class: "chip" }, each))]);
      fill(facts, [found.steps, found.updates, found.size], () => [
        ["environment steps", number(found.steps)], ["updates", number(found.updates)], ["size", found.size],
      ].map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))));
      goal.world(found);
      heads.world(found);
      learning.world(found);
      replay.world(found);
      if (saved !== found.changed) {
        saved = found.changed;
        get("show", { world: name }).then((said) => fill(details, said, () => described(said)), (error) => fill(details, error.message, () => h("p", { class: "muted" }, error.message)));
      }
    },
    curves: learning.curves,
    jobs(jobs) {
      const own = jobs.filter((job) => job.world === name);
      goal.jobs(own);
      heads.jobs(own);
      learning.jobs(own);
    },
    gone(message) { gone = message; warn(); },
    trouble(message) { trouble = message; warn(); },
  };
}

/** What `manyheads show` says of the world. */
function described(said) {
  const problems = said.instances.filter((each) => each.problem);
  return [
    h("p", {}, `It observes ${said.observes || "nothing"} and acts by ${said.acts || "nothing"}. ${number(said.parameters)} weights know no task and no reward: those are its heads' business.`),
    ...problems.map((each) => h("div", { class: "notice" }, each.problem)),
    ...said.readouts.map((each) => {
      const rows = Object.entries(each.error).sort(([, one], [, other]) => other - one);
      return h("details", {}, h("summary", {}, `How well it predicts what ${named(each.instance)} measures`),
        h("div", { class: "scroll" }, h("table", {},
          h("thead", {}, h("tr", {}, h("th", {}, "signal"), h("th", { class: "n" }, "explained variance"))),
          h("tbody", {}, rows.map(([signal, error]) => h("tr", {}, h("td", {}, signal), h("td", { class: "n" }, `${(100 * (1 - error)).toFixed(1)}%`)))))));
    }),
  ];
}
