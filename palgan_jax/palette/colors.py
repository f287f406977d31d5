"""Colors as people name them, and those of sRGB in the ab plane.

Colors are ab, float64 (..., 2), in Lab units. A palette knows no luminance: what is shown of a color has the L nearest
to 65 at which it exists in sRGB.
"""

import colorsys
import math
import re
from collections.abc import Mapping
from functools import cache

import numpy as np
from PIL import ImageColor

from palgan_jax.color import lab_to_rgb, rgb_to_lab
from palgan_jax.errors import UserError

_SHOWN_LIGHTNESS = 65.0
_FUNCTION = re.compile(r"((?:rgb|hsl)a?|hwb)\((.*)\)", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(\D*)", re.ASCII)
IN_PARENTHESES = r"\([^()\r\n]*\)"
WORD = re.compile(rf"(?:{IN_PARENTHESES}|\S)+")
"""A word, which a color with spaces in its parentheses is, too."""


def parse_color(text: str) -> np.ndarray:
    """Returns the ab (2,) of a color that is written as in CSS, in sRGB.

    That is `#5a7a3a`, `#573`, `teal`, `rgb(90 122 58)`, `rgb(90, 122, 58)`, `rgb(35% 48% 23%)`, `hsl(120deg 30% 40%)`
    or `hwb(90 23% 52%)`. Raises UserError for anything else, and for a color that is not opaque.
    """
    function = _FUNCTION.fullmatch(text.strip())
    try:
        *rgb, alpha = _function(*function.groups()) if function else _word(text.strip())
        if not np.isfinite(rgb).all():  # of numbers that are too large to be multiplied
            raise ValueError
    except ValueError:
        raise UserError(
            f"{text!r} is no color that is known here: write it as #5a7a3a, as rgb(90 122 58), or by its name in CSS, "
            "such as teal."
        ) from None
    if alpha < 1:
        raise UserError(f"{text!r} is not opaque, and a palette has opaque colors alone: leave the opacity out.")
    return ab_of_rgb(np.clip(rgb, 0, 1))  # as in CSS, which allows rgb(300, 0, 0)


def _word(text: str) -> list[float]:
    """Returns red, green, blue and opacity, up to 1, of a name, of hex digits, or of Pillow's hsv()."""
    levels = ImageColor.getrgb(text)
    return [level / 255 for level in (*levels[:3], levels[3] if len(levels) > 3 else 255)]


def _function(name: str, arguments: str) -> list[float]:
    """Returns red, green, blue and opacity, up to 1, of rgb(), hsl() or hwb(), with commas or without.

    Source: CSS Color Module Level 4, sections 5, 7 and 8. Raises ValueError for anything else.
    """
    if "," in arguments:
        first, second, third, *opacity = arguments.split(",")
    else:
        colors, *opacity = arguments.split("/")
        first, second, third = colors.split()
    alpha = _number(",".join(opacity) if opacity else "1", {"": 1, "%": 100})
    if name.lower().startswith("rgb"):
        return [*(_number(part, {"": 255, "%": 100}) for part in (first, second, third)), alpha]
    hue = _number(first, {"": 360, "deg": 360, "grad": 400, "rad": math.tau, "turn": 1}) % 1
    second_share, third_share = (_number(part, {"": 100, "%": 100}) for part in (second, third))
    if name.lower().startswith("hsl"):
        return [*colorsys.hls_to_rgb(hue, third_share, max(0, second_share)), alpha]
    white, black = np.array([second_share, third_share]) / max(1, second_share + third_share)
    return [*(white + (1 - white - black) * level for level in colorsys.hsv_to_rgb(hue, 1, 1)), alpha]


def _number(text: str, units: Mapping[str, float]) -> float:
    """Returns a number with one of the units, as a share of how many of that make the whole; 0 for none."""
    text = text.strip().lower()
    match = _NUMBER.fullmatch(text)
    if text == "none":
        return 0.0
    if not match or match[2] not in units or not math.isfinite(float(match[1])):
        raise ValueError
    return float(match[1]) / units[match[2]]


def ab_of_rgb(rgb: np.ndarray) -> np.ndarray:
    """Returns the ab (..., 2) of sRGB (..., 3) in [0, 1]."""
    return rgb_to_lab(np.asarray(rgb, np.float32))[..., 1:].astype(np.float64)


def shown_rgb(ab: np.ndarray) -> np.ndarray:
    """Returns the sRGB bytes (N, 3) in which colors (N, 2) are shown."""
    lightness = np.arange(1.0, 100.0)
    lab = np.empty((len(ab), len(lightness), 3), np.float32)
    lab[..., 0], lab[..., 1:] = lightness, ab[:, None]
    rgb = lab_to_rgb(lab)
    outside = np.abs(rgb - np.clip(rgb, 0, 1)).max(axis=-1)  # (N, 99)
    choice = np.argmin(1e4 * np.maximum(outside - 1e-3, 0) + np.abs(lightness - _SHOWN_LIGHTNESS), axis=1)
    return np.round(np.clip(rgb[np.arange(len(ab)), choice], 0, 1) * 255).astype(np.uint8)


def hex_of(rgb: np.ndarray) -> str:
    """Returns `#rrggbb` of sRGB bytes (3,)."""
    return "#{:02x}{:02x}{:02x}".format(*map(int, rgb))


def within_gamut(ab: np.ndarray) -> np.ndarray:
    """Returns colors (N, 2) with no more chroma than sRGB has at their hue, at any L; the hue stays."""
    chroma = np.hypot(ab[:, 0], ab[:, 1])
    largest = np.interp(np.degrees(np.arctan2(ab[:, 1], ab[:, 0])), np.arange(-180, 181), _largest_chroma())
    return ab * np.minimum(1, largest / np.maximum(chroma, 1e-9))[:, None]


@cache
def _largest_chroma() -> np.ndarray:
    """Returns the largest chroma of sRGB (361,) at the hues -180, -179 ... 180 degrees: all is on the cube's faces."""
    side = np.linspace(0, 1, 129)
    u, v = (x.ravel() for x in np.meshgrid(side, side))
    faces = [np.insert(np.stack([u, v], -1), axis, end, axis=1) for axis in range(3) for end in (0.0, 1.0)]
    ab = ab_of_rgb(np.concatenate(faces))
    degrees = np.round(np.degrees(np.arctan2(ab[:, 1], ab[:, 0]))).astype(int) + 180
    largest = np.zeros(361)
    np.maximum.at(largest, degrees, np.hypot(ab[:, 0], ab[:, 1]))
    largest[0] = largest[-1] = max(largest[0], largest[-1])
    return largest
