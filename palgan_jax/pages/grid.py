"""Many small pictures with their names, as one picture: what is in a set, at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from palgan_jax.pages.contact_sheet_png import FAINT, GAP, INK, MARGIN, PAPER, as_rgb, draw_header, fit, shorten

_HEADING, _LABEL = 30, 20  # heights of a line of text


@dataclass(frozen=True)
class Section:
    """Some pictures under one heading.

    Attributes:
      heading: what they have in common.
      pictures: (name, uint8 (H, W, 3)) each.
    """

    heading: str
    pictures: Sequence[tuple[str, np.ndarray]]


def evenly(count: int, most: int) -> np.ndarray:
    """Returns the numbers of at most `most` of `count` things, spread evenly, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def draw_grid(
    sections: Sequence[Section], title: str, notes: Sequence[str] = (), *, cell: int = 128, columns: int = 12
) -> np.ndarray:
    """Draws sections below each other, each in rows of `columns` pictures with a longer side of `cell` pixels.

    Returns uint8 (H, W, 3).
    """
    font, small = (ImageFont.load_default(size) for size in (15, 12))
    row_height = cell + _LABEL + GAP
    rows = [-(-len(section.pictures) // columns) for section in sections]
    width = 2 * MARGIN + columns * cell + (columns - 1) * GAP
    header = 2 * MARGIN + 26 + 20 * len(notes)
    height = header + sum(_HEADING + count * row_height for count in rows) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw_header(draw, title, notes, width - 2 * MARGIN)
    y = header
    for section, count in zip(sections, rows, strict=True):
        draw.text((MARGIN, y), section.heading, fill=INK, font=font)
        y += _HEADING
        for number, (name, rgb) in enumerate(section.pictures):
            row, column = divmod(number, columns)
            left, top = MARGIN + column * (cell + GAP), y + row * row_height
            picture = fit(as_rgb(rgb), cell)
            sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
            draw.text((left, top + cell + 2), shorten(name, small, cell), fill=FAINT, font=small)
        y += count * row_height
    return np.asarray(sheet)
