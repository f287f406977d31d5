"""What the page wishes for, as JSON, and how pictures are painted then."""

import base64
import binascii
import json
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.points import Hints
from palgan_jax.colorize.regions import Region, mask_of
from palgan_jax.data.decode import decode_picture
from palgan_jax.errors import UserError
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.spec import PaletteSpec

MOST_POINTS, MOST_REGIONS = 64, 8
_MASK_PIXELS = 4_000_000


def json_object(data: bytes) -> dict[str, Any]:
    """Returns the object that JSON holds. Raises UserError for anything else."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError("this is no object of JSON: load the page anew.")
    return content


def painting_of(wish: object, spec: PaletteSpec, ab_range: float) -> Painting:
    """Returns how to paint what the page wishes for.

    Args:
      wish: an object of JSON: "palette", K shares or null for the predicted one; "saturation"; "points", each with "x",
        "y" and "color"; "regions", each with "mask", a picture in base64, and "palette".
      spec, ab_range: how the model's palettes are counted.

    Raises UserError for anything else.
    """
    if not isinstance(wish, dict):
        raise UserError("a wish is an object of JSON: load the page anew.")
    shares = wish.get("palette")
    points = [_point(point) for point in _list(wish, "points", MOST_POINTS)]
    regions = [_region(region, i, spec, ab_range) for i, region in enumerate(_list(wish, "regions", MOST_REGIONS), 1)]
    return Painting(
        None if shares is None else palette_of(shares, spec, ab_range),
        saturation=number_of(wish, "saturation", 1.0),
        hints=Hints.at_points(points) if points else None,
        regions=tuple(regions),
    )


def palette_of(shares: object, spec: PaletteSpec, ab_range: float) -> Palette:
    """Returns the palette of K shares. Raises UserError for anything else."""
    if not isinstance(shares, list) or not all(isinstance(share, int | float) for share in shares):
        raise UserError(f"a palette is a list of {spec.size} numbers: load the page anew.")
    return Palette(np.asarray(shares), spec, ab_range)


def number_of(content: dict[str, Any], name: str, default: float) -> float:
    """Returns a number of an object of JSON. Raises UserError for anything else."""
    value = content.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"the {name} is a number: load the page anew.")
    try:
        return float(value)
    except OverflowError:  # a whole number may have any number of digits
        return math.inf if value > 0 else -math.inf


def whole_number_of(content: dict[str, Any], name: str, default: int, least: int) -> int:
    """Returns a whole number of an object of JSON. Raises UserError for anything else, and for less than `least`."""
    value = content.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"the {name} is a whole number from {least} on: load the page anew.")
    return value


def _list(wish: dict[str, Any], name: str, limit: int) -> Sequence[Any]:
    value = wish.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UserError(f"the {name} are a list of objects: load the page anew.")
    if len(value) > limit:
        raise UserError(f"there are at most {limit} {name}: remove some.")
    return value


def _point(point: dict[str, Any]) -> tuple[tuple[int, int], str]:
    return (point.get("x", -1), point.get("y", -1)), point.get("color", "")


def _region(region: dict[str, Any], number: int, spec: PaletteSpec, ab_range: float) -> Region:
    name = f"the mask of region {number}"
    mask = region.get("mask")
    if not isinstance(mask, str):
        raise UserError(f"{name} is missing: load the page anew.")
    return Region(_mask(mask, name), palette_of(region.get("palette"), spec, ab_range), name)


@lru_cache(maxsize=MOST_REGIONS)
def _mask(text: str, name: str) -> np.ndarray:
    """Decodes a mask; it stays the same while its palette is moved."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"{name} is no base64: load the page anew.") from None
    return mask_of(decode_picture(data, name=name, max_pixels=_MASK_PIXELS), name)
