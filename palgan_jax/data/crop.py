"""From a decoded picture to the square that the networks take: random crops to train on, the whole picture to evaluate.

Pictures are uint8, and resizes are antialiased: evaluation uses Pillow's bilinear filter, which widens with the
reduction, and training one close to it that is five times as fast (`data/resize.py`).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from palgan_jax.data.resize import resize_into


@dataclass(frozen=True)
class CropRule:
    """The distribution of random crops.

    When the model is used, a picture is squashed to a square (method: section 9). So a crop's shape is drawn between a
    square, which is not distorted, and the shape of its picture, which is distorted as in use.
    """

    min_scale: float = 0.5
    """Smallest share of the picture's area, in (0, 1]; shares are drawn uniformly between it and 1."""
    jitter: float = 1.1
    """The shape is then stretched by a random factor between 1 / jitter and jitter."""

    def __post_init__(self) -> None:
        if not 0 < self.min_scale <= 1:
            raise ValueError(f"min_scale must be in (0, 1], not {self.min_scale}")
        if not self.jitter >= 1:
            raise ValueError(f"jitter must be at least 1, not {self.jitter}")

    def at_least(self, resolution: int) -> int:
        """Returns the short side of a picture whose smallest crop still has `resolution` pixels a side."""
        smallest = min(math.sqrt(self.min_scale / self.jitter), 1 / self.jitter)  # of the picture's short side
        return math.ceil(resolution / smallest)

    def draws(self, seed: int, first: int, count: int) -> list["Draw"]:
        """Returns the draws of `count` samples of a run from number `first` on.

        Each depends on the seed and on the sample's number alone.
        """
        # Philox makes four integers from each value of its counter; a sample has two values to itself. NumPy promises
        # to keep these raw integers, and not what it makes of them.
        integers = np.random.Philox(key=[seed, 0], counter=2 * first).random_raw((count, 8))
        return [Draw(*row) for row in ((integers[:, :6] >> 11) * 2.0**-53).tolist()]

    def box(self, draw: "Draw", width: int, height: int) -> "Box":
        """Computes where the crop of a picture of that size, in pixels, lies."""
        area = (self.min_scale + (1 - self.min_scale) * draw.area) * width * height
        shape = (width / height) ** draw.shape * self.jitter ** (2 * draw.stretch - 1)  # width / height of the crop
        w, h = math.sqrt(area * shape), math.sqrt(area / shape)
        shrink = min(1.0, width / w, height / h)  # keeps the shape where the crop would leave the picture
        w, h = min(w * shrink / width, 1.0), min(h * shrink / height, 1.0)
        left, top = draw.left * (1 - w), draw.top * (1 - h)
        return Box(left, top, min(left + w, 1.0), min(top + h, 1.0))


class Box(NamedTuple):
    """A part of a picture, as shares of its width and height, so that it fits every reduction of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def reduction(self, width: int, height: int, resolution: int) -> int:
        """Returns the largest of 1, 2, 4 and 8 by which a picture of that size, in pixels, may be reduced.

        This part then still has `resolution` pixels a side, unless it has fewer to begin with.
        """
        room = min((self.right - self.left) * width, (self.bottom - self.top) * height) / resolution
        return next((k for k in (8, 4, 2) if room >= k), 1)


class Draw(NamedTuple):
    """Six numbers in [0, 1), drawn before the picture's size is known, so that later draws do not depend on it."""

    area: float
    shape: float
    stretch: float
    left: float
    top: float
    flip: float

    @property
    def mirrored(self) -> bool:
        """Returns True where left and right of the crop are exchanged."""
        return self.flip < 0.5


def take_crop(rgb: np.ndarray, box: Box, mirrored: bool, out: np.ndarray) -> None:
    """Fills `out`, uint8 (R, R, 3), with a part of a picture, uint8 (H, W, 3).

    The part is cut at whole pixels, resized with antialiasing and, where `mirrored`, its left and right are exchanged.
    """
    height, width = rgb.shape[:2]
    left, right = round(box.left * width), round(box.right * width)
    top, bottom = round(box.top * height), round(box.bottom * height)
    resize_into(rgb[top : max(bottom, top + 1), left : max(right, left + 1)], out)
    if mirrored:
        cv2.flip(out, 1, dst=out)


def squash(rgb: np.ndarray, resolution: int) -> np.ndarray:
    """Resizes a whole picture, uint8 (H, W, 3), to uint8 (R, R, 3) with antialiasing.

    Its aspect ratio is not kept (method: section 9).
    """
    return np.array(Image.fromarray(rgb).resize((resolution, resolution), Image.Resampling.BILINEAR))
