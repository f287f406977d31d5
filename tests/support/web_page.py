"""The page of `palgan web` in Debian's Chromium; draws the pictures of docs/web.md.

python -m tests.support.web_page
"""

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.support.places import COMPILATION_CACHE, ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--force-color-profile=srgb"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE = 180_000
"""Milliseconds: a busy machine fails no test."""


@contextmanager
def serving(*words: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Runs `palgan web` on a free port; yields its address and its process."""
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(COMPILATION_CACHE)}
    command = [sys.executable, "-m", "palgan_jax.cli", "web", "--port", "0", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield match[0], process
                break
        else:
            raise AssertionError(process.stderr and process.stderr.read())
    finally:
        process.kill()
        process.communicate()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Starts Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def loaded(browser: Browser, address: str, **options) -> Page:
    """Opens the page; `page.problems` are errors of its scripts, `page.requested_urls` all addresses it asks for."""
    page = browser.new_context(accept_downloads=True, **options).new_page()
    page.set_default_timeout(PATIENCE)
    page.problems = problems = []
    page.requested_urls = requested_urls = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(
            "Failed to load resource"
        ):  # the page tells of these
            problems.append(message.text)

    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", note)
    page.on("request", lambda request: requested_urls.append(request.url))
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return page


def drop(page: Page, target: str, path: Path, name: str | None = None) -> None:
    """Drops a file onto an element, as a person does from a folder."""
    data = base64.b64encode(path.read_bytes()).decode()
    transfer = page.evaluate_handle(
        """([data, name]) => {
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name));
          return transfer;
        }""",
        [data, name or path.name],
    )
    page.dispatch_event(target, "dragenter", {"dataTransfer": transfer})
    page.dispatch_event(target, "drop", {"dataTransfer": transfer})


def open_picture(page: Page, path: Path) -> None:
    """Drops a picture onto the page, and waits until it is there with its versions."""
    drop(page, "#stage", path)
    expect(page.locator("#name")).to_have_text(path.name, timeout=PATIENCE)
    expect(page.locator("#versions canvas")).to_have_count(6, timeout=PATIENCE)
    settle(page)


def settle(page: Page) -> None:
    """Waits until the picture has followed, at its sharpest."""
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")  # drawn, and fitted
    expect(page.locator("#frame")).to_have_attribute("aria-busy", "false", timeout=PATIENCE)


def downloaded(page: Page, button: str, target: Path) -> Path:
    """Presses a button, and keeps what is downloaded then."""
    with page.expect_download(timeout=PATIENCE) as download:
        page.click(button)
    download.value.save_as(target)
    return target


def drag(page: Page, canvas: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drags with the mouse over an element, between places in shares of its size."""
    page.locator(canvas).scroll_into_view_if_needed()
    box = page.locator(canvas).bounding_box()
    assert box is not None
    (x, y), (to_x, to_y) = ((box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in (start, end))
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(x + (to_x - x) * step / 5, y + (to_y - y) * step / 5)
    page.mouse.up()


def draw_pictures(folder: Path) -> None:
    """Draws the pictures of the documentation, with the bundled model."""
    samples = ROOT / "examples" / "samples"
    with serving() as (address, _), chromium() as browser:

        def shoot(page: Page, name: str) -> None:
            page.screenshot(path=folder / name, type="jpeg", quality=85)
            page.context.close()

        page = loaded(browser, address, viewport={"width": 1280, "height": 860})
        open_picture(page, samples / "wooden-house.jpg")
        shoot(page, "page.jpg")
        page = loaded(browser, address, viewport={"width": 1280, "height": 860}, color_scheme="dark")
        open_picture(page, samples / "hay-field.jpg")
        page.click("#where button:has-text('Region')")
        drag(page, "#frame", (0.1, 0.9), (0.9, 0.85))
        drag(page, "#frame", (0.9, 0.75), (0.1, 0.75))
        drag(page, "#plane", (0.47, 0.4), (0.62, 0.3))
        settle(page)
        shoot(page, "region.jpg")
        page = loaded(browser, address, viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True)
        open_picture(page, samples / "astronaut.jpg")
        shoot(page, "phone.jpg")


if __name__ == "__main__":
    os.environ.pop("XLA_FLAGS", None)
    pictures = ROOT / "docs" / "web"
    pictures.mkdir(exist_ok=True)
    draw_pictures(pictures)
