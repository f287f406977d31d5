"""Previews paint what a colorizer paints, and run E once for a picture."""

import numpy as np
import pytest

from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.points import Hints
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.colorize.regions import Region
from palgan_jax.data.picture import Picture
from palgan_jax.palette.palette import Palette
from palgan_jax.web import previews
from palgan_jax.web.previews import PreviewColorizer
from tests.support.colorize_model import tiny_weights
from tests.support.picture_files import RGB

TEAL, RED = Palette.from_colors(["teal"]), Palette.from_colors(["#c04040"])
MASK = np.repeat(np.uint8([255, 0]), 20)[:, None].repeat(48, 1)
PAINTINGS = {
    "predicted": Painting(),
    "a palette": Painting(TEAL, saturation=1.4),
    "a region": Painting(TEAL, regions=(Region(MASK, RED),)),
    "points": Painting(hints=Hints.at_points([((10, 10), "#3060c0")])),
    "larger": Painting(RED, resolution=128),
}


@pytest.fixture(scope="module")
def colorizer():
    return PreviewColorizer(tiny_weights())


@pytest.mark.parametrize("name", PAINTINGS)
def test_previews_are_painted_as_results_are(colorizer, name):
    ours = colorizer.paint(Picture(RGB), PAINTINGS[name])
    theirs = Colorizer(tiny_weights()).paint(Picture(RGB), PAINTINGS[name])
    assert ours.palette.distance(theirs.palette) < 1e-3
    assert np.abs(ours.ab - theirs.ab).max() < 1e-2  # of 110
    assert np.abs(ours.pixels.astype(int) - theirs.pixels).max() <= 1


def test_the_encoder_runs_once_for_all_palettes_of_a_picture(monkeypatch):
    colorizer, calls = PreviewColorizer(tiny_weights()), []
    once = previews._features
    monkeypatch.setattr(previews, "_features", lambda *x: calls.append(x) or once(*x))
    pictures = [Picture(np.roll(RGB, 7 * i, axis=1)) for i in range(5)]
    for picture in pictures[:4]:
        for palette in (None, TEAL, RED):
            colorizer.paint(picture, Painting(palette))
    assert len(calls) == 4
    colorizer.paint(pictures[4])
    colorizer.paint(pictures[1], Painting(RED))
    assert len(calls) == 5
    colorizer.paint(pictures[0])  # dropped for the fifth
    assert len(calls) == 6
