// The page: a picture, what is chosen for it, and what shows both.

import { Brush } from "./brush.js";
import { abOfHex, nameOf } from "./color.js";
import { Compare } from "./compare.js";
import { Engine } from "./engine/choice.js";
import { save, showExample, takeFiles } from "./files.js";
import { listenToKeys } from "./keys.js";
import { busy, during, fail, forgive, say } from "./messages.js";
import { Palette, Spec } from "./palette.js";
import { Places } from "./places.js";
import { Plane } from "./plane.js";
import { Points } from "./points.js";
import { Previews } from "./previews.js";
import { Reference } from "./reference.js";
import { SHIFTS, listenToSliders, showSliders } from "./sliders.js";
import { History, chosen, paletteOf, wishOf } from "./state.js";
import { Swatches } from "./swatches.js";
import { Versions } from "./versions.js";

const $ = (id) => document.getElementById(id);
const ADDED = 0.12; // the share of a color that is added

const history = new History();
let engine, spec, previews, versions, picture, predicted;
let place = 0; // what the palette paints: 0 for the picture, or the id of a region

// --------------------------------------------------------------------------------------------------- what is chosen

const state = () => history.present;
const region = () => state()?.regions.find(({ id }) => id === place);
const choice = () => (region() ?? state())?.colors;

function choose(colors, label, gesture) {
  const here = region();
  if (!here) return history.edit({ colors }, label, gesture);
  const regions = state().regions.map((one) => (one === here ? { ...one, colors } : one));
  history.edit({ regions }, label, gesture);
}

/** Takes an edited palette: sliders are in it, and begin anew. */
const edit = (palette, label, gesture) => choose(chosen(palette, "Edited"), label, gesture);

const palette = {
  palette: () => choice() && paletteOf(choice()),
  edit,
  say,
  ab: abOfHex,
};
const plane = new Plane($("plane"), palette);
const swatches = new Swatches($("swatches"), palette);
const compare = new Compare($("stage"), $("frame"));
const points = new Points($("frame"), $("marks"), $("points"), {
  points: () => state()?.points ?? [],
  size: () => [picture.width, picture.height],
  edit: (list, label, gesture) => history.edit({ points: list }, label, gesture),
  say,
});
const brush = new Brush($("frame"), $("overlay"), {
  edit: (mask) => {
    const regions = state().regions.map((one) => (one.id === place ? { ...one, mask } : one));
    history.edit({ regions }, "painting a region");
  },
  size: () => Number($("brush-size").value),
  erases: () => $("erase").checked,
});
const reference = new Reference({
  palette: palette.palette,
  choose: (colors, label, gesture) => choose(chosen(colors, label), "colors of another picture", gesture),
  fail,
});
const places = new Places($("where"), {
  regions: () => state().regions,
  place: () => place,
  go: setPlace,
  add: addRegion,
  remove: (id) => {
    history.edit({ regions: state().regions.filter((one) => one.id !== id) }, "removing a region");
    setPlace(0);
  },
});

// ------------------------------------------------------------------------------------------------------ the picture

let opening = null;

function open(file) {
  opening?.abort();
  const mine = (opening = new AbortController());
  forgive();
  return during(`Looking at ${file.name} …`, async () => {
    const about = await engine.open(file, mine.signal);
    const gray = await engine.preview(about, { saturation: 0 }, engine.model.sides[2], "gray", mine.signal);
    if (mine === opening) await begin(about, gray);
  });
}

async function begin(about, gray) {
  picture = about;
  place = 0;
  reference.forget();
  $("stage").classList.add("open");
  $("welcome").hidden = true;
  for (const id of ["frame", "panel", "tools"]) $(id).hidden = false;
  compare.resize(about.width, about.height);
  brush.resize(about.width, about.height);
  await compare.draw("gray", gray);
  await compare.draw("colored", gray);
  previews.open(about);
  $("name").textContent = about.name;
  $("notes").textContent = about.notes.join(" ");
  document.title = `${about.name} – palgan`;
  const flat = new Float64Array(spec.size).fill(1 / spec.size);
  predicted = new Palette(spec, { shares: about.palette ?? flat });
  document.body.classList.toggle("without-palette", !about.palette);
  history.reset({ colors: chosen(predicted, "Automatic"), saturation: 1, points: [], regions: [] });
  setTool("compare");
  history.tell();
  if (about.palette) versions.open(about, predicted);
  say(`${about.name} is open, ${about.width} by ${about.height} pixels.`);
}

let waiting = 0, asked = "";

function show() {
  if (!state()) return;
  $("undo").disabled = !history.past.length;
  $("redo").disabled = !history.future.length;
  if (place && !region()) place = 0;
  const wish = wishOf(state(), predicted), text = JSON.stringify(wish);
  if (text !== asked || !previews.picture) previews.want(wish);
  asked = text;
  if (!waiting) waiting = requestAnimationFrame(draw);
}

function draw() {
  waiting = 0;
  const { hue, chroma, temperature, label } = choice(), { saturation } = state();
  plane.draw();
  swatches.draw();
  points.draw();
  places.draw();
  showSliders({ hue, chroma, temperature, saturation });
  $("palette-label").textContent = label;
  versions.mark(label);
  reference.draw(label);
  $("points-section").classList.toggle("empty", !state().points.length);
  brush.use(tool() === "brush" && place !== 0, region()?.mask ?? null);
}

history.watch(show);

function step(direction) {
  const label = history[direction]();
  if (label) say(`${direction === "undo" ? "Undone" : "Redone"}: ${label}.`);
}

$("undo").addEventListener("click", () => step("undo"));
$("redo").addEventListener("click", () => step("redo"));

// ------------------------------------------------------------------------------------------------------ the palette

listenToSliders((name, value, gesture) => {
  if (SHIFTS.includes(name)) choose({ ...choice(), [name]: value }, `the ${name}`, gesture);
  else if (name === "saturation") history.edit({ saturation: value }, "the saturation", gesture);
  else reference.strengthen(value, gesture);
});

$("reset").addEventListener("click", () => choose(chosen(predicted, "Automatic"), "going back to the automatic palette"));

let adding = null;

$("add-color").firstElementChild.addEventListener("input", (event) => {
  adding ??= { from: palette.palette() };
  edit(adding.from.added(abOfHex(event.target.value), ADDED), "another color", adding);
});
$("add-color").firstElementChild.addEventListener("change", (event) => {
  if (!adding) edit(palette.palette().added(abOfHex(event.target.value), ADDED), "another color");
  adding = null;
  say(`Added ${nameOf(...abOfHex(event.target.value))}.`);
});

function takeReference(file) {
  if (picture) during(`Looking at ${file.name} …`, () => reference.take(file, engine, spec));
}

function loadPalette(file) {
  if (!picture) return;
  during(`Reading ${file.name} …`, async () => {
    const { palette: shares } = await engine.readPalette(file);
    choose(chosen(new Palette(spec, { shares }), file.name), "loading a palette");
    say(`Loaded ${file.name}.`);
  });
}

$("save-palette").addEventListener("click", () => {
  const content = JSON.stringify(palette.palette());
  save(new Blob([`${content}\n`], { type: "application/json" }), `${stem()}-palette.json`);
});

// ------------------------------------------------------------------------------------------- regions, points, tools

function addRegion() {
  const { regions, colors } = state();
  const id = 1 + Math.max(0, ...regions.map((one) => one.id));
  place = id;
  history.edit({ regions: [...regions, { id, mask: null, colors: { ...colors } }] }, "a region");
  setTool("brush");
  say("Paint the region on the picture, and then edit its palette.");
}

function setPlace(id) {
  place = id;
  setTool(id ? "brush" : "compare");
}

const tool = () => document.querySelector("[name=tool]:checked").value;

function setTool(name) {
  document.querySelector(`[name=tool][value=${name}]`).checked = true;
  if (name === "brush" && !place) {
    if (!state().regions.length) return addRegion();
    place = state().regions.at(-1).id;
  }
  if (name !== "brush") place = name === "point" ? place : 0;
  $("frame").dataset.tool = name;
  compare.use(name === "compare");
  points.active = name === "point";
  $("brush-tools").hidden = name !== "brush";
  show();
}

for (const radio of document.querySelectorAll("[name=tool]")) radio.addEventListener("change", () => setTool(radio.value));
$("add-point").addEventListener("click", () => {
  setTool("point");
  points.add([picture.width >> 1, picture.height >> 1]);
});

// ----------------------------------------------------------------------------------------------------- the download

const stem = () => picture.name.replace(/\.[^.]*$/, "") || "picture";

async function download() {
  if (!picture || $("download").disabled) return;
  const format = engine.model.formats.find(({ name }) => name === $("format").value);
  $("download").disabled = true;
  await during("Painting in full size …", async () => {
    const blob = await engine.result(picture, wishOf(state(), predicted), format.name);
    save(blob, `${stem()}-colored${format.suffix}`);
    say("Downloaded.");
  });
  $("download").disabled = false;
}

$("download").addEventListener("click", download);

// -------------------------------------------------------------------------------------------------------- the start

takeFiles({
  picture: open,
  reference: takeReference,
  palette: loadPalette,
  takesReference: () => Boolean(picture) && !document.body.classList.contains("without-palette"),
});
listenToKeys({
  isOpen: () => Boolean(picture),
  step,
  download,
  showGray: (alone) => compare.showGray(alone),
  setTool,
  drawBrush: () => brush.draw(),
});

try {
  engine = await Engine.load();
  spec = new Spec(engine.model.spec);
  previews = new Previews(engine, {
    show: (shown) => compare.draw("colored", shown),
    fail,
    busy: (on) => busy("Painting …", on),
    rest: (yes) => $("frame").setAttribute("aria-busy", !yes),
  });
  versions = new Versions(engine, $("versions"), $("more"), {
    choose: (version, label) => choose(chosen(version, label), "a version"),
    fail,
  });
  for (const example of engine.model.examples) showExample(example, open);
  for (const { name, title } of engine.model.formats) $("format").append(new Option(title, name));
  document.body.dataset.ready = "yes";
} catch (error) {
  fail(error);
}
