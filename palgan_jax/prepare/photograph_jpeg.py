"""Makes the JPEG to train on from what a package holds of a photograph.

These steps make the same bytes as those that the bundled model was trained on, with the same version of Pillow.
"""

import bz2
import io

from PIL import Image, ImageCms, ImageOps

from palgan_jax.prepare.photograph_list import Photograph
from palgan_jax.prepare.qt_resource import read_resource

SHORTER_SIDE, LONGER_SIDE = 512, 1024  # pixels at most
_QUALITY = 92


def take_source(member: bytes, photograph: Photograph) -> bytes:
    """Returns what of a member of the package is the photograph. Raises UnreadableResource."""
    part = photograph.path.partition("!")[2]
    if not part or part.startswith("bz2raw@"):
        return member
    if part.startswith("bytes@"):
        offset, length = map(int, part.removeprefix("bytes@").split("+"))
        return member[offset : offset + length]
    return read_resource(member, part)


def make_jpeg(source: bytes, photograph: Photograph) -> bytes:
    """Returns the file to train on: upright sRGB without transparency, at most 512 pixels by 1024.

    Raises what Pillow raises where it cannot read the source.
    """
    picture = _edited(_opaque_srgb(_opened(source, photograph)), photograph.edit)
    width, height = picture.size
    scale = min(1, SHORTER_SIDE / min(width, height), LONGER_SIDE / max(width, height))
    if scale < 1:
        picture = picture.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return file.getvalue()


def _opened(source: bytes, photograph: Photograph) -> Image.Image:
    """Opens a source; large JPEGs at half of their size or less, which is quicker."""
    _, raw, shape = photograph.path.partition("!bz2raw@")
    if raw:
        height, width, _ = map(int, shape.split("x"))
        return Image.frombytes("RGB", (width, height), bz2.decompress(source))
    picture = Image.open(io.BytesIO(source))
    picture.draft("RGB", (LONGER_SIDE, LONGER_SIDE))
    return ImageOps.exif_transpose(picture)


def _opaque_srgb(picture: Image.Image) -> Image.Image:
    """Returns a picture as sRGB; one with transparency on white, its color profile left aside."""
    if picture.mode == "RGBA":
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture.getchannel("A"))
        return white
    profile = picture.info.get("icc_profile")
    picture = picture.convert("RGB")
    if profile:
        converted = ImageCms.profileToProfile(picture, io.BytesIO(profile), ImageCms.createProfile("sRGB"))
        assert converted is not None, "only a conversion in place returns none"
        return converted
    return picture


def _edited(picture: Image.Image, edit: str) -> Image.Image:
    kind, _, numbers = edit.partition("=")
    if kind == "crop":
        left, top, width, height = map(int, numbers.split(","))
        return picture.crop((left, top, left + width, top + height))
    return picture.rotate(int(numbers), expand=True) if kind == "turn" else picture
