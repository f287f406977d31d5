// A soft brush: masks of regions, painted on the picture.

const SIDE = 768; // pixels of the longer side of a mask
const LEAST = 16; // pixels of a side that is read
const TINT = "#ff5a36";

export class Brush {
  /**
   * overlay: the canvas over the picture.
   * actions: mask() returns the present mask, a data URL or null, edit(mask) takes another, size() and erases() say how.
   */
  constructor(frame, overlay, actions) {
    this.frame = frame;
    this.overlay = overlay;
    this.actions = actions;
    this.mask = document.createElement("canvas");
    this.active = false;
    this.cursor = null;
    frame.addEventListener("pointerdown", (event) => this.begin(event));
    frame.addEventListener("pointermove", (event) => this.go(event));
    frame.addEventListener("pointerleave", () => this.point(null));
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => this.end());
    frame.addEventListener("keydown", (event) => this.key(event));
    frame.addEventListener("blur", () => this.point(null));
  }

  /** Makes masks for a picture of this size. */
  resize(width, height) {
    const times = Math.min(1, Math.max(SIDE / Math.max(width, height), LEAST / Math.min(width, height)));
    [this.mask.width, this.mask.height] = [Math.round(width * times), Math.round(height * times)];
    [this.overlay.width, this.overlay.height] = [this.mask.width, this.mask.height];
  }

  /** Takes up a region's mask, or puts the brush away. */
  async use(active, url) {
    this.active = active;
    this.overlay.hidden = !active;
    if (active) {
      this.frame.tabIndex = 0;
      this.frame.setAttribute("role", "application");
      this.frame.setAttribute("aria-label", "The picture: arrows move the brush, Space paints");
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) this.frame.removeAttribute(name);
    }
    if (!active || this.painting || url === this.shown) return this.draw();
    this.shown = url;
    const context = this.mask.getContext("2d");
    let picture = null;
    if (url) {
      picture = new Image();
      picture.src = url;
      await picture.decode();
      if (this.shown !== url) return;
    }
    context.clearRect(0, 0, this.mask.width, this.mask.height);
    if (picture) context.drawImage(picture, 0, 0);
    this.draw();
  }

  at(event) {
    const box = this.frame.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
    return [x * this.mask.width, y * this.mask.height];
  }

  begin(event) {
    if (!this.active || event.button || event.target.closest("button")) return;
    event.preventDefault();
    this.frame.setPointerCapture(event.pointerId);
    this.painting = true;
    this.last = this.at(event);
    this.stroke(this.last);
  }

  go(event) {
    if (!this.active) return;
    this.point(this.at(event));
    if (this.painting) this.stroke(this.cursor);
  }

  point(at) {
    if (!this.active) return;
    this.cursor = at;
    this.draw();
  }

  end() {
    if (!this.painting) return;
    this.painting = false;
    this.keep();
  }

  /** Hands on the mask; one that is empty is none. */
  keep() {
    const { width, height } = this.mask;
    const pixels = this.mask.getContext("2d").getImageData(0, 0, width, height).data;
    let any = false;
    for (let i = 3; i < pixels.length && !any; i += 4) any = pixels[i] > 0;
    this.shown = any ? this.mask.toDataURL("image/png") : null;
    this.actions.edit(this.shown);
  }

  key(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!this.active || event.target !== this.frame || event.ctrlKey || event.metaKey) return;
    const { width, height } = this.mask;
    this.cursor ??= [width / 2, height / 2];
    if (arrows[event.key]) {
      const step = this.radius / 2;
      this.cursor = this.cursor.map((v, i) => Math.max(0, Math.min([width, height][i], v + step * arrows[event.key][i])));
    } else if (event.key === " " || event.key === "Enter") {
      this.last = this.cursor;
      this.stroke(this.cursor);
      this.keep();
    } else return;
    event.preventDefault();
    this.draw();
  }

  get radius() {
    return (this.actions.size() / 100) * Math.max(this.mask.width, this.mask.height);
  }

  /** Paints from the last place to another, in stamps that overlap. */
  stroke(to) {
    const context = this.mask.getContext("2d"), radius = this.radius;
    context.globalCompositeOperation = this.actions.erases() ? "destination-out" : "source-over";
    const [x, y] = this.last, far = Math.hypot(to[0] - x, to[1] - y);
    const steps = Math.max(1, Math.ceil(far / (radius / 4)));
    for (let n = 1; n <= steps; n++) {
      const at = [x + ((to[0] - x) * n) / steps, y + ((to[1] - y) * n) / steps];
      const soft = context.createRadialGradient(...at, radius * 0.35, ...at, radius);
      soft.addColorStop(0, "#fff");
      soft.addColorStop(1, "#fff0");
      context.fillStyle = soft;
      context.fillRect(at[0] - radius, at[1] - radius, 2 * radius, 2 * radius);
    }
    context.globalCompositeOperation = "source-over";
    this.last = to;
    this.draw();
  }

  draw() {
    const context = this.overlay.getContext("2d"), { width, height } = this.overlay;
    context.clearRect(0, 0, width, height);
    // Only while one paints: the tint would hide the region's own colors.
    if (!this.active || !(this.cursor || this.painting)) return;
    context.drawImage(this.mask, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = `${TINT}59`;
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "source-over";
    if (!this.cursor) return;
    for (const [color, wide] of [["#0008", 3], ["#fff", 1.5]]) {
      context.beginPath();
      context.arc(...this.cursor, this.radius, 0, 2 * Math.PI);
      context.strokeStyle = color;
      context.lineWidth = wide;
      context.stroke();
    }
  }
}
