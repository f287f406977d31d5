// What the page asks for, done by the browser itself: pictures stay where they are. It has the methods of server.js.

export class BrowserEngine {
  static async load() {
    const engine = new BrowserEngine();
    const answer = await fetch(new URL("../model/about.json", import.meta.url));
    if (!answer.ok) throw new Error(`This page lacks its model (${answer.status}): load it anew later.`);
    engine.model = await answer.json();
    engine.waiting = new Map();
    engine.count = 0;
    engine.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    engine.worker.addEventListener("message", ({ data }) => engine.take(data));
    engine.worker.addEventListener("error", (event) => {
      event.preventDefault();
      const error = `This page does not run here (${event.message || "a part of it is missing"}): load it anew, or take a newer browser.`;
      for (const number of engine.waiting.keys()) engine.take({ number, error });
      engine.broken = error;
    });
    engine.ask("load", { about: engine.model }).catch(() => {}); // whoever opens a picture is told
    return engine;
  }

  take({ number, answer, error }) {
    const { resolve, reject } = this.waiting.get(number) ?? {};
    this.waiting.delete(number);
    if (error) reject?.(new Error(error));
    else resolve?.(answer);
  }

  ask(task, content, signal) {
    if (this.broken) return Promise.reject(new Error(this.broken));
    const number = ++this.count;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.waiting.set(number, { resolve, reject });
      this.worker.postMessage({ number, task, content });
    });
  }

  /** Takes a picture file; returns what `preview` and `result` take, with its name, size, notes and palette. */
  async open(file, signal) {
    await this.check(file, signal);
    const picture = ++this.count, { name } = file;
    const about = await this.ask("open", { file, name, picture }, signal);
    return { ...about, picture, name, file, notes: this.model.notes };
  }

  /** Refuses what is too large, before all of it is decoded. */
  async check(file, signal) {
    const { mostBytes, mostPixels } = this.model;
    if (!file.size) throw new Error(`${file.name} is empty: choose another file.`);
    if (file.size > mostBytes) throw new Error(`${file.name} is larger than ${Math.round(mostBytes / 1e6)} MB: make it smaller.`);
    const header = new Image();
    header.src = URL.createObjectURL(file);
    try {
      await new Promise((resolve) => (header.onload = header.onerror = resolve));
    } finally {
      URL.revokeObjectURL(header.src);
    }
    signal?.throwIfAborted();
    const pixels = header.naturalWidth * header.naturalHeight;
    if (!pixels) throw new Error(`${file.name} cannot be read by this browser: save it as a JPEG or a PNG, or choose another file.`);
    if (pixels > mostPixels) {
      throw new Error(`${file.name} has ${header.naturalWidth} x ${header.naturalHeight} pixels, and ${mostPixels / 1e6} megapixels are the most: make it smaller.`);
    }
  }

  /** Paints a picture at the size of a screen: what createImageBitmap takes. */
  preview(picture, wish, side, lane, signal) {
    return this.with(picture, "preview", { wish, side }, signal);
  }

  /** Paints a picture at its full size: a Blob of a file. */
  result(picture, wish, format, signal) {
    return this.with(picture, "result", { wish }, signal);
  }

  /** The thread keeps a few pictures: one that it has dropped is opened again. */
  async with(picture, task, content, signal) {
    if (!(await this.ask("holds", picture, signal))) await this.ask("open", picture, signal);
    return this.ask(task, { picture: picture.picture, ...content }, signal);
  }

  /** Draws a palette around another: its shares. */
  sample(shares, number, signal) {
    return this.ask("sample", { shares, number }, signal);
  }

  /** Counts the palette of a picture file: {palette, notes}. */
  async reference(file, signal) {
    await this.check(file, signal);
    return this.ask("reference", { file, name: file.name }, signal);
  }

  /** Reads a palette file: {palette, notes}. */
  readPalette(file, signal) {
    return this.ask("palette", { file, name: file.name }, signal);
  }
}
