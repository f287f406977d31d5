// Picture files, decoded by the browser: upright, sRGB, 8 bits.

import { putOnWhite, writeLuminance } from "./levels.js";
import { FILTERS, interpolation, resize, resizeRow } from "./resample.js";

const BAND = 1 << 20; // pixels that are looked at at a time

/** Decodes a file. Throws an Error, one sentence, where the browser cannot. */
async function bitmapOf(file, name) {
  try {
    return await createImageBitmap(file, { premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${name} cannot be read by this browser: save it as a JPEG or a PNG, or choose another file.`);
  }
}

/** Calls back with bands of rows of a picture file: take(rgba, top, [width, height]). Returns its [width, height]. */
export async function readBands(file, name, take) {
  const bitmap = await bitmapOf(file, name);
  try {
    const { width, height } = bitmap, rows = Math.max(1, Math.min(height, Math.floor(BAND / width)));
    const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
    context.globalCompositeOperation = "copy";
    for (let top = 0; top < height; top += rows) {
      context.drawImage(bitmap, 0, -top);
      take(context.getImageData(0, 0, width, Math.min(rows, height - top)).data, top, [width, height]);
    }
    return [width, height];
  } finally {
    bitmap.close();
  }
}

/**
 * Reads the luminance of a picture file: planes `lightness`, `seen`, the same on white paper, and `alpha`, bytes or
 * null where all is opaque.
 */
export async function readLuminance(file, name) {
  let lightness, seen, alpha = null;
  const [width, height] = await readBands(file, name, (rgba, top, [wide, high]) => {
    lightness ??= new Float32Array(wide * high);
    const from = top * wide, count = rgba.length / 4;
    writeLuminance(rgba, lightness, from);
    if (!alpha && isOpaque(rgba)) return;
    if (!alpha) {
      alpha = new Uint8Array(wide * high).fill(255, 0, from);
      seen = new Float32Array(wide * high);
      seen.set(lightness.subarray(0, from));
    }
    for (let n = 0; n < count; n++) alpha[from + n] = rgba[4 * n + 3];
    putOnWhite(rgba);
    writeLuminance(rgba, seen, from);
  });
  const plane = (data) => ({ width, height, data });
  return { lightness: plane(lightness), seen: plane(seen ?? lightness), alpha };
}

function isOpaque(rgba) {
  for (let i = 3; i < rgba.length; i += 4) if (rgba[i] !== 255) return false;
  return true;
}

/** Reads the colors of a picture file on white paper, reduced to a square: bytes, RGBA. */
export async function readSmall(file, name, side) {
  let across, wide;
  const [, height] = await readBands(file, name, (rgba, top, [width, high]) => {
    across ??= interpolation(width, side, FILTERS.triangle);
    wide ??= new Uint8ClampedArray(4 * side * high);
    putOnWhite(rgba);
    for (let y = 0; y < rgba.length / (4 * width); y++) {
      for (let c = 0; c < 3; c++) resizeRow(rgba, 4 * y * width + c, across, wide, 4 * (top + y) * side + c, 4);
    }
  });
  return resize({ width: 4 * side, height, data: wide }, 4 * side, side, FILTERS.triangle).data;
}
