// The page: a picture, what is chosen for it, and what shows both.

import { Brush } from "./brush.js";
import { abOfHex, nameOf } from "./color.js";
import { Compare } from "./compare.js";
import { ServerEngine } from "./engine/server.js";
import { Palette, Spec } from "./palette.js";
import { Plane, Swatches } from "./plane.js";
import { Points } from "./points.js";
import { Previews } from "./previews.js";
import { History, chosen, paletteOf, wishOf } from "./state.js";
import { Versions } from "./versions.js";

const $ = (id) => document.getElementById(id);
const ADDED = 0.12; // the share of a color that is added
const MOST_REGIONS = 8;

const history = new History();
let engine, spec, previews, versions, picture, predicted, reference;
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

// ------------------------------------------------------------------------------------------------------- what is said

function say(text) {
  $("said").textContent = "";
  requestAnimationFrame(() => ($("said").textContent = text));
}

function fail(error) {
  $("error").firstElementChild.textContent = error.message;
  $("error").hidden = false;
}

$("error").querySelector("button").addEventListener("click", () => ($("error").hidden = true));

let busyWith = new Set();

function busy(what, on) {
  if (on) busyWith.add(what);
  else busyWith.delete(what);
  $("busy").hidden = !busyWith.size;
  $("busy").textContent = [...busyWith].at(-1) ?? "";
}

// ------------------------------------------------------------------------------------------------------ the picture

let opening = null;

/** Shows a picture that comes with the package, to be tried. */
function showExample(name, url) {
  const button = document.createElement("button"), picture = new Image();
  button.type = "button";
  button.setAttribute("aria-label", `Try ${name}`);
  picture.src = url;
  picture.alt = "";
  button.append(picture);
  button.addEventListener("click", async () => {
    const blob = await (await fetch(url)).blob();
    open(new File([blob], url.split("/").at(-1), { type: blob.type }));
  });
  $("examples").append(button);
}

async function open(file) {
  if (!file) return;
  opening?.abort();
  const mine = (opening = new AbortController());
  $("error").hidden = true;
  const words = `Looking at ${file.name} …`;
  busy(words, true);
  try {
    const about = await engine.open(file, mine.signal);
    const gray = await engine.preview(about, { saturation: 0 }, engine.model.sides[2], "gray", mine.signal);
    if (mine !== opening) return;
    await begin(about, gray);
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  } finally {
    busy(words, false);
  }
}

async function begin(about, gray) {
  picture = about;
  place = 0;
  reference = null;
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
  const colors = choice();
  plane.draw();
  swatches.draw();
  points.draw();
  drawPlaces();
  for (const name of ["hue", "chroma", "temperature"]) $(name).value = colors[name];
  $("saturation").value = state().saturation;
  tellSliders();
  $("palette-label").textContent = colors.label;
  versions.mark(colors.label);
  const isReference = reference && colors.label === reference.label;
  $("strength-row").hidden = !isReference;
  $("points-section").classList.toggle("empty", !state().points.length);
  brush.use(tool() === "brush" && place !== 0, region()?.mask ?? null);
}

function tellSliders() {
  const value = (id) => Number($(id).value), signed = (x) => (x > 0 ? `+${x}` : `${x}`.replace("-", "−"));
  const words = {
    hue: `${signed(value("hue"))}°`,
    chroma: `× ${value("chroma").toFixed(2)}`,
    temperature: signed(value("temperature")),
    saturation: `× ${value("saturation").toFixed(2)}`,
    strength: `${Math.round(100 * value("strength"))} %`,
  };
  for (const [id, text] of Object.entries(words)) {
    $(id).parentElement.querySelector("output").textContent = text;
    $(id).setAttribute("aria-valuetext", text);
  }
}

history.watch(show);

function step(direction) {
  const label = history[direction]();
  if (label) say(`${direction === "undo" ? "Undone" : "Redone"}: ${label}.`);
}

$("undo").addEventListener("click", () => step("undo"));
$("redo").addEventListener("click", () => step("redo"));

// ------------------------------------------------------------------------------------------------------ the palette

let sliding = null;

for (const name of ["hue", "chroma", "temperature"]) {
  $(name).addEventListener("input", () => choose({ ...choice(), [name]: Number($(name).value) }, `the ${name}`, (sliding ??= {})));
  $(name).addEventListener("change", () => (sliding = null));
}
$("saturation").addEventListener("input", () => history.edit({ saturation: Number($("saturation").value) }, "the saturation", (sliding ??= {})));
$("saturation").addEventListener("change", () => (sliding = null));
$("strength").addEventListener("input", () => strengthen(Number($("strength").value), (sliding ??= {})));
$("strength").addEventListener("change", () => (sliding = null));
// A double click brings a slider back to where it was.
for (const slider of document.querySelectorAll(".sliders input")) {
  slider.addEventListener("dblclick", () => {
    slider.value = slider.defaultValue;
    slider.dispatchEvent(new Event("input"));
    slider.dispatchEvent(new Event("change"));
  });
}

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

async function takeReference(file) {
  if (!file || !picture) return;
  const words = `Looking at ${file.name} …`;
  busy(words, true);
  try {
    const found = await engine.reference(file);
    if (found.notes.length) fail(new Error(found.notes.join(" ")));
    reference = { palette: new Palette(spec, { shares: found.palette }), from: palette.palette(), label: `Colors of ${file.name}` };
    $("strength").value = 1;
    strengthen(1);
    const shown = $("reference-picture");
    shown.replaceChildren();
    const thumbnail = new Image();
    thumbnail.alt = "";
    thumbnail.src = URL.createObjectURL(file);
    thumbnail.addEventListener("load", () => shown.replaceChildren(thumbnail));
    thumbnail.addEventListener("error", () => URL.revokeObjectURL(thumbnail.src)); // formats that browsers lack
  } catch (error) {
    fail(error);
  } finally {
    busy(words, false);
  }
}

function strengthen(share, gesture) {
  const mixed = share === 1 ? reference.palette : reference.from.mix(reference.palette, share);
  choose(chosen(mixed, reference.label), "colors of another picture", gesture);
}

async function loadPalette(file) {
  if (!file || !picture) return;
  try {
    const { palette: shares } = await engine.readPalette(file);
    choose(chosen(new Palette(spec, { shares }), file.name), "loading a palette");
    say(`Loaded ${file.name}.`);
  } catch (error) {
    fail(error);
  }
}

$("load-palette").addEventListener("click", () => $("palette-file").click());
$("save-palette").addEventListener("click", () => {
  const content = JSON.stringify(palette.palette());
  save(new Blob([`${content}\n`], { type: "application/json" }), `${stem()}-palette.json`);
});

// ------------------------------------------------------------------------------------------------------ the regions

function drawPlaces() {
  const places = [{ id: 0, words: "Whole picture" }, ...state().regions.map(({ id }, n) => ({ id, words: `Region ${n + 1}` }))];
  const key = JSON.stringify([places, place]);
  const box = $("where");
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const hadFocus = box.contains(document.activeElement);
  box.replaceChildren(...places.map(({ id, words }) => placeChip(id, words)));
  if (state().regions.length < MOST_REGIONS) {
    const add = document.createElement("button");
    add.type = "button";
    add.className = "plain";
    add.textContent = "+ Region";
    add.addEventListener("click", addRegion);
    box.append(add);
  }
  if (hadFocus) box.querySelector("input:checked")?.focus();
}

function placeChip(id, words) {
  const label = document.createElement("label"), radio = document.createElement("input"), text = document.createElement("span");
  Object.assign(radio, { type: "radio", name: "where", value: id, checked: id === place });
  text.textContent = words;
  radio.addEventListener("change", () => setPlace(id));
  label.append(radio, text);
  if (!id) return label;
  const chip = document.createElement("span"), end = document.createElement("button");
  chip.className = "chip";
  end.type = "button";
  end.textContent = "×";
  end.setAttribute("aria-label", `Remove ${words}`);
  end.addEventListener("click", () => {
    history.edit({ regions: state().regions.filter((one) => one.id !== id) }, "removing a region");
    setPlace(0);
  });
  chip.append(label, end);
  return chip;
}

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

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function download() {
  if (!picture || $("download").disabled) return;
  const format = engine.model.formats.find(({ name }) => name === $("format").value);
  const words = "Painting in full size …";
  busy(words, true);
  $("download").disabled = true;
  try {
    const blob = await engine.result(picture, wishOf(state(), predicted), format.name);
    save(blob, `${stem()}-colored${format.suffix}`);
    say("Downloaded.");
  } catch (error) {
    fail(error);
  } finally {
    $("download").disabled = false;
    busy(words, false);
  }
}

$("download").addEventListener("click", download);

// --------------------------------------------------------------------------------------------------- files and keys

for (const [button, input, take] of [
  ["open", "picture-file", open],
  ["choose", "picture-file", null],
  ["choose-reference", "reference-file", takeReference],
  ["load-palette", "palette-file", loadPalette],
]) {
  if (button !== "load-palette") $(button).addEventListener("click", () => $(input).click());
  if (!take) continue;
  $(input).addEventListener("change", () => {
    const [file] = $(input).files;
    $(input).value = "";
    take(file);
  });
}

let over = 0;
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

addEventListener("dragenter", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  over++;
  $("drop").hidden = false;
  $("drop").classList.toggle("two", Boolean(picture) && !document.body.classList.contains("without-palette"));
});
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  for (const zone of $("drop").children) zone.classList.toggle("over", zone === event.target);
});
addEventListener("dragleave", (event) => {
  if (hasFiles(event) && --over <= 0) endDrag();
});
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  endDrag();
  const [file] = event.dataTransfer.files;
  const asReference = event.target.closest?.("[data-drop=reference], #reference") && picture;
  if (/\.(json|gpl|aco|ase|act|hex|txt)$/i.test(file?.name ?? "")) loadPalette(file);
  else if (asReference) takeReference(file);
  else open(file);
});

function endDrag() {
  over = 0;
  $("drop").hidden = true;
}

addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (file) open(file);
});

$("help-button").addEventListener("click", () => $("help").showModal());

addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key.toLowerCase() === "z") {
    event.preventDefault();
    return step(event.shiftKey ? "redo" : "undo");
  }
  if (command && event.key.toLowerCase() === "y") {
    event.preventDefault();
    return step("redo");
  }
  if (command || event.altKey || $("help").open || event.target.matches("input[type=text], select")) return;
  const key = event.key.toLowerCase();
  if (key === "o") $("picture-file").click();
  else if (key === "?") $("help").showModal();
  else if (!picture) return;
  else if (key === "d") download();
  else if (key === "g") compare.showGray(true);
  else if (["1", "2", "3"].includes(key)) setTool(["compare", "point", "brush"][key - 1]);
  else if (key === "[" || key === "]") {
    $("brush-size").value = Number($("brush-size").value) + (key === "]" ? 2 : -2);
    brush.draw();
  } else return;
  event.preventDefault();
});
addEventListener("keyup", (event) => event.key.toLowerCase() === "g" && compare.showGray(false));

// -------------------------------------------------------------------------------------------------------- the start

try {
  engine = await ServerEngine.load();
  spec = new Spec(engine.model.spec);
  previews = new Previews(engine, {
    show: (blob) => compare.draw("colored", blob),
    fail,
    busy: (on) => busy("Painting …", on),
    rest: (yes) => $("frame").setAttribute("aria-busy", !yes),
  });
  versions = new Versions(engine, $("versions"), $("more"), {
    choose: (version, label) => choose(chosen(version, label), "a version"),
    fail,
  });
  for (const { name, url } of engine.model.examples) showExample(name, url);
  for (const { name, title } of engine.model.formats) $("format").append(new Option(title, name));
  document.body.dataset.ready = "yes";
} catch (error) {
  fail(error);
}
