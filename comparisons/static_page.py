"""Measures the page without a server: how far its results are from the package's, and how soon its previews come.

    python -m comparisons.static_page FOLDER [--every 1] [--checkpoint PATH] [--json FILE]

The page of `palgan web --static` is written and offered on this machine. In Chromium, its engine opens every so many-th
photograph of FOLDER and paints it in full size, automatically: `largest_difference` is the largest between its levels
and those of `Colorizer`, and `differing` the share of levels that differ at all. Previews are those of
`comparisons.web_previews`: `..._ms` is the median time from the wish to the painted pixels, and `..._cpu_ms` the
processor time of Chromium for one, which other work on the machine disturbs little.
"""

import argparse
import base64
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import CDPSession, Page, sync_playwright

from comparisons.figures import photographs, tell
from comparisons.web_previews import BROWSER, SIDE, wishes

OPEN = """async ([name, data]) => {
  const { Engine } = await import("./engine/choice.js");
  window.engine ??= await Engine.load();
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), start = performance.now();
  window.picture = await engine.open(new File([bytes], name));
  return [performance.now() - start, picture.width, picture.height, Array.from(picture.palette)];
}"""
PREVIEWS = """async ([wishes, side]) => {
  const times = [];
  for (const wish of wishes) {
    const start = performance.now();
    await createImageBitmap(await engine.preview(picture, wish, side));
    times.push(performance.now() - start);
  }
  return times;
}"""
RESULT = """async () => {
  const start = performance.now(), blob = await engine.result(picture, {}, "png"), time = performance.now() - start;
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return [time, btoa(text)];
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def cpu_ms(session: CDPSession) -> float:
    """Returns the processor time that all processes of Chromium have taken."""
    return 1e3 * sum(process["cpuTime"] for process in session.send("SystemInfo.getProcessInfo")["processInfo"])


def measure(page: Page, session: CDPSession, path: Path, colorizer: Any) -> dict[str, Any]:
    """Measures a photograph: milliseconds by kind, and the differences (H, W, 3) of its levels."""
    from palgan_jax.palette.palette import Palette

    data = base64.b64encode(path.read_bytes()).decode()
    opened_ms, width, height, shares = page.evaluate(OPEN, [path.name, data])
    result_ms, png = page.evaluate(RESULT)
    pixels = np.asarray(Image.open(BytesIO(base64.b64decode(png)))).astype(int)
    difference = np.abs(pixels - colorizer(path).pixels)
    figures = {"open": [opened_ms], "result": [result_ms], "difference": difference}
    for kind, wishes_of_kind in wishes(Palette(shares), width, height).items():
        page.evaluate(PREVIEWS, [wishes_of_kind[-1:], SIDE])
        cpu_before = cpu_ms(session)
        figures[kind] = page.evaluate(PREVIEWS, [wishes_of_kind, SIDE])
        figures[f"{kind}_cpu"] = [(cpu_ms(session) - cpu_before) / len(wishes_of_kind)]
    return figures


def main() -> None:
    """Measures, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--checkpoint")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    from palgan_jax.checkpoint.find import find_weights
    from palgan_jax.colorize.predictor import Colorizer
    from palgan_jax.web.static_page import write_page

    weights = find_weights(args.checkpoint)
    colorizer = Colorizer(weights, "onnx")
    with TemporaryDirectory() as parent, sync_playwright() as playwright:
        folder = Path(parent) / "page"
        size = write_page(folder, weights)
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            arguments = ["--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
            page, session = browser.new_page(), browser.new_browser_cdp_session()
            page.goto(f"http://127.0.0.1:{server.server_port}")
            rows = [measure(page, session, path, colorizer) for path in photographs(args.folder, args.every)]
            server.shutdown()
    differences = np.concatenate([row.pop("difference").ravel() for row in rows])
    figures: dict[str, Any] = {"photographs": len(rows), "megabytes": size / 1e6}
    figures |= {"largest_difference": int(differences.max()), "differing": float((differences > 0).mean())}
    for kind in rows[0]:
        figures[f"{kind}_ms"] = float(np.median(np.concatenate([row[kind] for row in rows])))
    tell(figures, 20, args.json)


if __name__ == "__main__":
    main()
