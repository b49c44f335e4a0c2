// Drawing: the picture, the heat map over it, the boxes.

import { colorMaps, labelColor } from "./colors.js";

/** How near, in words and numbers: metres only where the model says metres. */
export function depthText(depth) {
  if (!depth) return "";
  if (depth.kind === "metric") return `${depth.value.toFixed(1)} m`;
  return `near ${Math.round(depth.nearness)} %`;
}

const smallWidth = 480; // pixels of the screen: in a narrower picture whole labels cover most of it

/** What may be written over a box, the best first: the words and numbers of client/label, with room between them. */
export const labelTexts = ({ label, score, depth }, brief) => (brief ? [label] : [[label, `${Math.round(100 * score)} %`, depthText(depth)].filter(Boolean).join(" · "), label]);

/**
 * Where a label of this size goes that covers no other: over its box, under it, or inside it; null when there is no room.
 * @param {number[]} bbox x1, y1, x2, y2
 * @param {number[]} bounds width, height of the picture
 * @param {number[][]} taken the labels' x1, y1, x2, y2 until now
 */
export function placeLabel([x1, y1, x2, y2], [width, height], bounds, taken) {
  const left = Math.max(0, Math.min(x1, bounds[0] - width));
  for (const top of [y1 - height, y2, y1]) {
    if (top < 0 || top + height > bounds[1]) continue;
    if (taken.every((t) => left >= t[2] || left + width <= t[0] || top >= t[3] || top + height <= t[1])) return [left, top, left + width, top + height];
  }
  return null;
}

/** Painter draws scenes into a canvas: of the picture's size, or, side by side, twice that. */
export class Painter {
  #context; #canvas; #heat = document.createElement("canvas"); #heatOf = null; #heatMap = ""; #size = [1, 1];
  across = true; // side by side, not one below the other
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
  }

  clear() {
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /**
   * side draws the heat map beside the picture, or below it where there is little width, and not over it. A picture that
   * is small on the screen has labels without score and nearness. The picture may be smaller than the frame, whose boxes are.
   * @param {{side: boolean, heat: boolean, opacity: number, colormap: string, boxes: boolean}} options
   */
  paint({ header, picture, depth }, options) {
    const canvas = this.#canvas, context = this.#context;
    const width = picture?.width || header.size[0] || canvas.width, height = picture?.height || header.size[1] || canvas.height;
    const across = !options.side || (canvas.parentElement?.clientWidth ?? 0) >= 640 || height > width;
    const whole = options.side ? (across ? [2 * width, height] : [width, 2 * height]) : [width, height];
    if (canvas.width !== whole[0] || canvas.height !== whole[1]) Object.assign(canvas, { width: whole[0], height: whole[1] });
    this.#size = [width, height];
    this.across = across;
    if (picture) context.drawImage(picture, 0, 0, width, height);
    else {
      context.fillStyle = "#10151e";
      context.fillRect(0, 0, width, height);
    }
    const scale = header.size[0] ? width / header.size[0] : 1;
    const boxes = options.boxes ? header.detections.map((d) => ({ ...d, bbox: d.bbox.map((at) => at * scale) })) : [];
    if (!options.side && options.heat) this.#drawHeat(depth, options.colormap, options.opacity, 0, 0);
    for (const d of boxes) this.#box(d);
    this.#labels(boxes);
    if (!options.side) return;
    const [x, y] = across ? [width, 0] : [0, height];
    context.fillStyle = "#10151e";
    context.fillRect(x, y, width, height);
    this.#drawHeat(depth, options.colormap, 1, x, y);
    context.save();
    context.translate(x, y);
    for (const d of boxes) this.#box(d);
    context.restore();
  }

  /** The place in the picture, 0 to 1 both ways, of a place in the page; null outside. */
  locate(clientX, clientY) {
    const canvas = this.#canvas, box = canvas.getBoundingClientRect(), scale = Math.min(box.width / canvas.width, box.height / canvas.height);
    let x = (clientX - box.left - (box.width - scale * canvas.width) / 2) / scale;
    let y = (clientY - box.top - (box.height - scale * canvas.height) / 2) / scale;
    if (x < 0 || y < 0 || x >= canvas.width || y >= canvas.height) return null;
    if (this.across) x %= this.#size[0];
    else y %= this.#size[1];
    return [x / this.#size[0], y / this.#size[1]];
  }

  #drawHeat(depth, colormap, opacity, x, y) {
    if (!depth) return;
    const context = this.#context;
    this.#color(depth, colormap);
    context.globalAlpha = opacity;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#heat, x, y, ...this.#size);
    context.globalAlpha = 1;
  }

  #color(depth, colormap) {
    if (this.#heatOf === depth && this.#heatMap === colormap) return;
    const { width, height, levels } = depth, colors = colorMaps[colormap];
    Object.assign(this.#heat, { width, height });
    const image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < levels.length; i++) pixels[i] = colors[levels[i]];
    this.#heat.getContext("2d").putImageData(image, 0, 0);
    this.#heatOf = depth;
    this.#heatMap = colormap;
  }

  /** Picture pixels per pixel of the screen. */
  get #unit() { return this.#canvas.width / (this.#canvas.clientWidth || this.#canvas.width); }

  #box({ class_id, bbox: [x1, y1, x2, y2] }) {
    const context = this.#context, unit = this.#unit;
    context.lineJoin = "round";
    for (const [color, line] of [["#05070bb0", 4.5], [labelColor(class_id), 2.2]]) {
      context.strokeStyle = color;
      context.lineWidth = line * unit;
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
  }

  /** The labels of large boxes first, so that they stay where they are while small ones come and go. */
  #labels(boxes) {
    const context = this.#context, unit = this.#unit, brief = this.#size[0] / unit < smallWidth, size = 13 * unit, pad = 4 * unit, height = size + 1.6 * pad, taken = [];
    const area = ({ bbox: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (const d of [...boxes].sort((a, b) => area(b) - area(a))) {
      for (const text of labelTexts(d, brief)) {
        const place = placeLabel(d.bbox, [context.measureText(text).width + 2 * pad, height], this.#size, taken);
        if (!place) continue;
        taken.push(place);
        const [left, top, right] = place;
        context.fillStyle = labelColor(d.class_id);
        context.beginPath();
        context.roundRect(left, top, right - left, height, 4 * unit);
        context.fill();
        context.fillStyle = "#05070b";
        context.fillText(text, left + pad, top + height / 2);
        break;
      }
    }
  }
}

/** Draws a colour map, from far to near, into a canvas of 256 × 1 pixels. */
export function drawScale(canvas, colormap) {
  const image = new ImageData(256, 1);
  new Uint32Array(image.data.buffer).set(colorMaps[colormap]);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
