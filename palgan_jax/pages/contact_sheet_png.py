"""The contact sheet as one picture."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from palgan_jax.pages.rows import Row

PAPER = (250, 249, 246)
INK = (33, 33, 36)
FAINT = (112, 112, 118)
GAP = 8
MARGIN = 24
_HEADING, _LABEL = 26, 46  # heights of the line above the pictures, and of that below them


def as_rgb(picture: np.ndarray) -> Image.Image:
    """Returns uint8 (H, W) or (H, W, 3) as a picture to draw."""
    return Image.fromarray(np.ascontiguousarray(picture, np.uint8)).convert("RGB")


def fit(picture: Image.Image, cell: int) -> Image.Image:
    """Scales a picture so that its longer side is `cell`."""
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)


def shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Cuts a text with an ellipsis where it is wider than the room."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def draw_sheet(
    rows: Sequence[Row],
    title: str = "",
    notes: Sequence[str] = (),
    *,
    cell: int = 192,
) -> np.ndarray:
    """Draws a contact sheet as one picture.

    Args:
      rows: what to draw; one row of it each.
      title: set above the rows.
      notes: lines set below the title, such as which checkpoint was used.
      cell: the longer side of each picture, pixels.

    Returns uint8 (H, W, 3).
    """
    columns = 1 if len(rows) <= 5 else 2
    headings = ["gray", *(rows[0].painted if rows else ())]
    if any(row.truth is not None for row in rows):
        headings.append("truth")
    if any(row.palette is not None for row in rows):
        headings.append("palette")
    pictures = [_row_pictures(row, cell) for row in rows]
    lines = [range(first, min(first + columns, len(rows))) for first in range(0, len(rows), columns)]
    palette_width = max(cell * 3 // 4, 48)  # as wide as its heading at least
    palettes = [None if row.palette is None else row.palette.draw(palette_width) for row in rows]
    block = len(headings) * (cell + GAP) - GAP - (cell - palette_width if "palette" in headings else 0)
    header = MARGIN + (36 if title else 0) + 20 * len(notes) + (8 if title or notes else 0)
    heights = [
        max(drawing.height for i in line for drawing in (*pictures[i], palettes[i]) if drawing is not None)
        for line in lines
    ]
    width = 2 * MARGIN + columns * block + (columns - 1) * 4 * GAP
    height = header + _HEADING + sum(line_height + _LABEL for line_height in heights) + MARGIN // 2
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw_header(draw, title, notes, width - 2 * MARGIN)
    lefts = [MARGIN + column * (block + 4 * GAP) for column in range(min(columns, max(len(rows), 1)))]
    for left in lefts:
        for i, heading in enumerate(headings):
            draw.text((left + i * (cell + GAP), header), heading, fill=FAINT, font=_font(13))
    y = header + _HEADING
    for line, line_height in zip(lines, heights, strict=True):
        for left, i in zip(lefts, line, strict=False):
            for k, picture in enumerate(pictures[i]):
                sheet.paste(picture, (left + k * (cell + GAP) + (cell - picture.width) // 2, y))
            if (drawing := palettes[i]) is not None:
                sheet.paste(drawing, (left + headings.index("palette") * (cell + GAP), y))
            _draw_label(draw, rows[i], (left, y + line_height), block)
        y += line_height + _LABEL
    return np.asarray(sheet)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _row_pictures(row: Row, cell: int) -> list[Image.Image]:
    arrays = [row.gray, *row.painted.values(), *([] if row.truth is None else [row.truth])]
    return [fit(as_rgb(array), cell) for array in arrays]


def draw_header(draw: ImageDraw.ImageDraw, title: str, notes: Sequence[str], width: int) -> None:
    """Draws a title and notes below it, as far as they fit the width."""
    y = MARGIN
    if title:
        draw.text((MARGIN, y), shorten(title, _font(24), width), fill=INK, font=_font(24))
        y += 36
    for note in notes:
        draw.text((MARGIN, y), shorten(note, _font(15), width), fill=FAINT, font=_font(15))
        y += 20


def _draw_label(draw: ImageDraw.ImageDraw, row: Row, place: tuple[int, int], width: int) -> None:
    """Draws the name on the left and the caption on the right, below the pictures of a row."""
    left, top = place
    name, caption = shorten(row.name, _font(15), width / 2), shorten(row.caption, _font(13), width / 2 - 8)
    draw.text((left, top + 5), name, fill=INK, font=_font(15))
    draw.text((left + width, top + 6), caption, fill=FAINT, font=_font(13), anchor="ra")
