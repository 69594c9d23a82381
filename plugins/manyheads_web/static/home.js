// All worlds of the folder.

import { fill, h, number, share } from "./dom.js";

const HEADS = 5;

export function home(page) {
  const list = h("ul", { class: "grid" }), empty = h("div");
  page.replaceChildren(
    h("div", { class: "head" }, h("div", {}, h("h1", {}, "Worlds"), h("p", { class: "muted" }, "One world model each, and many heads."))),
    empty, list,
  );
  return {
    worlds(cards) {
      fill(empty, cards.length, () => !cards.length && h("div", { class: "card empty" },
        h("h2", {}, "No world here yet"),
        h("p", { class: "muted" }, "A world appears here as soon as a command makes one in this folder:"),
        h("div", {}, h("code", {}, "manyheads demo")),
        h("div", {}, h("code", {}, "manyheads train my_world dmc/cartpole-balance --settings demo --steps 8000"))));
      const sorted = [...cards].sort((one, other) => other.changed - one.changed);
      fill(list, sorted, () => sorted.map((card) => h("li", {}, tile(card))));
    },
  };
}

function tile(card) {
  const to = `#/world/${encodeURIComponent(card.name)}`;
  if (card.problem)
    return h("a", { class: "card tile", href: to }, h("h2", {}, card.title), h("div", { class: "notice bad small" }, card.problem));
  return h("a", { class: "card tile", href: to },
    h("h2", {}, card.title),
    h("div", { class: "chips" },
      card.fresh && h("span", { class: "chip live" }, "learning now"),
      card.environments.map((name) => h("span", { class: "chip" }, name))),
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, "steps"), h("dd", {}, number(card.steps))),
      h("div", {}, h("dt", {}, "updates"), h("dd", {}, number(card.updates))),
      h("div", {}, h("dt", {}, "heads"), h("dd", {}, String(card.heads.length)))),
    h("ul", { class: "names" }, card.heads.slice(0, HEADS).map((head) => h("li", {}, h("span", {}, head.task), h("span", { class: "muted" }, head.success_rate === null ? "" : `succeeds ${share(head.success_rate)}`))),
      card.heads.length > HEADS && h("li", { class: "muted" }, `and ${card.heads.length - HEADS} more`)));
}
