// The colors of a picture of full size, row by row: see colorize/join.py.

import { FILTERS, interpolation, resizeRow, samplesOf } from "./resample.js";

/** ab as a linear function of L, by small maps that are stretched over a picture. */
export class LinearColors {
  /** offset, slope: [a, b] of planes' data, so wide. size: the [width, height] of the picture. */
  constructor({ offset, slope }, [mapWidth, mapHeight], [width, height]) {
    const across = interpolation(mapWidth, width, FILTERS.cubic);
    this.width = width;
    this.down = interpolation(mapHeight, height, FILTERS.cubic);
    this.wide = [...offset, ...slope].map((map) => {
      const wide = new Float32Array(width * mapHeight);
      for (let y = 0; y < mapHeight; y++) resizeRow(map, y * mapWidth, across, wide, y * width);
      return wide;
    });
    this.sums = this.wide.map(() => new Float32Array(width));
  }

  /** Writes the a and b of a row, whose L is l. */
  row(y, l, a, b) {
    const { first, weights } = this.down[y], { width } = this;
    this.wide.forEach((wide, c) => {
      const sum = this.sums[c].fill(0);
      for (let n = 0; n < weights.length; n++) {
        const w = weights[n], start = (first + n) * width;
        if (w) for (let x = 0; x < width; x++) sum[x] += w * wide[start + x];
      }
    });
    const [offsetA, offsetB, slopeA, slopeB] = this.sums;
    for (let x = 0; x < width; x++) {
      a[x] = offsetA[x] + slopeA[x] * l[x];
      b[x] = offsetB[x] + slopeB[x] * l[x];
    }
  }
}

/** Returns what LinearColors of the same arguments have at a pixel whose L is l: [a, b]. */
export function colorAt({ offset, slope }, [mapWidth, mapHeight], [width, height], [x, y], l) {
  const across = samplesOf(x, mapWidth, width, FILTERS.cubic), down = samplesOf(y, mapHeight, height, FILTERS.cubic);
  const at = (map) => {
    let sum = 0;
    down.weights.forEach((v, n) => across.weights.forEach((w, m) => (sum += v * w * map[(down.first + n) * mapWidth + across.first + m])));
    return sum;
  };
  return [0, 1].map((c) => at(offset[c]) + at(slope[c]) * l);
}

/** The colors of a picture: a painting, those that lie over it where their masks are, and what is added to all. */
export class Colors {
  /**
   * lightness: the picture's L, a plane.
   * painting: LinearColors. layers: [{colors, mask}], a LinearColors or null for gray, and bytes of the picture's size.
   */
  constructor(lightness, painting, layers) {
    Object.assign(this, { lightness, painting, layers, added: null });
    const { width } = lightness;
    this.other = [new Float32Array(width), new Float32Array(width)];
  }

  /** Writes the a and b of a row. */
  row(y, a, b) {
    const { width, data } = this.lightness, [otherA, otherB] = this.other;
    const l = data.subarray(y * width, (y + 1) * width);
    this.painting.row(y, l, a, b);
    for (const { colors, mask } of this.layers) {
      if (colors) colors.row(y, l, otherA, otherB);
      else otherA.fill(0), otherB.fill(0);
      for (let x = 0, at = y * width; x < width; x++, at++) {
        const share = mask[at] / 255;
        a[x] += share * (otherA[x] - a[x]);
        b[x] += share * (otherB[x] - b[x]);
      }
    }
    if (!this.added) return;
    this.added.row(y, l, otherA, otherB);
    for (let x = 0; x < width; x++) a[x] += otherA[x], b[x] += otherB[x];
  }
}
