"""What no picture may exceed, told from its header."""

from palgan_jax.data import jpeg
from palgan_jax.errors import UserError

MIN_SIDE = 16
MAX_PIXELS = 120_000_000


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raises UserError where a picture of a width and a height is too small or too large."""
    width, height = size
    if min(width, height) < MIN_SIDE:
        raise UserError(f"{name} is {width} x {height} pixels: each side must be at least {MIN_SIDE}.")
    if width * height > max_pixels:
        limit = f"more than the limit of {max_pixels / 1e6:g} megapixels"
        raise UserError(f"{name} is {width} x {height} pixels, {limit}: make it smaller or raise the limit.")


def check_scans(data: bytes, size: tuple[int, int], name: str, parts: int = 1) -> None:
    """Raises UserError for a JPEG that asks for too many passes over its pixels; args: as `jpeg.are_few_scans`."""
    if not jpeg.are_few_scans(data, size, parts):
        raise UserError(f"{name} is a JPEG of too many scans, which would take minutes: save it anew.")
