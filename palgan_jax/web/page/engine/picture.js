// A picture that is held to be painted: what the network sees of it, and how its paintings are joined with its
// luminance. See colorize/prepared.py and colorize/predictor.py.

import { Palette } from "../palette.js";
import { findBorder, roundEven } from "./border.js";
import { readLuminance } from "./decode.js";
import { Edges } from "./edges.js";
import { Colors, LinearColors } from "./join.js";
import { writeLevels } from "./levels.js";
import { counts } from "./palettes.js";
import { encodePng } from "./png.js";
import { grown, maskOfSize } from "./regions.js";
import { FILTERS, crop, shrink } from "./resample.js";
import { SIDES, Spread, Ways } from "./spread.js";
import { followed } from "./transport.js";

const BAND = 1 << 19; // pixels of a result that are written at a time

/** Fits a size into a square, as thumbnails are. */
function fitted(width, height, side) {
  const times = Math.min(1, side / Math.max(width, height));
  return [width, height].map((v) => Math.max(1, roundEven(v * times)));
}

export class Picture {
  /** Reads a file. sides: of its previews. Throws an Error, one sentence, where it cannot be read. */
  static async read(file, name, network, spec, sides) {
    const decoded = await readLuminance(file, name), { width, height } = decoded.lightness;
    const picture = new Picture();
    Object.assign(picture, { file, name, network, spec, width, height, border: findBorder(decoded.seen) });
    const whole = { left: 0, top: 0, right: width, bottom: height };
    picture.photograph = picture.viewOf(decoded, picture.border?.box(width, height) ?? whole);
    picture.whole = picture.border ? picture.viewOf(decoded, whole) : picture.photograph;
    picture.small = new Map(sides.map((side) => [side, shrink(decoded.seen, ...fitted(width, height, side), FILTERS.lanczos)]));
    picture.forPoints = new Map(Object.values(SIDES).map((side) => [side, shrink(decoded.lightness, ...fitted(width, height, side))]));
    picture.ways = new Map();
    await picture.predict(picture.photograph);
    return picture;
  }

  /** Returns a view of a part: the square that the network sees, and the edges along which its colors are joined. */
  viewOf({ lightness, seen }, box) {
    const { side } = this.network, square = (plane) => shrink(crop(plane, box), side, side);
    const own = square(lightness);
    return { edges: new Edges(own), seen: seen.data === lightness.data ? own : square(seen) };
  }

  /** Looks at a view, once. */
  async predict(view) {
    view.features ??= await this.network.see(view.seen.data);
    return view.features.palette;
  }

  /** Returns the predicted palette's shares. */
  get predicted() {
    const { palette } = this.photograph.features, sum = palette.reduce((x, y) => x + y, 0);
    return Math.abs(sum - 1) < 1e-3 ? palette : palette.map((v) => v / sum);
  }

  /** Paints what is wished for at the size of a preview: ImageData. */
  async preview(wish, side) {
    const lightness = this.small.get(side), { width, height } = lightness;
    const forPoints = side === Math.max(...this.small.keys()) ? SIDES.still : SIDES.moving;
    const paint = await this.painter(wish, lightness, forPoints), rgba = new Uint8ClampedArray(4 * width * height).fill(255);
    paint(0, height, rgba, 4);
    return new ImageData(rgba, width, height);
  }

  /** Paints what is wished for in full size: a Blob of a PNG. */
  async result(wish) {
    const { lightness, alpha } = await readLuminance(this.file, this.name), { width, height } = lightness;
    const paint = await this.painter(wish, lightness, SIDES.still), channels = alpha ? 4 : 3;
    return encodePng(width, height, channels, Math.max(1, Math.floor(BAND / width)), (top, bottom) => {
      const pixels = new Uint8Array((bottom - top) * width * channels);
      paint(top, bottom, pixels, channels);
      if (alpha) for (let i = 3, at = top * width; i < pixels.length; i += 4, at++) pixels[i] = alpha[at];
      return pixels;
    });
  }

  /**
   * Prepares painting on an L of any size: returns paint(top, bottom, pixels, channels), which writes rows.
   * forPoints: the pixels of the longer side at which colors of points are spread.
   */
  async painter(wish, lightness, forPoints) {
    const { width, height } = lightness, { saturation = 1 } = wish;
    const spread = wish.points?.length ? this.spreadOf(wish.points, forPoints) : null;
    const view = spread ? this.whole : this.photograph, border = spread ? null : this.border;
    const box = border?.box(width, height) ?? { left: 0, top: 0, right: width, bottom: height };
    const predicted = await this.predict(view);
    let palette = wish.palette ? this.paletteOf(wish.palette) : null;
    if (spread) palette = spread.moved(palette ?? this.paletteOf(predicted));
    const used = palette ? counts(palette) : predicted;
    const maps = (ab) => view.edges.along(ab.map((plane) => plane.map((v) => saturation * v)));
    let ab = await this.painted(view, used);
    // What points move the palette by is theirs, and the rest of the picture keeps its own colors.
    if (wish.palette) ab = this.followed(ab, wish.palette, predicted);
    const painting = maps(ab), layers = [];
    for (const region of wish.regions ?? []) {
      const mask = crop(maskOfSize(region.mask, width, height), box);
      const other = counts(this.paletteOf(region.palette)), { side } = this.network;
      const painted = await this.network.paint(view.features, used, other, grown(mask, side));
      const shown = shrink({ ...mask, data: Float32Array.from(mask.data) }, side, side).data;
      layers.push({ maps: maps(this.followed(painted, region.palette, predicted, shown)), mask });
    }
    const part = border ? crop(lightness, box) : lightness;
    const colors = this.joined(part, painting, layers);
    if (border) colors.layers.push({ colors: null, mask: border.mask(width, height) });
    if (spread) {
      const { small } = spread.ways, size = [small.width, small.height];
      const reduced = layers.map(({ maps, mask }) => ({ maps, mask: maskOfSize(mask, ...size, FILTERS.cubic) }));
      spread.addTo(colors, rowsOf(this.joined(small, painting, reduced)), [this.width, this.height]);
    }
    return (top, bottom, pixels, channels) => writeRows(lightness, colors, box, top, bottom, pixels, channels);
  }

  /** Paints a view with a palette; the last painting is kept, since it stays while a region or a saturation changes. */
  async painted(view, used) {
    if (!view.last || used.some((v, k) => v !== view.last.used[k])) {
      view.last = { used, ab: await this.network.paint(view.features, used) };
    }
    return view.last.ab;
  }

  /** Stretches a painting and layers over it, as linear functions of L, over an L of any size. */
  joined(lightness, painting, layers) {
    const { side } = this.network, size = [lightness.width, lightness.height];
    const stretched = (maps) => new LinearColors(maps, [side, side], size);
    const over = layers.map(({ maps, mask }) => ({ colors: stretched(maps), mask: mask.data }));
    return new Colors(lightness, stretched(painting), over);
  }

  followed(ab, shares, predicted, weights) {
    return followed(ab, this.paletteOf(shares).shares, this.paletteOf(predicted).shares, this.spec, this.network.side, weights);
  }

  paletteOf(shares) {
    return new Palette(this.spec, { shares });
  }

  spreadOf(points, side) {
    if (!this.ways.has(side)) this.ways.set(side, new Ways(this.forPoints.get(side), side));
    return new Spread(this.ways.get(side), points, [this.width, this.height]);
  }
}

/** Returns all of a picture's colors: [a, b]. */
function rowsOf(colors) {
  const { width, height } = colors.lightness, planes = [0, 1].map(() => new Float32Array(width * height));
  for (let y = 0; y < height; y++) colors.row(y, ...planes.map((plane) => plane.subarray(y * width, (y + 1) * width)));
  return planes;
}

/** Writes rows of a picture that has colors within a box, and is gray around it. */
function writeRows({ width, data }, colors, { left, top: first, right, bottom: last }, top, bottom, pixels, channels) {
  const a = new Float32Array(width), b = new Float32Array(width);
  for (let y = top; y < bottom; y++) {
    a.fill(0), b.fill(0);
    if (y >= first && y < last) colors.row(y - first, a.subarray(left, right), b.subarray(left, right));
    writeLevels(data.subarray(y * width, (y + 1) * width), a, b, pixels, (y - top) * width * channels, channels);
  }
}
