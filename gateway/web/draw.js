// Drawing: the picture, the heat map over it, the boxes.

import { colorMaps, labelColor } from "./colors.js";

/** How near, in words and numbers: metres only where the model says metres. */
export function depthText(depth) {
  if (!depth) return "";
  if (depth.kind === "metric") return `${depth.value.toFixed(1)} m`;
  return `near ${Math.round(depth.nearness)} %`;
}

/** Painter draws scenes into a canvas of the picture's size. */
export class Painter {
  #context; #canvas; #heat = document.createElement("canvas"); #heatOf = null; #heatMap = "";
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
  }

  clear() {
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /** @param {{heat: boolean, opacity: number, colormap: string, boxes: boolean}} options */
  paint({ header, picture, depth }, options) {
    const canvas = this.#canvas, context = this.#context;
    const width = picture?.width || header.size[0] || canvas.width, height = picture?.height || header.size[1] || canvas.height;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (picture) context.drawImage(picture, 0, 0, width, height);
    else {
      context.fillStyle = "#10151e";
      context.fillRect(0, 0, width, height);
    }
    if (options.heat && depth) {
      this.#color(depth, options.colormap);
      context.globalAlpha = options.opacity;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.#heat, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    if (options.boxes) for (const d of header.detections) this.#box(d);
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

  #box({ label, class_id, score, bbox, depth }) {
    const canvas = this.#canvas, context = this.#context;
    const unit = canvas.width / (canvas.clientWidth || canvas.width); // picture pixels per pixel of the screen
    const [x1, y1, x2, y2] = bbox, size = 13 * unit, pad = 4 * unit;
    context.lineJoin = "round";
    for (const [color, line] of [["#05070bb0", 4.5], [labelColor(class_id), 2.2]]) {
      context.strokeStyle = color;
      context.lineWidth = line * unit;
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    const text = [label, `${Math.round(100 * score)} %`, depthText(depth)].filter(Boolean).join(" · ");
    context.font = `600 ${size}px system-ui, sans-serif`;
    const width = context.measureText(text).width + 2 * pad, height = size + 1.6 * pad;
    const x = Math.max(0, Math.min(x1 - unit, canvas.width - width)), y = y1 - height >= 0 ? y1 - height : Math.max(y1, 0);
    context.fillStyle = labelColor(class_id);
    context.beginPath();
    context.roundRect(x, y, width, height, 4 * unit);
    context.fill();
    context.fillStyle = "#05070b";
    context.textBaseline = "middle";
    context.fillText(text, x + pad, y + height / 2);
  }
}

/** Draws a colour map, from far to near, into a canvas of 256 × 1 pixels. */
export function drawScale(canvas, colormap) {
  const image = new ImageData(256, 1);
  new Uint32Array(image.data.buffer).set(colorMaps[colormap]);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
