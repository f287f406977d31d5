// What the page asks for, done by the server that it comes from. browser.js has the same methods.

const ENDED = "The program behind this page does not answer: start palgan web again, and load the page anew.";

async function ask(path, body, signal) {
  const json = body !== undefined && !(body instanceof Blob);
  let answer;
  try {
    answer = await fetch(`/api/${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: json ? { "Content-Type": "application/json" } : {},
      body: json ? JSON.stringify(body) : body,
      signal,
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(ENDED);
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const error = new Error(sentence(said.error ?? `the server answers with ${answer.status}.`));
  error.status = answer.status;
  throw error;
}

/** Begins a sentence with a capital, unless it begins with the name of a file. */
const sentence = (text) => text.replace(/^[a-z]+(?=[ ,])/, (word) => word.charAt(0).toUpperCase() + word.slice(1));

export class ServerEngine {
  static async load() {
    const engine = new ServerEngine();
    engine.model = await (await ask("model")).json();
    return engine;
  }

  /** Takes a picture file; returns what `preview` and `result` take, with its name, size, notes and palette. */
  async open(file, signal) {
    this.check(file);
    const about = await (await ask(`pictures?name=${encodeURIComponent(file.name)}`, file, signal)).json();
    return { ...about, file };
  }

  check(file) {
    if (file.size > this.model.mostBytes) {
      throw new Error(`${file.name} is larger than ${Math.round(this.model.mostBytes / 1e6)} MB: make it smaller.`);
    }
  }

  /** Paints a picture at the size of a screen: what createImageBitmap takes, or null where a newer wish has come. */
  async preview(picture, wish, side, lane = "", signal) {
    try {
      return await (await this.with(picture, "preview", { wish, side, lane }, signal)).blob();
    } catch (error) {
      if (error.status === 409) return null;
      throw error;
    }
  }

  /** Paints a picture at its full size: a Blob of a file. */
  async result(picture, wish, format, signal) {
    return (await this.with(picture, "result", { wish, format }, signal)).blob();
  }

  /** The server keeps a few pictures: one that it has dropped is sent again. */
  async with(picture, path, content, signal) {
    try {
      return await ask(path, { picture: picture.picture, ...content }, signal);
    } catch (error) {
      if (error.status !== 410) throw error;
      picture.picture = (await this.open(picture.file, signal)).picture;
      return ask(path, { picture: picture.picture, ...content }, signal);
    }
  }

  /** Draws a palette around another: its shares. */
  async sample(shares, number, signal) {
    return (await (await ask("sample", { palette: Array.from(shares), number, seed: 0 }, signal)).json()).palette;
  }

  /** Counts the palette of a picture file: {palette, notes}. */
  async reference(file, signal) {
    this.check(file);
    return (await ask(`reference?name=${encodeURIComponent(file.name)}`, file, signal)).json();
  }

  /** Reads a palette file: {palette, notes}. */
  async readPalette(file, signal) {
    return (await ask(`palette?name=${encodeURIComponent(file.name)}`, file, signal)).json();
  }
}
