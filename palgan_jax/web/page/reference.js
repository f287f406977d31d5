// Colors of another picture, and how much of them is taken.

import { Palette } from "./palette.js";

const $ = (id) => document.getElementById(id);

export class Reference {
  /** actions: palette() returns the present one; choose(palette, label, gesture) takes another; fail(error) tells. */
  constructor(actions) {
    Object.assign(this, { actions, taken: null });
  }

  /** Begins with another picture. */
  forget() {
    this.taken = null;
  }

  /** Takes the colors of a picture file, as an engine counts them. */
  async take(file, engine, spec) {
    const { palette: shares, notes } = await engine.reference(file);
    if (notes.length) this.actions.fail(new Error(notes.join(" ")));
    this.taken = { palette: new Palette(spec, { shares }), from: this.actions.palette(), label: `Colors of ${file.name}` };
    $("strength").value = 1;
    this.strengthen(1);
    const thumbnail = new Image();
    thumbnail.alt = "";
    thumbnail.src = URL.createObjectURL(file);
    $("reference-picture").replaceChildren();
    thumbnail.addEventListener("load", () => $("reference-picture").replaceChildren(thumbnail));
    thumbnail.addEventListener("error", () => URL.revokeObjectURL(thumbnail.src)); // formats that browsers lack
  }

  strengthen(share, gesture) {
    const { palette, from, label } = this.taken;
    this.actions.choose(share === 1 ? palette : from.mix(palette, share), label, gesture);
  }

  /** Shows its strength where the present palette, by its label, is of it. */
  draw(label) {
    $("strength-row").hidden = label !== this.taken?.label;
  }
}
