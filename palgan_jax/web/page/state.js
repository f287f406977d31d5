// What the person has chosen, as values that never change, with what can be undone.

const MOST = 200;

export class History {
  constructor() {
    this.reset(null);
    this.listeners = new Set();
  }

  reset(present) {
    this.present = present;
    this.past = [];
    this.future = [];
    this.gesture = null;
  }

  /** Calls back after each change. */
  watch(listener) {
    this.listeners.add(listener);
  }

  tell() {
    for (const listener of this.listeners) listener(this.present);
  }

  /**
   * Changes some fields. Edits with the same gesture, an object, are one step: all that happens between the moment at
   * which a finger comes down and that at which it lifts.
   */
  edit(fields, label, gesture = null) {
    if (!gesture || gesture !== this.gesture) {
      this.past.push({ state: this.present, label });
      if (this.past.length > MOST) this.past.shift();
    }
    this.gesture = gesture;
    this.future = [];
    this.present = { ...this.present, ...fields };
    this.tell();
  }

  undo() {
    return this.step(this.past, this.future);
  }

  redo() {
    return this.step(this.future, this.past);
  }

  /** Takes a step back or forth; returns what it was, or "" where there is none. */
  step(from, to) {
    const step = from.pop();
    if (!step) return "";
    to.push({ state: this.present, label: step.label });
    this.present = step.state;
    this.gesture = null;
    this.tell();
    return step.label;
  }
}

/** A palette that was chosen for the picture or a region: where it comes from, and how it is shifted. */
export function chosen(base, label) {
  return { base, label, hue: 0, chroma: 1, temperature: 0 };
}

const shifted = new WeakMap();

/** Returns the palette that a choice comes to. */
export function paletteOf(choice) {
  if (!shifted.has(choice)) shifted.set(choice, choice.base.shift(choice));
  return shifted.get(choice);
}

/** Returns what the engine is asked for. A palette that was predicted and left alone is null. */
export function wishOf(state, predicted) {
  const palette = paletteOf(state.colors);
  return {
    palette: palette === predicted ? null : Array.from(palette.shares),
    saturation: state.saturation,
    points: state.points.map(({ x, y, color }) => ({ x, y, color })),
    regions: state.regions
      .filter((region) => region.mask)
      .map(({ mask, colors }) => ({ mask: mask.split(",")[1], palette: Array.from(paletteOf(colors).shares) })),
  };
}
