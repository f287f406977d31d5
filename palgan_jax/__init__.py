"""PalGAN (ECCV 2022) in JAX and Flax: colorizes photographs through a predicted palette.

Importing the package loads neither JAX nor a device; import the part that you need, e.g. `palgan_jax.nn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from palgan_jax.colorize.predictor import Colorizer
    from palgan_jax.data.in_memory import Readable
    from palgan_jax.palette.palette import Palette

__version__ = "0.1.0"
__all__ = ["Colorizer", "Palette", "open_picture"]


def open_picture(picture: Readable, *, max_pixels: int | None = None) -> np.ndarray:
    """Reads a picture as `palgan colorize` does, whatever its format, depth, color profile and orientation.

    Args:
      picture: a file ("-" for standard input), a picture of Pillow, or an array (H, W) or (H, W, 1 to 4).
      max_pixels: a file that has more is refused; None for 120 million.

    Returns:
      uint8 (H, W, 3), sRGB, upright, and on white paper where it is transparent; an array of its own.

    Raises:
      palgan_jax.errors.UserError: one sentence that says why it cannot be read.
    """
    import numpy as np

    from palgan_jax.data.decode import MAX_PIXELS
    from palgan_jax.data.in_memory import take_picture

    return np.array(take_picture(picture, max_pixels or MAX_PIXELS).on_white())


def __getattr__(name: str) -> Any:
    """Imports the classes of the package when they are first asked for."""
    if name == "Palette":
        from palgan_jax.palette.palette import Palette

        return Palette
    if name == "Colorizer":
        from palgan_jax.colorize.predictor import Colorizer

        return Colorizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
