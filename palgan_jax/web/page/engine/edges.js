// Painted colors along the edges of the luminance: see colorize/edges.py.

const BLUR = 3 / 256, WINDOW = 8 / 256, SLIGHT = 9, TAIL = 5;

/** The luminance of a picture, for colors that end where it does. */
export class Edges {
  /** lightness: a plane of L. blur, window: in shares of the sides. */
  constructor({ width, height, data }, blur = BLUR, window = WINDOW) {
    const radius = Math.max(1, Math.round(window * height));
    Object.assign(this, { width, height });
    this.mean = (x) => windowMeans(x, width, height, radius);
    this.blurred = blurredDown(blurredAcross(data, width, height, blur * width), width, height, blur * height);
    this.meanL = this.mean(this.blurred);
    this.variance = this.mean(product(this.blurred, this.blurred));
    for (let i = 0; i < data.length; i++) this.variance[i] -= this.meanL[i] ** 2;
  }

  /** Returns ab, [a, b], data of the same size, as a local linear function of L: {offset, slope}, each [a, b]. */
  along(ab) {
    const { blurred, meanL, variance } = this;
    const slope = ab.map((plane) => {
      const own = this.mean(plane), slope = this.mean(product(blurred, plane));
      for (let i = 0; i < slope.length; i++) slope[i] = (slope[i] - meanL[i] * own[i]) / (variance[i] + SLIGHT);
      return this.mean(slope);
    });
    const offset = ab.map((plane, c) => {
      const result = new Float32Array(plane.length);
      for (let i = 0; i < result.length; i++) result[i] = plane[i] - slope[c][i] * blurred[i];
      return result;
    });
    return { offset, slope };
  }
}

function product(x, y) {
  const result = new Float32Array(x.length);
  for (let i = 0; i < result.length; i++) result[i] = x[i] * y[i];
  return result;
}

function gaussian(deviation, size) {
  const reach = Math.min(size - 1, Math.ceil(TAIL * deviation));
  return Float64Array.from({ length: 2 * reach + 1 }, (_, n) => Math.exp(-0.5 * ((n - reach) / deviation) ** 2));
}

function blurredAcross(data, width, height, deviation) {
  const weights = gaussian(deviation, width), reach = weights.length >> 1, result = new Float32Array(data.length);
  for (let x = 0; x < width; x++) {
    const first = Math.max(0, x - reach), end = Math.min(width, x + reach + 1);
    let total = 0;
    for (let n = first; n < end; n++) total += weights[n - x + reach];
    for (let y = 0, row = 0; y < height; y++, row += width) {
      let sum = 0;
      for (let n = first; n < end; n++) sum += weights[n - x + reach] * data[row + n];
      result[row + x] = sum / total;
    }
  }
  return result;
}

function blurredDown(data, width, height, deviation) {
  const weights = gaussian(deviation, height), reach = weights.length >> 1, result = new Float32Array(data.length);
  const row = new Float64Array(width);
  for (let y = 0; y < height; y++) {
    const first = Math.max(0, y - reach), end = Math.min(height, y + reach + 1);
    let total = 0;
    row.fill(0);
    for (let n = first; n < end; n++) {
      const w = weights[n - y + reach], start = n * width;
      total += w;
      for (let x = 0; x < width; x++) row[x] += w * data[start + x];
    }
    for (let x = 0; x < width; x++) result[y * width + x] = row[x] / total;
  }
  return result;
}

/** Averages over windows that reach so far to each side, and end at the borders. */
function windowMeans(data, width, height, radius) {
  const rows = new Float64Array(data.length), result = new Float32Array(data.length);
  for (let y = 0; y < height; y++) {
    const start = y * width;
    let sum = 0;
    for (let x = 0; x < Math.min(radius, width); x++) sum += data[start + x];
    for (let x = 0; x < width; x++) {
      if (x + radius < width) sum += data[start + x + radius];
      if (x > radius) sum -= data[start + x - radius - 1];
      rows[start + x] = sum / (Math.min(x + radius, width - 1) - Math.max(x - radius, 0) + 1);
    }
  }
  const sums = new Float64Array(width);
  for (let y = 0; y < Math.min(radius, height); y++) for (let x = 0; x < width; x++) sums[x] += rows[y * width + x];
  for (let y = 0; y < height; y++) {
    const count = Math.min(y + radius, height - 1) - Math.max(y - radius, 0) + 1;
    const enters = (y + radius) * width, leaves = (y - radius - 1) * width;
    for (let x = 0; x < width; x++) {
      if (y + radius < height) sums[x] += rows[enters + x];
      if (y > radius) sums[x] -= rows[leaves + x];
      result[y * width + x] = sums[x] / count;
    }
  }
  return result;
}
