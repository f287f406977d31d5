// PNG files of any size, written in bands of rows.

const COLOR_TYPES = { 3: 2, 4: 6 }; // RGB and RGBA
const PAETH = 4;

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crcOf(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function chunk(kind, content) {
  const bytes = new Uint8Array(content.length + 12), view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = kind.charCodeAt(i);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crcOf(bytes.subarray(4, content.length + 8)));
  return bytes;
}

/** Writes rows as differences to their neighbors, as Paeth predicts them. `before` is the row above the first one. */
function filtered(rows, before, stride, channels) {
  const count = rows.length / stride, result = new Uint8Array(count * (stride + 1));
  for (let y = 0; y < count; y++) {
    const row = rows.subarray(y * stride, (y + 1) * stride), to = y * (stride + 1);
    result[to] = PAETH;
    for (let i = 0; i < stride; i++) {
      const left = i < channels ? 0 : row[i - channels], above = before[i], corner = i < channels ? 0 : before[i - channels];
      const byLeft = Math.abs(above - corner), byAbove = Math.abs(left - corner), byCorner = Math.abs(left + above - 2 * corner);
      const guess = byLeft <= byAbove && byLeft <= byCorner ? left : byAbove <= byCorner ? above : corner;
      result[to + 1 + i] = row[i] - guess;
    }
    before = row;
  }
  return result;
}

/** Writes a picture of 3 or 4 channels; rows(top, bottom) returns the bytes of so many rows. Returns a Blob. */
export async function encodePng(width, height, channels, band, rows) {
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, COLOR_TYPES[channels], 0, 0, 0], 8);
  const parts = [Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk("IHDR", header)];
  const compressor = new CompressionStream("deflate"), writer = compressor.writable.getWriter();
  const reading = (async () => {
    for (const reader = compressor.readable.getReader(); ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      parts.push(chunk("IDAT", value));
    }
  })();
  let before = new Uint8Array(width * channels);
  for (let top = 0; top < height; top += band) {
    const bytes = rows(top, Math.min(height, top + band));
    await writer.write(filtered(bytes, before, width * channels, channels));
    before = bytes.subarray(bytes.length - width * channels);
  }
  await writer.close();
  await reading;
  return new Blob([...parts, chunk("IEND", new Uint8Array())], { type: "image/png" });
}
