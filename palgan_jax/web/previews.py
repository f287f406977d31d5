"""Previews: a picture as it is painted, at the size of a screen."""

from dataclasses import replace

import simplejpeg

from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.colorize.prepared import Subject

_QUALITY = 90  # of a JPEG


def preview(colorizer: Colorizer, small: Subject, size: tuple[int, int], painting: Painting) -> bytes:
    """Paints a picture at the size of a screen: the content of a JPEG.

    Args:
      colorizer: what paints.
      small: the picture, reduced; what it learns is kept for the next preview.
      size: the (width, height) of the picture itself, in whose pixels hints are given.
      painting: how.

    Raises UserError as Colorizer.paint does.
    """
    if painting.hints is not None:
        painting.hints.check(*size)
        painting = replace(painting, hints=painting.hints.scaled(size, small.picture.pixels.shape[1::-1]))
    pixels = colorizer.paint(small, painting).pixels
    return simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorspace="RGB", colorsubsampling="444")
