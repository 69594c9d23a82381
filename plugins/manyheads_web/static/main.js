// Which view the address asks for, and what the server says to it.

import { listen } from "./api.js";
import { dock } from "./jobs.js";
import { home } from "./home.js";
import { world } from "./world.js";

const page = document.getElementById("page"), link = document.getElementById("link");
let view = null, deaf = () => {};

/** The world that the address names, null for the list: `#/world/NAME`. */
function named() {
  const found = location.hash.match(/^#\/world\/(.+?)(?:#.*)?$/);
  return found ? decodeURIComponent(found[1]) : null;
}

let shown, hear = () => {};

function open() {
  const name = named();
  if (shown !== undefined && shown === name) return;
  shown = name;
  deaf();
  view = name === null ? home(page) : world(page, name);
  document.title = name === null ? "manyheads" : `${name} · manyheads`;
  window.scrollTo(0, 0);
  const showJobs = dock(document.getElementById("dock"), name);
  hear = () => {
    deaf = listen(name, (event, data) => {
      if (event === "jobs") showJobs(data);
      view[event]?.(data);
    }, (there) => {
      link.classList.toggle("lost", !there);
      link.textContent = there ? "" : "Not connected. Where `manyheads web` was restarted, open the address that it printed.";
    });
  };
  hear();
}

if (location.search) history.replaceState(null, "", `/${location.hash}`); // the token is a cookie from here on
window.addEventListener("hashchange", open);
document.addEventListener("visibilitychange", () => { // a browser has few connections: pages that nobody sees keep none
  deaf();
  if (!document.hidden) hear();
});
open();
