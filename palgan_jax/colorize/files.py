"""One picture file in, one PNG out.

What is decided here:

- The PNG has the pixels as the file stores them: the same size, the same EXIF with the same orientation tag. The model
  sees the picture upright; its result is turned back. A TIFF is the exception: its PNG is upright and has no tag.
- The PNG is sRGB, 8 bits, whatever the file was (`palgan_jax.data.decode` converts); a profile is not copied.
- Transparency is kept. The model sees the picture as on white paper.
- Each result is marked as one, in the EXIF tag ProcessingSoftware, so that it is never taken for a photograph.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax import __version__
from palgan_jax.colorize.join import join, luminance
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.decode import MAX_PIXELS, ORIENTATION, decode_picture, orientation, quiet_pillow
from palgan_jax.data.formats import HEAD, damage_explained, format_of, open_header
from palgan_jax.data.levels import to_bytes

_TURN_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_PROCESSING_SOFTWARE = 0x000B
_MARK = "palgan_jax"
_BROKEN_EXIF = (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error)


@dataclass(frozen=True)
class StoredPicture:
    """A picture file, read.

    Attributes:
      rgb: the upright picture as on white paper, uint8 (H, W, 3).
      colors: the upright colors under the opacity, uint8 (H, W, 3).
      alpha: the upright opacity, uint8 (H, W); None where all is opaque.
      orientation: the EXIF orientation 1..8 that the file's pixels are stored in.
      exif: the file's EXIF block, empty where it has none.
      notes: sentences about what of the file is left out.
    """

    rgb: np.ndarray
    colors: np.ndarray
    alpha: np.ndarray | None
    orientation: int
    exif: bytes
    notes: tuple[str, ...] = ()


def read_picture(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> StoredPicture:
    """Decodes a picture file with what its PNG is to keep. Raises UserError as `read_rgb` does."""
    picture = decode_picture(data, name=name, max_pixels=max_pixels)
    turned, exif = _layout(data, name)
    alpha = None if picture.alpha is None else to_bytes(picture.alpha)
    rgb = picture.on_white()
    colors = rgb if alpha is None else to_bytes(picture.rgb())
    return StoredPicture(rgb, colors, alpha, turned, exif, picture.notes)


def _layout(data: bytes, name: str) -> tuple[int, bytes]:
    """Returns the EXIF orientation that the pixels are stored in, and the EXIF block; those of a TIFF are not kept."""
    with quiet_pillow, damage_explained(name):
        if format_of(data[:HEAD], name) == "TIFF":
            return 1, b""
        with open_header(data, name) as header:
            turned = orientation(header)
            return turned, _exif(header, turned)


def _exif(picture: Image.Image, turned: int) -> bytes:
    """Returns the EXIF block as it is, or, where the orientation comes from elsewhere, one that holds it alone."""
    exif = picture.info.get("exif", b"")
    if turned == 1:
        return exif
    block = Image.Exif()
    try:
        block.load(exif)
        orientation = block.get(ORIENTATION)
    except _BROKEN_EXIF:
        orientation = None
    if orientation == turned:
        return exif
    block = Image.Exif()
    block[ORIENTATION] = turned
    return block.tobytes()


def colorize_picture(
    colorizer: Colorizer, picture: StoredPicture, palette: np.ndarray | None = None
) -> tuple[Image.Image, np.ndarray]:
    """Colorizes a picture that was read. Returns it in the stored layout, and the palette (K,) that was used."""
    lightness = luminance(picture.rgb)
    used, ab = colorizer.predict(lightness, palette)
    if picture.alpha is None:
        result = Image.fromarray(join(lightness, ab))
    else:
        rgb = join(luminance(picture.colors), ab)
        result = Image.fromarray(np.dstack([rgb, picture.alpha]))
    if picture.orientation in _TURN_BACK:
        result = result.transpose(_TURN_BACK[picture.orientation])
    return result, used


def colorize_bytes(
    colorizer: Colorizer,
    data: bytes,
    name: str,
    palette: np.ndarray | None = None,
    max_pixels: int = MAX_PIXELS,
) -> tuple[bytes, np.ndarray, tuple[str, ...]]:
    """Colorizes the bytes of a picture file, of which `name` says the origin in errors.

    Returns the bytes of the PNG, the palette (K,) that was used, and sentences about what of the file is left out.
    Raises UserError as `read_rgb` does.
    """
    picture = read_picture(data, name, max_pixels)
    result, used = colorize_picture(colorizer, picture, palette)
    buffer = io.BytesIO()
    result.save(buffer, "PNG", compress_level=4, exif=marked(picture.exif))
    return buffer.getvalue(), used, picture.notes


def marked(exif: bytes) -> bytes:
    """Returns an EXIF block, or a new one where it is broken, with the mark of a result."""
    block = Image.Exif()
    try:
        block.load(exif)
        block[_PROCESSING_SOFTWARE] = f"{_MARK} {__version__}"
        return block.tobytes()
    except _BROKEN_EXIF:
        block = Image.Exif()
        block[_PROCESSING_SOFTWARE] = f"{_MARK} {__version__}"
        return block.tobytes()


def is_marked(path: Path) -> bool:
    """Returns True where a picture file says that it is a result of ours; reads the header alone."""
    try:
        with quiet_pillow, path.open("rb") as file, open_header(file, str(path)) as picture:
            value = picture.getexif().get(_PROCESSING_SOFTWARE, "")
    except Exception:  # whatever broken headers raise
        return False
    return isinstance(value, str) and value.startswith(_MARK)
