"""The photographs that a system is measured on, and how each protocol brings them to its size.

Pictures are decoded whole: reduced while decoding, as for training, they would not be those that others measure.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from palgan_jax.data.crop import squash
from palgan_jax.data.decode import decode_rgb
from palgan_jax.data.protocols import Pictures
from palgan_jax.data.source import stored_pictures
from palgan_jax.data.spec import MixtureSpec, SyntheticSpec, parse
from palgan_jax.errors import UserError


@dataclass(frozen=True)
class Resize:
    """A way from a photograph to a square.

    Attributes:
      words: what it does, as it stands beside every number; {side} stands for the pixels.
      function: uint8 (H, W, 3), S -> uint8 (S, S, 3).
    """

    words: str
    function: Callable[[np.ndarray, int], np.ndarray]


def center_crop(rgb: np.ndarray) -> np.ndarray:
    """The square in the middle, as long as the short side; where a pixel is left over, it is that at the end."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return rgb[top : top + side, left : left + side]


def _cv2(interpolation: int) -> Callable[[np.ndarray, int], np.ndarray]:
    def resize(rgb: np.ndarray, side: int) -> np.ndarray:
        return cv2.resize(rgb, (side, side), interpolation=interpolation)

    return resize


_linear, _area = _cv2(cv2.INTER_LINEAR), _cv2(cv2.INTER_AREA)

RESIZES = {
    "squash-cv2": Resize("squashed to {side} x {side}, bilinear without antialiasing (OpenCV)", _linear),
    "crop-cv2": Resize(
        "center crop of the short side, then {side} x {side}, bilinear without antialiasing (OpenCV)",
        lambda rgb, side: _linear(center_crop(rgb), side),
    ),
    "crop-area": Resize(
        "center crop of the short side, then {side} x {side}, mean of areas (OpenCV)",
        lambda rgb, side: _area(center_crop(rgb), side),
    ),
    "squash": Resize("squashed to {side} x {side}, bilinear with antialiasing (Pillow)", squash),
}
"""By their names in `protocols.Protocol`."""


def open_truth(spec: str, data_dir: str | None = None) -> Pictures:
    """The pictures that `folder:PATH` (or PATH alone), `list:FILE` or `tfds:NAME` means; not looked at yet.

    Raises UserError where there are none.
    """
    parsed = parse(spec)
    if isinstance(parsed, MixtureSpec | SyntheticSpec):
        raise UserError(f"{spec} cannot be measured on: name one set of photographs with folder:, list: or tfds:.")
    return stored_pictures(parsed, data_dir)


def read_picture(pictures: Pictures, i: int, *, at_least: int | None = None) -> np.ndarray:
    """Returns picture i, uint8 (H, W, 3): whole, or reduced where its short side stays `at_least` so long.

    Raises UserError where it cannot be read.
    """
    _, data = pictures.load(i)
    return decode_rgb(data, name=pictures.label(i), at_least=at_least)


def partners(count: int, seed: int) -> np.ndarray:
    """Another picture for each of `count`, int (count,): a permutation that leaves none in its place.

    It depends on the two numbers alone. All pictures lie on one cycle (Sattolo, 1986). Raises UserError for fewer
    than two.
    """
    if count < 2:
        raise UserError("the palette of another picture needs at least two pictures: give more.")
    words = np.random.Philox(key=[seed, count]).random_raw(count)  # raw words, which NumPy promises to keep
    order = np.arange(count)
    for i in range(count - 1, 0, -1):
        j = int(words[i] % i)
        order[i], order[j] = order[j], order[i]
    return order
