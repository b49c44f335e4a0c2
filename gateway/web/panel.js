// The numbers, texts and lists beside the picture.

import { labelColor } from "./colors.js";
import { depthText } from "./draw.js";

const element = (id) => document.getElementById(id);

/** Changes a text only when it differs: a polite live region speaks at every change. */
export function say(id, text) {
  const node = element(id);
  if (node.textContent !== text) node.textContent = text;
}

/** What a person is told about the source that is watched. */
export function stateText(name, info, header) {
  if (!name) return "No source yet. Scenes appear here as soon as there are some.";
  if (!info) return `Waiting for source ${name}.`;
  if (!info.session && !info.mode) return info.state; // not told of yet
  const account = info.account, frames = info.frames || account?.admitted || info.seq;
  const errors = header?.errors && Object.keys(header.errors).length ? Object.entries(header.errors).map(([group, why]) => `${group}: ${why}`).join("; ") : "";
  switch (info.state) {
    case "complete": return `complete — ${frames} frames`;
    case "failed": return `failed — ${info.reason || "its producer gave no reason"}`;
    case "stopped": return `stopped after ${account?.admitted ?? info.seq} frames`;
    case "gone": return `gone — its producer is not heard any more; the newest scene stays`;
  }
  if (info.waiting) return `waiting — ${info.waiting}`;
  if (errors) return `running — ${errors}`;
  return header ? `running (${info.mode})` : `running (${info.mode}), no scene yet`;
}

/** Lists the sources; the chosen one stays even while it is not known. */
export function listSources(select, sources, chosen) {
  const entries = sources.map((s) => [s.source, s.state === "running" ? s.source : `${s.source} (${s.state})`]);
  if (chosen && !sources.some((s) => s.source === chosen)) entries.unshift([chosen, `${chosen} (not seen yet)`]);
  if (entries.length === 0) entries.push(["", "none yet"]);
  const key = JSON.stringify([entries, chosen]);
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

/** What is in a scene, in a sentence: "2 persons, the nearest at 81 %, and 1 car at 40 %". */
export function sceneText({ frame, detections, answers }) {
  const labels = new Map();
  for (const d of detections) labels.set(d.label, [...(labels.get(d.label) ?? []), d.depth]);
  const parts = [...labels].sort((a, b) => b[1].length - a[1].length || a[0].localeCompare(b[0])).map(([label, depths]) => {
    const known = depths.filter(Boolean).sort((a, b) => (a.kind === "metric" ? a.value - b.value : b.nearness - a.nearness));
    const near = known.length ? ` (${known.length > 1 ? `nearest ${depthText(known[0]).replace("near ", "")}` : depthText(known[0])})` : "";
    return `${depths.length} × ${label}${near}`;
  });
  return `Frame ${frame.seq} of ${frame.source}: ${parts.length ? parts.join(", ") : "nothing was found"}.${answersText(answers)}`;
}

/** What groups of the deployment's own say: short values as they are, of long ones only that they are there. */
function answersText(answers = {}) {
  const text = (value) => {
    const json = JSON.stringify(typeof value === "number" ? Math.round(value * 100) / 100 : value);
    return json.length > 60 ? "…" : json;
  };
  return Object.entries(answers).map(([group, values]) => ` ${group}: ${Object.entries(values).map(([key, value]) => `${key} ${text(value)}`).join(", ")}.`).join("");
}

/** The frame's way through the stages on a time line: when each waited and worked. Groups work side by side. */
export function timeline(ledger) {
  const rows = [];
  let before = 0, ends = 0;
  ledger.forEach(({ stage, wait_ns, work_ns }, i) => {
    const last = i === ledger.length - 1 && stage === "fuser", first = i === 0;
    const begin = first ? 0 : last ? ends : before;
    const row = { stage, begin: begin / 1e6, wait: wait_ns / 1e6, work: work_ns / 1e6 };
    rows.push(row);
    if (first) before = begin + wait_ns + work_ns;
    ends = Math.max(ends, begin + wait_ns + work_ns);
  });
  return rows;
}

/** Shows the time line, one row per stage. */
export function showLedger(ledger) {
  const rows = timeline(ledger), total = Math.max(1e-6, ...rows.map((r) => r.begin + r.wait + r.work));
  const list = element("ledger");
  while (list.children.length > rows.length) list.lastChild.remove();
  while (list.children.length < rows.length) {
    const item = document.createElement("li");
    for (const name of ["stage", "lane", "time"]) item.append(Object.assign(document.createElement("span"), { className: name }));
    for (const name of ["wait", "work"]) item.children[1].append(Object.assign(document.createElement("i"), { className: name }));
    list.append(item);
  }
  rows.forEach((row, i) => {
    const [stage, lane, time] = list.children[i].children, percent = (ms) => `${(100 * ms) / total}%`;
    stage.textContent = row.stage;
    time.textContent = `${row.wait.toFixed(1)} + ${row.work.toFixed(1)} ms`;
    Object.assign(lane.children[0].style, { left: percent(row.begin), width: percent(row.wait) });
    Object.assign(lane.children[1].style, { left: percent(row.begin + row.wait), width: percent(row.work) });
  });
}

/** Shows the detections of a frame as a table. */
export function listDetections(detections) {
  say("count", String(detections.length));
  element("detections").replaceChildren(...detections.map((d) => {
    const row = document.createElement("tr");
    for (const text of [d.label, `${Math.round(100 * d.score)} %`, depthText(d.depth) || "–"]) row.insertCell().textContent = text;
    const mark = document.createElement("i");
    mark.style.background = labelColor(d.class_id);
    row.cells[0].prepend(mark);
    return row;
  }));
}

/** The ends of the colour scale: metres where the model says metres. */
export function showLegend(depth) {
  const metric = depth?.kind === "metric";
  say("far", metric ? `${depth.range.high.toFixed(1)} m` : "far");
  say("near", metric ? `${depth.range.low.toFixed(1)} m` : "near");
  say("unit", metric ? "metres" : "relative");
}

/** The depth under the pointer. */
export function probeText(depth, x, y) {
  if (!depth) return "No depth map.";
  const column = Math.min(Math.floor(x * depth.width), depth.width - 1), row = Math.min(Math.floor(y * depth.height), depth.height - 1);
  const i = row * depth.width + column;
  if (depth.kind === "metric") return `${(depth.offset + depth.scale * depth.samples[i]).toFixed(2)} m here`;
  return `near ${Math.round(depth.levels[i] / 2.55)} % here (relative)`;
}

/** Shows what is known of the scene that is drawn. */
export function showScene(header, dropped) {
  const { frame, outcome, missing } = header;
  say("frame", String(frame.seq));
  say("outcome", missing.length ? `${outcome}, missing ${missing.join(", ")}` : outcome);
  say("latency", header.latency_ms === null ? "–" : duration(header.latency_ms));
  say("drops", String(dropped));
  Object.assign(document.body.dataset, { seq: frame.seq, session: frame.session, source: frame.source, outcome });
}

const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
