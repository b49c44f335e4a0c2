// The status page: asks, more than twice a second, how everything does, and shows it.

import { access, pause } from "./access.js";

const every = 400; // ms
const $ = (id) => document.getElementById(id);

/** An element with a class, attributes and children. */
export function make(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const count = (n) => n.toLocaleString("en");
const ms = (n) => (n >= 1000 ? `${(n / 1000).toFixed(1)} s` : `${n < 10 ? n.toFixed(1) : Math.round(n)} ms`);
const percent = (n) => `${Math.round(100 * n)} %`;
const bytes = (n) => {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (n < 1024) return `${unit === "B" ? n : n.toFixed(1)} ${unit}`;
    n /= 1024;
  }
  return `${n.toFixed(1)} GiB`;
};
const reasons = (counts = {}) => {
  const entries = Object.entries(counts).filter(([, n]) => n > 0);
  const sum = entries.reduce((total, [, n]) => total + n, 0);
  return sum ? `${count(sum)} (${entries.map(([why, n]) => `${why} ${count(n)}`).join(", ")})` : "0";
};

/** Makes the children of a node equal to others, and changes only what differs: focus, selections and clicks stay. */
function update(parent, nodes) {
  nodes.forEach((fresh, i) => {
    const old = parent.childNodes[i];
    if (!old) parent.append(fresh);
    else if (old.nodeName !== fresh.nodeName) old.replaceWith(fresh);
    else if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else {
      for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
      for (const { name, value } of fresh.attributes) {
        if (old.getAttribute(name) === value) continue;
        if (name === "style") old.style.cssText = value; // the page's content policy refuses the attribute
        else old.setAttribute(name, value);
      }
      update(old, [...fresh.childNodes]);
    }
  });
  while (parent.childNodes.length > nodes.length) parent.lastChild.remove();
}

/** Sets the rows of a table; a cell is a text, or a node. */
export function fill(table, rows, none) {
  const body = $(table).tBodies[0];
  if (rows.length === 0) {
    const cell = make("td", "none", none);
    cell.colSpan = $(table).tHead.rows[0].cells.length;
    return update(body, [make("tr", "", cell)]);
  }
  update(body, rows.map(({ data, cells }) => {
    const row = make("tr", "", ...cells.map((cell) => make("td", "", cell)));
    Object.assign(row.dataset, data);
    return row;
  }));
}

export const state = (name) => make("span", `state ${name}`, name);

function groupCard(g) {
  const words = g.on ? `${g.workers} ${g.workers === 1 ? "worker" : "workers"}${g.need === "required" ? "" : `, ${g.need}`}` : "left out";
  const list = make("dl", "");
  for (const [what, value] of [["Frames per second", g.rate.toFixed(1)], ["Wait in the queue", ms(g.wait_ms)], ["Busy", `${percent(g.busy)} of ${g.parallel} slots`]]) {
    list.append(make("dt", "", what), make("dd", "", value));
  }
  const bar = make("div", "bar", make("i", ""));
  bar.firstChild.style.width = `${100 * Math.min(g.busy, 1)}%`;
  for (const [name, value] of [["role", "meter"], ["aria-label", `Busy, ${g.group}`], ["aria-valuemin", 0], ["aria-valuemax", 100], ["aria-valuenow", Math.round(100 * Math.min(g.busy, 1))]]) bar.setAttribute(name, value);
  const card = make("article", "card", make("h3", "", g.group, make("small", "", words)), list, bar);
  Object.assign(card.dataset, { group: g.group, workers: g.workers });
  return card;
}

const space = "http://www.w3.org/2000/svg";
const width = 120, height = 40;

/** The median as a line and, from it to the 95th percentile, a band; seconds without scenes are gaps. */
function curves(svg, kind, scenes, p50, p95, top) {
  const x = (i) => (width * i) / (scenes.length - 1), y = (v) => height - (height - 1) * Math.min(v / top, 1);
  let line = "", band = "";
  for (let i = 0; i < scenes.length; i++) {
    if (!scenes[i]) continue;
    line += `${scenes[i - 1] ? "L" : "M"}${x(i)} ${y(p50[i])}${scenes[i - 1] ? "" : "h0"}`; // h0: a second alone is a dot
    if (scenes[i - 1]) band += `M${x(i - 1)} ${y(p50[i - 1])}L${x(i - 1)} ${y(p95[i - 1])}L${x(i)} ${y(p95[i])}L${x(i)} ${y(p50[i])}Z`;
  }
  for (const [name, d] of [[`band ${kind}`, band], [kind, line]]) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("class", name);
    path.setAttribute("d", d);
    svg.append(path);
  }
}

function stageCard(s) {
  const last = s.scenes.findLastIndex((n) => n > 0), at = (values) => (last < 0 ? 0 : values[last]);
  const seconds = 10, lately = s.scenes.slice(-seconds).reduce((sum, n) => sum + n, 0);
  const top = Math.max(1, ...s.wait_p95_ms, ...s.work_p95_ms);
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "chart");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${s.stage}: work ${ms(at(s.work_p50_ms))}, wait ${ms(at(s.wait_p50_ms))} in the median; 95th percentile at most ${ms(top)} in the last minute`);
  const numbers = make("dl", "");
  for (const [kind, p50, p95] of [["wait", s.wait_p50_ms, s.wait_p95_ms], ["work", s.work_p50_ms, s.work_p95_ms]]) {
    if (p95.every((v) => v === 0)) continue; // the stage has none
    curves(svg, kind, s.scenes, p50, p95, top);
    numbers.append(make("dt", "", `${kind}, median · p95`), make("dd", "", `${ms(at(p50))} · ${ms(at(p95))}`));
  }
  const card = make("article", "card", make("h3", "", s.stage, make("small", "", `${(lately / seconds).toFixed(1)} scenes/s`)), svg, numbers);
  card.dataset.stage = s.stage;
  return card;
}

function sourceRow(s) {
  const a = s.account, of = (key) => (a ? count(a[key]) : "–");
  const name = make("a", "", s.source);
  name.href = `./#${encodeURIComponent(s.source)}`;
  return {
    data: { source: s.source },
    cells: [name, make("span", "", state(s.state), ` ${s.mode}`, s.reason ? `: ${s.reason}` : "", s.waiting ? make("span", "note", ` ${s.waiting}`) : "", s.note ? make("span", "note", ` ${s.note}`) : ""), s.scenes_per_second.toFixed(1), of("captured"), a ? reasons(a.skipped) : "–", of("admitted"), of("complete"), of("partial"), of("error"), a ? reasons(a.dropped) : "–", of("in_flight")],
  };
}

function serviceRow(s) {
  const works = s.state === "alive", worker = s.parallel && s.model;
  return {
    data: { instance: s.instance, state: s.state, stage: s.stage },
    cells: [s.stage, make("span", "", state(s.state), works ? "" : ` for ${Math.round(s.heard_ms / 1000)} s`, s.note ? make("span", "note", ` ${s.note}`) : ""), s.host, s.instance.slice(-6), s.model ? make("span", "", `${s.model} (${s.family})`, s.understood ? make("span", "note", ` ${s.understood}`) : "") : "–", s.provider || "–", s.parallel ? String(s.parallel) : "–", works ? s.rate.toFixed(1) : "–", works && worker ? ms(s.wait_ms) : "–", works && worker ? percent(s.busy) : "–"],
  };
}

function show(status) {
  update($("groups"), status.groups.length ? status.groups.map(groupCard) : [make("p", "", "No deployment yet: run spatialflow provision.")]);
  update($("stages"), status.stages.length ? status.stages.map(stageCard) : [make("p", "", "No scene in the last minute.")]);
  fill("sources", status.sources.map(sourceRow), "No source yet.");
  fill("services", status.services.map(serviceRow), "No service is heard.");
  const { nats, gateway } = status;
  $("nats-connection").textContent = `${nats.connected ? "connected" : "not connected"}${nats.url ? ` to ${nats.url}` : ""}${nats.version ? `, ${nats.server} ${nats.version}` : ""}, round trip ${ms(nats.rtt_ms)}, ${nats.reconnects} reconnects${nats.error ? `. ${nats.error}` : ""}`;
  fill("streams", nats.streams.map((s) => ({ data: { stream: s.stream }, cells: [s.stream, count(s.messages), bytes(s.bytes), s.max_bytes > 0 ? bytes(s.max_bytes) : "none", count(s.consumers)] })), "No stream is known yet.");
  const entries = [["Viewers", count(gateway.viewers)], ["Scenes sent to them", count(gateway.scenes)], ["Bytes sent to them", bytes(gateway.sent_bytes)], ["Dropped for them", reasons(gateway.drops)], ["Refused", reasons(gateway.refused)], ["Lost of NATS", count(gateway.lost)]];
  update($("gateway"), entries.map(([what, value]) => make("div", "", make("dt", "", what), make("dd", "", value))));
}

function connection(name) {
  document.body.dataset.connection = name;
  const words = { open: "up to date", reconnecting: "the gateway does not answer", denied: "no token", busy: "asked too often: waiting" }[name];
  if ($("connection").lastElementChild.textContent !== words) $("connection").lastElementChild.textContent = words;
}

/** Asks and shows; the answer is how long to wait until then, in ms. */
async function ask() {
  if (document.hidden || access.denied) return every;
  try {
    const answer = await access.fetch("api/v1/status", { signal: AbortSignal.timeout(2000) }, true);
    const wait = pause(answer);
    if (wait) connection("busy");
    if (wait || access.denied) return Math.max(wait, every);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const status = await answer.json();
    if (access.denied) return every;
    show(status);
    connection("open");
  } catch (error) {
    if (access.denied || error.name === "AbortError") return every; // it was asked with another token
    console.warn("status", error);
    connection("reconnecting");
  }
  return every;
}

access.addEventListener("denied", () => {
  connection("denied");
  for (const id of ["groups", "stages", "gateway", "nats-connection"]) $(id).replaceChildren();
  for (const id of ["sources", "services", "streams"]) $(id).tBodies[0].replaceChildren();
});

async function run() {
  await access.ready;
  for (;;) {
    const wait = await ask();
    await new Promise((done) => setTimeout(done, wait));
  }
}
access.start();
run();
