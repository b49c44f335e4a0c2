// Decoding, off the main thread where the browser can: pictures and depth maps.

/**
 * Undoes the packing of a depth map: zlib, then each row's differences modulo 2^16.
 * levels are 0 (far) to 255 (near) within the source's stable range, so that colours don't flicker.
 */
export async function decodeDepth(meta, data) {
  const { width, height } = meta;
  const inflated = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = await new Response(inflated).arrayBuffer();
  if (bytes.byteLength !== 2 * width * height) throw new Error(`depth map of ${bytes.byteLength} bytes, want ${2 * width * height}`);
  const view = new DataView(bytes);
  const samples = new Uint16Array(width * height);
  const levels = new Uint8Array(width * height);
  const range = meta.range ?? { low: meta.offset, high: meta.offset + meta.scale * (2 ** meta.bits - 1) };
  const span = range.high - range.low, larger = meta.kind === "inverse_relative"; // is nearer
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0, left = 0; x < width; x++, i++) {
      left = (left + view.getUint16(2 * i, true)) & 0xffff;
      samples[i] = left;
      const t = span > 0 ? (meta.offset + meta.scale * left - range.low) / span : 0.5;
      levels[i] = 255 * Math.min(Math.max(larger ? t : 1 - t, 0), 1) + 0.5;
    }
  }
  return { width, height, kind: meta.kind, seq: meta.seq, offset: meta.offset, scale: meta.scale, range, samples, levels };
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
      const [picture, depth] = await Promise.all([
        message.picture ? createImageBitmap(message.picture).catch(failed("picture")) : null,
        message.depth ? decodeDepth(message.header.depth, message.depth).catch(failed("depth map")) : null,
      ]);
      if (generation === this.#generation) this.done({ header: message.header, picture, depth });
      else picture?.close();
    }
    this.#busy = false;
  }
}

const failed = (what) => (error) => {
  console.warn(`${what} can't be decoded`, error);
  return null;
};
