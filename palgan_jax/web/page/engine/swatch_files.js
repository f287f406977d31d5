// Files of swatches: GIMP's .gpl, Adobe's .aco, .ase and .act, and lists of colors (.txt, .hex). See
// palette/swatch_files.py, whose reader this is.

import { labOf, labUnderD65 } from "../color.js";

const COLORS_OF_ACT = 256;
const SPACE = /[\t\v\f\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]/g;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const COMMENT = /(^|[\s,;])(?:#(?=[\s,;]|$)|\/\/)[^\n\r]*/g; // in lists of colors

class Malformed extends Error {}

/** Returns the {colors, weights} of a file. Throws an Error, one sentence, where it is malformed or has no color. */
export function readSwatches(buffer, suffix, name) {
  if (!(suffix in READERS)) throw new Error(`${name} is no name of a palette: let it end in .json, ${Object.keys(READERS).join(", ")}.`);
  try {
    const swatches = READERS[suffix](new DataView(buffer));
    if (!swatches.length) throw new Malformed("it has no colors");
    if (!swatches.some(({ weight }) => weight > 0)) throw new Malformed("all its weights are 0");
    return { colors: swatches.map(({ color }) => color), weights: swatches.map(({ weight }) => weight) };
  } catch (error) {
    const reason = error instanceof RangeError ? "it ends too early" : error.message;
    if (!(error instanceof RangeError || error instanceof Malformed)) throw error;
    throw new Error(`${name} is no readable ${suffix} file (${reason}): save it anew, or name another.`);
  }
}

const abOf = (rgb) => labOf(rgb).slice(1);
const within = (v, low, high) => Math.max(low, Math.min(high, v));
const abOfLab = ([l, a, b]) => labUnderD65(within(l, 0, 100), within(a, -128, 127), within(b, -128, 127)).slice(1);
const text = (view) => new TextDecoder().decode(view).replace(SPACE, " ");

function weightOf(name) {
  const match = name.replace(SPACE, " ").replace(/^[\s\0]+|[\s\0]+$/g, "").match(/^(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*%$/);
  return match ? Number(match[1]) : 1;
}

/** Returns the ab of a color as CSS writes it. */
function abOfWord(word) {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  const read = (before) => ((context.fillStyle = before), (context.fillStyle = word), context.fillStyle);
  const hex = read("#000000");
  if (hex.startsWith("rgba")) throw new Malformed(`'${word}' is not opaque`);
  // Of what is not sRGB, such as lab(), a browser keeps the words.
  if (!hex.startsWith("#") || hex !== read("#ffffff")) throw new Malformed(`'${word}' is no color that is known here`);
  return abOf([1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255));
}

function readGpl(view) {
  const lines = text(view).split(/\r\n|\r|\n/), swatches = [];
  if (lines[0].trim() !== "GIMP Palette") throw new Malformed("its first line is not GIMP Palette");
  lines.slice(1).forEach((line, n) => {
    if (!line.trim() || line.trimStart().startsWith("#") || /^(Name|Columns|Channels):/.test(line)) return;
    const match = line.match(/^\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})(?:\s+(.*))?$/), rgb = match?.slice(1, 4).map(Number);
    if (!rgb || Math.max(...rgb) > 255) throw new Malformed(`line ${n + 2} has no color of three numbers from 0 to 255`);
    swatches.push({ color: abOf(rgb.map((v) => v / 255)), weight: weightOf(match[4] ?? "") });
  });
  return swatches;
}

function readList(view) {
  const content = text(view), link = content.match(/^\s*https?:\/\/(?:www\.)?coolors\.co\/(?:palette\/)?([0-9a-fA-F-]+)\s*$/);
  const colors = link ? link[1].replaceAll("-", "\n") : content.replace(COMMENT, "$1"), swatches = [];
  for (const part of colors.match(/(?:\([^()\r\n]*\)|[^\n\r,;])+/g) ?? []) {
    const words = part.match(/(?:\([^()\r\n]*\)|\S)+/g) ?? [];
    if (!words[0]) continue;
    const stated = words.slice(1).join("").replace(/%$/, "") || "1", weight = Number(stated);
    if (!(NUMBER.test(stated) && weight >= 0 && weight < Infinity)) throw new Malformed(`'${stated}' is no weight`);
    swatches.push({ color: abOfWord(/^[0-9a-fA-F]{6}$/.test(words[0]) ? `#${words[0]}` : words[0]), weight });
  }
  return swatches;
}

function readAct(view) {
  const { byteLength } = view;
  if (byteLength !== 768 && byteLength !== 772) throw new Malformed(`it has ${byteLength} bytes instead of 768 or 772`);
  const stated = byteLength === 772 ? view.getUint16(768) : 0, count = stated > 0 && stated <= COLORS_OF_ACT ? stated : COLORS_OF_ACT;
  const color = (n) => abOf([0, 1, 2].map((c) => view.getUint8(3 * n + c) / 255));
  return Array.from({ length: count }, (_, n) => ({ color: color(n), weight: 1 }));
}

function readAco(view) {
  let at = 0, swatches = [];
  for (const version of [1, 2]) {
    if (version === 2 && at === view.byteLength) break; // without the second list, that with names
    const stated = view.getUint16(at), count = view.getUint16(at + 2);
    if (stated !== version && !(at === 0 && stated === 2)) throw new Malformed(`it has version ${stated} instead of ${version}`);
    at += 4;
    swatches = [];
    for (let n = 0; n < count; n++) {
      const color = acoColor(view, at);
      at += 10;
      let name = "";
      if (stated === 2) {
        const length = view.getUint32(at);
        name = utf16(view, at + 4, length);
        at += 4 + 2 * length;
      }
      swatches.push({ color, weight: weightOf(name) });
    }
    if (stated === 2) break;
  }
  return swatches;
}

function acoColor(view, at) {
  const space = view.getUint16(at), [x, y, z, k] = [2, 4, 6, 8].map((i) => view.getUint16(at + i) / 65535);
  if (space === 0) return abOf([x, y, z]);
  if (space === 1) return abOf(rgbOfHsv(x, y, z));
  if (space === 2) return abOf([x * k, y * k, z * k]); // 0 is all of an ink
  if (space === 7) return abOfLab([view.getUint16(at + 2), view.getInt16(at + 4), view.getInt16(at + 6)].map((v) => v / 100));
  if (space === 8) return [0, 0];
  throw new Malformed(`it has a color of the kind ${space}, where RGB, HSB, CMYK, Lab and gray are known`);
}

function rgbOfHsv(h, s, v) {
  return [5, 3, 1].map((n) => {
    const k = (n + 6 * h) % 6;
    return v - v * s * Math.max(0, Math.min(k, 4 - k, 1));
  });
}

function readAse(view) {
  if (view.byteLength < 4 || view.getUint32(0) !== 0x41534546) {
    throw new Malformed("it does not begin with ASEF; sprites of Aseprite, which end in .ase as well, are none");
  }
  const blocks = view.getUint32(8), swatches = [];
  for (let at = 12, n = 0; n < blocks; n++) {
    const kind = view.getUint16(at), length = view.getUint32(at + 2);
    at += 6;
    if (at + length > view.byteLength) throw new Malformed("it ends too early");
    if (kind === 1) swatches.push(aseColor(new DataView(view.buffer, at, length)));
    at += length;
  }
  return swatches;
}

function aseColor(block) {
  const length = block.getUint16(0), weight = weightOf(utf16(block, 2, length)), at = 2 + 2 * length;
  const model = String.fromCharCode(...[0, 1, 2, 3].map((i) => block.getUint8(at + i)));
  const count = { "RGB ": 3, CMYK: 4, "LAB ": 3, Gray: 1 }[model];
  if (!count) throw new Malformed(`it has a color of the kind '${model}', where RGB, CMYK, LAB and Gray are known`);
  const stated = Array.from({ length: count }, (_, i) => block.getFloat32(at + 4 + 4 * i));
  if (!stated.every(Number.isFinite)) throw new Malformed("a color has values that are no numbers");
  if (model === "LAB ") return { color: abOfLab([100 * stated[0], stated[1], stated[2]]), weight };
  const [x, y, z, k] = stated.map((v) => within(v, 0, 1));
  const color = { "RGB ": () => abOf([x, y, z]), CMYK: () => abOf([x, y, z].map((v) => (1 - v) * (1 - k))), Gray: () => [0, 0] };
  return { color: color[model](), weight };
}

function utf16(view, at, units) {
  if (at + 2 * units > view.byteLength) throw new Malformed("it ends too early");
  return new TextDecoder("utf-16be").decode(new DataView(view.buffer, view.byteOffset + at, 2 * units));
}

const READERS = { ".gpl": readGpl, ".aco": readAco, ".ase": readAse, ".act": readAct, ".txt": readList, ".hex": readList };
