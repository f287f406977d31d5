// sRGB <-> CIE Lab (D65), as palgan_jax/color.py has it, and the gamut of sRGB in the ab plane.

export const XYZ_FROM_RGB = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]];
export const WHITE = [0.95047, 1.0, 1.08883];
export const RGB_FROM_XYZ = inverse(XYZ_FROM_RGB);
const WHITE_D50 = [0.96422, 1.0, 0.82521];
const D65_FROM_D50 = [[0.9555766, -0.0230393, 0.0631636], [-0.0282895, 1.0099416, 0.0210077], [0.0122982, -0.0204830, 1.3299098]];
const SHOWN_LIGHTNESS = 65; // a palette knows no luminance: colors are shown at the L nearest to this one

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [
    [(e * i - f * h) / det, (c * h - b * i) / det, (b * f - c * e) / det],
    [(f * g - d * i) / det, (a * i - c * g) / det, (c * d - a * f) / det],
    [(d * h - e * g) / det, (b * g - a * h) / det, (a * e - b * d) / det],
  ];
}

const product = (m, [x, y, z]) => m.map((row) => row[0] * x + row[1] * y + row[2] * z);
const compress = (t) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
export const expand = (f) => (f > 0.2068966 ? f ** 3 : (f - 16 / 116) / 7.787);

/** Undoes the curve of sRGB. */
export const linearOf = (v) => (v > 0.04045 ? ((v + 0.055) / 1.055) ** 2.4 : v / 12.92);
/** Applies it. */
export const srgbOf = (v) => (v > 0.0031308 ? 1.055 * v ** (1 / 2.4) - 0.055 : v * 12.92);
/** Converts luminance, in [0, 1], to L. */
export const lightnessOf = (y) => 116 * compress(y) - 16;

/** Converts sRGB, three numbers in [0, 1], to [L, a, b]. */
export const labOf = (rgb) => labOfXyz(product(XYZ_FROM_RGB, rgb.map(linearOf)));

function labOfXyz(xyz) {
  const [fx, fy, fz] = xyz.map((v, i) => compress(v / WHITE[i]));
  return [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)];
}

function xyzOf(l, a, b, white) {
  const fy = (l + 16) / 116;
  const f = [fy + a / 500, fy, Math.max(fy - b / 200, 0)];
  return f.map((v, i) => expand(v) * white[i]);
}

/** Converts Lab to sRGB, three numbers that leave [0, 1] where the color is out of gamut. */
export const rgbOf = (l, a, b) => product(RGB_FROM_XYZ, xyzOf(l, a, b, WHITE)).map(srgbOf);

/** Converts Lab under the white D50, which Adobe's programs mean, to [L, a, b] under D65. */
export const labUnderD65 = (l, a, b) => labOfXyz(product(D65_FROM_D50, xyzOf(l, a, b, WHITE_D50)));

/** Returns "#rrggbb" of sRGB, clamped. */
export function hexOf(rgb) {
  const byte = (v) => Math.round(Math.min(1, Math.max(0, v)) * 255).toString(16).padStart(2, "0");
  return `#${rgb.map(byte).join("")}`;
}

/** Returns the [a, b] of "#rrggbb". */
export function abOfHex(hex) {
  const rgb = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
  return labOf(rgb).slice(1);
}

/** Returns the "#rrggbb" in which a color of the ab plane is shown: at the L nearest to 65 at which sRGB has it. */
export function shownHex(a, b) {
  let best = Infinity, shown;
  for (let l = 1; l < 100; l++) {
    const rgb = rgbOf(l, a, b);
    const outside = Math.max(...rgb.map((v) => Math.max(0, -v, v - 1)));
    const cost = 1e4 * Math.max(outside - 1e-3, 0) + Math.abs(l - SHOWN_LIGHTNESS);
    if (cost < best) [best, shown] = [cost, rgb];
  }
  return hexOf(shown);
}

let chroma; // the largest of sRGB at the hues -180, -179 ... 180 degrees

function largestChroma() {
  if (chroma) return chroma;
  chroma = new Float64Array(361);
  const steps = 128;
  for (let axis = 0; axis < 3; axis++) {
    for (const end of [0, 1]) {
      for (let i = 0; i <= steps; i++) {
        for (let j = 0; j <= steps; j++) {
          const rgb = [i / steps, j / steps];
          rgb.splice(axis, 0, end);
          const [, a, b] = labOf(rgb);
          const hue = Math.round((Math.atan2(b, a) * 180) / Math.PI) + 180;
          chroma[hue] = Math.max(chroma[hue], Math.hypot(a, b));
        }
      }
    }
  }
  chroma[0] = chroma[360] = Math.max(chroma[0], chroma[360]);
  return chroma;
}

/** Returns [a, b] with no more chroma than sRGB has at its hue. */
export function withinGamut(a, b) {
  const most = largestChroma();
  const place = (Math.atan2(b, a) * 180) / Math.PI + 180;
  const low = Math.min(359, Math.floor(place));
  const limit = most[low] + (place - low) * (most[low + 1] - most[low]);
  const share = Math.min(1, limit / Math.max(Math.hypot(a, b), 1e-9));
  return [a * share, b * share];
}

const HUES = [
  [20, "pink"], [50, "red"], [75, "orange"], [105, "yellow"], [130, "olive"], [165, "green"], [200, "teal"],
  [240, "cyan"], [275, "blue"], [315, "violet"], [345, "magenta"], [361, "pink"],
];

/** Returns a word for a color, such as "pale blue", for those who hear it. */
export function nameOf(a, b) {
  const c = Math.hypot(a, b);
  if (c < 7) return "gray";
  const hue = ((Math.atan2(b, a) * 180) / Math.PI + 360) % 360;
  const name = HUES.find(([end]) => hue < end)[1];
  return c < 22 ? `pale ${name}` : c > 60 ? `vivid ${name}` : name;
}
