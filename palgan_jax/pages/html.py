"""What the web pages of this project are made of: one style, light or dark as the reader has it, and pictures inside
the page, so that it is one file that fetches nothing."""

import base64
import html
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from palgan_jax.palette.histogram import bin_centers
from palgan_jax.palette.palette import Palette

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #faf9f6; --card: #ffffff; --ink: #212124; --faint: #63636b; --line: #e3e1da; --curve: #b4472b;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181b; --card: #1f2125; --ink: #ececee; --faint: #a3a4ab; --line: #33353b; --curve: #f08a6a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1360px; margin: 0 auto; padding: 2rem clamp(1rem, 3vw, 2.5rem) 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .8rem; }
h3 { font-size: 1rem; margin: 0; }
.notes { list-style: none; margin: 0; padding: 0; color: var(--faint); max-width: 80ch; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 36rem), 1fr)); gap: 1.25rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1rem; margin: 0; }
.pictures { display: grid; gap: .6rem; align-items: start; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); }
.pictures div { min-width: 0; }
.pictures img { display: block; width: 100%; height: auto; border-radius: 6px; }
.pictures span { display: block; font-size: .8rem; color: var(--faint); margin-bottom: .2rem; }
.pictures .palette img { outline: 1px solid var(--line); }
figcaption { margin-top: .7rem; display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: baseline; }
figcaption p { margin: 0; font-variant-numeric: tabular-nums; }
figcaption .credit { flex-basis: 100%; font-size: .85rem; color: var(--faint); overflow-wrap: anywhere; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.25rem; }
.curves h3 { font-size: .95rem; font-weight: 600; margin-bottom: .3rem; }
svg { display: block; width: 100%; height: auto; }
svg polyline { fill: none; stroke: var(--curve); stroke-width: 2; stroke-linejoin: round; }
svg circle { fill: var(--curve); }
svg line { stroke: var(--line); }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
@media (max-width: 40rem) { .pictures { grid-auto-flow: row; grid-template-columns: 1fr 1fr; } }
"""

# One every 30 degrees of the ab plane, from +a through +b.
_HUES = ("pink", "red", "orange", "yellow", "lime", "green", "teal", "cyan", "sky blue", "blue", "violet", "magenta")


def document(title: str, notes: Sequence[str], body: str, style: str = "") -> str:
    """Returns a whole page: title and notes as text, the rest as markup; `style` is added to STYLE."""
    lines = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title><style>{STYLE}{style}</style></head><body><main>",
            f"<header><h1>{html.escape(title)}</h1>",
            f'<ul class="notes">{lines}</ul></header>' if lines else "</header>",
            body,
            "</main></body></html>\n",
        ]
    )


def image(picture: np.ndarray, label: str, alt: str, *, kind: str = "") -> str:
    """Returns the markup of a picture, uint8 (H, W) or (H, W, 3), with a label; `kind` is a class such as palette."""
    height, width = picture.shape[:2]
    source = _data_uri(picture, lossless=bool(kind) or max(height, width) <= 128)
    return (
        f'<div class="{kind}"><span>{label}</span><img src="{source}" width="{width}" height="{height}" '
        f'loading="lazy" alt="{html.escape(alt, quote=True)}"></div>'
    )


def _data_uri(picture: np.ndarray, *, lossless: bool) -> str:
    buffer = io.BytesIO()
    drawing = Image.fromarray(np.ascontiguousarray(picture, np.uint8))
    if lossless:
        drawing.save(buffer, "PNG")
    else:
        # Full chroma resolution: color is what the reader has come to judge.
        drawing.save(buffer, "JPEG", quality=88, subsampling=0)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def describe_palette(palette: Palette) -> str:
    """Describes a palette for those who cannot see its drawing: the mean color, and how widely the palette spreads."""
    share = palette.shares.astype(np.float64)
    centers = bin_centers(palette.spec).astype(np.float64)
    grid = share.reshape(len(centers), len(centers))
    a, b = float(grid.sum(1) @ centers), float(grid.sum(0) @ centers)
    hue = _HUES[round(math.degrees(math.atan2(b, a)) / 30) % 12]
    entropy = abs(float((share * np.log(np.maximum(share, 1e-12))).sum()))
    tint = "balanced around gray" if math.hypot(a, b) < 0.04 else f"leaning toward {hue}"
    return f"{tint}, entropy {entropy:.2f} nats"


def figure(value: float) -> str:
    """Returns a number at the end of an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
