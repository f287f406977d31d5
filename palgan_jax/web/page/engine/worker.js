// The thread that paints, where there is no server: it answers one message with one.

import { Spec } from "../palette.js";
import { Network } from "./network.js";
import { paletteOfFile, paletteOfPicture, samplePalette } from "./palettes.js";
import { Picture } from "./picture.js";
import { readMask } from "./regions.js";

const MOST_HELD = 3; // pictures

let model, spec, network;
const held = new Map(), masks = new Map();

async function masked({ regions = [], ...wish }) {
  const read = regions.map(async ({ mask, palette }) => {
    if (!masks.has(mask)) masks.set(mask, await readMask(mask));
    return { mask: masks.get(mask), palette };
  });
  const result = { ...wish, regions: await Promise.all(read) };
  for (const mask of masks.keys()) if (!regions.some((region) => region.mask === mask)) masks.delete(mask);
  return result;
}

const tasks = {
  /** Begins to load the network of a model, which is described as the page knows it. */
  load({ about }) {
    model = about;
    spec = new Spec(model.spec);
    network = Network.load(model.resolution, spec.size);
    network.catch(() => {}); // whoever waits for it tells
  },

  async open({ file, name, picture: number }) {
    let ready;
    try {
      ready = await network;
    } catch (error) {
      throw new Error(`The network of this page cannot be loaded (${error.message}): load the page anew.`);
    }
    const picture = await Picture.read(file, name, ready, spec, model.sides);
    held.set(number, picture);
    if (held.size > MOST_HELD) held.delete(held.keys().next().value);
    return { width: picture.width, height: picture.height, palette: picture.predicted };
  },

  holds: ({ picture }) => held.has(picture),
  preview: async ({ picture, wish, side }) => held.get(picture).preview(await masked(wish), side),
  result: async ({ picture, wish }) => held.get(picture).result(await masked(wish)),
  sample: ({ shares, number }) => samplePalette(shares, number, model.typical, spec),
  reference: ({ file, name }) => paletteOfPicture(file, name, spec),
  palette: ({ file, name }) => paletteOfFile(file, name, spec),
};

addEventListener("message", async ({ data: { number, task, content } }) => {
  try {
    postMessage({ number, answer: await tasks[task](content) });
  } catch (error) {
    const lacksMemory = error instanceof RangeError && /alloc|length|size/i.test(error.message);
    const name = content.name ?? held.get(content.picture)?.name ?? "this";
    postMessage({ number, error: lacksMemory ? `${name} needs more memory than the browser has: make it smaller.` : error.message });
  }
});
