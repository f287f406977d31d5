"""The palettes of a series of pictures, of which the mean paints all of them (`--lock`)."""

import math
from collections.abc import Mapping
from threading import Lock

from palgan_jax.colorize.inputs import Source
from palgan_jax.colorize.large import open_large, predict_palette
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.pixel_budget import PixelBudget
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.colorize.prepared import Subject
from palgan_jax.data.decode import decode_picture
from palgan_jax.data.file_bytes import read_bytes
from palgan_jax.errors import UserError
from palgan_jax.palette.palette import Palette
from palgan_jax.util.threads import available_cores, ordered_map


def predict_palettes(
    colorizer: Colorizer, sizes: Mapping[Source, tuple[int, int]], max_pixels: int, painting: Painting
) -> list[Palette]:
    """Predicts the palettes of all pictures that can be read, each of what is seen of it where it is painted so.

    Of the others, those who colorize them will tell.

    Args:
      colorizer: what predicts.
      sizes: the pictures, each with its (width, height).
      max_pixels: what has more is left out.
      painting: how they will be painted.
    """
    turn, budget = Lock(), PixelBudget()

    def predict(source: Source) -> Palette | None:
        pixels = math.prod(sizes[source])
        try:
            with budget.share(pixels), open_large(source.path, source.page, pixels) as bands:
                if bands is not None:
                    return predict_palette(colorizer, bands, painting, turn)
                options = {"at_least": colorizer.resolution, "max_pixels": max_pixels, "page": source.page}
                subject = Subject(decode_picture(read_bytes(source.path), name=str(source), **options))
                return colorizer.predict_palette_of(subject, painting.restore_contrast, painting.sees_border, turn)
        except UserError:
            return None

    cores = available_cores()
    palettes = ordered_map(predict, sizes, cores, 2 * cores)
    return [palette for palette in palettes if palette is not None]
