"""Photographs and a model that tests of several files evaluate."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.evaluation.resize import RESIZES
from palgan_jax.evaluation.systems import Checkpoint
from palgan_jax.evaluation.truth import open_truth, read_picture
from tests.support.colorize_model import tiny_weights
from tests.support.small_evaluation import COUNT, SIDE


@pytest.fixture(scope="module")
def photographs(samples, tmp_path_factory) -> Path:
    """Real photographs of several shapes, in two folders."""
    folder = tmp_path_factory.mktemp("truth")
    for i, path in enumerate(sorted(samples.glob("*.jpg"))[:COUNT]):
        with Image.open(path) as picture:
            picture.thumbnail((160, 160))
            place = folder / ("a" if i % 2 else "b") / path.name
            place.parent.mkdir(exist_ok=True)
            picture.convert("RGB").save(place, quality=92)
    return folder


@pytest.fixture(scope="module")
def truth(photographs):
    return open_truth(str(photographs))


@pytest.fixture(scope="module")
def squares(truth) -> list[np.ndarray]:
    """The photographs at the protocol's size, in its order."""
    return [RESIZES["squash"].function(read_picture(truth, i), SIDE) for i in range(COUNT)]


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    return Checkpoint(Colorizer(tiny_weights()), "ab" * 32)
