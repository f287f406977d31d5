"""Decodes a page of a TIFF, through Pillow or by its samples."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from palgan_jax.data import tiff_pages, tiff_samples
from palgan_jax.data.libtiff import silence
from palgan_jax.data.limits import check_scans, check_size
from palgan_jax.data.picture import Picture
from palgan_jax.data.stored_pixels import StoredPixels
from palgan_jax.errors import UserError
from palgan_jax.util.text import in_words

_MOST_BYTES = 16  # a pixel of the limit, unpacked: four channels of 32 bits


def upright_size(page: tiff_pages.Page) -> tuple[int, int]:
    """Returns width and height of a page as it is shown."""
    width, height = page.size
    return (height, width) if page.orientation >= 5 else (width, height)


def decode_tiff(
    data: bytes, pictures: Sequence[tiff_pages.Page], name: str, max_pixels: int, number: int | None
) -> Picture:
    """Decodes one of the pictures of a TIFF: the first, with a note about the others, where no number is given.

    Raises UserError for one that is too large or of a layout that is not supported, and whatever decoders raise.
    """
    silence()
    page = pictures[number or 0]
    check_size(upright_size(page), name, max_pixels)
    layout = tiff_samples.layout_of(page)
    if layout.nbytes > _MOST_BYTES * max_pixels:
        raise UserError(
            f"{name} unpacks to {in_words(layout.nbytes)}, more than the limit of {max_pixels / 1e6:g} "
            "megapixels allows: make it smaller or raise the limit."
        )
    if page.is_jpeg:
        check_scans(data, page.size, name, page.parts)
    stored = StoredPixels(name, page.profile)
    stored.count(len(pictures), number)
    if tiff_samples.is_left_to_pillow(page, layout):
        try:
            picture = Image.open(io.BytesIO(tiff_pages.with_page_first(data, page)), formats=("TIFF",))
        except Exception as error:
            raise _unsupported(name, page, layout) or error from None
        with picture:
            picture.load()  # Pillow turns TIFFs by itself
            stored.take(picture)
            return stored.upright(1)
    problem = _unsupported(name, page, layout)
    if problem:
        raise problem
    colors = tiff_samples.colors_of(tiff_samples.read_samples(data, page, layout), page, layout)
    if colors.space in ("CMYK", "LAB"):
        channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(colors.pixels, -1, 0)]
        stored.take_cmyk_or_lab(_merged(colors.space, channels))
        stored.alpha = colors.alpha
    else:
        stored.take_pixels(colors.pixels, colors.alpha)
    return stored.upright(page.orientation)


def _merged(mode: str, channels: list[Image.Image]) -> Image.Image:
    if mode == "LAB":
        size, content = channels[0].size, np.dstack([np.asarray(channel) for channel in channels])
        return Image.frombytes("LAB", size, content.tobytes())
    return Image.merge(mode, channels)


def _unsupported(name: str, page: tiff_pages.Page, layout: tiff_samples.Layout) -> UserError | None:
    if not (feature := tiff_samples.unsupported(page, layout)):
        return None
    remedy = "with 8 or 16 bits" if tiff_samples.is_of_bytes(page) else "without compression, or with LZW or deflate"
    return UserError(f"{name} is a TIFF of {feature}, which is not supported: save it {remedy}.")
