// A worker: decodes pictures and depth maps, away from the thread that draws and answers a person.

/**
 * Undoes the packing of a depth map: zlib, then each row's differences modulo 2^16.
 * levels are 0 (far) to 255 (near) within the source's stable range, so that colours don't flicker.
 */
async function decodeDepth(meta, data) {
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

const failed = (what) => (error) => {
  console.warn(`${what} can't be decoded`, error);
  return null;
};

onmessage = async ({ data: { id, picture, meta, depth } }) => {
  const [image, map] = await Promise.all([
    picture ? createImageBitmap(picture).catch(failed("picture")) : null,
    depth ? decodeDepth(meta, depth).catch(failed("depth map")) : null,
  ]);
  postMessage({ id, picture: image, depth: map }, [image, map?.samples.buffer, map?.levels.buffer].filter(Boolean));
};
