// A screen shows the newest scene of one source in a canvas, drawn when the browser draws.

import { Decoder } from "./decode.js";
import { Painter } from "./draw.js";

export class Screen {
  #decoder; #fresh = false; #waiting = false; #times = [];
  current = null; // what is drawn: header, picture, depth

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => object} options how to paint, see Painter
   * @param {(scene: object) => void} shown is called with each scene once it is drawn
   */
  constructor(canvas, options, shown = () => {}) {
    this.painter = new Painter(canvas);
    this.options = options;
    this.shown = shown;
    this.#decoder = new Decoder((scene) => this.#accept(scene));
  }

  add(message) { this.#decoder.add(message); }

  /** Messages that were too many to decode. */
  get dropped() { return this.#decoder.dropped; }

  /** Scenes per second over the last 3 s. */
  rate() {
    const since = performance.now() - 3000;
    this.#times = this.#times.filter((t) => t > since);
    return this.#times.length / 3;
  }

  /** Forgets the source. */
  clear() {
    this.#decoder.clear();
    this.current?.picture?.close();
    this.current = null;
    this.#times = [];
    this.painter.clear();
  }

  /** Gives up what is drawn, for another screen to adopt; null when there is nothing. */
  release() {
    const scene = this.current;
    this.current = null;
    this.clear();
    return scene;
  }

  /** Draws what another screen has released. */
  adopt(scene) {
    if (!scene) return;
    this.current = scene;
    this.#fresh = true;
    this.redraw();
  }

  redraw() {
    if (this.#waiting || !this.current) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      if (!this.current) return;
      this.painter.paint(this.current, this.options());
      if (!this.#fresh) return;
      this.#fresh = false;
      this.shown(this.current);
    });
  }

  /** Keeps what a scene does not bring along: the picture of a frame seen before, the depth map of an earlier frame. */
  #accept(scene) {
    const old = this.current, frame = scene.header.frame;
    const same = old && old.header.frame.session === frame.session;
    if (same && frame.seq < old.header.frame.seq) return scene.picture?.close();
    if (same && frame.seq === old.header.frame.seq && !scene.picture) scene.picture = old.picture;
    if (!scene.depth && same) scene.depth = old.depth;
    if (old?.picture && old.picture !== scene.picture) old.picture.close();
    this.current = scene;
    this.#fresh = true;
    if (scene.header.latency_ms !== null) this.#times.push(performance.now());
    this.redraw();
  }
}
