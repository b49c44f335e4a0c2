// Decoding of pictures and depth maps: of each screen the newest, in a worker that all of them share.

const worker = new Worker(new URL("decode.worker.js", import.meta.url));
const waiting = new Map(); // what is done with an answer, by the number of what was asked
let asked = 0;
worker.onmessage = ({ data: { id, ...answer } }) => {
  waiting.get(id)(answer);
  waiting.delete(id);
};

/** The picture as a bitmap, and the depth map; null where there is none, or it can't be decoded. */
function decode({ header, picture, depth }) {
  if (!picture && !depth) return Promise.resolve({ picture: null, depth: null });
  return new Promise((done) => {
    waiting.set(++asked, done);
    worker.postMessage({ id: asked, picture, meta: header.depth, depth }, depth ? [depth] : []);
  });
}

/**
 * Decoder decodes one message at a time and only the newest. A depth map of an overtaken message is kept for the
 * next one: the gateway sends each map once.
 */
export class Decoder {
  #next = null; #busy = false; #generation = 0;
  dropped = 0;
  /** @param {(scene: object) => void} done */
  constructor(done) { this.done = done; }

  add(message) {
    if (this.#next) {
      this.dropped++;
      const { header, depth } = this.#next;
      if (!message.depth && depth && header.frame.session === message.header.frame.session) {
        message.depth = depth;
        message.header.depth = header.depth;
      }
    }
    this.#next = message;
    if (!this.#busy) this.#run();
  }

  /** Forgets what was not decoded yet: another source is watched now. */
  clear() {
    this.#generation++;
    this.#next = null;
  }

  async #run() {
    this.#busy = true;
    while (this.#next) {
      const message = this.#next, generation = this.#generation;
      this.#next = null;
      const { picture, depth } = await decode(message);
      if (generation === this.#generation) this.done({ header: message.header, picture, depth });
      else picture?.close();
    }
    this.#busy = false;
  }
}
