"""Brings pixels as files store them to upright sRGB: modes of Pillow, color profiles, orientation."""

import numpy as np
from PIL import Image

from palgan_jax.data import color_profile, levels
from palgan_jax.data.color_profile import UnusableProfile
from palgan_jax.data.picture import Picture


class StoredPixels:
    """A picture on its way to sRGB, as it lies in its file.

    Attributes:
      pixels, alpha: as in `Picture`, not yet upright.
    """

    def __init__(self, name: str, profile: bytes) -> None:
        self._name, self._profile = name, profile
        self._notes: list[str] = []
        self.pixels: np.ndarray
        self.alpha: np.ndarray | None = None

    def count(self, pictures: int, page: int | None) -> None:
        """Notes that only the first of several pictures is taken, where no page was asked for."""
        if pictures > 1 and page is None:
            self._notes.append(f"{self._name} holds {pictures} pictures: the first is taken, {pictures - 1} left out.")

    def take(self, picture: Image.Image) -> None:
        """Takes a picture of any mode of Pillow."""
        size = picture.size
        picture.load()
        if picture.size != size and picture.format in ("HEIF", "JXL"):  # they decode what the header does not say
            raise ValueError("its size is not that of its header")
        if picture.mode == "F":
            self.take_pixels(levels.from_floats(np.asarray(picture)))
        elif picture.mode.startswith("I"):
            self._take_integers(picture)
        elif picture.mode in ("CMYK", "LAB"):
            self.take_cmyk_or_lab(picture)
        elif picture.has_transparency_data:
            gray = picture.mode in ("1", "L", "LA", "La")
            samples = np.asarray(picture.convert("LA" if gray else "RGBA"))
            self.take_pixels(samples[..., 0] if gray else samples[..., :3], samples[..., -1])
        else:
            gray = picture.mode in ("1", "L")
            mode = "L" if gray else "RGB"
            self.take_pixels(np.asarray(picture if picture.mode == mode else picture.convert(mode)))

    def _take_integers(self, picture: Image.Image) -> None:
        values = np.asarray(picture)
        if values.dtype.itemsize == 2:
            self.take_samples(values.astype(np.uint16)[..., None], picture.info.get("transparency"))
        elif picture.format in ("PNG", "PPM", "JPEG2000"):  # Pillow makes 16 bits of these
            self.take_pixels(np.clip(values, 0, 65535).astype(np.uint16))
        else:
            self.take_pixels(levels.from_integers(values, 32))

    def take_samples(self, samples: np.ndarray, transparent: object) -> None:
        """Takes samples uint16 (H, W, 1 to 4), of which an even number has the opacity last.

        transparent: the one color without opacity, where there is one.
        """
        channels = samples.shape[-1]
        colors = samples[..., :3] if channels > 2 else samples[..., 0]
        alpha = samples[..., -1] if channels in (2, 4) else None
        if alpha is None and isinstance(transparent, int | tuple):
            clear = samples == np.array(transparent)
            alpha = np.where(clear.all(axis=-1), 0, 65535).astype(np.uint16)
        self.take_pixels(colors, alpha)

    def take_pixels(self, pixels: np.ndarray, alpha: np.ndarray | None = None) -> None:
        """Takes gray or RGB, and converts it by the profile."""
        self.alpha = alpha
        self.pixels = pixels
        if not self._profile:
            return
        try:
            if pixels.ndim == 3 and color_profile.space_of(self._profile) == "gray" and _is_neutral(pixels):
                # Formats that know no gray, and palettes.
                self.pixels = pixels = np.ascontiguousarray(pixels[..., 1])
            convert = color_profile.gray_to_srgb if pixels.ndim == 2 else color_profile.rgb_to_srgb
            self.pixels = convert(pixels, self._profile)
        except UnusableProfile as reason:
            self._leave_aside(reason)

    def take_cmyk_or_lab(self, picture: Image.Image) -> None:
        """Takes CMYK or LAB, and converts it by the profile."""
        try:
            if self._profile or picture.mode == "LAB":
                profile = self._profile if picture.mode == "CMYK" else None
                self.pixels = color_profile.picture_to_srgb(picture, profile)
                return
        except UnusableProfile as reason:
            self._leave_aside(reason)
        self.pixels = np.asarray(picture.convert("RGB"))

    def _leave_aside(self, reason: UnusableProfile) -> None:
        self._notes.append(f"the color profile of {self._name} is left aside, since {reason}.")

    def note(self, text: str) -> None:
        """Takes a sentence that a person should know."""
        self._notes.append(text)

    def convert(self, shaper: color_profile.Shaper | None) -> None:
        """Converts by curves and a matrix, where the file has no profile."""
        if shaper is None:
            return
        if self.pixels.ndim == 3:
            self.pixels = shaper.convert(self.pixels)
        else:
            self.pixels = color_profile.apply_tone(self.pixels, shaper.tone(65536))

    def upright(self, stored: int) -> Picture:
        """Returns the picture turned upright from an EXIF orientation."""
        pixels = turn(self.pixels, stored)
        alpha = None if self.alpha is None else turn(self.alpha, stored)
        if alpha is not None and alpha.min() == np.iinfo(alpha.dtype).max:
            alpha = None
        return Picture(pixels, alpha, tuple(self._notes))


def _is_neutral(rgb: np.ndarray) -> bool:
    """Returns True for gray, (H, W, 3), but for what lossy compression makes of it."""
    tolerance = 4 * (np.iinfo(rgb.dtype).max // 255)
    green = rgb[..., 1].astype(np.int32)
    return all(np.abs(rgb[..., i] - green).max() <= tolerance for i in (0, 2))


def turn(pixels: np.ndarray, stored: int) -> np.ndarray:
    """Turns pixels (H, W) or (H, W, C), stored with an EXIF orientation, upright; contiguous."""
    if stored >= 5:
        pixels = pixels.swapaxes(0, 1)
    # What remains after the transposition: mirrored left-right, upside down.
    mirrored, flipped = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}.get(stored, (0, 0))
    return np.ascontiguousarray(pixels[:: -1 if flipped else 1, :: -1 if mirrored else 1])
