// A painting's colors, moved until they have the palette that was asked for: see palette/transport.py.

import { hellinger } from "./palettes.js";

const NEAR = 0.1; // the Hellinger distance from the predicted palette from which on a palette is followed wholly
const ITERATIONS = 20;
const COUNTED_AT = 128; // pixels a side
const FLOOR = 1e-6, LEAST = 1e-6; // of all bins together, and of the kernel along an axis

/**
 * Moves a painting's colors to a palette: returns [a, b], data of (side, side), Lab units.
 * predicted: the palette that was predicted for the picture. weights: how much each pixel counts, data of (side, side).
 */
export function followed(ab, palette, predicted, spec, side, weights = null) {
  const strength = Math.min(1, hellinger(palette, predicted) / NEAR);
  const every = Math.max(1, Math.floor(side / COUNTED_AT)), colors = [], counted = [];
  for (let y = 0; y < side; y += every) {
    for (let n = y * side; n < (y + 1) * side; n += every) {
      colors.push([ab[0][n], ab[1][n]]);
      counted.push(weights ? weights[n] : 1);
    }
  }
  const count = spec.count(colors, counted, false), sum = count.reduce((s, v) => s + v, 0) + 1e-6; // it may be 0
  const change = changes(count.map((v) => v / sum), palette, spec);
  return lookedUp(change, ab, strength * spec.ab_range, spec);
}

/** Returns where the colors of bins go from p to h: [along a, along b], normalized units, of all bins. */
function changes(p, h, spec) {
  const { bins, centers, size } = spec, step = centers[1] - centers[0];
  const along = Array.from(centers, (x) => Float64Array.from(centers, (y) => Math.max(LEAST, Math.exp(-0.5 * ((x - y) / step) ** 2))));
  const [source, asked] = [p, h].map((palette) => {
    const sum = palette.reduce((s, v) => s + v, FLOOR); // of one sum, also where no pixel counts
    return Float64Array.from(palette, (v) => (v + FLOOR / size) / sum);
  });
  const reached = (x) => blurred(blurred(x, along, bins), along, bins);
  const ends = [asked, source].map((target) => {
    let atTarget = new Float64Array(size).fill(1);
    for (let i = 0; i < ITERATIONS; i++) {
      const there = reached(atTarget), back = reached(source.map((v, k) => v / there[k]));
      atTarget = target.map((v, k) => v / back[k]);
    }
    const whole = reached(atTarget);
    const places = [(k) => centers[Math.floor(k / bins)], (k) => centers[k % bins]];
    return places.map((place) => reached(atTarget.map((v, k) => v * place(k))).map((v, k) => v / whole[k]));
  });
  return [0, 1].map((i) => ends[0][i].map((v, k) => v - ends[1][i][k]));
}

/** Multiplies an array of all bins by a symmetric matrix along its rows, and transposes it. */
function blurred(x, matrix, bins) {
  const result = new Float64Array(x.length);
  for (let i = 0; i < bins; i++) {
    for (let j = 0; j < bins; j++) {
      let sum = 0;
      for (let k = 0; k < bins; k++) sum += x[i * bins + k] * matrix[k][j];
      result[j * bins + i] = sum;
    }
  }
  return result;
}

/** Adds `times` what the bins have to colors, interpolated between bins. */
function lookedUp(change, [a, b], times, spec) {
  const { bins, half_range: range, ab_range: unit } = spec, last = bins - 1;
  const at = (x) => Math.min(last, Math.max(0, ((x / unit / range + 1) * last) / 2));
  return [a, b].map((plane, axis) => {
    const values = change[axis], result = new Float32Array(plane.length);
    for (let n = 0; n < plane.length; n++) {
      const x = at(a[n]), y = at(b[n]), i = Math.min(last - 1, Math.floor(x)), j = Math.min(last - 1, Math.floor(y));
      const u = x - i, v = y - j, corner = i * bins + j;
      const near = values[corner] + v * (values[corner + 1] - values[corner]);
      const far = values[corner + bins] + v * (values[corner + bins + 1] - values[corner + bins]);
      result[n] = plane[n] + times * (near + u * (far - near));
    }
    return result;
  });
}
