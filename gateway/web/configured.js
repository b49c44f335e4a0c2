// The part of the status page about sources that are configured at run time: shows them, and where the gateway lets them be, adds and removes them.

import { access, pause } from "./access.js";
import { fill, make, state } from "./status.js";

const every = 1000; // ms
const $ = (id) => document.getElementById(id);

function row(s, managed) {
  const remove = make("button", "", "Remove");
  remove.type = "button";
  remove.dataset.remove = s.source;
  remove.setAttribute("aria-label", `Remove ${s.source}`);
  const settings = Object.entries(s.settings).map(([key, value]) => `${key}=${value}`).join(" ");
  return {
    data: { source: s.source },
    cells: [s.source, make("span", "", state(s.state), s.reason ? make("span", "note", ` ${s.reason}`) : ""), s.uri, s.credential || "–", settings || "–", s.producer ? s.producer.slice(-6) : "–", new Date(s.changed).toLocaleString(), managed ? remove : ""],
  };
}

function show({ managed: on, allowed, configured }) {
  const managed = on && access.may("manage");
  $("configured-section").hidden = !managed && configured.length === 0;
  fill("configured", configured.map((s) => row(s, managed)), "None is configured.");
  $("configure").hidden = !managed;
  const words = allowed.length ? `Allowed are ${allowed.join(", ")}.` : "No producer lets sources be configured: start one with --allow-source.";
  if ($("allowed").textContent !== words) $("allowed").textContent = words;
}

function say(text) {
  $("configure-error").textContent = text;
}

/** Asks for a source to be configured, or not any more; true: it is done. */
async function send(method, name, body) {
  say("");
  try {
    const answer = await access.fetch(`api/v1/sources/${encodeURIComponent(name)}`, { method, body, headers: body ? { "Content-Type": "application/json" } : {}, signal: AbortSignal.timeout(5000) });
    if (!answer.ok) say((await answer.json()).error);
    await ask();
    return answer.ok;
  } catch (error) {
    say(`The gateway does not answer: ${error.message}`);
    return false;
  }
}

$("configure").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target, given = Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, value.trim()]));
  const source = { uri: given.uri, settings: {} };
  if (given.credential) source.credential = given.credential;
  if (given.fps) source.settings.fps = Number(given.fps);
  if (await send("PUT", given.name, JSON.stringify(source))) form.reset();
});

$("configured").addEventListener("click", (event) => {
  const name = event.target.dataset?.remove;
  if (name && window.confirm(`Remove the source ${name}?`)) send("DELETE", name);
});

/** Asks and shows; the answer is how long to wait until then, in ms. */
async function ask() {
  if (document.hidden || access.denied || !access.may("view")) return every;
  try {
    const answer = await access.fetch("api/v1/sources", { signal: AbortSignal.timeout(2000) });
    const said = await answer.json();
    if (answer.ok && !access.denied) show(said);
    return Math.max(pause(answer), every);
  } catch {
    return every; // the page says so at its top
  }
}

access.addEventListener("denied", () => {
  $("configured-section").hidden = true;
  $("configured").tBodies[0].replaceChildren();
});

async function run() {
  await access.ready;
  for (;;) {
    const wait = await ask();
    await new Promise((done) => setTimeout(done, wait));
  }
}
run();
