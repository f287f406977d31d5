// Colors that are given at pixels, spread over what the pixels belong to: see colorize/points.py.

import { abOfHex } from "../color.js";
import { Palette } from "../palette.js";
import { alongEdges } from "./edges.js";
import { LinearColors } from "./join.js";

export const SIDE = 512; // pixels of the longer side at which colors are spread
const REACH = 80 / 256, FALL = 3, EDGE = 4, MOST_WEIGHT = 1e30;
const ROUNDS = 5, MET = 0.25, MOST_AB = 128, MOST_KEPT = 128;

/** Where colors may go in a picture, from pixel to pixel: their distances along edges. */
export class Ways {
  /** small: the picture's L, a plane of at most SIDE pixels a side. */
  constructor(small) {
    this.small = small;
    this.kept = new Map();
    const { width, height, data } = small, longer = Math.max(width, height);
    const step = (dx, dy) =>
      Float64Array.from(data, (l, at) => {
        const x = (at % width) + dx, y = Math.floor(at / width) + dy;
        if (x < 0 || x >= width || y >= height) return Infinity;
        return ((data[y * width + x] - l) / EDGE) ** 2 / 256 + Math.hypot(dx, dy) / longer;
      });
    this.steps = [[1, 0], [0, 1], [1, 1], [-1, 1]].map(([dx, dy]) => ({ far: dy * width + dx, lengths: step(dx, dy) }));
  }

  /** Returns how far each pixel is from one, in longer sides of the picture (Dijkstra's way). */
  from(cell) {
    if (!this.kept.has(cell)) this.kept.set(cell, this.search(cell));
    if (this.kept.size > MOST_KEPT) this.kept.delete(this.kept.keys().next().value);
    return this.kept.get(cell);
  }

  search(cell) {
    const count = this.small.data.length, found = new Float64Array(count).fill(Infinity), heap = new Heap(found);
    found[cell] = 0;
    heap.put(cell);
    const reach = (at, length) => {
      if (length >= found[at]) return;
      found[at] = length;
      heap.put(at);
    };
    for (let at; (at = heap.take()) >= 0; ) {
      const here = found[at];
      for (const { far, lengths } of this.steps) {
        if (lengths[at] < Infinity) reach(at + far, here + lengths[at]);
        if (at >= far && lengths[at - far] < Infinity) reach(at - far, here + lengths[at - far]);
      }
    }
    return Float32Array.from(found);
  }
}

/** Numbers in a binary heap, the one with the least key on top; a key may become less. */
class Heap {
  constructor(keys) {
    this.keys = keys;
    this.items = [];
    this.places = new Int32Array(keys.length).fill(-1);
  }

  put(item) {
    const { keys, items, places } = this;
    let at = places[item];
    if (at < 0) at = items.push(item) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (keys[items[above]] <= keys[item]) break;
      places[(items[at] = items[above])] = at;
      at = above;
    }
    places[(items[at] = item)] = at;
  }

  /** Takes the least; -1 where there is none. */
  take() {
    const { keys, items, places } = this;
    if (!items.length) return -1;
    const least = items[0], item = items.pop();
    places[least] = -1;
    if (items.length) {
      let at = 0;
      for (let below; (below = 2 * at + 1) < items.length; at = below) {
        if (below + 1 < items.length && keys[items[below + 1]] < keys[items[below]]) below++;
        if (keys[items[below]] >= keys[item]) break;
        places[(items[at] = items[below])] = at;
      }
      places[(items[at] = item)] = at;
    }
    return least;
  }
}

/** Given colors, spread over the picture. */
export class Spread {
  /**
   * ways: of the picture. points: [{x, y, color}]. size: the picture's [width, height].
   * Throws an Error where two of them lie in one pixel of the small picture.
   */
  constructor(ways, points, [width, height]) {
    const { small } = ways, owned = new Set();
    this.small = small;
    this.points = points;
    this.wanted = points.map(({ color }) => abOfHex(color));
    const weights = points.map(({ x, y }) => {
      const cell = Math.floor((y * small.height) / height) * small.width + Math.floor((x * small.width) / width);
      if (owned.has(cell)) {
        throw new Error(`The color at ${x},${y} has another one beside it that takes its place: leave one of them out, or give them more room.`);
      }
      owned.add(cell);
      return ways.from(cell).map((d) => Math.min(MOST_WEIGHT, (d / REACH) ** -FALL));
    });
    const total = new Float64Array(small.data.length).fill(1);
    for (const plane of weights) plane.forEach((w, i) => (total[i] += w));
    this.shares = weights.map((plane) => plane.map((w, i) => w / total[i]));
  }

  /** Returns a palette that has each of the colors as much as the picture has. */
  moved(palette) {
    const area = this.shares.map((plane) => plane.reduce((sum, v) => sum + v, 0) / plane.length);
    const own = new Palette(palette.spec, { colors: this.wanted, weights: area });
    return palette.mix(own, Math.min(1, area.reduce((sum, v) => sum + v, 0)));
  }

  /**
   * Adds the colors to a picture's. At points, it has them to within a quarter of a unit.
   * painted: [a, b], the painting at the size of the small picture. colors: those of the picture. size: of the picture
   * in whose pixels the points are given.
   */
  addTo(colors, painted, [width, height]) {
    const { lightness } = colors;
    const places = this.points.map(({ x, y }) => [Math.floor((x * lightness.width) / width), Math.floor((y * lightness.height) / height)]);
    const first = new Map();
    places.forEach(([x, y], n) => first.has(`${x},${y}`) || first.set(`${x},${y}`, n)); // of those that meet
    let given = this.wanted;
    const a = new Float32Array(lightness.width), b = new Float32Array(lightness.width);
    for (let round = 0; round < ROUNDS; round++) {
      colors.added = this.change(painted, given, [lightness.width, lightness.height]);
      const error = this.wanted.map(() => [0, 0]);
      for (const n of first.values()) {
        const [x, y] = places[n];
        colors.row(y, a, b);
        error[n] = [this.wanted[n][0] - a[x], this.wanted[n][1] - b[x]];
      }
      if (Math.max(...error.flat().map(Math.abs)) < MET) return;
      given = given.map((ab, n) => ab.map((v, c) => Math.max(-MOST_AB, Math.min(MOST_AB, v + error[n][c]))));
    }
  }

  change(painted, given, size) {
    const { shares, small } = this;
    const change = painted.map((plane, c) =>
      plane.map((v, i) => {
        let sum = 0;
        for (let n = 0; n < shares.length; n++) sum += shares[n][i] * (given[n][c] - v);
        return sum;
      }),
    );
    return new LinearColors(alongEdges(small, change, 0.5 / SIDE, 2 / SIDE), [small.width, small.height], size);
  }
}
