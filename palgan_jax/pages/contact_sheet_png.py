"""The contact sheet as one picture."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from palgan_jax import palette as palettes
from palgan_jax.color import AB_RANGE
from palgan_jax.pages.rows import Row

PAPER = (250, 249, 246)
INK = (33, 33, 36)
FAINT = (112, 112, 118)
GAP = 8
MARGIN = 24


def as_rgb(picture: np.ndarray) -> Image.Image:
    """Returns uint8 (H, W) or (H, W, 3) as a picture to draw."""
    return Image.fromarray(np.ascontiguousarray(picture, np.uint8)).convert("RGB")


def fit(picture: Image.Image, cell: int) -> Image.Image:
    """Scales a picture so that its longer side is `cell`."""
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)


def _palette_picture(h: np.ndarray, spec: palettes.PaletteSpec, ab_range: float, cell: int) -> Image.Image:
    """Draws a palette with whole pixels for each bin, at most `cell` wide."""
    return Image.fromarray(palettes.picture(h, spec, cell=max(1, cell // spec.bins), ab_range=ab_range))


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
    columns: int | None = None,
    spec: palettes.PaletteSpec = palettes.PaletteSpec(),
    ab_range: float = AB_RANGE,
) -> np.ndarray:
    """Draws a contact sheet as one picture.

    Args:
      rows: what to draw; one row of it each.
      title: set above the rows.
      notes: lines set below the title, such as which checkpoint was used.
      cell: the longer side of each picture, pixels.
      columns: how many rows stand beside each other; chosen from their number when None.
      spec: how the palettes were counted.
      ab_range: the a or b that is 1.0 in them.

    Returns uint8 (H, W, 3).
    """
    columns = columns or (1 if len(rows) <= 5 else 2)
    font, small, big = (ImageFont.load_default(size) for size in (15, 13, 24))
    parts = [[as_rgb(row.gray), as_rgb(row.ours), *([] if row.truth is None else [as_rgb(row.truth)])] for row in rows]
    parts = [[fit(picture, cell) for picture in pictures] for pictures in parts]
    heads = ["gray", "ours"] + (["truth"] if any(row.truth is not None for row in rows) else [])
    side = max(cell // 2, 48)  # as wide as its heading at least
    has_palette = any(row.palette is not None for row in rows)
    block = len(heads) * (cell + GAP) + (side if has_palette else -GAP)
    heights = [max(p.height for p in pictures) for pictures in parts]
    lines = [heights[i : i + columns] for i in range(0, len(heights), columns)]

    header = MARGIN + (36 if title else 0) + 20 * len(notes) + (8 if title or notes else 0)
    text_height = 46
    width = 2 * MARGIN + columns * block + (columns - 1) * 4 * GAP
    height = header + 26 + sum(max(line) + text_height for line in lines) + MARGIN // 2
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)

    y = MARGIN
    if title:
        draw.text((MARGIN, y), shorten(title, big, width - 2 * MARGIN), fill=INK, font=big)
        y += 36
    for note in notes:
        draw.text((MARGIN, y), shorten(note, font, width - 2 * MARGIN), fill=FAINT, font=font)
        y += 20
    y = header
    lefts = [MARGIN + column * (block + 4 * GAP) for column in range(min(columns, max(len(rows), 1)))]
    for left in lefts:
        for i, head in enumerate(heads):
            draw.text((left + i * (cell + GAP), y), head, fill=FAINT, font=small)
        if has_palette:
            draw.text((left + len(heads) * (cell + GAP), y), "palette", fill=FAINT, font=small)
    y += 26
    for first, line in zip(range(0, len(rows), columns), lines, strict=True):
        line_height = max(line)
        for left, row, pictures in zip(lefts, rows[first:], parts[first:], strict=False):
            for i, picture in enumerate(pictures):
                sheet.paste(picture, (left + i * (cell + GAP) + (cell - picture.width) // 2, y))
            if row.palette is not None:
                drawing = _palette_picture(row.palette, spec, ab_range, side)
                sheet.paste(drawing, (left + len(heads) * (cell + GAP), y))
            draw.text((left, y + line_height + 5), shorten(row.name, font, block / 2), fill=INK, font=font)
            draw.text(
                (left + block, y + line_height + 6),
                shorten(row.caption, small, block / 2 - 8),
                fill=FAINT,
                font=small,
                anchor="ra",
            )
        y += line_height + text_height
    return np.asarray(sheet)
