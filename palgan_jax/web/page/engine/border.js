// The border of a print, which stays gray: see colorize/border.py.

import { shrink } from "./resample.js";

const SIDE = 512, EVEN = 0.1, STRAIGHT = 1.5, ON_LINE = 0.8, SLOPE = 0.05, LEAST_DEPTH = 0.01, MOST_DEPTH = 0.25;
const ALIKE = 0.15, SIDES = 3, LEAST = 0.05, CORNERS = 0.15, LEAST_SIDE = 32;

/** Finds the border of a picture by its L, a plane; null where it has none. */
export function findBorder(lightness) {
  const { width, height } = lightness, times = Math.min(1, SIDE / Math.max(width, height));
  const small = shrink(lightness, Math.max(1, roundEven(width * times)), Math.max(1, roundEven(height * times)));
  const ordered = Float32Array.from(small.data).sort();
  const span = quantile(ordered, 0.99) - quantile(ordered, 0.01);
  if (Math.min(small.width, small.height) < LEAST_SIDE || span < 1) return null;
  const { width: w, height: h, data } = small;
  const sides = [
    { height: h, width: w, at: (y, x) => data[y * w + x] },
    { height: h, width: w, at: (y, x) => data[(h - 1 - y) * w + x] },
    { height: w, width: h, at: (y, x) => data[x * w + y] },
    { height: w, width: h, at: (y, x) => data[x * w + w - 1 - y] },
  ];
  const strips = sides.map((side) => stripOf(side, span)), found = strips.filter(Boolean);
  const levels = found.map((strip) => strip.level);
  if (found.length < SIDES || Math.max(...levels) - Math.min(...levels) > ALIKE * span) return null;
  return new Border(strips.map((strip, n) => strip ?? leastStrip(sides[n], span, levels)));
}

class Border {
  /** strips: {first, last}, depths at the ends of a side in shares of the picture; top, bottom, left and right. */
  constructor(strips) {
    this.strips = strips;
  }

  /** Returns the corners [x, y] of the photograph in a picture of this size, clockwise from the upper left. */
  corners(width, height) {
    const [top, bottom, left, right] = this.strips;
    const meet = (horizontal, fromBelow, vertical, fromRight) => {
      let x = 0, y = 0;
      for (let n = 0; n < 4; n++) {
        y = horizontal.first + (horizontal.last - horizontal.first) * x;
        if (fromBelow) y = 1 - y;
        x = vertical.first + (vertical.last - vertical.first) * y;
        if (fromRight) x = 1 - x;
      }
      return [x * width, y * height];
    };
    return [meet(top, false, left, false), meet(top, false, right, true), meet(bottom, true, right, true), meet(bottom, true, left, false)];
  }

  /** Returns the smallest rectangle of pixels that holds the photograph. */
  box(width, height) {
    const corners = this.corners(width, height), xs = corners.map(([x]) => x), ys = corners.map(([, y]) => y);
    return {
      left: Math.max(0, Math.trunc(Math.min(...xs))),
      top: Math.max(0, Math.trunc(Math.min(...ys))),
      right: Math.min(width, Math.ceil(Math.max(...xs)) + 1),
      bottom: Math.min(height, Math.ceil(Math.max(...ys)) + 1),
    };
  }

  /** Returns the mask of the border within the box: bytes, 255 on it. */
  mask(width, height) {
    const { left, top, right, bottom } = this.box(width, height), wide = right - left;
    const corners = this.corners(width, height), mask = new Uint8Array(wide * (bottom - top)).fill(255);
    for (let y = top; y < bottom; y++) {
      const xs = [];
      corners.forEach(([x0, y0], n) => {
        const [x1, y1] = corners[(n + 1) % corners.length];
        if (y0 <= y + 0.5 !== y1 <= y + 0.5) xs.push(x0 + ((y + 0.5 - y0) * (x1 - x0)) / (y1 - y0));
      });
      if (xs.length < 2) continue;
      const first = Math.max(left, Math.floor(Math.min(...xs))), end = Math.min(right, Math.floor(Math.max(...xs)) + 1);
      mask.fill(0, (y - top) * wide + first - left, (y - top) * wide + end - left);
    }
    return mask;
  }
}

/** Rounds as Python does: halves to even numbers. */
export const roundEven = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** Returns a quantile of numbers in order, between the nearest two of them. */
function quantile(ordered, share) {
  const at = share * (ordered.length - 1), low = Math.floor(at), high = Math.min(low + 1, ordered.length - 1);
  return ordered[low] + (at - low) * (ordered[high] - ordered[low]);
}

const inOrder = (x) => Float64Array.from(x).sort();
const median = (x) => quantile(inOrder(x), 0.5);

/** Looks for the border along the upper side: places along it, how deep L stays even there, and its L. */
function depthsOf({ width, height, at }, span) {
  const x = [];
  for (let n = roundEven(CORNERS * width); n < roundEven((1 - CORNERS) * width); n++) x.push(n);
  const rows = Math.max(2, roundEven(LEAST_DEPTH * height)), first = [];
  for (let y = 1; y < 1 + rows; y++) for (const n of x) first.push(at(y, n));
  const level = median(first);
  const depth = x.map((n) => {
    for (let y = 1; y < height; y++) if (Math.abs(at(y, n) - level) > EVEN * span) return y;
    return height;
  });
  return { x, depth, level };
}

function stripOf(side, span) {
  const { width, height } = side, { x, depth, level } = depthsOf(side, span), half = x.length >> 1;
  const slope = median(depth.slice(half, 2 * half).map((d, n) => d - depth[n])) / half;
  const start = median(depth.map((d, n) => d - slope * x[n]));
  const onLine = depth.filter((d, n) => Math.abs(d - start - slope * x[n]) <= STRAIGHT).length / x.length;
  if (onLine < ON_LINE || Math.abs(slope) > SLOPE) return null;
  const middle = (start + (slope * width) / 2) / height;
  if (middle < LEAST_DEPTH || middle > MOST_DEPTH) return null;
  return { first: (start + 1) / height, last: (start + slope * (width - 1) + 1) / height, level };
}

/** Returns as much of a border along the upper side as there is for sure, where the others have these levels of L. */
function leastStrip(side, span, levels) {
  const { depth, level } = depthsOf(side, span);
  const least = (quantile(inOrder(depth), LEAST) + 1) / side.height;
  const isPaper = Math.abs(level - median(levels)) <= ALIKE * span && least >= LEAST_DEPTH && least <= MOST_DEPTH;
  return isPaper ? { first: least, last: least } : { first: 0, last: 0 };
}
