"""The contact sheet's web page: one HTML file with pictures and curves inside, light or dark as the reader has it."""

import html
import math
from collections.abc import Sequence

from palgan_jax import palette as palettes
from palgan_jax.color import AB_RANGE
from palgan_jax.pages.html import describe_palette, document, figure, image
from palgan_jax.pages.rows import Curve, Row


def _card(row: Row, spec: palettes.PaletteSpec, ab_range: float) -> str:
    name = html.escape(row.name)
    images = [
        image(row.gray, "gray", f"{row.name}, in gray, as the model got it"),
        image(row.ours, "ours", f"{row.name}, colorized by the model"),
    ]
    if row.truth is not None:
        images.append(image(row.truth, "truth", f"{row.name}, in its true colors"))
    if row.palette is not None:
        drawing = palettes.picture(row.palette, spec, cell=8, ab_range=ab_range)
        alt = f"the palette predicted for {row.name}: {describe_palette(row.palette, spec)}"
        images.append(image(drawing, "palette", alt, kind="palette"))
    caption = f"<p>{html.escape(row.caption)}</p>" if row.caption else ""
    credit = f'<p class="credit">{html.escape(row.credit)}</p>' if row.credit else ""
    columns = "two" if row.truth is None else "three"
    return (
        f'<figure class="card"><div class="pictures {columns}">{"".join(images)}</div>'
        f"<figcaption><h3>{name}</h3>{caption}{credit}</figcaption></figure>"
    )


def _chart(curve: Curve) -> str:
    points = [(float(x), float(y)) for x, y in zip(curve.steps, curve.values, strict=True) if math.isfinite(y)]
    if not points:
        return ""
    (left, right), (low, high) = ((min(v), max(v)) for v in zip(*points, strict=True))
    width, height, gutter, top, bottom = 320, 150, 46, 8, 22
    scale_x = (width - gutter - 4) / (right - left or 1)
    scale_y = (height - top - bottom) / (high - low or 1)
    drawn = [(gutter + (x - left) * scale_x, height - bottom - (y - low) * scale_y) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
    mark = f'<circle cx="{drawn[0][0]:.1f}" cy="{drawn[0][1]:.1f}" r="3"/>' if len(drawn) == 1 else ""
    first, last = (f"{figure(y)} at step {figure(x)}" for x, y in (points[0], points[-1]))
    summary = html.escape(f"{curve.name}: from {first} to {last}", quote=True)
    rules = "".join(f'<line x1="{gutter}" x2="{width}" y1="{y}" y2="{y}"/>' for y in (top, height - bottom))
    return (
        f'<div class="card"><h3>{html.escape(curve.name)}</h3>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{summary}">'
        f'{rules}<polyline points="{line}"/>{mark}'
        f'<text x="0" y="{top + 4}">{figure(high)}</text><text x="0" y="{height - bottom + 4}">{figure(low)}</text>'
        f'<text x="{gutter}" y="{height - 6}">step {figure(left)}</text>'
        f'<text x="{width}" y="{height - 6}" text-anchor="end">{figure(right)}</text></svg></div>'
    )


def page(
    rows: Sequence[Row],
    title: str,
    notes: Sequence[str] = (),
    curves: Sequence[Curve] = (),
    spec: palettes.PaletteSpec = palettes.PaletteSpec(),
    ab_range: float = AB_RANGE,
) -> str:
    """Returns the page as HTML: title, notes, a card for each picture, a chart for each curve. It fetches nothing."""
    cards = "".join(_card(row, spec, ab_range) for row in rows)
    charts = "".join(_chart(curve) for curve in curves)
    body = f'<section aria-label="pictures"><h2>Pictures</h2><div class="cards">{cards}</div></section>'
    if charts:
        body += f'<section aria-label="training"><h2>Training</h2><div class="curves">{charts}</div></section>'
    return document(title, notes, body)
