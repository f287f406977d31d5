"""The drawing of a palette: the ab plane lit by its shares, with the plane's axes, above a bar of its swatches."""

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from palgan_jax.palette.swatches import Swatch

GAP = 8  # pixels between the plane and the bar
_LINE, _WORD = (255, 255, 255, 60), (190, 190, 190, 255)
_SIDE_WITH_WORDS = 112  # pixels; on a smaller plane the words would hide the colors


def draw_palette(plane: np.ndarray, swatches: Iterable[Swatch]) -> Image.Image:
    """Draws a plane, uint8 (S, S, 3) as `histogram.picture` makes it, its axes, and swatches below it.

    The axes are where a or b is 0, each end with the name of its color. The bar is 5/32 of S high.
    """
    side = plane.shape[1]
    drawing = Image.new("RGB", (side, side + GAP + side * 5 // 32), "white")
    drawing.paste(_with_axes(plane))
    draw_swatches(drawing, swatches, (0, side + GAP, *drawing.size))
    return drawing


def draw_swatches(drawing: Image.Image, swatches: Iterable[Swatch], box: tuple[int, int, int, int]) -> None:
    """Draws swatches beside each other, as wide as their shares, in a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    edge = float(left)
    for swatch in swatches:
        end = edge + swatch.share * (right - left)
        drawing.paste(swatch.color, (round(edge), top, round(end), bottom))
        edge = end


def _with_axes(plane: np.ndarray) -> Image.Image:
    side, middle = plane.shape[1], plane.shape[1] // 2
    marks = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(marks)
    draw.line((middle, 0, middle, side), _LINE)
    draw.line((0, middle, side, middle), _LINE)
    if side >= _SIDE_WITH_WORDS:
        font = ImageFont.load_default(max(10, side // 18))
        ends = {"yellow": (middle + 4, 2, "lt"), "blue": (middle + 4, side - 3, "lb")}
        ends |= {"green": (3, middle - 3, "lb"), "red": (side - 3, middle - 3, "rb")}
        for word, (x, y, anchor) in ends.items():
            draw.text((x, y), word, _WORD, font, anchor=anchor)
    return Image.alpha_composite(Image.fromarray(plane).convert("RGBA"), marks).convert("RGB")
