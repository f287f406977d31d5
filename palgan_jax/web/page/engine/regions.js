// Parts of a picture with palettes of their own: see colorize/regions.py.

import { FILTERS, resize, shrink } from "./resample.js";

const REACH = 24 / 256; // how far beyond its mask a region's palette goes within the network, in shares of the side

/** Decodes a mask, a PNG in base64: how opaque it is, a plane of bytes. */
export async function readMask(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const { width, height } = bitmap, context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  return { width, height, data: Uint8Array.from({ length: width * height }, (_, n) => rgba[4 * n + 3]) };
}

/** Returns a mask for a picture of another size. */
export function maskOfSize(mask, width, height, filter = FILTERS.triangle) {
  return mask.width === width && mask.height === height ? mask : resize(mask, width, height, filter);
}

/** Returns 1 within REACH of what a mask covers, and 0 elsewhere: data of (side, side). */
export function grown(mask, side) {
  const plane = { ...mask, data: Float32Array.from(mask.data) };
  const reach = Math.round(REACH * side);
  let covered = Uint8Array.from(shrink(plane, side, side).data, (v) => v > 0);
  for (const step of [side, 1]) {
    const wider = new Uint8Array(covered.length), other = step === 1 ? side : 1;
    for (let line = 0; line < side; line++) {
      for (let n = 0, last = -Infinity, next = -1; n < side; n++) {
        const at = line * other + n * step;
        if (covered[at]) last = n;
        if (next < n) for (next = n; next < side && !covered[line * other + next * step]; ) next++;
        wider[at] = n - last <= reach || (next < side && next - n <= reach);
      }
    }
    covered = wider;
  }
  return Float32Array.from(covered);
}
