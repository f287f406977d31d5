"""Scans one stored picture: whether it can be read, its size, and how much color it has."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from palgan_jax.color import bytes_to_lab, colorfulness
from palgan_jax.data.decode import decode_rgb, picture_size_of
from palgan_jax.data.jpeg import plain_size
from palgan_jax.data.protocols import Pictures
from palgan_jax.data.time_limit import within_time
from palgan_jax.errors import UserError
from palgan_jax.util.files import hash64

THUMBNAIL = 64
"""Side, in pixels, of the thumbnail that color is measured on."""


@dataclass(frozen=True)
class Unreadable:
    """The reason why a picture cannot be used.

    Attributes:
      reason: continues a sentence that begins with the picture's name.
      unreachable: True where its file could not be read at all, so that another try may succeed.
    """

    reason: str
    unreachable: bool = False


def scan_picture(pictures: Pictures, i: int) -> dict[str, object] | Unreadable:
    """Returns the columns of picture i's row of the index except its stamp, or why it cannot be used."""

    def reason(error: UserError) -> str:
        return str(error).removeprefix(pictures.label(i)).strip().removesuffix(".")

    try:
        name, data = pictures.load(i)
    except UserError as error:
        return Unreadable(reason(error), unreachable=True)
    try:
        width, height = picture_size_of(data, name=pictures.label(i))
        decode = partial(decode_rgb, data, name=pictures.label(i), at_least=THUMBNAIL)
        # A plain JPEG of few scans, as most are, cannot take long.
        rgb = decode() if plain_size(data) else within_time(decode, pictures.label(i), width * height)
    except UserError as error:
        return Unreadable(reason(error))
    thumbnail = Image.fromarray(rgb).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    return {
        "name": hash64(name),
        "width": width,
        "height": height,
        "file_bytes": len(data),
        **color_statistics(np.asarray(thumbnail)),
    }


def color_statistics(rgb: np.ndarray) -> dict[str, object]:
    """Computes range_ab, float32 (2,), in units of Lab, and colorfulness of a picture, uint8 sRGB (H, W, 3)."""
    lab = np.asarray(bytes_to_lab(rgb))  # type: ignore[arg-type]  # NumPy's in, NumPy's out
    ab = np.ascontiguousarray(lab.reshape(-1, 3).T[1:])  # (2, H * W): NumPy reduces rows many times as fast as columns
    return {
        "range_ab": ab.max(axis=1) - ab.min(axis=1),
        "colorfulness": colorfulness(rgb[None].astype(np.float32))[0],
    }
