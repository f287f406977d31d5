"""The contact sheet's web page: one HTML file with pictures and curves inside, light or dark as the reader has it."""

import html
from collections.abc import Sequence

import numpy as np

from palgan_jax.pages.chart import STYLE as CHARTS
from palgan_jax.pages.chart import chart
from palgan_jax.pages.html import describe_palette, document, image
from palgan_jax.pages.rows import Curve, Row

_REM = 9  # the least width of a picture beside others


def _card(row: Row) -> str:
    name = html.escape(row.name)
    images = [
        image(row.gray, "gray", f"{row.name}, in gray, as the model got it"),
        *(image(x, html.escape(system), f"{row.name}, colorized: {system}") for system, x in row.painted.items()),
    ]
    if row.truth is not None:
        images.append(image(row.truth, "truth", f"{row.name}, in its true colors"))
    if row.palette is not None:
        alt = f"the palette predicted for {row.name}: {describe_palette(row.palette)}"
        images.append(image(np.asarray(row.palette.draw()), "palette", alt, kind="palette"))
    caption = f"<p>{html.escape(row.caption)}</p>" if row.caption else ""
    credit = f'<p class="credit">{html.escape(row.credit)}</p>' if row.credit else ""
    return (
        f'<figure class="card"><div class="pictures">{"".join(images)}</div>'
        f"<figcaption><h3>{name}</h3>{caption}{credit}</figcaption></figure>"
    )


def page(
    rows: Sequence[Row],
    title: str,
    notes: Sequence[str] = (),
    curves: Sequence[Curve] = (),
) -> str:
    """Returns the page as HTML: title, notes, a card for each picture, a chart for each curve. It fetches nothing."""
    cards = [_card(row) for row in rows]
    charts = "".join(chart(curve.name, [curve], curve.levels) for curve in curves)
    body = f'<section aria-label="pictures"><h2>Pictures</h2><div class="cards">{"".join(cards)}</div></section>'
    if charts:
        body += f'<section aria-label="training"><h2>Training</h2><div class="curves">{charts}</div></section>'
    columns = max((card.count("<img ") for card in cards), default=1)
    width = f".cards {{ grid-template-columns: repeat(auto-fill, minmax(min(100%, {_REM * columns}rem), 1fr)); }}"
    return document(title, notes, body, CHARTS + width)
