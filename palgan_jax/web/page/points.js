// Colors that are given at points of the picture: marks on it, and a list of them.

import { abOfHex, nameOf } from "./color.js";

const MOST = 64;
const STEP = 0.01; // of the picture's longer side, by a key

export class Points {
  /**
   * actions: points() returns [{id, x, y, color}], size() the picture's [width, height], edit(points, label, gesture)
   * takes others, say(text) tells it.
   */
  constructor(frame, marks, list, actions) {
    Object.assign(this, { frame, marks, list, actions, active: false, rows: new Map() });
    frame.addEventListener("pointerdown", (event) => {
      if (!this.active || event.button || event.target.closest("button")) return;
      event.preventDefault();
      this.add(this.at(event));
    });
  }

  at(event) {
    const box = this.frame.getBoundingClientRect(), [width, height] = this.actions.size();
    return this.within([((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height]);
  }

  within([x, y]) {
    const [width, height] = this.actions.size();
    return [Math.max(0, Math.min(width - 1, Math.floor(x))), Math.max(0, Math.min(height - 1, Math.floor(y)))];
  }

  /** Gives a color, the last one that was given, at a pixel. */
  add([x, y]) {
    const points = this.actions.points();
    if (points.length >= MOST) return this.actions.say(`At most ${MOST} colors can be given.`);
    const color = points.at(-1)?.color ?? "#b04a3a";
    const id = 1 + Math.max(0, ...points.map((point) => point.id));
    this.actions.edit([...points, { id, x, y, color }], "a given color");
    this.rows.get(id)?.mark.focus({ preventScroll: true });
    this.actions.say(`A color is given at ${x}, ${y}.`);
  }

  change(id, fields, label, gesture) {
    this.actions.edit(this.actions.points().map((one) => (one.id === id ? { ...one, ...fields } : one)), label, gesture);
  }

  remove(id) {
    this.actions.edit(this.actions.points().filter((one) => one.id !== id), "removing a given color");
    this.actions.say("Removed.");
  }

  draw() {
    const points = this.actions.points(), [width, height] = this.actions.size();
    const ids = new Set(points.map(({ id }) => id));
    for (const [id, { mark, row }] of this.rows) {
      if (ids.has(id)) continue;
      mark.remove();
      row.remove();
      this.rows.delete(id);
    }
    points.forEach(({ id, x, y, color }, n) => {
      if (!this.rows.has(id)) this.make(id);
      const { mark, row, picker, words, end } = this.rows.get(id);
      mark.style.left = `${(100 * (x + 0.5)) / width}%`;
      mark.style.top = `${(100 * (y + 0.5)) / height}%`;
      mark.style.setProperty("--color", color);
      const name = nameOf(...abOfHex(color));
      mark.setAttribute("aria-label", `Given color ${n + 1}, ${name}, at ${x}, ${y}`);
      picker.value = color;
      picker.setAttribute("aria-label", `Color ${n + 1}, ${name}`);
      end.setAttribute("aria-label", `Remove given color ${n + 1}`);
      words.textContent = `${color} at ${x}, ${y}`;
      this.list.append(row);
    });
  }

  make(id) {
    const mark = document.createElement("button");
    mark.type = "button";
    mark.className = "mark";
    const row = document.createElement("li"), picker = document.createElement("input");
    picker.type = "color";
    const words = document.createElement("span"), end = document.createElement("button");
    end.type = "button";
    end.textContent = "×";
    row.append(picker, words, end);
    this.rows.set(id, { mark, row, picker, words, end });
    this.marks.append(mark);
    end.addEventListener("click", () => this.remove(id));
    let picking = null;
    picker.addEventListener("input", () => this.change(id, { color: picker.value }, "another given color", (picking ??= {})));
    picker.addEventListener("change", () => (picking = null));
    let moving = null;
    mark.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      mark.setPointerCapture(event.pointerId);
      moving = { moved: false };
    });
    mark.addEventListener("pointermove", (event) => {
      if (!moving || (!moving.moved && Math.hypot(event.movementX, event.movementY) < 1)) return;
      moving.moved = true;
      const [x, y] = this.at(event);
      this.change(id, { x, y }, "moving a given color", moving);
    });
    mark.addEventListener("pointerup", (event) => {
      event.stopPropagation();
      if (moving && !moving.moved) picker.click();
      moving = null;
    });
    mark.addEventListener("keydown", (event) => {
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const point = this.actions.points().find((one) => one.id === id);
      if (arrows[event.key]) {
        const step = Math.max(1, Math.round(STEP * Math.max(...this.actions.size())));
        const [x, y] = this.within([point.x + step * arrows[event.key][0], point.y + step * arrows[event.key][1]]);
        this.change(id, { x, y }, "moving a given color");
        this.actions.say(`${x}, ${y}`);
      } else if (event.key === "Enter" || event.key === " ") picker.click();
      else if (event.key === "Delete" || event.key === "Backspace") this.remove(id);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }
}
