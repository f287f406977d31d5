"""The contact sheet's web page: one HTML file with pictures and curves inside, light or dark as the reader has it."""

import html
from collections.abc import Sequence

from palgan_jax.color import AB_RANGE
from palgan_jax.pages.chart import STYLE as CHARTS
from palgan_jax.pages.chart import chart
from palgan_jax.pages.html import describe_palette, document, image
from palgan_jax.pages.rows import Curve, Row
from palgan_jax.palette import histogram as palettes
from palgan_jax.palette.spec import PaletteSpec


def _card(row: Row, spec: PaletteSpec, ab_range: float) -> str:
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


def page(
    rows: Sequence[Row],
    title: str,
    notes: Sequence[str] = (),
    curves: Sequence[Curve] = (),
    spec: PaletteSpec = PaletteSpec(),
    ab_range: float = AB_RANGE,
) -> str:
    """Returns the page as HTML: title, notes, a card for each picture, a chart for each curve. It fetches nothing."""
    cards = "".join(_card(row, spec, ab_range) for row in rows)
    charts = "".join(chart(curve.name, [curve], curve.levels) for curve in curves)
    body = f'<section aria-label="pictures"><h2>Pictures</h2><div class="cards">{cards}</div></section>'
    if charts:
        body += f'<section aria-label="training"><h2>Training</h2><div class="curves">{charts}</div></section>'
    return document(title, notes, body, CHARTS)
