"""Measures how soon the page of `palgan web` shows another palette.

    python -m comparisons.web_previews FOLDER [--every 5] [--checkpoint PATH] [--json FILE]

A server of its own paints every so many-th photograph of FOLDER at the size that is asked for while something is moved:
with palettes that are turned by some degrees of hue ("palette"), with such a palette in a region ("region"), and with a
color at a point that moves ("point"). `answer_ms` is the median time from the request to the whole JPEG, and `cpu_ms`
the processor time of the server for one, on all cores, which other work on the machine disturbs little. `page_ms` is
the median time that Chromium takes to move light in the plane and count the palette anew, and to decode and draw the
picture; it is measured where Playwright and Chromium are installed.
"""

import argparse
import base64
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comparisons.figures import photographs, tell

BROWSER = shutil.which("chromium")
VERSIONS = 8
SIDE = 640
PAGE = """async ([spec, shares, picture]) => {
  const { Palette, Spec } = await import("/palette.js");
  const palette = new Palette(new Spec(spec), { shares });
  const canvas = document.getElementById("colored"), times = [];
  palette.weights;  // found once, when the first light is moved
  for (let n = 0; n < 20; n++) {
    const start = performance.now();
    palette.move(palette.swatches(1)[0].ab, [n, 10], 24).shares;
    const blob = new Blob([Uint8Array.from(atob(picture), (c) => c.charCodeAt(0))], { type: "image/jpeg" });
    const bitmap = await createImageBitmap(blob);
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    times.push(performance.now() - start);
  }
  return times;
}"""


class Server:
    """A `palgan web` of its own."""

    def __init__(self, checkpoint: str | None) -> None:
        words = ["--checkpoint", checkpoint] if checkpoint else []
        command = [sys.executable, "-m", "palgan_jax.cli", "web", "--port", "0", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        address = next(filter(None, (re.search(r"127\.0\.0\.1:\d+", line) for line in self.process.stdout)))
        self.address = address[0]
        self._connection = http.client.HTTPConnection(self.address, timeout=600)

    def ask(self, path: str, body: bytes) -> bytes:
        """Posts a body; returns what is answered."""
        self._connection.request("POST", f"/api/{path}", body)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(content.decode())
        return content

    def cpu_seconds(self) -> float:
        """Returns the processor time that it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wishes(palette: Any, width: int, height: int) -> dict[str, list[dict[str, Any]]]:
    """Returns what is wished for, one after another, by kind."""
    half_mask = Image.new("LA", (width, height), (255, 0))
    half_mask.paste((255, 255), (0, 0, width, height // 2))
    mask = BytesIO()
    half_mask.save(mask, "PNG")
    region = base64.b64encode(mask.getvalue()).decode()
    shifted_palettes = [palette.shift(hue=5.0 * (n + 1)).shares.tolist() for n in range(VERSIONS)]
    columns = [(n + 1) * width // (VERSIONS + 2) for n in range(VERSIONS)]
    return {
        "palette": [{"palette": shares} for shares in shifted_palettes],
        "region": [{"regions": [{"mask": region, "palette": shares}]} for shares in shifted_palettes],
        "point": [{"points": [{"x": x, "y": height // 2, "color": "#c03030"}]} for x in columns],
    }


def measure(server: Server, path: Path) -> tuple[dict[str, list[float]], dict[str, float], Any, bytes]:
    """Measures a photograph: milliseconds of each answer, and of the processor for one, by kind.

    Returns also its palette, and a preview.
    """
    from palgan_jax.palette.palette import Palette

    answer = json.loads(server.ask(f"pictures?name={path.name}", path.read_bytes()))
    palette = Palette(answer["palette"])
    times, cpu, content = {}, {}, b""
    for kind, wishes_of_kind in wishes(palette, answer["width"], answer["height"]).items():
        bodies = [
            json.dumps({"picture": answer["picture"], "side": SIDE, "wish": wish}).encode() for wish in wishes_of_kind
        ]
        server.ask("preview", bodies[-1])
        times[kind], cpu_before = [], server.cpu_seconds()
        for body in bodies:
            start = time.perf_counter()
            content = server.ask("preview", body)
            times[kind].append(1e3 * (time.perf_counter() - start))
        cpu[kind] = 1e3 * (server.cpu_seconds() - cpu_before) / VERSIONS
    return times, cpu, palette, content


def page_times(server: Server, palette: Any, picture: bytes) -> list[float]:
    """Returns milliseconds of the page's own work; nothing without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return []
    if BROWSER is None:
        return []
    spec = {**vars(palette.spec), "ab_range": palette.ab_range}
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]).new_page()
        page.goto(f"http://{server.address}")
        return page.evaluate(PAGE, [spec, palette.shares.tolist(), base64.b64encode(picture).decode()])


def main() -> None:
    """Measures, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--checkpoint")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    server = Server(args.checkpoint)
    try:
        paths = photographs(args.folder, args.every)
        measure(server, paths[0])  # what is compiled then is not counted
        rows = [measure(server, path) for path in paths]
        figures: dict[str, Any] = {"photographs": len(rows)}
        for kind in rows[0][0]:
            figures[f"{kind}_answer_ms"] = float(np.median(np.concatenate([times[kind] for times, *_ in rows])))
            figures[f"{kind}_cpu_ms"] = float(np.mean([cpu[kind] for _, cpu, *_ in rows]))
        if page := page_times(server, *rows[-1][2:]):
            figures["page_ms"] = float(np.median(page))
        tell(figures, 20, args.json)
    finally:
        server.process.kill()


if __name__ == "__main__":
    main()
