// Colors that are given at pixels, spread over what the pixels belong to: see colorize/points.py.

import { abOfHex } from "../color.js";
import { Palette } from "../palette.js";
import { Edges } from "./edges.js";
import { LinearColors, colorAt } from "./join.js";

export const SIDES = { moving: 256, still: 512 }; // pixels of the longer side at which colors are spread
const REACH = 80 / 256, FALL = 3, EDGE = 4, MOST_WEIGHT = 1e30;
const ROUNDS = 5, MET = 0.25, MOST_AB = 128, MOST_KEPT = 128;

/** Where colors may go in a picture, from pixel to pixel: their distances along edges. */
export class Ways {
  /** small: the picture's L, a plane of at most so many pixels a side. */
  constructor(small, side) {
    this.small = small;
    this.edges = new Edges(small, 0.5 / side, 2 / side); // the colors end at those of a larger picture, too
    this.kept = new Map();
    this.steps = [[1, 0], [0, 1], [1, 1], [-1, 1]].map(([dx, dy]) => this.step(dx, dy));
  }

  /** Returns the lengths of steps from each pixel to that so far from it; those that leave the picture have no end. */
  step(dx, dy) {
    const { width, height, data } = this.small, far = dy * width + dx, length = Math.hypot(dx, dy) / Math.max(width, height);
    const lengths = new Float64Array(data.length).fill(Infinity);
    for (let y = 0; y < height - dy; y++) {
      for (let x = Math.max(0, -dx); x < width - Math.max(0, dx); x++) {
        const at = y * width + x;
        lengths[at] = ((data[at + far] - data[at]) / EDGE) ** 2 / 256 + length;
      }
    }
    return { far, lengths };
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
    Object.assign(this, { ways, points });
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
    const { width: wide, height: high, data } = colors.lightness, { small } = this.ways;
    const first = new Map(), before = [0, 1].map(() => new Float32Array(wide));
    this.points.forEach(({ x, y }, n) => {
      [x, y] = [Math.floor((x * wide) / width), Math.floor((y * high) / height)];
      const key = y * wide + x;
      if (first.has(key)) return; // of those that meet in a pixel, the first is met
      colors.row(y, ...before);
      first.set(key, { n, at: [x, y], l: data[key], missing: before.map((plane, c) => this.wanted[n][c] - plane[x]) });
    });
    const sizes = [[small.width, small.height], [wide, high]];
    const given = this.wanted.map((ab) => [...ab]);
    for (let round = 1; ; round++) {
      const change = this.change(painted, given);
      let most = 0;
      for (const { n, at, l, missing } of first.values()) {
        colorAt(change, ...sizes, at, l).forEach((v, c) => {
          const error = missing[c] - v;
          most = Math.max(most, Math.abs(error));
          given[n][c] = Math.max(-MOST_AB, Math.min(MOST_AB, given[n][c] + error));
        });
      }
      if (most >= MET && round < ROUNDS) continue;
      colors.added = new LinearColors(change, ...sizes);
      return;
    }
  }

  /** Returns what makes a painting have given colors, as a local linear function of L. */
  change(painted, given) {
    const change = painted.map((plane, c) => {
      const result = new Float32Array(plane.length);
      this.shares.forEach((share, n) => {
        const color = given[n][c];
        for (let i = 0; i < result.length; i++) result[i] += share[i] * (color - plane[i]);
      });
      return result;
    });
    return this.ways.edges.along(change);
  }
}
