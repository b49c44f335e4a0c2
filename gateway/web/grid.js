// The grid: a small screen for each source. Those that are in sight are watched.

import { Screen } from "./screen.js";

const settled = 150; // ms: while a person scrolls, tiles come and go

export class Grid {
  #tiles = new Map(); #timer = 0; #told = null;
  #sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const tile = this.#tiles.get(target.dataset.source);
      if (tile?.item === target) tile.seen = isIntersecting;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell(), settled);
  });
  most = 20; // sources that may be watched at once

  /**
   * @param {HTMLElement} list
   * @param {() => object} options how to paint
   * @param {(source: string) => void} chosen is called when a person chooses a source
   * @param {(sources: string[]) => void} watch is called with what is in sight when that changes
   */
  constructor(list, options, chosen, watch) { Object.assign(this, { list, options, chosen, watch }); }

  /** Shows these sources, and forgets all others. */
  show(sources) {
    const names = new Set(sources.map((s) => s.source));
    for (const name of this.#tiles.keys()) if (!names.has(name)) this.#remove(name);
    for (const info of sources) {
      const tile = this.#tiles.get(info.source) ?? this.#add(info.source);
      const beyond = tile.seen && this.#told && !this.#told.includes(info.source);
      const text = `${info.state}, ${beyond ? `not watched: at most ${this.most} at once` : `${tile.screen.rate().toFixed(1)} scenes/s`}`;
      if (tile.state.textContent !== text) tile.state.textContent = text;
      tile.state.dataset.state = info.state;
    }
  }

  /** Tells what is to be watched: the first tiles in sight. */
  #tell() {
    const seen = [...this.#tiles].filter(([, tile]) => tile.seen).map(([name]) => name).slice(0, this.most);
    if (this.list.hidden || seen.length === 0 || this.#told?.join() === seen.join()) return;
    this.#told = seen;
    this.watch(seen);
  }

  /** The screen of a source, if there is one. */
  screen(source) { return this.#tiles.get(source)?.screen; }

  add(message) { this.#tiles.get(message.header.frame.source)?.screen.add(message); }

  redraw() { for (const { screen } of this.#tiles.values()) screen.redraw(); }

  clear() {
    clearTimeout(this.#timer);
    this.#told = null;
    for (const name of [...this.#tiles.keys()]) this.#remove(name);
  }

  #add(source) {
    const item = document.createElement("li"), button = document.createElement("button"), canvas = document.createElement("canvas");
    const name = document.createElement("span"), state = document.createElement("small");
    Object.assign(canvas, { width: 320, height: 180 });
    canvas.setAttribute("aria-hidden", "true");
    name.textContent = source;
    button.type = "button";
    button.append(canvas, name, state);
    button.addEventListener("click", () => this.chosen(source));
    item.dataset.source = source;
    item.append(button);
    this.list.append(item);
    const screen = new Screen(canvas, this.options, ({ header }) => { item.dataset.seq = header.frame.seq; });
    const tile = { item, screen, state, seen: false };
    this.#tiles.set(source, tile);
    this.#sight.observe(item);
    return tile;
  }

  #remove(source) {
    const { item, screen } = this.#tiles.get(source);
    this.#sight.unobserve(item);
    screen.clear();
    item.remove();
    this.#tiles.delete(source);
  }
}
