"""One picture file in, one PNG out.

What is decided here:

- The PNG has the pixels as the file stores them: the same size, the same EXIF with the same orientation tag. The model
  sees the picture upright; its result is turned back. A TIFF is the exception: its PNG is upright and has no tag.
- The PNG is sRGB, 8 bits, whatever the file was (`palgan_jax.data.decode` converts); a profile is not copied.
- Transparency is kept. The model sees the picture as on white paper.
- The PNG is called after the picture. Where two pictures would write the same PNG, or one would replace a picture that
  was given, the later one gets a number: boat.png, boat-2.png. What an earlier run wrote is replaced.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax.colorize.join import join, luminance
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.decode import ORIENTATION, decode_rgb, orientation, picture_size, quiet_pillow, read_bytes
from palgan_jax.data.formats import damage_explained, open_header
from palgan_jax.errors import UserError
from palgan_jax.util.files import write_file

_TURN_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_UPRIGHT = {
    **_TURN_BACK,
    6: Image.Transpose.ROTATE_270,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class StoredPicture:
    """A picture file, read.

    Attributes:
      rgb: the upright picture as on white paper, uint8 (H, W, 3).
      alpha: the upright opacity, uint8 (H, W); None where all is opaque.
      orientation: the EXIF orientation 1..8 that the file's pixels are stored in.
      exif: the file's EXIF block, empty where it has none.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    orientation: int
    exif: bytes


def read_picture(path: Path) -> StoredPicture:
    """Reads a picture file with what its PNG is to keep. Raises UserError as `read_rgb` does."""
    data = read_bytes(path)
    rgb = decode_rgb(data, name=str(path))
    with quiet_pillow, damage_explained(str(path)), open_header(data, str(path)) as picture:
        turned = 1 if picture.format == "TIFF" else orientation(picture)
        exif = _exif(picture, turned)
        alpha = None
        if picture.has_transparency_data and not picture.mode.startswith(("I", "F")):
            opacity = picture.convert("RGBA").getchannel("A")
            alpha = np.asarray(opacity.transpose(_UPRIGHT[turned]) if turned in _UPRIGHT else opacity)
            alpha = None if alpha.min() == 255 else alpha
    return StoredPicture(rgb, alpha, turned, exif)


def _exif(picture: Image.Image, turned: int) -> bytes:
    """Returns the EXIF block as it is, or, where the orientation comes from elsewhere, one that holds it alone."""
    exif = picture.info.get("exif", b"") if picture.format != "TIFF" else b""
    if turned == 1:
        return exif
    block = Image.Exif()
    try:
        block.load(exif)
        orientation = block.get(ORIENTATION)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError):
        orientation = None
    if orientation == turned:
        return exif
    block = Image.Exif()
    block[ORIENTATION] = turned
    return block.tobytes()


def _without_paper(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Computes the colors (H, W, 3) that lie on white paper with opacity alpha (H, W) where the picture shows rgb."""
    opacity = np.maximum(alpha, 1)[..., None].astype(np.float32) / 255
    return np.clip(np.rint((rgb - 255 * (1 - opacity)) / opacity), 0, 255).astype(np.uint8)


def colorize_picture(
    colorizer: Colorizer, picture: StoredPicture, palette: np.ndarray | None = None
) -> tuple[Image.Image, np.ndarray]:
    """Colorizes a picture that was read. Returns it in the stored layout, and the palette (K,) that was used."""
    lightness = luminance(picture.rgb)
    used, ab = colorizer.predict(lightness, palette)
    if picture.alpha is None:
        result = Image.fromarray(join(lightness, ab))
    else:
        rgb = join(luminance(_without_paper(picture.rgb, picture.alpha)), ab)
        result = Image.fromarray(np.dstack([rgb, picture.alpha]))
    if picture.orientation in _TURN_BACK:
        result = result.transpose(_TURN_BACK[picture.orientation])
    return result, used


def colorize_file(colorizer: Colorizer, source: Path, target: Path, palette: np.ndarray | None = None) -> np.ndarray:
    """Colorizes one file into a PNG. Returns the palette (K,) that was used. Raises UserError."""
    picture = read_picture(source)
    result, used = colorize_picture(colorizer, picture, palette)
    buffer = io.BytesIO()
    result.save(buffer, "PNG", compress_level=4, exif=picture.exif or None)
    write_file(target, buffer.getvalue())
    return used


def target_files(sources: Sequence[Path], folder: Path, keep: Sequence[Path] = ()) -> list[Path]:
    """Returns the PNG to write for each source: folder/<name>.png, with a number where that is taken.

    A name is taken by an earlier source, by a source itself, and by any file of `keep`. Letter case does not tell
    files apart, since on many machines it does not.
    """

    def key(path: Path) -> str:
        return os.path.realpath(path).casefold()

    taken = {key(path) for path in (*sources, *keep)}
    targets = []
    for source in sources:
        target, number = folder / f"{source.stem}.png", 1
        while key(target) in taken:
            number += 1
            target = folder / f"{source.stem}-{number}.png"
        taken.add(key(target))
        targets.append(target)
    return targets


def check_picture_file(path: Path) -> None:
    """Raises UserError for what is plainly no picture, before any long work: missing, a folder, of an absurd size."""
    try:
        picture_size(path)
    except UserError:
        if _is_folder(path):
            raise UserError(
                f"{path} is a folder, where a picture was expected: name its pictures, such as {path / '*.jpg'}."
            ) from None
        raise


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that the system does not take
        return False
