"""One picture, decoded."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from palgan_jax.data.levels import to_bytes


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as a person sees it: upright, in sRGB.

    Attributes:
      pixels: uint8 or uint16, (H, W) where all is gray, otherwise (H, W, 3); colors as they are under the alpha.
      alpha: the opacity, (H, W) of the same type as the pixels; None where all is opaque.
      notes: sentences about what a person should know, such as pages that were left out; mostly none.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def rgb(self) -> np.ndarray:
        """Returns the colors under the alpha, uint8 or uint16 (H, W, 3)."""
        return np.repeat(self.pixels[..., None], 3, axis=2) if self.pixels.ndim == 2 else self.pixels

    def on_white(self) -> np.ndarray:
        """Returns the picture as it lies on white paper, uint8 (H, W, 3), contiguous; mostly not to be written to."""
        if self.alpha is None and self.pixels.ndim == 3 and self.pixels.dtype == np.uint8:
            return self.pixels
        image = Image.fromarray(np.ascontiguousarray(to_bytes(self.pixels)))
        if self.alpha is not None:
            opacity = Image.fromarray(np.ascontiguousarray(to_bytes(self.alpha)))
            image = Image.composite(image, Image.new(image.mode, image.size, "white"), opacity)
        return np.asarray(image.convert("RGB"))
