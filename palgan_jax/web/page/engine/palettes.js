// Palettes beside the model's own: of pictures, of files, and drawn around another (palette/samples.py).

import { labOf } from "../color.js";
import { GENERATOR, Palette, Spec } from "../palette.js";
import { readSmall } from "./decode.js";
import { readSwatches } from "./swatch_files.js";

const COUNTED_AT = 256; // pixels a side
const GRAY = 0.05; // a Hellinger distance
const DEVIATION = 0.1, WAY = 0.5; // of a sample from a typical palette, and how far towards it
const MOST_BYTES = 1 << 20; // of a palette's file
const PLAIN = { bins: 16, half_range: 1, sigma: 0.1, kernel: "inverse_quadratic", normalization: "sum", ab_range: 110 };

/** Returns the palette of the same colors, counted as `spec` says. */
function countedAs(palette, spec) {
  const same = Object.keys(PLAIN).every((name) => palette.spec[name] === spec[name]);
  return same ? palette : new Palette(spec, { colors: palette.colors, weights: palette.weights });
}

/** Returns a palette as the network takes it. */
export function counts(palette) {
  if (palette.spec.normalization === "sum") return palette.shares;
  const most = palette.shares.reduce((x, y) => Math.max(x, y), 0) + 1e-6;
  return palette.shares.map((x) => x / most);
}

/** Counts the palette of a picture file: {palette, notes}. */
export async function paletteOfPicture(file, name, spec) {
  const rgba = await readSmall(file, name, COUNTED_AT), colors = [];
  for (let i = 0; i < rgba.length; i += 4) colors.push(labOf([rgba[i] / 255, rgba[i + 1] / 255, rgba[i + 2] / 255]).slice(1));
  const palette = new Palette(spec, { shares: spec.count(colors, new Float32Array(colors.length).fill(1)) });
  const gray = new Palette(spec, { colors: [[0, 0]], weights: [1] });
  const isGray = hellinger(palette.shares, gray.shares) < GRAY;
  return { palette: palette.shares, notes: isGray ? [`${name} is gray, and so is what is painted with its palette.`] : [] };
}

/** Returns the Hellinger distance of two palettes of the sum 1. */
export const hellinger = (h, g) => Math.sqrt(0.5 * h.reduce((sum, v, k) => sum + (Math.sqrt(v) - Math.sqrt(g[k])) ** 2, 0));

/** Reads a palette file: {palette, notes}. Throws an Error, one sentence, where it is none. */
export async function paletteOfFile(file, name, spec) {
  if (file.size > MOST_BYTES) throw new Error(`${name} is larger than 1 MB, which no palette is: name another file.`);
  const suffix = name.toLowerCase().match(/\.[^.]*$/)?.[0] ?? "";
  if (suffix !== ".json") {
    const { colors, weights } = readSwatches(await file.arrayBuffer(), suffix, name);
    return { palette: countedAs(new Palette(new Spec(PLAIN), { colors, weights }), spec).shares, notes: [] };
  }
  return { palette: countedAs(paletteOfJson(await file.text(), name), spec).shares, notes: [] };
}

function paletteOfJson(text, name) {
  let fields = null;
  try {
    fields = JSON.parse(text);
  } catch {
    // It is no palette either way.
  }
  const isLength = (x) => typeof x === "number" && x > 0 && x < 1e3;
  const isOurs =
    fields?.generator === GENERATOR &&
    ["inverse_quadratic", "gaussian", "hard"].includes(fields.kernel) &&
    ["sum", "max"].includes(fields.normalization) &&
    Number.isInteger(fields.bins) && fields.bins >= 2 && fields.bins <= 64 &&
    [fields.half_range, fields.sigma, fields.ab_range].every(isLength) &&
    Array.isArray(fields.shares) && fields.shares.length === fields.bins ** 2 &&
    fields.shares.every((x) => Number.isFinite(x) && x >= 0);
  const shares = isOurs ? fields.shares : [], sum = shares.reduce((x, y) => x + y, 0);
  if (!(sum > 0 && sum < Infinity)) throw new Error(`${name} is no palette that was saved here or by palgan palette: choose another file.`);
  const spec = Object.fromEntries(Object.keys(PLAIN).map((key) => [key, fields[key]]));
  return new Palette(new Spec(spec), { shares: Math.abs(sum - 1) < 1e-3 ? shares : shares.map((x) => x / sum) });
}

/**
 * Draws a palette around another: the shares of sample `number`, from 1 on.
 * typical: {roots, counts, draws}, square roots of typical palettes, how many photographs have each, and a draw of the
 * Gumbel distribution for each.
 */
export function samplePalette(shares, number, typical, spec) {
  const { roots, counts: photographs, draws } = typical;
  const at = countedAs(new Palette(spec, { shares }), new Spec(PLAIN)).shares.map((x) => Math.sqrt(x));
  const merit = roots.map((root, n) => {
    const square = root.reduce((sum, v, k) => sum + (v - at[k]) ** 2, 0);
    return Math.log(photographs[n]) - (0.5 * square) / (2 * DEVIATION ** 2) + draws[n];
  });
  const order = merit.map((_, n) => n).sort((x, y) => merit[y] - merit[x]);
  if (number > order.length) throw new Error(`There are at most ${order.length} versions of a palette.`);
  const drawn = roots[order[number - 1]].map((v, k) => ((1 - WAY) * at[k] + WAY * v) ** 2), sum = drawn.reduce((x, y) => x + y, 0);
  return countedAs(new Palette(new Spec(PLAIN), { shares: drawn.map((x) => x / sum) }), spec).shares;
}
