"""How each protocol brings a photograph to its size."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from palgan_jax.data.crop import squash


@dataclass(frozen=True)
class Resize:
    """A way from a photograph to a square.

    Attributes:
      description: for people, beside every number; {side} stands for the pixels.
      function: takes uint8 (H, W, 3) and S; returns uint8 (S, S, 3).
    """

    description: str
    function: Callable[[np.ndarray, int], np.ndarray]


def center_crop(rgb: np.ndarray) -> np.ndarray:
    """Returns the square in the middle, (S, S, 3), as long as the short side; an odd pixel goes at the end."""
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
"""Resizes by the name that `Protocol.resize` holds."""
