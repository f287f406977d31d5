"""Borders of prints: found where they are, and only there."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.colorize.border import find_border
from palgan_jax.colorize.join import luminance
from palgan_jax.colorize.lab_levels import lab_to_levels
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.points import Hints
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.decode import read_rgb
from palgan_jax.data.in_memory import take_picture
from palgan_jax.palette.palette import Palette
from tests.support.colorize_model import tiny_weights

HEIGHT, WIDTH = 300, 400


@pytest.fixture(scope="session")
def photographs(samples) -> list[np.ndarray]:
    """L of the samples, (HEIGHT, WIDTH)."""
    pictures = [Image.fromarray(read_rgb(path, at_least=WIDTH)) for path in sorted(samples.glob("*.jpg"))]
    return [luminance(np.asarray(picture.resize((WIDTH, HEIGHT)))) for picture in pictures]


def printed(photograph, depths, paper: float, angle: float = 0, grain: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A photograph on paper, as a scanner sees it: L, and where the border is."""
    pads = (depths[:2], depths[2:])
    sheet = np.pad(photograph, pads, constant_values=paper)
    border = np.pad(np.zeros_like(photograph), pads, constant_values=1.0)
    sheet, border = (
        np.asarray(Image.fromarray(x).rotate(angle, Image.Resampling.BILINEAR, fillcolor=fill))
        for x, fill in ((sheet, paper), (border, 1.0))
    )
    noise = np.random.default_rng(0).normal(0, grain, sheet.shape)
    return (sheet + noise).astype(np.float32), border > 0.5


def agreement(found: np.ndarray, border: np.ndarray) -> float:
    return (found & border).sum() / (found | border).sum()


@settings(max_examples=30)
@given(st.data())
def test_the_border_of_a_print_is_found(photographs, data):
    photograph = 0.7 * photographs[data.draw(st.integers(0, 23))]  # nowhere as light as the paper
    depths = data.draw(st.lists(st.integers(8, 60), min_size=4, max_size=4))
    angle, fade = data.draw(st.floats(-1.5, 1.5)), data.draw(st.sampled_from([0.4, 1.0]))
    lightness, border = printed(photograph, depths, 95, angle)
    faded = (1 - fade) * 60 + fade * lightness
    found = find_border(faded.astype(np.float32))
    assert found is not None
    mask = found.mask(*lightness.shape)
    assert set(np.unique(mask)) == {0, 255}
    assert agreement(mask == 0, ~border) > 0.95
    left, top, right, bottom = found.box(*lightness.shape)
    outside = np.ones_like(border)
    outside[top:bottom, left:right] = False
    assert (mask[outside] == 255).all(), "the box holds the photograph"
    # At another size it is the same border.
    assert found.mask(2 * len(mask), 2 * mask.shape[1]).mean() == pytest.approx(mask.mean(), abs=2)


def test_photographs_without_a_border_have_none(photographs):
    assert not any(find_border(photograph) for photograph in photographs)


def test_most_prints_of_real_photographs_are_found(photographs):
    found = [find_border(printed(photograph, [20, 25, 30, 22], 93, 0.7)[0]) for photograph in photographs]
    assert sum(border is not None for border in found) >= 0.8 * len(photographs)


@pytest.mark.parametrize("paper", [3, 50, 97])
def test_dark_and_gray_borders_are_borders(paper):
    photograph = np.random.default_rng(0).uniform(10, 90, (HEIGHT, WIDTH)).astype(np.float32)
    assert find_border(printed(photograph, [20, 20, 30, 25], paper)[0]) is not None


def test_a_side_without_a_border_stays_whole():
    photograph = np.random.default_rng(0).uniform(10, 60, (HEIGHT, WIDTH)).astype(np.float32)
    lightness, border = printed(photograph, [0, 30, 30, 30], 95)
    found = find_border(lightness)
    assert found is not None and found.box(*lightness.shape)[1] == 0
    assert agreement(found.mask(*lightness.shape) == 0, ~border) > 0.97


def test_skies_walls_and_plain_pictures_have_none():
    y, x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    noise = np.random.default_rng(0).normal(0, 1, (HEIGHT, WIDTH))
    horizon = np.where(y < 0.2, 90, 40) + noise
    gradient = 100 * y + noise
    disc = np.where(np.hypot(x - 0.66, y - 0.5) < 0.4, 30, 95) + noise
    for picture in (horizon, gradient, disc, 0 * x + 50, 50 + noise):
        assert find_border(picture.astype(np.float32)) is None
    assert find_border(np.zeros((1, 1), np.float32)) is None


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer(tiny_weights())


def test_the_photograph_of_a_print_is_painted_as_without_its_border(colorizer, photographs):
    photograph = 0.7 * photographs[0]
    sheet, border = printed(photograph, [20, 25, 30, 22], 93, grain=0)
    rgb = lab_to_levels(np.stack([sheet, 0 * sheet, 0 * sheet], -1).reshape(-1, 3)).reshape(*sheet.shape, 3)
    found, whole = colorizer(rgb), colorizer(rgb, paint_border=True)
    tint = np.ptp(found.pixels.astype(int), axis=-1)
    assert tint[border].max() <= 1 and tint[~border].mean() > 20
    assert np.ptp(whole.pixels.astype(int), axis=-1)[border].mean() > 5
    assert np.abs(luminance(found.pixels) - luminance(rgb)).max() < 1
    # Within the border, the network sees the photograph alone.
    rows, columns = find_border(sheet).place(*sheet.shape)
    alone = colorizer(np.ascontiguousarray(rgb[rows, columns]))
    assert np.abs(found.ab - alone.ab).mean() < 0.1 * np.abs(whole.ab - alone.ab).mean()
    # The palette that is predicted for a painting is that which it has.
    difference = whole.palette.distance(alone.palette)
    for painted, paint_border in ((found, False), (whole, True)):
        expected = painted.palette if paint_border else alone.palette
        for palette in (painted.palette, colorizer.predict_palette_of(rgb, paint_border=paint_border)):
            assert palette.distance(expected) < 0.1 * difference
    # A region's mask is drawn on the whole picture.
    mask = np.zeros(sheet.shape, bool)
    mask[100:200, 100:300] = True
    region = colorizer(rgb, regions=[(mask, Palette.from_colors(["red"]))])
    assert np.abs(region.pixels.astype(int) - found.pixels)[~mask].max() <= 1
    assert np.abs(region.pixels.astype(int) - found.pixels)[mask].mean() > 5


@pytest.mark.parametrize(
    ("options", "painting", "sees_border"),
    [
        ([], Painting(), False),
        (["--paint-border"], Painting(paint_border=True), True),
        (["--point=9,9=teal"], Painting(hints=Hints.at_points([((9, 9), "teal")])), True),
    ],
)
def test_a_locked_palette_is_of_what_is_painted(
    options, painting, sees_border, palgan, checkpoint, photographs, tmp_path
):
    sheet, _ = printed(0.7 * photographs[0], [60, 60, 60, 60], 93, grain=0)
    path = tmp_path / "print.png"
    Image.fromarray(np.round(2.55 * sheet).astype(np.uint8)).save(path)
    colorizer = Colorizer.load(checkpoint)
    assert palgan(path, options=["--lock", *options])[0] == 0
    result = read_rgb(tmp_path / "out" / "print.png")

    def painted(paint_border: bool) -> np.ndarray:
        palette = colorizer.predict_palette_of(path, paint_border=paint_border)
        return colorizer.paint(take_picture(path), replace(painting, palette=palette, follow=False)).pixels

    expected, other = (np.abs(painted(border).astype(int) - result).mean() for border in (sees_border, not sees_border))
    assert expected < 0.1 * other
