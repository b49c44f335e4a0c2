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
  const account = info.account, frames = info.frames || account?.admitted || info.seq;
  const errors = header?.errors && Object.keys(header.errors).length ? Object.entries(header.errors).map(([group, why]) => `${group}: ${why}`).join("; ") : "";
  switch (info.state) {
    case "complete": return `complete — ${frames} frames`;
    case "failed": return `failed — ${info.reason || "its producer gave no reason"}`;
    case "stopped": return `stopped after ${account?.admitted ?? info.seq} frames`;
    case "gone": return `gone — its producer is not heard any more; the newest scene stays`;
  }
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
