// What the page asks the server, and how it hears from it.

/** A refusal, in the server's words. */
export class Refusal extends Error {}

async function answered(response) {
  const found = await response.json().catch(() => ({ error: `The page's server answered with ${response.status}.` }));
  if (!response.ok) throw new Refusal(found.error);
  return found;
}

const unreachable = () => {
  throw new Refusal("The page's server does not answer. Is `manyheads web` still running?");
};

/** Reads `/api/name` with these parameters. */
export const get = (name, parameters = {}) =>
  fetch(`/api/${name}?${new URLSearchParams(parameters)}`).catch(unreachable).then(answered);

/** Sends JSON to `/api/name`. */
export const post = (name, body) =>
  fetch(`/api/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })
    .catch(unreachable).then(answered);

/** The address of a file of a world. */
export const address = (name, parameters) => `/api/${name}?${new URLSearchParams(parameters)}`;

/** Listens to a world, or (null) to the list; `hear` gets names and data, `link` whether the server is there. */
export function listen(world, hear, link) {
  const source = new EventSource(address("events", world === null ? {} : { world }));
  for (const name of ["worlds", "world", "curves", "jobs", "gone", "trouble"])
    source.addEventListener(name, (event) => hear(name, JSON.parse(event.data)));
  source.addEventListener("open", () => link(true));
  source.addEventListener("error", () => link(false));
  return () => source.close();
}
