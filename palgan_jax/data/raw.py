"""Develops the raw files of cameras with LibRaw (rawpy, of the extra `formats`)."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from palgan_jax.errors import lacking

_TURNED = 4  # the bit of LibRaw's orientations that swaps sides
_SRGB_CURVE = (2.4, 12.92)  # exponent, and slope near black


@contextmanager
def _opened(data: bytes | BinaryIO, name: str) -> Iterator[Any]:
    """Opens a raw file, of which the header is read. Raises UserError where rawpy is not installed."""
    try:
        import rawpy
    except ModuleNotFoundError as error:
        raise lacking(f"{name} is a camera's raw file", error) from None
    try:
        with rawpy.imread(io.BytesIO(data) if isinstance(data, bytes) else data) as raw:
            yield raw
    except rawpy.LibRawError as error:
        reason = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error
        raise ValueError(f"LibRaw: {reason}") from None


def size(data: bytes | BinaryIO, name: str) -> tuple[int, int]:
    """Returns width and height of the developed picture, upright, from the bytes or the open file."""
    with _opened(data, name) as raw:
        sizes = raw.sizes
        return (sizes.iheight, sizes.iwidth) if sizes.flip & _TURNED else (sizes.iwidth, sizes.iheight)


def develop(data: bytes, name: str) -> np.ndarray:
    """Develops the bytes of a raw file with the camera's white balance: sRGB, uint16 (H, W, 3), upright.

    As cameras do, it is brightened until a hundredth of the pixels is white.
    """
    with _opened(data, name) as raw:
        return raw.postprocess(use_camera_wb=True, output_bps=16, gamma=_SRGB_CURVE)
