"""PalGAN (ECCV 2022) in JAX and Flax: colorizes photographs through a predicted palette.

Importing the package loads neither JAX nor a device; import the part that you need, e.g. `palgan_jax.nn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

__version__ = "0.1.0"


def open_picture(path: str | Path, *, max_pixels: int | None = None) -> np.ndarray:
    """Reads a picture file as `palgan colorize` does, whatever its format, depth, color profile and orientation.

    Args:
      path: the file; "-" for standard input.
      max_pixels: what has more is refused; None for 120 million.

    Returns:
      uint8 (H, W, 3), sRGB, upright, and on white paper where it is transparent.

    Raises:
      palgan_jax.errors.UserError: one sentence that says why the file cannot be read.
    """
    from palgan_jax.data.decode import MAX_PIXELS, read_rgb

    return read_rgb(path, max_pixels=max_pixels or MAX_PIXELS)
