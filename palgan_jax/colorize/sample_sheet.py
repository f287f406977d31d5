"""A sheet of one photograph: as it is, and with each palette that was drawn around it."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from palgan_jax.palette.drawing import draw_swatches
from palgan_jax.palette.palette import Palette

_CELL, _BAR, _GAP, _LABEL = 360, 24, 12, 28


def draw_samples(pictures: Sequence[np.ndarray], palettes: Sequence[Palette]) -> np.ndarray:
    """Draws pictures, uint8 (H, W, 3) of one size, with the swatches of their palettes below: uint8 (H', W', 3).

    The first is named automatic, and the others sample 1, sample 2 and so on.
    """
    height, width = pictures[0].shape[:2]
    scale = _CELL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    step = size[0] + _GAP, size[1] + _BAR + _LABEL + _GAP
    sheet = Image.new("RGB", (columns * step[0] + _GAP, rows * step[1] + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for i, (picture, palette) in enumerate(zip(pictures, palettes, strict=True)):
        left, top = _GAP + i % columns * step[0], _GAP + i // columns * step[1]
        sheet.paste(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), (left, top))
        top += size[1]
        draw_swatches(sheet, palette.swatches(), (left, top + 4, left + size[0], top + _BAR))
        draw.text((left, top + _BAR + 4), f"sample {i}" if i else "automatic", fill="black", font=font)
    return np.asarray(sheet)
