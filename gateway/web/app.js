// The viewer page: newest scene of one source, drawn when the browser draws.

import { Decoder } from "./decode.js";
import { Painter, drawScale } from "./draw.js";
import { listDetections, listSources, probeText, say, showLegend, showScene, stateText } from "./panel.js";
import { Stream } from "./stream.js";

const $ = (id) => document.getElementById(id);
const view = $("view"), data = document.body.dataset;
const painter = new Painter(view);

// The source that the address names after #; none when it is no name.
function sourceInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

let chosen = sourceInAddress(); // the source, when a person or the page chose one
let sources = [];
let current = null; // what is drawn: header, picture, depth
let fresh = false; // current is not drawn yet
let waiting = false; // for the browser to draw
let drawn = []; // times of the last scenes, ms
let serverDropped = 0;
let pointer = null; // where it was last over the picture

const decoder = new Decoder((scene) => {
  if (scene.header.frame.source !== chosen) return scene.picture?.close();
  accept(scene);
});

const stream = new Stream({
  scene: (message) => {
    serverDropped = message.header.dropped;
    if (!chosen) choose(message.header.frame.source); // all were asked for: the first that comes
    if (message.header.frame.source === chosen) decoder.add(message);
  },
  status: (status) => {
    sources = status.sources;
    if (!chosen && sources.length) choose((sources.find((s) => s.state === "running") ?? sources[0]).source);
    showState();
  },
  connection: (state, reason) => {
    if (data.connection !== state) data.connection = state;
    const words = { open: "connected", refused: `refused: ${reason}`, paused: "paused while hidden" };
    $("connection").lastElementChild.textContent = words[state] ?? state;
  },
});

/** Keeps what a scene does not bring along: the picture of a frame seen before, the depth map of an earlier frame. */
function accept(scene) {
  const old = current, frame = scene.header.frame;
  const same = old && old.header.frame.session === frame.session;
  if (same && frame.seq < old.header.frame.seq) return scene.picture?.close();
  if (same && frame.seq === old.header.frame.seq && !scene.picture) scene.picture = old.picture;
  if (!scene.depth && same) scene.depth = old.depth;
  if (old?.picture && old.picture !== scene.picture) old.picture.close();
  current = scene;
  fresh = true;
  if (scene.header.latency_ms !== null) drawn.push(performance.now());
  redraw();
}

function redraw() {
  if (waiting || !current) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    if (current) draw();
  });
}

function draw() {
  const { header, picture, depth } = current;
  painter.paint(current, { heat: $("heat").checked, opacity: $("opacity").value / 100, colormap: $("colormap").value, boxes: $("boxes").checked });
  if (!fresh) return;
  fresh = false;
  $("empty").hidden = true;
  $("notice").hidden = Boolean(picture);
  say("notice", header.outcome === "error" ? "This frame has no picture" : "The picture of this frame is gone");
  data.picture = picture ? "shown" : "gone";
  data.depth = depth ? depth.seq : "";
  view.setAttribute("aria-label", `Frame ${header.frame.seq} of ${header.frame.source}, ${header.detections.length} detections`);
  showLegend(depth);
  probe();
  listDetections(header.detections);
  showScene(header, serverDropped + decoder.dropped);
  showState();
}

function showState() {
  const info = sources.find((s) => s.source === chosen);
  data.state = info?.state ?? "";
  say("state", stateText(chosen, info, current?.header));
  listSources($("source"), sources, chosen);
}

function choose(source) {
  if (source === chosen) return;
  chosen = source;
  forget();
  stream.watch([source]);
  showState();
}

function forget() {
  decoder.clear();
  current?.picture?.close();
  current = null;
  drawn = [];
  for (const key of ["seq", "session", "source", "picture", "depth", "outcome"]) delete data[key];
  painter.clear();
  listDetections([]);
  for (const id of ["rate", "latency", "frame", "outcome"]) say(id, "–");
  $("empty").hidden = false;
  $("notice").hidden = true;
}

function showRate() {
  const since = performance.now() - 3000;
  drawn = drawn.filter((t) => t > since);
  say("rate", current ? (drawn.length / 3).toFixed(1) : "–");
}

function probe() {
  if (!current || !pointer) return;
  const box = view.getBoundingClientRect(), scale = Math.min(box.width / view.width, box.height / view.height);
  const x = (pointer.clientX - box.left - (box.width - scale * view.width) / 2) / (scale * view.width);
  const y = (pointer.clientY - box.top - (box.height - scale * view.height) / 2) / (scale * view.height);
  if (x >= 0 && x < 1 && y >= 0 && y < 1) say("probe", probeText(current.depth, x, y));
}

$("source").addEventListener("change", ({ target }) => {
  history.replaceState(null, "", `#${encodeURIComponent(target.value)}`);
  choose(target.value);
});
for (const id of ["heat", "boxes", "opacity", "colormap"]) $(id).addEventListener("input", () => {
  say("opacity-value", `${$("opacity").value} %`);
  drawScale($("scale"), $("colormap").value);
  redraw();
});
view.addEventListener("pointermove", (event) => {
  pointer = event;
  probe();
});
addEventListener("resize", redraw);
addEventListener("hashchange", () => choose(sourceInAddress()));
document.addEventListener("visibilitychange", () => (document.hidden ? stream.pause() : stream.start()));
setInterval(showRate, 500);

drawScale($("scale"), $("colormap").value);
say("opacity-value", `${$("opacity").value} %`);
showState();
stream.watch(chosen ? [chosen] : []);
if (document.hidden) stream.pause();
else stream.start();
