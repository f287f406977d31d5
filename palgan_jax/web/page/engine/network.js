// E and G, run by ONNX Runtime: E sees a picture once, and G paints it as often as is asked for.

import * as ort from "../runtime/ort.wasm.bundle.min.js";

export class Network {
  /** Loads a model of squares so wide, with palettes of so many bins. Throws an Error where a file does not come. */
  static async load(side, bins) {
    const files = ["runtime/ort-wasm-simd-threaded.wasm", "model/encoder.onnx", "model/painter.onnx"];
    const [wasm, ...parts] = await Promise.all(files.map(content));
    ort.env.wasm.wasmBinary = wasm;
    ort.env.logLevel = "error";
    const network = new Network();
    Object.assign(network, { side, bins, turn: Promise.resolve() });
    for (const [i, name] of ["encoder", "painter"].entries()) {
      network[name] = await ort.InferenceSession.create(new Uint8Array(parts[i]), { executionProviders: ["wasm"] });
    }
    return network;
  }

  /** Looks at an L, data of (side, side): returns what `paint` takes, with the predicted `palette`. */
  async see(lightness) {
    const l = this.tensor(lightness, 1);
    const { palette, ...features } = await this.run(this.encoder, { lightness: l });
    return { palette: palette.data, inputs: { lightness: l, ...features } };
  }

  /**
   * Paints with a palette and, where `share` (side, side) says so, with another one: [a, b], data of (side, side).
   */
  async paint({ inputs }, palette, other = palette, share = new Float32Array(this.side ** 2)) {
    const area = this.side ** 2, shares = new Float32Array(2 * area), palettes = new Float32Array(2 * this.bins);
    for (let i = 0; i < area; i++) shares[i] = 1 - share[i];
    shares.set(share, area);
    palettes.set(palette);
    palettes.set(other, this.bins);
    const { ab } = await this.run(this.painter, {
      ...inputs,
      palettes: new ort.Tensor("float32", palettes, [1, 2, this.bins]),
      shares: this.tensor(shares, 2),
    });
    return [ab.data.slice(0, area), ab.data.slice(area)];
  }

  tensor(data, channels) {
    return new ort.Tensor("float32", data, [1, channels, this.side, this.side]);
  }

  /** Runs one after another. */
  run(session, inputs) {
    const result = this.turn.then(() => session.run(inputs));
    this.turn = result.catch(() => {});
    return result;
  }
}

async function content(path) {
  const answer = await fetch(new URL(`../${path}`, import.meta.url));
  if (!answer.ok) throw new Error(`${path} is not where this page is (${answer.status})`);
  return answer.arrayBuffer();
}
