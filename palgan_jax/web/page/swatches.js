// The swatches of a palette as a list, each with its share, another color, and its end.

import { nameOf } from "./color.js";
import { HOLD } from "./plane.js";

export class Swatches {
  /** actions: as of Plane. */
  constructor(list, actions) {
    this.list = list;
    this.actions = actions;
    this.gesture = null; // {palette, swatch} while a slider or a color is moved
  }

  draw() {
    const palette = this.actions.palette();
    if (this.gesture) return this.follow();
    if (palette === this.drawn) return;
    this.show(palette, palette.swatches(8));
  }

  show(palette, swatches) {
    const focus = this.list.contains(document.activeElement) ? document.activeElement.dataset : null;
    this.drawn = palette;
    this.swatches = swatches;
    this.list.replaceChildren(...swatches.map((swatch) => this.row(swatch)));
    if (!focus?.part) return;
    const row = this.list.children[Math.min(focus.row, swatches.length - 1)];
    row?.querySelector(`[data-part=${focus.part}]`)?.focus();
  }

  /** Shows the shares while one is moved, without another order. */
  follow() {
    this.present().forEach(({ share }, n) => {
      const row = this.list.children[n], slider = row.querySelector("[type=range]");
      row.querySelector("output").textContent = percent(share);
      row.style.setProperty("--fill", share);
      if (slider !== document.activeElement) slider.value = 100 * share;
    });
  }

  /** Returns the same swatches in the present palette, of which the colors have other weights or places. */
  present() {
    const palette = this.actions.palette();
    return this.swatches.map(({ members }) => palette.swatchOf(members));
  }

  row(swatch) {
    const number = this.swatches.indexOf(swatch), name = nameOf(...swatch.ab);
    const row = document.createElement("li");
    const color = input("color", { value: swatch.color, title: "Another color" }, `Color of ${name}`);
    const share = input("range", { min: 0, max: 100, step: 0.5 }, `Share of ${name}`);
    share.value = 100 * swatch.share;
    const shown = document.createElement("output");
    shown.textContent = percent(swatch.share);
    const end = document.createElement("button");
    end.type = "button";
    end.textContent = "×";
    end.title = "Remove";
    end.setAttribute("aria-label", `Remove ${name}`);
    row.append(color, share, shown, end);
    row.style.setProperty("--color", swatch.color);
    row.style.setProperty("--fill", swatch.share);
    [color, share, end].forEach((part, n) => Object.assign(part.dataset, { row: number, part: ["color", "share", "end"][n] }));
    const begin = () => (this.gesture ??= { palette: this.actions.palette(), swatch });
    const finish = () => {
      if (!this.gesture) return;
      this.gesture = null;
      this.show(this.actions.palette(), this.present());
    };
    share.addEventListener("input", () => {
      const { palette } = begin();
      this.actions.edit(palette.weighed(swatch, share.value / 100), "the share of a color", this.gesture);
    });
    share.addEventListener("change", finish);
    color.addEventListener("input", () => {
      const { palette } = begin();
      this.actions.edit(palette.recolored(swatch, this.actions.ab(color.value)), "another color", this.gesture);
    });
    color.addEventListener("change", finish);
    end.addEventListener("click", () => {
      this.actions.edit(this.actions.palette().remove(swatch.ab, HOLD), "removing a color");
      this.actions.say(`Removed ${name}.`);
    });
    return row;
  }
}

const percent = (share) => `${(100 * share).toFixed(share < 0.095 ? 1 : 0)} %`;

function input(type, fields, label) {
  const made = document.createElement("input");
  Object.assign(made, { type, ...fields });
  made.setAttribute("aria-label", label);
  return made;
}
