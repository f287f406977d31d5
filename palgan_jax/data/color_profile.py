"""Converts pixels to sRGB by the color profile (ICC) of their file.

Conversion is relative colorimetric. LittleCMS, through Pillow, converts everything of 8 bits but gray. It takes no
wider pixels there, so that gray of any depth and color of 16 bits go through the profile's curves and colorants here.
Profiles that are tables instead are applied to 16-bit color at 8 bits. Whether a profile is sRGB is told by what it
does to colors and never by its name.
"""

import functools
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from palgan_jax.color import linear_to_srgb
from palgan_jax.data.levels import to_bytes
from palgan_jax.errors import one_line

SRGB_D50 = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
"""Columns: the XYZ of red, green and blue of sRGB, adapted to D50 as profiles have them."""
_BAND = 1 << 18  # pixels
_BRIGHTEST = 1000.0
_SAME = 2  # levels of 255 by which a profile of sRGB may differ, since some hold a short table
_TABLES = (b"A2B0", b"A2B1", b"D2B0", b"D2B1")
_SPACES = {b"RGB ": "RGB", b"GRAY": "gray", b"CMYK": "CMYK", b"Lab ": "Lab"}


class UnusableProfile(Exception):
    """A color profile that is broken or describes other colors than the picture has; the message says which."""


@dataclass(frozen=True)
class Shaper:
    """Conversion by a curve a channel and a matrix.

    Attributes:
      curves: for each channel, from device values 0..1 to linear light 0..1.
      matrix: from linear light of these channels to that of sRGB, (3, 3).
    """

    curves: tuple[Callable[[np.ndarray], np.ndarray], ...]
    matrix: np.ndarray

    def tone(self, levels: int) -> np.ndarray:
        """Returns the sRGB gray, uint16, that each gray of `levels` shows."""
        tables = [_light(curve, levels) for curve in self.curves]
        return _encode(tables[0] if len(tables) == 1 else (np.stack(tables, axis=-1) @ self.matrix.T)[:, 1])

    def convert(self, rgb: np.ndarray) -> np.ndarray:
        """Converts uint8 or uint16 (H, W, 3) to sRGB of the same type."""
        levels = 256 if rgb.dtype == np.uint8 else 65536
        tables = [_light(curve, levels).astype(np.float32) for curve in self.curves]
        matrix = self.matrix.T.astype(np.float32)
        result = np.empty_like(rgb)
        rows = max(1, _BAND // rgb.shape[1])
        for top in range(0, len(rgb), rows):
            band = rgb[top : top + rows]
            light = np.stack([table[band[..., i]] for i, table in enumerate(tables)], axis=-1) @ matrix
            wide = _encode(light)
            result[top : top + rows] = wide if rgb.dtype == np.uint16 else to_bytes(wide)
        return result


def _light(curve: Callable[[np.ndarray], np.ndarray], levels: int) -> np.ndarray:
    """Returns the light of each device value, finite also where the numbers of a broken profile make no sense."""
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.clip(curve(np.linspace(0, 1, levels)), -_BRIGHTEST, _BRIGHTEST))


def _encode(light: np.ndarray) -> np.ndarray:
    """Converts linear light to sRGB of 16 bits."""
    return np.rint(np.clip(linear_to_srgb(np.clip(light, 0, 1)), 0, 1) * 65535).astype(np.uint16)


# ------------------------------------------------------------------------------------------------------------- profiles


def gray_to_srgb(gray: np.ndarray, profile: bytes) -> np.ndarray:
    """Converts gray (H, W), uint8 or uint16, to sRGB gray of the same type. Raises UnusableProfile."""
    return apply_tone(gray, _gray_tone(profile))


def apply_tone(gray: np.ndarray, tone: np.ndarray | None) -> np.ndarray:
    """Looks gray (H, W), uint8 or uint16, up in a table, uint16 (65536,); None leaves it as it is."""
    if tone is None:
        return gray
    return to_bytes(tone[::257])[gray] if gray.dtype == np.uint8 else tone[gray]


def rgb_to_srgb(rgb: np.ndarray, profile: bytes) -> np.ndarray:
    """Converts uint8 or uint16 (H, W, 3) to sRGB of the same type. Raises UnusableProfile."""
    _check_space(profile, "RGB")
    transform = _transform(profile, "RGB")
    if transform is None:
        return rgb
    shaper = _shaper(profile) if rgb.dtype == np.uint16 else None
    if shaper is not None:
        return shaper.convert(rgb)
    converted = np.asarray(_apply(Image.fromarray(to_bytes(rgb)), transform))
    return converted if rgb.dtype == np.uint8 else converted.astype(np.uint16) * 257


def picture_to_srgb(picture: Image.Image, profile: bytes | None) -> np.ndarray:
    """Converts a picture of Pillow of mode CMYK, or LAB (without a profile), to sRGB, uint8 (H, W, 3).

    Raises UnusableProfile.
    """
    if profile is not None:
        _check_space(profile, picture.mode)
    transform = _transform(profile, picture.mode)
    assert transform is not None, "only RGB can be sRGB already"
    return np.asarray(_apply(picture, transform))


def space_of(profile: bytes) -> str:
    """Returns the colors that a profile describes: "gray", "RGB", "CMYK" or others; "" where it is no profile."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return ""
    return _SPACES.get(profile[16:20], profile[16:20].decode("latin1").strip())


def _check_space(profile: bytes, space: str) -> None:
    actual = space_of(profile)
    if not actual:
        raise UnusableProfile("it is broken")
    if actual != space:
        raise UnusableProfile(f"it describes {actual} colors and not {space}")


def _apply(picture: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    return ImageCms.applyTransform(picture, transform)  # type: ignore[return-value]  # not in place: returns a picture


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform from a profile (None: CIE Lab) to sRGB; None where it leaves RGB as it is.

    Raises UnusableProfile where the profile is broken.
    """
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("LAB"))
        result = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", renderingIntent=intent)
    except Exception as error:  # whatever a broken profile makes of it
        raise UnusableProfile(f"it is broken ({one_line(error)})") from None
    if mode == "RGB":
        probes = _probes()
        colors = np.asarray(_apply(Image.fromarray(probes), result)).astype(int)
        if np.abs(colors - probes).max() <= _SAME:
            return None
    return result


@functools.cache
def _probes() -> np.ndarray:
    """Returns colors from all over the cube and all grays, uint8 (1, N, 3)."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    return np.concatenate([cube, grays])[None]


@functools.lru_cache(maxsize=32)
def _gray_tone(profile: bytes) -> np.ndarray | None:
    """Returns the sRGB gray, uint16 (65536,), of each gray; None where it stays as it is. Raises UnusableProfile."""
    space = space_of(profile)
    if space == "gray":
        try:
            tone = _gray_curve(profile)
        except (ValueError, LookupError, struct.error) as error:
            raise UnusableProfile(f"it is broken ({one_line(error)})") from None
    else:  # gray pictures often have a profile of RGB, whose grays these are
        ramp = np.arange(65536, dtype=np.uint16)
        tone = rgb_to_srgb(np.repeat(ramp[None, :, None], 3, axis=2), profile)[0, :, 1]
    is_identity = np.abs(tone.astype(int) - np.arange(65536)).max() <= _SAME * 257
    return None if is_identity else tone


def _gray_curve(profile: bytes) -> np.ndarray:
    tags = _tags(profile)
    if b"kTRC" not in tags:
        transform = _transform(profile, "L")
        assert transform is not None
        ramp = np.asarray(_apply(Image.fromarray(np.arange(256, dtype=np.uint8)[None]), transform))[0, :, 1]
        return np.rint(np.interp(np.arange(65536) / 257, np.arange(256), ramp) * 257).astype(np.uint16)
    y = _light(_curve(tags[b"kTRC"]), 65536)
    if profile[20:24] == b"Lab ":
        f = (y * 100 + 16) / 116
        y = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return _encode(y)


@functools.lru_cache(maxsize=32)
def _shaper(profile: bytes) -> Shaper | None:
    """Returns the curves and matrix of a profile of RGB; None where it is made of tables. Raises UnusableProfile."""
    try:
        tags = _tags(profile)
        if any(name in tags for name in _TABLES) or profile[20:24] != b"XYZ ":
            return None
        curves = tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
        colorants = np.array([struct.unpack(">3i", tags[name][8:20]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]) / 65536
    except (ValueError, LookupError, struct.error) as error:
        raise UnusableProfile(f"it is broken ({one_line(error)})") from None
    return Shaper(curves, np.linalg.inv(SRGB_D50) @ colorants.T)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack(">I", profile[128:132])
    tags = {}
    for at in range(132, 132 + 12 * min(count, 200), 12):
        name, start, size = struct.unpack(">4sII", profile[at : at + 12])
        tags[name] = profile[start : start + size]
    return tags


def _curve(tag: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function that a curve of a profile describes, for arrays of 0..1."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack(">I", tag[8:12])
        if count == 0:
            return lambda x: x
        values = np.frombuffer(tag, ">u2", count, 12).astype(np.float64)
        if count == 1:
            gamma = float(values[0]) / 256
            return lambda x: x**gamma
        places, table = np.linspace(0, 1, count), values / 65535
        return lambda x: np.interp(x, places, table)
    if tag[:4] != b"para":
        raise ValueError("a curve of an unknown type")
    (kind,) = struct.unpack(">H", tag[8:10])
    g, *rest = (
        v / 65536 for v in struct.unpack(f">{(1, 3, 4, 5, 7)[kind]}i", tag[12 : 12 + 4 * (1, 3, 4, 5, 7)[kind]])
    )
    a, b, c, d, e, f = [*rest, 0, 0, 0, 0, 0, 0][:6] if kind else (1, 0, 0, 0, 0, 0)
    if kind in (1, 2):
        c, d, e, f = 0, -b / a, (c if kind == 2 else 0), (c if kind == 2 else 0)
    return lambda x: np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
