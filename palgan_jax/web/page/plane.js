// The ab plane as light: each bin in its color, as bright as there is much of it. Dragging moves it.

import { nameOf, rgbOf } from "./color.js";
import { nearness } from "./palette.js";

const LIGHTNESS = 65;
export const HOLD = 24; // how far, in units of CIE94, a color is taken along
const GLOW = 0.5; // of what lies between the bins
const STEP = 1 / 32; // of the plane's side, by a key
const BOOST = 1.25;

export class Plane {
  /**
   * canvas: where it is drawn.
   * actions: palette() returns the present one; edit(palette, label, gesture) takes another; say(text) tells it.
   */
  constructor(canvas, actions) {
    this.canvas = canvas;
    this.actions = actions;
    this.cursor = null; // [a, b], where the keyboard is
    this.held = null; // {palette, from, gesture} while something is moved
    canvas.addEventListener("pointerdown", (event) => this.take(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("pointerup", () => this.letGo());
    canvas.addEventListener("pointercancel", () => this.giveUp());
    canvas.addEventListener("pointerleave", () => this.hover(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => {
      this.letGo();
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  get range() {
    const { half_range, ab_range, bins } = this.actions.palette().spec;
    return half_range * ab_range * (bins / (bins - 1)); // to the outer edge of the outermost bins
  }

  place([a, b], size) {
    return [((a / this.range + 1) / 2) * size, ((1 - b / this.range) / 2) * size];
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
    return [(2 * x - 1) * this.range, (1 - 2 * y) * this.range];
  }

  take(event) {
    if (event.button) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.cursor = null;
    this.hold(this.at(event));
  }

  hold(from) {
    this.held = { palette: this.actions.palette(), from, to: from, gesture: {} };
    this.draw();
  }

  drag(event) {
    if (!this.held) return this.hover(event.pointerType === "mouse" ? this.at(event) : null);
    this.moveTo(this.at(event));
  }

  hover(at) {
    this.hovered = at;
    this.draw();
  }

  moveTo(to) {
    const { palette, from, gesture } = this.held;
    this.held.to = to;
    this.held.moved = true;
    this.actions.edit(palette.move(from, [to[0] - from[0], to[1] - from[1]], HOLD), "moving colors", gesture);
  }

  letGo() {
    if (this.held?.moved) this.actions.say(`Moved to ${this.words(this.held.to)}.`);
    this.held = null;
    this.draw();
  }

  giveUp() {
    if (!this.held) return;
    const { palette, gesture, moved } = this.held;
    this.held = null;
    if (moved) this.actions.edit(palette, "moving colors", gesture);
    this.actions.say("Given up.");
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    this.cursor ??= this.actions.palette().swatches(1)[0].ab;
    const palette = this.actions.palette();
    if (arrows[event.key]) {
      const step = 2 * this.range * STEP * (event.shiftKey ? 4 : 1);
      this.cursor = this.cursor.map((v, i) => Math.max(-this.range, Math.min(this.range, v + step * arrows[event.key][i])));
      if (this.held) this.moveTo(this.cursor);
      else this.actions.say(this.words(this.cursor));
    } else if (event.key === "Enter" || event.key === " ") {
      if (this.held) this.letGo();
      else {
        this.hold(this.cursor);
        this.actions.say(`Holding ${this.words(this.cursor)}. Arrows move it, Enter lets go.`);
      }
    } else if (event.key === "Escape" && this.held) {
      this.giveUp();
    } else if (event.key === "+" || event.key === "=" || event.key === "-") {
      const factor = event.key === "-" ? 1 / BOOST : BOOST;
      this.actions.edit(palette.boost(this.cursor, factor, HOLD), factor > 1 ? "more of a color" : "less of a color");
      this.actions.say(this.words(this.cursor));
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.actions.edit(palette.remove(this.cursor, HOLD), "removing a color");
      this.actions.say(`Removed ${nameOf(...this.cursor)}.`);
    } else return;
    event.preventDefault();
    this.draw();
  }

  words(color) {
    const share = this.actions.palette().shareNear(color, HOLD);
    return `${nameOf(...color)}, ${(100 * share).toFixed(share < 0.1 ? 1 : 0)} percent, a ${Math.round(color[0])}, b ${Math.round(color[1])}`;
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      if (this.canvas.isConnected && this.canvas.clientWidth && this.actions.palette()) this.paint();
    });
  }

  paint() {
    const palette = this.actions.palette(), { spec } = palette;
    const size = Math.round(this.canvas.clientWidth * Math.min(2, devicePixelRatio || 1));
    if (this.canvas.width !== size) this.canvas.width = this.canvas.height = size;
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#0e0e11";
    context.fillRect(0, 0, size, size);
    const cell = size / spec.bins, shares = palette.shares;
    const most = shares.reduce((x, y) => Math.max(x, y), 1e-12);
    this.drawField(context, size, shares, most);
    this.drawAxes(context, size);
    for (let i = 0; i < spec.bins; i++) {
      for (let j = 0; j < spec.bins; j++) {
        const light = Math.sqrt(shares[i * spec.bins + j] / most);
        const [x, y] = this.place([spec.centers[i] * spec.ab_range, spec.centers[j] * spec.ab_range], size);
        context.beginPath();
        context.arc(x, y, cell * (0.04 + 0.4 * light), 0, 2 * Math.PI);
        context.fillStyle = `rgb(${this.lights[i * spec.bins + j].join(" ")} / ${0.35 + 0.65 * light})`;
        context.fill();
      }
    }
    this.drawRings(context, size);
  }

  /** Draws a glow that is as smooth as the counting of palettes. */
  drawField(context, size, shares, most) {
    const { spec } = this.actions.palette(), { bins } = spec;
    if (this.spec !== spec) {
      this.spec = spec;
      this.field = document.createElement("canvas");
      this.field.width = this.field.height = bins;
      this.lights = Array.from(shares, (_, k) => {
        const rgb = rgbOf(LIGHTNESS, spec.centers[Math.floor(k / bins)] * spec.ab_range, spec.centers[k % bins] * spec.ab_range);
        return rgb.map((v) => Math.round(255 * Math.min(1, Math.max(0, v))));
      });
    }
    const field = this.field.getContext("2d"), image = field.createImageData(bins, bins);
    for (let k = 0; k < shares.length; k++) {
      const at = 4 * ((bins - 1 - (k % bins)) * bins + Math.floor(k / bins));
      image.data.set([...this.lights[k], 255 * GLOW * Math.sqrt(shares[k] / most)], at);
    }
    field.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.field, 0, 0, size, size);
  }

  drawAxes(context, size) {
    context.strokeStyle = "#ffffff14";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(size / 2, 0);
    context.lineTo(size / 2, size);
    context.moveTo(0, size / 2);
    context.lineTo(size, size / 2);
    context.stroke();
  }

  drawRings(context, size) {
    const unit = size / 320;
    const ring = (at, color, radius) => {
      const [x, y] = this.place(at, size);
      context.beginPath();
      context.arc(x, y, radius * unit, 0, 2 * Math.PI);
      context.lineWidth = 1.5 * unit;
      context.strokeStyle = color;
      context.stroke();
    };
    if (this.held) {
      ring(this.held.from, "#ffffff66", 9);
      ring(this.held.to, "#ffffff", 12);
      return;
    }
    const at = document.activeElement === this.canvas && this.cursor ? this.cursor : this.hovered;
    if (at) {
      this.outline(context, size, at);
      ring(at, "#ffffffcc", 4);
    }
  }

  /** Draws the edge of what would be taken along from a place. */
  outline(context, size, from) {
    const unit = size / 320, reach = (angle) => {
      for (let r = 2; r < 80; r += 2) {
        const color = [from[0] + r * Math.cos(angle), from[1] + r * Math.sin(angle)];
        if (nearness(from, color, HOLD) < 0.5) return color;
      }
      return from;
    };
    context.beginPath();
    for (let n = 0; n <= 48; n++) {
      const [x, y] = this.place(reach((n / 24) * Math.PI), size);
      if (n) context.lineTo(x, y);
      else context.moveTo(x, y);
    }
    context.setLineDash([3 * unit, 3 * unit]);
    context.lineWidth = unit;
    context.strokeStyle = "#ffffff88";
    context.stroke();
    context.setLineDash([]);
  }
}
