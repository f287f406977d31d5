// The picture, fitted into its place: color over gray, with a line between them that one moves.

export class Compare {
  constructor(stage, frame) {
    this.stage = stage;
    this.frame = frame;
    this.colored = frame.querySelector("#colored");
    this.gray = frame.querySelector("#gray");
    this.handle = frame.querySelector("#handle");
    this.split = 0.5;
    this.active = true;
    this.size = [1, 1];
    new ResizeObserver(() => this.fit()).observe(stage);
    frame.addEventListener("pointerdown", (event) => {
      if (!this.active || event.button) return;
      frame.setPointerCapture(event.pointerId);
      this.moving = true;
      this.follow(event);
    });
    frame.addEventListener("pointermove", (event) => this.moving && this.follow(event));
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => (this.moving = false));
    this.handle.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowUp: 0.02, PageDown: -0.2, PageUp: 0.2, Home: -1, End: 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      this.set(this.split + steps[event.key]);
    });
  }

  follow(event) {
    const box = this.frame.getBoundingClientRect();
    this.set((event.clientX - box.left) / box.width);
  }

  /** Shows gray to the left of a place, in shares of the width. */
  set(split) {
    this.split = Math.min(1, Math.max(0, split));
    this.show();
  }

  /** Shows the line or, while something is painted on the picture, color alone. */
  use(active) {
    this.active = active;
    this.frame.classList.toggle("comparing", active);
    this.handle.hidden = !active;
    this.show();
  }

  /** Shows gray alone while a key is held. */
  showGray(alone) {
    this.alone = alone;
    this.show();
  }

  show() {
    const split = this.alone ? 1 : this.active ? this.split : 0;
    this.gray.style.clipPath = `inset(0 ${100 * (1 - split)}% 0 0)`;
    this.handle.style.left = `${100 * this.split}%`;
    this.handle.setAttribute("aria-valuenow", Math.round(100 * this.split));
    this.handle.setAttribute("aria-valuetext", `${Math.round(100 * this.split)} percent gray`);
  }

  /** Makes room for a picture of another size. */
  resize(width, height) {
    this.size = [width, height];
    this.fit();
  }

  fit() {
    const style = getComputedStyle(this.stage);
    const room = [
      this.stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight),
      this.stage.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom),
    ];
    const [width, height] = this.size;
    const times = Math.min(room[0] / width, room[1] / height, Math.max(1, 1100 / Math.max(width, height)));
    if (!(times > 0)) return;
    this.frame.style.width = `${Math.round(width * times)}px`;
    this.frame.style.height = `${Math.round(height * times)}px`;
  }

  /** Draws what an engine has painted into one of the two canvases. */
  draw(which, shown) {
    return drawOn(this[which], shown);
  }
}

/** Draws what an engine has painted, a Blob or ImageData, on a canvas, which takes its size. */
export async function drawOn(canvas, shown) {
  const bitmap = await createImageBitmap(shown);
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}
