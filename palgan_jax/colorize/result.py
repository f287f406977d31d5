"""What a colorizer returns."""

import io
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax.colorize.encode import FORMATS, encode, format_of_suffix
from palgan_jax.colorize.metadata import Metadata, no_metadata
from palgan_jax.data.levels import to_bytes
from palgan_jax.errors import UserError
from palgan_jax.palette.palette import Palette
from palgan_jax.util.files import write_file

_SHOWN = 512  # pixels: the longer side of a picture in a notebook


@dataclass(frozen=True, eq=False)
class Result:
    """A colorized picture.

    Attributes:
      pixels: sRGB (H, W, 3), or (H, W, 4) with the opacity; uint16 where the picture has 16 bits, otherwise uint8.
      palette: the palette that it was painted with.
      ab: the predicted ab (R, R, 2), in Lab units, of the square that the model sees, after the saturation.
      samples: the same picture with palettes that were drawn around this one.
      metadata: what a file of it says beside its pixels.
    """

    pixels: np.ndarray
    palette: Palette
    ab: np.ndarray
    samples: tuple["Result", ...] = ()
    metadata: Metadata | None = None

    @cached_property
    def image(self) -> Image.Image:
        """The picture, with 8 bits."""
        return Image.fromarray(to_bytes(self.pixels))

    def save(self, path: str | os.PathLike, quality: int | None = None) -> None:
        """Writes the picture as `palgan colorize` does: captions, dates and places of its photograph are kept.

        A file that exists is replaced. The suffix says the format: PNG and TIFF keep 16 bits, JPEG, WebP and AVIF take
        a quality of 1 to 100. Raises UserError for other suffixes, and where it cannot be written.
        """
        path = Path(path)
        kind = format_of_suffix(path)
        if kind is None:
            suffixes = ", ".join(format_.suffixes[0] for format_ in FORMATS.values())
            raise UserError(f"{path} names a format that is not written: choose {suffixes}.")
        write_file(path, encode(self.pixels, self.metadata or no_metadata(), kind, quality, str(path)))

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        samples = f", {len(self.samples)} samples" if self.samples else ""
        return f"Result({width} x {height}, {self.palette!r}{samples})"

    def _repr_png_(self) -> bytes:
        """Draws the picture with its samples and the palette, for notebooks."""
        pictures = [_thumbnail(result.image) for result in (self, *self.samples)]
        pictures.append(self.palette.draw())
        sheet = Image.new("RGB", (sum(x.width + 8 for x in pictures) - 8, max(x.height for x in pictures)), "white")
        left = 0
        for picture in pictures:
            sheet.paste(picture, (left, 0), picture if picture.mode == "RGBA" else None)
            left += picture.width + 8
        content = io.BytesIO()
        sheet.save(content, "PNG")
        return content.getvalue()


def _thumbnail(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((_SHOWN, _SHOWN), Image.Resampling.LANCZOS)
    return small
