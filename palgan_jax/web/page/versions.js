// Versions of the predicted palette, as thumbnails to choose from.

import { drawOn } from "./compare.js";
import { Palette } from "./palette.js";

const AT_ONCE = 5;

export class Versions {
  /** actions: spec(), wish(palette), choose(palette, label), fail(error). */
  constructor(engine, box, more, actions) {
    Object.assign(this, { engine, box, more, actions });
    more.addEventListener("click", () => this.add());
  }

  /** Begins with another picture. */
  open(picture, predicted) {
    this.abort?.abort();
    this.abort = new AbortController();
    this.box.replaceChildren();
    this.picture = picture;
    this.predicted = predicted;
    this.count = 0;
    this.show(predicted, "Automatic");
    this.add();
  }

  /** Draws some more. */
  async add() {
    const { picture, abort } = this;
    this.more.disabled = true;
    try {
      for (let n = 0; n < AT_ONCE; n++) {
        const number = ++this.count;
        const shares = await this.engine.sample(this.predicted.shares, number, abort.signal);
        if (picture !== this.picture) return;
        await this.show(new Palette(this.predicted.spec, { shares }), `Version ${number}`);
      }
    } catch (error) {
      if (error.name !== "AbortError") this.actions.fail(error);
    } finally {
      if (picture === this.picture) this.more.disabled = false;
    }
  }

  async show(palette, label) {
    const { picture, abort } = this;
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.title = label;
    button.addEventListener("click", () => this.actions.choose(palette, label));
    this.box.append(button);
    try {
      const wish = { palette: palette === this.predicted ? null : Array.from(palette.shares) };
      const side = this.engine.model.sides[0];
      const shown = await this.engine.preview(picture, wish, side, label, abort.signal);
      if (!shown || picture !== this.picture) return;
      const thumbnail = document.createElement("canvas");
      await drawOn(thumbnail, shown);
      button.append(thumbnail);
    } catch (error) {
      if (error.name !== "AbortError") this.actions.fail(error);
    }
  }

  /** Marks the version that a choice is. */
  mark(label) {
    for (const button of this.box.children) button.setAttribute("aria-pressed", button.title === label);
  }
}
