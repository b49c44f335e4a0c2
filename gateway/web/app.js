// The viewer page: the newest scene of one source, or of all.

import { access } from "./access.js";
import { colorMaps } from "./colors.js";
import { drawScale } from "./draw.js";
import { Grid } from "./grid.js";
import { listDetections, listSources, probeText, say, sceneText, showLedger, showLegend, showScene, stateText } from "./panel.js";
import { Screen } from "./screen.js";
import { Stream } from "./stream.js";

const $ = (id) => document.getElementById(id);
const view = $("view"), data = document.body.dataset;

// The source that the address names after #; none when it is no name.
function sourceInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

let chosen = sourceInAddress(); // the source, when a person or the page chose one
let layout = "blend"; // or side, or grid
let sources = []; // all that are known: source and state
let watched = []; // what is known of those that are watched
let serverDropped = 0;
let refused = ""; // why the gateway does not want this viewer
let probed = null; // the place in the picture, 0 to 1 both ways, whose depth is told

const options = () => ({ side: layout === "side", heat: $("heat").checked, opacity: $("opacity").value / 100, colormap: $("colormap").value, boxes: $("boxes").checked });
const screen = new Screen(view, options, shown);
const grid = new Grid($("grid"), options, (source) => {
  setLayout("blend", source);
  view.focus();
}, (sources) => stream.watch(sources));

const stream = new Stream({
  scene: (message) => {
    serverDropped = message.header.dropped;
    if (layout === "grid") return grid.add(message);
    if (!chosen) choose(message.header.frame.source); // all were asked for: the first that comes
    if (message.header.frame.source === chosen) screen.add(message);
  },
  status: (status) => {
    sources = status.known ?? sources;
    watched = status.sources;
    grid.most = status.max_watched ?? grid.most;
    data.adapted = status.adapted_width ?? "";
    showConnection();
    if (!chosen && sources.length) choose((sources.find((s) => s.state === "running") ?? sources[0]).source);
    showState();
  },
  connection: (state, reason) => {
    if (data.connection !== state) data.connection = state;
    refused = reason;
    showConnection();
  },
  denied: (reason) => access.deny(reason),
}, () => access.token);

function showConnection() {
  const words = {
    open: data.adapted ? `connected; slow link, pictures ${data.adapted} wide` : "connected",
    refused: `refused: ${refused}`, paused: "paused while hidden", denied: "no token",
  };
  const text = words[data.connection] ?? data.connection, node = $("connection").lastElementChild;
  if (node.textContent !== text) node.textContent = text;
}

function shown({ header, picture, depth }) {
  $("empty").hidden = true;
  $("notice").hidden = Boolean(picture);
  say("notice", header.outcome === "error" ? "This frame has no picture" : "The picture of this frame is gone");
  data.picture = picture ? "shown" : "gone";
  data.depth = depth ? depth.seq : "";
  say("words", sceneText(header));
  for (const id of ["snapshot", "json"]) $(id).disabled = false;
  showLegend(depth);
  showLedger(header.ledger);
  probe();
  listDetections(header.detections);
  showScene(header, serverDropped + screen.dropped);
  showState();
}

function showState() {
  const info = watched.find((s) => s.source === chosen) ?? sources.find((s) => s.source === chosen);
  data.state = info?.state ?? "";
  if (layout === "grid") {
    grid.show(sources);
    say("state", sources.length ? `${sources.length} ${sources.length === 1 ? "source" : "sources"}; choose one to look closer` : stateText("", null));
  } else say("state", stateText(chosen, info, screen.current?.header));
  listSources($("source"), sources, chosen);
}

function choose(source) {
  if (source === chosen) return;
  chosen = source;
  forget();
  if (layout !== "grid") stream.watch(source ? [source] : []);
  showState();
}

/** Chooses a source, and puts it into the address. */
function pick(source) {
  history.replaceState(null, "", `#${encodeURIComponent(source)}`);
  choose(source);
}

function forget() {
  screen.clear();
  for (const key of ["seq", "session", "source", "picture", "depth", "outcome"]) delete data[key];
  listDetections([]);
  showLedger([]);
  for (const id of ["rate", "latency", "frame", "outcome"]) say(id, "–");
  say("words", "No scene yet.");
  for (const id of ["snapshot", "json"]) $(id).disabled = true;
  $("empty").hidden = false;
  $("notice").hidden = true;
}

/** Keeps a connection while the page is seen. */
function follow() {
  if (document.hidden) stream.pause();
  else stream.start();
}

/** Shows one source, or, in the grid, all. What is drawn goes along: the gateway sends no scene again. */
function setLayout(name, source = chosen) {
  if (layout === name) return;
  const before = layout;
  layout = data.layout = name;
  document.querySelector(`[name="layout"][value="${name}"]`).checked = true;
  $("single").hidden = name === "grid";
  $("grid").hidden = name !== "grid";
  if (name === "grid") {
    const scene = screen.release();
    forget();
    grid.show(sources);
    grid.screen(chosen)?.adopt(scene);
  } else if (before === "grid") {
    const scene = grid.screen(source)?.release();
    grid.clear();
    chosen = "";
    if (source) pick(source);
    screen.adopt(scene);
  }
  showState();
  screen.redraw();
}

function probe() {
  $("cross").hidden = !probed || !screen.current;
  if ($("cross").hidden) return;
  say("probe", probeText(screen.current.depth, ...probed));
}

/** Moves the probe to a place in the picture, and the mark to where that is in the page. */
function probeAt(place, mark) {
  probed = place;
  $("cross").classList.toggle("shown", mark);
  if (place && mark) {
    const box = view.getBoundingClientRect(), frame = view.parentElement.getBoundingClientRect();
    const wide = layout === "side" && screen.painter.across, tall = layout === "side" && !wide;
    const scale = Math.min(box.width / view.width, box.height / view.height);
    const x = place[0] * view.width * (wide ? 0.5 : 1), y = place[1] * view.height * (tall ? 0.5 : 1);
    Object.assign($("cross").style, {
      left: `${box.left - frame.left + (box.width - scale * view.width) / 2 + scale * x}px`,
      top: `${box.top - frame.top + (box.height - scale * view.height) / 2 + scale * y}px`,
    });
  }
  probe();
}

function save(blob, ending) {
  const { source, seq } = screen.current.header.frame, link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${source}-${seq}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** The scene as JSON, with the keys of the scene files. */
function sceneJSON({ frame, captured, size, plan, detections, outcome, missing, errors, held, ledger }) {
  return JSON.stringify({ frame, captured, size, plan, detections, outcome, missing, errors, held, ledger }, null, 1);
}

const next = (step) => {
  if (sources.length === 0) return;
  const at = sources.findIndex((s) => s.source === chosen);
  pick(sources[(Math.max(at, 0) + step + sources.length) % sources.length].source);
};
const toggle = (id) => () => $(id).click();
const fade = (step) => () => {
  $("opacity").value = Number($("opacity").value) + step;
  $("opacity").dispatchEvent(new Event("input"));
};
const shortcuts = {
  1: () => setLayout("blend"), 2: () => setLayout("side"), g: () => setLayout(layout === "grid" ? "blend" : "grid"),
  h: toggle("heat"), b: toggle("boxes"), "+": fade(5), "-": fade(-5), n: () => next(1), p: () => next(-1),
  c: () => {
    const names = Object.keys(colorMaps);
    $("colormap").value = names[(names.indexOf($("colormap").value) + 1) % names.length];
    $("colormap").dispatchEvent(new Event("input"));
  },
  s: () => $("snapshot").click(), j: () => $("json").click(), "?": () => $("keys").click(),
};

addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, metaKey, altKey } = event;
  if (ctrlKey || metaKey || altKey || document.querySelector("dialog[open]") || !$("shortcuts").checked) return;
  if (target.matches("select, input:not([type=checkbox], [type=radio])")) return; // letters choose there
  const act = shortcuts[key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});
view.addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 0.1 : 0.02;
  const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (!way || !screen.current) return;
  event.preventDefault();
  const [x, y] = probed ?? [0.5, 0.5];
  probeAt([Math.min(Math.max(x + way[0], 0), 0.999), Math.min(Math.max(y + way[1], 0), 0.999)], true);
});
view.addEventListener("pointermove", ({ clientX, clientY }) => probeAt(screen.painter.locate(clientX, clientY) ?? probed, false));
$("source").addEventListener("change", ({ target }) => pick(target.value));
for (const radio of document.querySelectorAll('[name="layout"]')) radio.addEventListener("change", () => setLayout(radio.value));
for (const id of ["heat", "boxes", "opacity", "colormap"]) $(id).addEventListener("input", () => {
  say("opacity-value", `${$("opacity").value} %`);
  drawScale($("scale"), $("colormap").value);
  screen.redraw();
  grid.redraw();
});
$("snapshot").addEventListener("click", () => view.toBlob((blob) => save(blob, "png")));
$("json").addEventListener("click", () => save(new Blob([sceneJSON(screen.current.header)], { type: "application/json" }), "json"));
$("keys").addEventListener("click", () => $("help").showModal());
addEventListener("resize", () => screen.redraw());
addEventListener("hashchange", () => choose(sourceInAddress()));
document.addEventListener("visibilitychange", () => !access.denied && follow());
access.addEventListener("denied", () => {
  stream.pause("denied");
  sources = watched = [];
  chosen = sourceInAddress();
  grid.clear();
  forget();
  showState();
  stream.watch(chosen ? [chosen] : []);
});
access.addEventListener("granted", () => {
  stream.pause(); // what it has may be another's
  follow();
});
setInterval(() => say("rate", screen.current ? screen.rate().toFixed(1) : "–"), 500);

data.layout = layout;
drawScale($("scale"), $("colormap").value);
say("opacity-value", `${$("opacity").value} %`);
showState();
stream.watch(chosen ? [chosen] : []);
access.start();
