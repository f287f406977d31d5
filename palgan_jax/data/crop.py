"""From a decoded picture to the square that the networks see: random crops to train on, the whole picture to evaluate.

uint8 in and out, and nothing aliases: Pillow's bilinear filter, which widens with the reduction, to evaluate, and one
close to it that is five times as fast (`data/resize.py`) to train.
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
    """Which random crops are taken.

    At use a picture is squashed to a square (method: section 9); so the shape of a crop is drawn between square, which
    isn't distorted, and that of its picture, which is distorted as at use.
    """

    min_scale: float = 0.5
    """Smallest share of the picture's area, in (0, 1]; larger shares up to 1 are as likely."""
    jitter: float = 1.1
    """The shape is then stretched by a random factor between 1 / jitter and jitter."""

    def __post_init__(self) -> None:
        if not 0 < self.min_scale <= 1:
            raise ValueError(f"min_scale must be in (0, 1], not {self.min_scale}")
        if not self.jitter >= 1:
            raise ValueError(f"jitter must be at least 1, not {self.jitter}")

    def at_least(self, resolution: int) -> int:
        """The short side with which a picture's smallest crop still has `resolution` pixels a side."""
        smallest = min(math.sqrt(self.min_scale / self.jitter), 1 / self.jitter)  # of the picture's short side
        return math.ceil(resolution / smallest)

    def draws(self, seed: int, first: int, count: int) -> list["Draw"]:
        """The draws of samples first, first + 1, ... of a run: each depends on the seed and on its own number alone."""
        # Philox makes four words from each value of its counter; a sample has two of these to itself. Raw words, since
        # NumPy promises to keep these alone.
        words = np.random.Philox(key=[seed, 0], counter=2 * first).random_raw((count, 8))
        return [Draw(*row) for row in ((words[:, :6] >> 11) * 2.0**-53).tolist()]

    def box(self, draw: "Draw", width: int, height: int) -> "Box":
        """Where the crop of a picture of that size lies."""
        area = (self.min_scale + (1 - self.min_scale) * draw.area) * width * height
        shape = (width / height) ** draw.shape * self.jitter ** (2 * draw.stretch - 1)  # width / height of the crop
        w, h = math.sqrt(area * shape), math.sqrt(area / shape)
        shrink = min(1.0, width / w, height / h)  # keeps the shape where the crop would leave the picture
        w, h = min(w * shrink / width, 1.0), min(h * shrink / height, 1.0)
        left, top = draw.left * (1 - w), draw.top * (1 - h)
        return Box(left, top, min(left + w, 1.0), min(top + h, 1.0))


class Box(NamedTuple):
    """A part of a picture: shares of its width and height, so that it holds for every reduction of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def reduction(self, width: int, height: int, resolution: int) -> int:
        """1, 2, 4 or 8: by what a picture of that size may be reduced so that this part still has R pixels a side."""
        room = min((self.right - self.left) * width, (self.bottom - self.top) * height) / resolution
        return next((k for k in (8, 4, 2) if room >= k), 1)


class Draw(NamedTuple):
    """Six numbers in [0, 1): drawn before the picture is known, so that what is drawn next doesn't depend on it."""

    area: float
    shape: float
    stretch: float
    left: float
    top: float
    flip: float

    @property
    def mirrored(self) -> bool:
        return self.flip < 0.5


def take_crop(rgb: np.ndarray, box: Box, mirrored: bool, out: np.ndarray) -> None:
    """uint8 (H, W, 3) -> out, uint8 (R, R, 3): cut at whole pixels, antialiased resize, left and right exchanged."""
    height, width = rgb.shape[:2]
    left, right = round(box.left * width), round(box.right * width)
    top, bottom = round(box.top * height), round(box.bottom * height)
    resize_into(rgb[top : max(bottom, top + 1), left : max(right, left + 1)], out)
    if mirrored:
        cv2.flip(out, 1, dst=out)


def squash(rgb: np.ndarray, resolution: int) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (R, R, 3): the whole picture, its shape not kept (method: section 9), antialiased."""
    return np.array(Image.fromarray(rgb).resize((resolution, resolution), Image.Resampling.BILINEAR))
