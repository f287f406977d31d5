"""Pictures that a program holds, Pillow's or arrays, as those that are read from files."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax.data import levels
from palgan_jax.data.decode import MAX_PIXELS, decode_picture, orientation, quiet_pillow
from palgan_jax.data.file_bytes import read_bytes
from palgan_jax.data.picture import Picture
from palgan_jax.data.stored_pixels import StoredPixels
from palgan_jax.errors import UserError

Readable = str | os.PathLike | Image.Image | np.ndarray
"""A file, a picture of Pillow, or an array: (H, W), (H, W, 1), (H, W, 3), or with opacity (H, W, 2) or (H, W, 4)."""


def take_picture(source: Readable, max_pixels: int = MAX_PIXELS) -> Picture:
    """Returns a picture, upright, in sRGB.

    Pictures of Pillow are converted by their color profile and turned by their EXIF orientation, as files are. Arrays
    are sRGB; integers of another type than uint8 and uint16, and floats, are scaled as `levels` says.

    Raises UserError for a file that cannot be read, and for anything else that is no picture.
    """
    if isinstance(source, str | os.PathLike):
        return decode_picture(read_bytes(Path(source)), name=os.fspath(source), max_pixels=max_pixels)
    if isinstance(source, Image.Image):
        stored = StoredPixels("the picture", source.info.get("icc_profile") or b"")
        with quiet_pillow:
            stored.take(source)
            return stored.upright(orientation(source))
    if isinstance(source, np.ndarray):
        stored = StoredPixels("the array", b"")
        stored.take_samples(_samples(source), None)
        return stored.upright(1)
    raise UserError(f"a picture is a path, a picture of Pillow or an array, and not {type(source).__name__}.")


def _samples(array: np.ndarray) -> np.ndarray:
    """Returns an array as levels, uint8 or uint16, of (H, W, 1 to 4). Raises UserError where it is no picture."""
    samples = array[..., None] if array.ndim == 2 else array
    if samples.ndim != 3 or not 1 <= samples.shape[-1] <= 4 or not samples.size:
        raise UserError(f"an array of a picture has the shape (H, W) or (H, W, 1 to 4), not {array.shape}.")
    if samples.dtype in (np.uint8, np.uint16):
        return samples
    if samples.dtype.kind == "f":
        return levels.from_floats(samples)
    if samples.dtype.kind in "iu":
        return levels.from_integers(samples, 8 * samples.dtype.itemsize)
    raise UserError(f"an array of a picture has integers or floats, not {samples.dtype}.")
