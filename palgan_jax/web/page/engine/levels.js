// Levels of sRGB as luminance, and Lab colors as levels of the same luminance: see colorize/lab_levels.py.

import { RGB_FROM_XYZ, WHITE, XYZ_FROM_RGB, expand, lightnessOf, linearOf, srgbOf } from "../color.js";

const STEPS = 1 << 16; // of light, in the table of the sRGB curve
const HALVINGS = 12; // of the interval of chroma that fits
const LEAST_LIGHT = -1e-5, MOST_LIGHT = 1 + 1e-4;
const DARK = 0.2068966;

const light = XYZ_FROM_RGB[1].map((share) => Float32Array.from({ length: 256 }, (_, n) => share * linearOf(n / 255)));
const gray = Float32Array.from({ length: 256 }, (_, n) => lightnessOf(light[0][n] + light[1][n] + light[2][n]));
const levels = Uint8Array.from({ length: STEPS + 1 }, (_, n) => Math.round(255 * srgbOf(n / STEPS)));
const M = RGB_FROM_XYZ.flatMap((row) => row.map((x, i) => x * WHITE[i]));

/** Writes the L of pixels, RGBA bytes, from a place of the result on. */
export function writeLuminance(rgba, result, at) {
  const [red, green, blue] = light;
  for (let i = 0; i < rgba.length; i += 4, at++) {
    const r = rgba[i], g = rgba[i + 1], b = rgba[i + 2];
    result[at] = r === g && g === b ? gray[g] : lightnessOf(red[r] + green[g] + blue[b]);
  }
}

/** Puts pixels, RGBA bytes, on white paper. */
export function putOnWhite(rgba) {
  for (let i = 0; i < rgba.length; i += 4) {
    const opacity = rgba[i + 3];
    if (opacity === 255) continue;
    for (let c = i; c < i + 3; c++) rgba[c] = Math.round((rgba[c] * opacity + 255 * (255 - opacity)) / 255);
    rgba[i + 3] = 255;
  }
}

const cubed = (f) => (f < DARK ? expand(f) : f * f * f);
const level = (x) => levels[x <= 0 ? 0 : x >= 1 ? STEPS : (x * STEPS + 0.5) | 0];

/** Writes the sRGB levels of Lab colors into pixels of so many channels, from a place on. */
export function writeLevels(l, a, b, result, at, channels) {
  for (let n = 0; n < l.length; n++, at += channels) {
    const fy = (l[n] + 16) / 116, alongX = a[n] / 500, alongZ = -b[n] / 200, y = cubed(fy);
    let share = 1, x = cubed(fy + alongX), z = cubed(Math.max(0, fy + alongZ));
    let r = M[0] * x + M[1] * y + M[2] * z, g = M[3] * x + M[4] * y + M[5] * z, v = M[6] * x + M[7] * y + M[8] * z;
    if (!(Math.min(r, g, v) >= LEAST_LIGHT && Math.max(r, g, v) <= MOST_LIGHT)) {
      // Towards gray until it is inside; the lower end of the interval always is.
      share = 0;
      for (let step = 0.5, i = 0; i < HALVINGS; i++, step /= 2) {
        const middle = share + step;
        x = cubed(fy + middle * alongX), z = cubed(Math.max(0, fy + middle * alongZ));
        r = M[0] * x + M[1] * y + M[2] * z, g = M[3] * x + M[4] * y + M[5] * z, v = M[6] * x + M[7] * y + M[8] * z;
        if (Math.min(r, g, v) >= LEAST_LIGHT && Math.max(r, g, v) <= MOST_LIGHT) share = middle;
      }
      x = cubed(fy + share * alongX), z = cubed(Math.max(0, fy + share * alongZ));
      r = M[0] * x + M[1] * y + M[2] * z, g = M[3] * x + M[4] * y + M[5] * z, v = M[6] * x + M[7] * y + M[8] * z;
    }
    result[at] = level(r), result[at + 1] = level(g), result[at + 2] = level(v);
  }
}
