// Pictures at other sizes, as Pillow resizes them: a plane is an object {width, height, data} of one number a pixel.

const triangle = { reach: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) };
const cubic = {
  reach: 2,
  at(x) {
    x = Math.abs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  },
};
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const lanczos = { reach: 3, at: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) };
export const FILTERS = { triangle, cubic, lanczos };

const GAP = 3; // how many times larger than the result the means of blocks are, of which large planes are made first

/**
 * Returns what one of `size` results takes of `count` samples: {first, weights}, the number of the first one and the
 * weights from it on. `extent` is how many samples the results cover, which may end within one.
 */
export function samplesOf(i, count, size, filter, extent = count) {
  const scale = extent / size, wide = Math.max(1, scale), support = filter.reach * wide, center = (i + 0.5) * scale;
  const first = Math.max(0, Math.trunc(center - support + 0.5));
  const end = Math.min(count, Math.trunc(center + support + 0.5));
  const weights = new Float64Array(end - first);
  let sum = 0;
  for (let n = 0; n < weights.length; n++) sum += weights[n] = filter.at((first + n - center + 0.5) / wide);
  for (let n = 0; n < weights.length; n++) weights[n] /= sum;
  return { first, weights };
}

/** Returns what each of `size` results takes. */
export const interpolation = (count, size, filter, extent) =>
  Array.from({ length: size }, (_, i) => samplesOf(i, count, size, filter, extent));

/** Resizes a plane. Of bytes, rows and then columns are rounded to bytes. */
export function resize({ width, height, data }, toWidth, toHeight, filter, extent = [width, height]) {
  const Kind = data.BYTES_PER_ELEMENT === 1 ? Uint8ClampedArray : Float32Array; // both round to nearest
  const across = interpolation(width, toWidth, filter, extent[0]), down = interpolation(height, toHeight, filter, extent[1]);
  const wide = new Kind(toWidth * height), result = new Kind(toWidth * toHeight), row = new Float64Array(toWidth);
  for (let y = 0; y < height; y++) resizeRow(data, y * width, across, wide, y * toWidth);
  down.forEach(({ first, weights }, y) => {
    row.fill(0);
    for (let n = 0; n < weights.length; n++) {
      const w = weights[n], start = (first + n) * toWidth;
      for (let x = 0; x < toWidth; x++) row[x] += w * wide[start + x];
    }
    result.set(row, y * toWidth);
  });
  return { width: toWidth, height: toHeight, data: result };
}

/** Resizes a row that begins at a place of data; `step` is how far apart its samples, and the results, lie. */
export function resizeRow(data, from, across, result, to, step = 1) {
  for (let x = 0; x < across.length; x++) {
    const { first, weights } = across[x];
    let sum = 0;
    for (let n = 0, at = from + first * step; n < weights.length; n++, at += step) sum += weights[n] * data[at];
    result[to + x * step] = sum;
  }
}

/** Resizes a plane of luminance by antialiased linear interpolation, of a large one by means of blocks. */
export function shrink(plane, toWidth, toHeight, filter = triangle) {
  const extent = [plane.width, plane.height];
  while (Math.min(extent[0] / toWidth, extent[1] / toHeight) >= 2 * GAP) {
    plane = halved(plane);
    extent[0] /= 2, extent[1] /= 2;
  }
  const block = [extent[0] / toWidth, extent[1] / toHeight].map((times) => Math.max(1, Math.trunc(times / GAP)));
  if (block[0] === 1 && block[1] === 1) return resize(plane, toWidth, toHeight, filter, extent);
  return resize(means(plane, ...block), toWidth, toHeight, filter, [extent[0] / block[0], extent[1] / block[1]]);
}

/** Returns the means of 2 x 2 pixels; the last of an odd number of rows or columns counts twice. */
function halved({ width, height, data }) {
  const columns = Math.ceil(width / 2), rows = Math.ceil(height / 2), result = new Float32Array(columns * rows);
  for (let y = 0, to = 0; y < rows; y++) {
    const upper = 2 * y * width, lower = Math.min(2 * y + 1, height - 1) * width;
    for (let x = 0; x < columns; x++, to++) {
      const left = 2 * x, right = Math.min(left + 1, width - 1);
      result[to] = (data[upper + left] + data[lower + left] + data[upper + right] + data[lower + right]) / 4;
    }
  }
  return { width: columns, height: rows, data: result };
}

/** Returns the means of blocks; those at the ends are of what is there. */
function means({ width, height, data }, across, down) {
  const columns = Math.ceil(width / across), rows = Math.ceil(height / down);
  const result = new Float32Array(columns * rows), sums = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    const top = row * down, bottom = Math.min(height, top + down);
    sums.fill(0);
    for (let y = top; y < bottom; y++) {
      for (let x = 0, at = y * width, column = 0; column < columns; column++) {
        const end = Math.min(width, x + across);
        let sum = 0;
        for (; x < end; x++, at++) sum += data[at];
        sums[column] += sum;
      }
    }
    for (let column = 0; column < columns; column++) {
      const wide = Math.min(width, (column + 1) * across) - column * across;
      result[row * columns + column] = sums[column] / (wide * (bottom - top));
    }
  }
  return { width: columns, height: rows, data: result };
}

/** Returns a part of a plane. */
export function crop({ width, data }, { left, top, right, bottom }) {
  const wide = right - left, part = new data.constructor(wide * (bottom - top));
  for (let y = top; y < bottom; y++) part.set(data.subarray(y * width + left, y * width + right), (y - top) * wide);
  return { width: wide, height: bottom - top, data: part };
}
