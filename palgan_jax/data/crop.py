"""From a decoded picture to the square that the networks see: random crops to train on, the whole picture to evaluate.

uint8 in and out; Pillow's bilinear filter, which widens with the reduction, so that nothing aliases.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image


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

    def draw(self, rng: np.random.Generator) -> "Draw":
        return Draw(*rng.random(6))

    def box(self, draw: "Draw", width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom within a picture of that size, in pixels and fractions of them."""
        area = (self.min_scale + (1 - self.min_scale) * draw.area) * width * height
        shape = (width / height) ** draw.shape * self.jitter ** (2 * draw.stretch - 1)  # width / height of the crop
        w, h = math.sqrt(area * shape), math.sqrt(area / shape)
        shrink = min(1.0, width / w, height / h)  # keeps the shape where the crop would leave the picture
        w, h = min(w * shrink, width), min(h * shrink, height)
        left, top = draw.left * (width - w), draw.top * (height - h)
        return left, top, min(left + w, width), min(top + h, height)


@dataclass(frozen=True)
class Draw:
    """Six numbers in [0, 1): drawn before the picture is known, so that what is drawn next doesn't depend on it."""

    area: float
    shape: float
    stretch: float
    left: float
    top: float
    flip: float


def random_crop(rgb: np.ndarray, draw: Draw, rule: CropRule, resolution: int) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (R, R, 3): crop, antialiased resize, horizontal flip of every other one."""
    out = _resize(rgb, rule.box(draw, rgb.shape[1], rgb.shape[0]), resolution)
    return np.ascontiguousarray(out[:, ::-1]) if draw.flip < 0.5 else out


def squash(rgb: np.ndarray, resolution: int) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (R, R, 3): the whole picture, its shape not kept (method: section 9), antialiased."""
    return _resize(rgb, (0, 0, rgb.shape[1], rgb.shape[0]), resolution)


def _resize(rgb: np.ndarray, box: tuple[float, float, float, float], resolution: int) -> np.ndarray:
    # Only the part under the box is handed to Pillow, which copies what it's given.
    left, top = int(box[0]), int(box[1])
    part = np.ascontiguousarray(rgb[top : math.ceil(box[3]), left : math.ceil(box[2])])
    inner = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    picture = Image.fromarray(part).resize((resolution, resolution), Image.Resampling.BILINEAR, box=inner)
    return np.array(picture)
