// Palettes and their edits, as palgan_jax/palette has them: histograms of ab, and the colors that, counted, give them.

import { shownHex, withinGamut } from "./color.js";

export const SPREAD = 15; // how far, in units of CIE94, a color counts as another
const SIDE = 31;
const ITERATIONS = 300;
const FROM_COOL_TO_WARM = [0.135, 0.991];
const CHROMA_COUNTS = 3, REACH = 5, ANY_COLOR = 0.05;
const APART = 12, LEAST = 1e-3, ROUNDS = 30;
const MOST_COLORS = 1200;
export const GENERATOR = "palgan_jax palette";

/** How a model counts palettes: the names of fields are those of palette files. */
export class Spec {
  constructor(fields) {
    Object.assign(this, fields);
    const step = (2 * this.half_range) / (this.bins - 1);
    this.centers = Float64Array.from({ length: this.bins }, (_, i) => Math.fround(-this.half_range + i * step));
    this.size = this.bins ** 2;
  }

  /** Writes the votes of a coordinate in Lab units for the bins of one axis. */
  vote(x, votes) {
    const { bins, centers, sigma, kernel } = this, at = x / this.ab_range;
    if (kernel === "hard") {
      let nearest = 0;
      for (let i = 1; i < bins; i++) if (Math.abs(at - centers[i]) < Math.abs(at - centers[nearest])) nearest = i;
      votes.fill(0)[nearest] = 1;
      return;
    }
    const isGaussian = kernel === "gaussian";
    for (let i = 0; i < bins; i++) {
      const d = (at - centers[i]) / sigma;
      votes[i] = isGaussian ? Math.exp(-0.5 * d * d) : 1 / (1 + d * d);
    }
  }

  /** The colors that a palette is taken apart into: a grid within sRGB, with the votes of each. */
  get grid() {
    if (this.gridMade) return this.gridMade;
    const range = this.half_range * this.ab_range, step = (2 * range) / (SIDE - 1);
    const colors = [], counts = [], sums = [];
    for (let i = 0; i < SIDE; i++) {
      for (let j = 0; j < SIDE; j++) {
        const a = -range + i * step, b = -range + j * step;
        const [x, y] = withinGamut(a, b);
        if (Math.hypot(a - x, b - y) >= step / 2) continue;
        const count = this.count([[a, b]], [1], false);
        const sum = count.reduce((s, v) => s + v, 0);
        colors.push([a, b]);
        sums.push(sum);
        counts.push(count.map((v) => v / sum));
      }
    }
    return (this.gridMade = { colors, counts, sums });
  }

  /** Counts the palette of colors [[a, b], ...] that weigh so much: Float64Array (bins * bins). */
  count(colors, weights, divide = true) {
    const { bins } = this, total = new Float64Array(this.size), va = new Float64Array(bins), vb = new Float64Array(bins);
    for (let n = 0; n < colors.length; n++) {
      const w = weights[n];
      if (!w) continue;
      this.vote(colors[n][0], va);
      this.vote(colors[n][1], vb);
      for (let i = 0, k = 0; i < bins; i++) {
        const x = w * va[i];
        for (let j = 0; j < bins; j++, k++) total[k] += x * vb[j];
      }
    }
    return divide ? scaled(total) : total;
  }
}

function scaled(x) {
  let sum = 0;
  for (const v of x) sum += v;
  return x.map((v) => v / sum);
}

/** Returns how a color differs from another in chroma and in hue, as CIE94 counts it by the first at equal luminance. */
function differences([a, b], [x, y]) {
  const c = Math.hypot(a, b), d = Math.hypot(x, y);
  const square = (a - x) ** 2 + (b - y) ** 2 - (c - d) ** 2;
  return [(c - d) / (1 + 0.045 * c), Math.sqrt(Math.max(square, 0)) / (1 + 0.015 * c)];
}

/** Returns how near another color is to one: 1 within half of the spread, 0 beyond it. */
export function nearness(color, other, spread = SPREAD) {
  const distance = Math.hypot(...differences(color, other));
  return 0.5 + 0.5 * Math.cos(Math.PI * Math.min(1, Math.max(0, (2 * distance) / spread - 1)));
}

/** A palette, which never changes: edits return another one. */
export class Palette {
  /** Takes shares (bins * bins) that sum to 1, or colors and their weights. */
  constructor(spec, { shares, colors, weights }) {
    this.spec = spec;
    if (colors) [this.ownColors, this.ownWeights] = [colors, scaled(weights)];
    else this.ownShares = Float32Array.from(shares);
  }

  /** The share of each bin, Float32Array; the bin of a's place i and b's place j is bins * i + j. */
  get shares() {
    this.ownShares ??= Float32Array.from(this.spec.count(this.ownColors, this.ownWeights));
    return this.ownShares;
  }

  get colors() {
    this.takeApart();
    return this.ownColors;
  }

  get weights() {
    this.takeApart();
    return this.ownWeights;
  }

  /** Finds the colors behind the shares (Richardson, 1972; Lucy, 1974). */
  takeApart() {
    if (this.ownColors) return;
    const { colors, counts, sums } = this.spec.grid;
    const target = scaled(Float64Array.from(this.ownShares));
    const size = this.spec.size, weights = new Float64Array(colors.length).fill(1 / colors.length);
    const ratio = new Float64Array(size);
    for (let round = 0; round < ITERATIONS; round++) {
      ratio.fill(0);
      counts.forEach((count, n) => {
        const w = weights[n];
        for (let k = 0; k < size; k++) ratio[k] += w * count[k];
      });
      for (let k = 0; k < size; k++) ratio[k] = target[k] / (ratio[k] + 1e-12);
      counts.forEach((count, n) => {
        let sum = 0;
        for (let k = 0; k < size; k++) sum += count[k] * ratio[k];
        weights[n] *= sum;
      });
    }
    this.ownColors = colors;
    this.ownWeights = scaled(weights.map((w, n) => w / sums[n]));
  }

  with(colors, weights) {
    return new Palette(this.spec, { colors, weights });
  }

  /** Returns the palette with a share of another one's colors. */
  mix(other, share) {
    return new Palette(this.spec, { shares: this.shares.map((x, k) => (1 - share) * x + share * other.shares[k]) });
  }

  /** Turns all colors by degrees of hue, multiplies their chroma, and moves them towards warm light, in Lab units. */
  shift({ hue = 0, chroma = 1, temperature = 0 }) {
    if (hue === 0 && chroma === 1 && temperature === 0) return this;
    const angle = (hue * Math.PI) / 180, cos = Math.cos(angle), sin = Math.sin(angle);
    const [warmA, warmB] = FROM_COOL_TO_WARM;
    const colors = this.colors.map(([a, b]) =>
      withinGamut(
        chroma * (a * cos - b * sin) + temperature * warmA,
        chroma * (a * sin + b * cos) + temperature * warmB,
      ),
    );
    return this.with(colors, this.weights);
  }

  /** Returns the palette with so many times as much of a color. */
  boost(color, factor, spread = SPREAD) {
    return this.with(this.colors, this.weights.map((w, n) => w * factor ** nearness(color, this.colors[n], spread)));
  }

  /** Returns the palette without a color, which goes to neighboring hues of its chroma. */
  remove(color, spread = SPREAD) {
    const { colors, weights } = this;
    const near = colors.map((c) => nearness(color, c, spread));
    const places = weights.map((w, n) => (1 - near[n]) * (w + ANY_COLOR / weights.length));
    if (!places.some((p) => p > 0)) return this;
    const result = weights.map((w, n) => w * (1 - near[n]));
    colors.forEach((from, n) => {
      const moved = weights[n] * near[n];
      if (!(moved > 0)) return;
      const logits = colors.map((to, m) => {
        const [c, h] = differences(from, to);
        return Math.log(Math.max(places[m], 1e-300)) - ((CHROMA_COUNTS * c) ** 2 + h ** 2) / (2 * REACH ** 2);
      });
      const most = logits.reduce((x, y) => Math.max(x, y), -Infinity);
      const plan = logits.map((x) => Math.exp(x - most));
      const sum = plan.reduce((x, y) => x + y, 0);
      plan.forEach((p, m) => (result[m] += (moved * p) / sum));
    });
    return this.with(colors, result);
  }

  /** Moves what is near a color by [a, b]. */
  move(color, [da, db], spread) {
    const colors = [], weights = [];
    this.colors.forEach(([a, b], n) => {
      const near = nearness(color, [a, b], spread), w = this.weights[n];
      if (near < 1) colors.push([a, b]), weights.push(w * (1 - near));
      if (near > 0) colors.push(withinGamut(a + da, b + db)), weights.push(w * near);
    });
    return this.with(colors, weights).merged();
  }

  /** Returns a palette of fewer colors, where there are very many after edits: near ones become their mean. */
  merged() {
    if (this.ownColors.length <= MOST_COLORS) return this;
    const cells = new Map();
    this.ownColors.forEach(([a, b], n) => {
      const w = this.ownWeights[n], key = `${Math.round(a / 3)},${Math.round(b / 3)}`;
      const cell = cells.get(key) ?? [0, 0, 0];
      cells.set(key, [cell[0] + w * a, cell[1] + w * b, cell[2] + w]);
    });
    const kept = [...cells.values()].filter(([, , w]) => w > 0);
    return this.with(kept.map(([a, b, w]) => [a / w, b / w]), kept.map(([, , w]) => w));
  }

  /** Returns what there is near a color, as a share of the palette. */
  shareNear(color, spread = SPREAD) {
    return this.colors.reduce((sum, c, n) => sum + this.weights[n] * nearness(color, c, spread), 0);
  }

  /** Returns at most so many swatches, the largest first, by weighted k-means; `members` are numbers of colors. */
  swatches(count = 8) {
    const { colors, weights } = this;
    const square = ([a, b], [x, y]) => (a - x) ** 2 + (b - y) ** 2;
    let centers = [colors[weights.reduce((best, w, n) => (w > weights[best] ? n : best), 0)]];
    while (centers.length < count) {
      let best = 0, at = -1;
      colors.forEach((c, n) => {
        const far = Math.min(...centers.map((center) => square(c, center)));
        const merit = far > APART ** 2 && weights[n] > LEAST ? weights[n] * far : 0;
        if (merit > best) [best, at] = [merit, n];
      });
      if (at < 0) break;
      centers.push(colors[at]);
    }
    let groups = [];
    for (let round = 0; round < ROUNDS; round++) {
      groups = centers.map(() => ({ share: 0, a: 0, b: 0, members: [] }));
      colors.forEach((c, n) => {
        let nearest = 0;
        centers.forEach((center, k) => {
          if (square(c, center) < square(c, centers[nearest])) nearest = k;
        });
        const group = groups[nearest], w = weights[n];
        group.share += w;
        group.a += w * c[0];
        group.b += w * c[1];
        group.members.push(n);
      });
      groups = groups.filter((group) => group.share > 0);
      centers = groups.map(({ share, a, b }) => [a / share, b / share]);
    }
    return groups.map(({ members }) => this.swatchOf(members)).sort((x, y) => y.share - x.share);
  }

  /** Returns the swatch of some colors, by their numbers: its mean, and how much there is of them. */
  swatchOf(members) {
    let share = 0, a = 0, b = 0;
    for (const n of members) {
      share += this.weights[n];
      a += this.weights[n] * this.colors[n][0];
      b += this.weights[n] * this.colors[n][1];
    }
    const ab = share > 0 ? [a / share, b / share] : this.colors[members[0]];
    return { ab, color: shownHex(...ab), share, members };
  }

  /** Returns the palette in which the members of a swatch have another share, in proportion to the rest. */
  weighed({ members, share }, wanted) {
    const own = new Set(members), rest = Math.max(1 - share, 1e-9);
    const factor = Math.min(wanted, 0.999) / Math.max(share, 1e-9), others = (1 - Math.min(wanted, 0.999)) / rest;
    return this.with(this.colors, this.weights.map((w, n) => w * (own.has(n) ? factor : others)));
  }

  /** Returns the palette in which the members of a swatch are moved so that its mean is another color. */
  recolored({ members, ab }, [a, b]) {
    const own = new Set(members);
    const move = (c) => withinGamut(c[0] + a - ab[0], c[1] + b - ab[1]);
    return this.with(this.colors.map((c, n) => (own.has(n) ? move(c) : c)), this.weights);
  }

  /** Returns the palette with so much more of a color that may not be there. */
  added(color, share) {
    return this.mix(this.with([color], [1]), share);
  }

  /** Returns the content of a palette file, exactly. */
  toJSON() {
    const { ab_range, bins, half_range, sigma, kernel, normalization } = this.spec;
    const fields = { generator: GENERATOR, ab_range, bins, half_range, sigma, kernel, normalization };
    return { ...fields, shares: Array.from(this.shares) };
  }
}
