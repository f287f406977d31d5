"""How photographs get to a protocol's size, and that nothing else happens to them on the way."""

import cv2
import jax
import numpy as np
import pytest
from PIL import Image

from palgan_jax.evaluation.resize import RESIZES, center_crop


@pytest.fixture(scope="module")
def photograph(samples) -> np.ndarray:
    return np.asarray(Image.open(samples / "coffee.jpg").convert("RGB"))


def test_the_squash_of_the_field_is_that_of_opencv_and_has_no_antialiasing(photograph):
    result = RESIZES["squash-cv2"].function(photograph, 64)
    np.testing.assert_array_equal(result, cv2.resize(photograph, (64, 64)))  # as others' code calls it
    plain = jax.image.resize(photograph.astype(np.float32), (64, 64, 3), "linear", antialias=False)
    assert np.abs(result - np.asarray(plain)).max() <= 1
    smooth = jax.image.resize(photograph.astype(np.float32), (64, 64, 3), "linear", antialias=True)
    assert np.abs(result - np.asarray(smooth)).max() > 20


def test_a_folder_is_squashed_as_colorizing_does_it(photograph):
    pillow = Image.fromarray(photograph).resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(RESIZES["squash"].function(photograph, 64), np.asarray(pillow))


@pytest.mark.parametrize(("height", "width", "top", "left"), [(10, 16, 0, 3), (17, 10, 3, 0), (12, 12, 0, 0)])
def test_the_crop_is_the_middle(height, width, top, left):
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    side = min(height, width)
    np.testing.assert_array_equal(center_crop(rgb), rgb[top : top + side, left : left + side])
    np.testing.assert_array_equal(RESIZES["crop-cv2"].function(rgb, side), center_crop(rgb))


def test_areas_are_means_of_pixels():
    rgb = np.random.default_rng(1).integers(0, 256, (96, 130, 3), np.uint8)
    means = rgb[:, 17:113].reshape(32, 3, 32, 3, 3).mean(axis=(1, 3))
    assert np.abs(RESIZES["crop-area"].function(rgb, 32) - means).max() <= 0.5 + 1e-6
