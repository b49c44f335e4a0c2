// The grid: a small screen for each source.

import { Screen } from "./screen.js";

export class Grid {
  #tiles = new Map();
  /**
   * @param {HTMLElement} list
   * @param {() => object} options how to paint
   * @param {(source: string) => void} chosen is called when a person chooses a source
   */
  constructor(list, options, chosen) { Object.assign(this, { list, options, chosen }); }

  /** Shows these sources, and forgets all others. */
  show(sources) {
    const names = new Set(sources.map((s) => s.source));
    for (const name of this.#tiles.keys()) if (!names.has(name)) this.#remove(name);
    for (const info of sources) {
      const tile = this.#tiles.get(info.source) ?? this.#add(info.source);
      const text = `${info.state}, ${tile.screen.rate().toFixed(1)} scenes/s`;
      if (tile.state.textContent !== text) tile.state.textContent = text;
      tile.state.dataset.state = info.state;
    }
  }

  /** The screen of a source, if there is one. */
  screen(source) { return this.#tiles.get(source)?.screen; }

  add(message) { this.#tiles.get(message.header.frame.source)?.screen.add(message); }

  redraw() { for (const { screen } of this.#tiles.values()) screen.redraw(); }

  clear() { for (const name of [...this.#tiles.keys()]) this.#remove(name); }

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
    const tile = { item, screen, state };
    this.#tiles.set(source, tile);
    return tile;
  }

  #remove(source) {
    const { item, screen } = this.#tiles.get(source);
    screen.clear();
    item.remove();
    this.#tiles.delete(source);
  }
}
