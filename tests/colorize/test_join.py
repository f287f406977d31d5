"""Luminance and its joining with color: what a colorizer promises whatever the network paints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.color import lab2rgb, rgb2lab
from skimage.metrics import structural_similarity
from skimage.transform import resize

from palgan_jax.colorize import join as joining
from palgan_jax.colorize.join import join, luminance, squash
from palgan_jax.colorize.lab_levels import lab_to_levels
from palgan_jax.data.decode import read_rgb


def _luminance_of(rgb: np.ndarray) -> np.ndarray:
    return rgb2lab(rgb)[..., 0]


def _strong_colors(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-110, 110, (height, width, 2)).astype(np.float32)


def test_luminance_is_scikit_images(samples):
    rgb = read_rgb(samples / "parrot.jpg")
    np.testing.assert_allclose(luminance(rgb), _luminance_of(rgb), atol=1e-3)


@pytest.mark.parametrize("place", [(0, 0), (20, 33), (39, 49)])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_colored_pixel_of_a_gray_picture_has_its_luminance(place, channel):
    rgb = np.repeat(np.random.default_rng(0).integers(0, 256, (40, 50, 1), dtype=np.uint8), 3, axis=2)
    rgb[(*place, channel)] ^= 128
    np.testing.assert_allclose(luminance(rgb), _luminance_of(rgb), atol=1e-3)


@given(
    lab=arrays.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=st.floats(-150, 150, width=32))
)
@settings(max_examples=60)
def test_any_color_keeps_its_luminance(lab):
    lab[:, 0] = np.abs(lab[:, 0]) / 1.5
    rgb = lab_to_levels(lab)
    assert rgb.dtype == np.uint8
    # One channel's half step, at worst in all three: 0.2 in the middle, a little more where the sRGB curve is steep.
    assert np.abs(_luminance_of(rgb) - lab[:, 0]).max() < 0.5
    deep = lab_to_levels(lab, deep=True)
    assert np.abs(_luminance_of(deep / 65535) - lab[:, 0]).max() < 0.01


@pytest.mark.parametrize("deep", [False, True])
def test_colors_far_out_of_the_gamut_keep_their_luminance(deep):
    """As those of the largest saturation, and of edges, along which a line is drawn further than the colors go."""
    lab = np.array([[50, 1e4, -1e4], [30, 1e5, 0], [70, 0, -1e5], [50, -1e5, 1e5], [100, 1e5, 1e5], [0, 1e4, 0]])
    rgb = lab_to_levels(lab, deep) / (65535 if deep else 255)
    assert np.abs(rgb2lab(rgb)[:, 0] - lab[:, 0]).max() < 0.5


def test_colors_in_gamut_are_those_of_scikit_image():
    rgb = np.random.default_rng(0).integers(0, 256, (4096, 3), dtype=np.uint8)
    lab = rgb2lab(rgb).astype(np.float32)
    assert np.array_equal(lab_to_levels(lab), rgb)


def test_colors_out_of_gamut_keep_their_hue_and_as_much_chroma_as_fits():
    rng = np.random.default_rng(1)
    lightness, hue = rng.uniform(5, 95, 2000), rng.uniform(-np.pi, np.pi, 2000)
    direction = np.stack([np.cos(hue), np.sin(hue)], axis=-1)
    rgb = lab_to_levels(np.column_stack([lightness, 180 * direction]).astype(np.float32))
    ab = rgb2lab(rgb)[:, 1:]
    chroma = np.linalg.norm(ab, axis=-1)
    colorful = chroma > 15  # where rounding to bytes cannot turn the hue much
    assert colorful.mean() > 0.9
    assert (np.sum(ab * direction, axis=-1) / chroma)[colorful].min() > 0.98
    # A little more chroma would not fit: some channel is within a step or two of black or white.
    more = np.column_stack([lightness, (chroma[:, None] + 4) * direction])
    raw = lab2rgb(more[:, None])  # scikit-image clips, so that what is out of gamut changes its luminance
    outside = np.abs(rgb2lab(raw)[:, 0, 0] - lightness) > 1e-3
    assert outside[colorful].mean() > 0.98


def test_levels_of_16_bits_are_those_of_scikit_image():
    rgb = np.random.default_rng(0).integers(0, 65536, (4096, 3), dtype=np.uint16)
    rgb[:1000] //= 64  # dark, where the curve is steep
    levels = lab_to_levels(rgb2lab(rgb / 65535).astype(np.float32), deep=True)
    assert levels.dtype == np.uint16
    assert np.abs(levels.astype(int) - rgb).max() <= 2  # float32 has no more digits


def test_dark_colors_are_the_same_alone_and_among_light_ones():
    rng = np.random.default_rng(0)
    dark = rng.uniform([0, -5, -5], [12, 5, 5], (500, 3)).astype(np.float32)
    light = np.tile(np.float32([70, 10, 20]), (100_000, 1))
    by_themselves, among_light = (
        lab_to_levels(x, deep=True)[:500].astype(int) for x in (dark, np.concatenate([dark, light]))
    )
    assert len(np.unique(by_themselves)) > 400 and np.abs(by_themselves - among_light).max() <= 1


@pytest.mark.parametrize("lightness", [0.0, 1e-3, 99.999, 100.0])
def test_black_and_white_stay_so_whatever_the_color(lightness):
    lab = np.column_stack([np.full(100, lightness), _strong_colors(1, 100)[0]]).astype(np.float32)
    assert (lab_to_levels(lab) == (0 if lightness < 50 else 255)).all()


@pytest.mark.parametrize("name", ["astronaut", "beach-malibu", "cincinnati-bridge", "seeding-by-clements-engelhardt"])
def test_photographs_keep_their_luminance_under_any_colors(samples, name):
    rgb = read_rgb(samples / f"{name}.jpg")
    lightness = luminance(rgb)
    joined = join(lightness, _strong_colors(64, 64))
    assert joined.shape == rgb.shape
    assert np.abs(_luminance_of(joined) - lightness).max() < 1
    assert np.ptp(joined.astype(int), axis=-1).mean() > 20  # it is colorful: the promise was not kept by painting gray


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (17, 500), (500, 17), (16, 20_000), (333, 1001)])
def test_bands_join_to_what_one_band_gives(size, monkeypatch):
    lightness = np.random.default_rng(0).uniform(20, 80, size).astype(np.float32)
    ab = _strong_colors(64, 64)
    expected = join(lightness, ab)
    monkeypatch.setattr(
        joining, "_bands", lambda height, width: [(y, min(y + 37, height)) for y in range(0, height, 37)]
    )
    # Rounding may fall the other way where the bands' resizing differs in the last bit.
    assert np.abs(join(lightness, ab).astype(int) - expected).max() <= 1
    assert expected.shape == (*size, 3)


def test_color_lands_where_it_was_predicted():
    # Left half red, right half blue; the top quarter of each without color.
    ab = np.zeros((64, 64, 2), np.float32)
    ab[16:, :32] = (50, 30)
    ab[16:, 32:] = (10, -50)
    joined = rgb2lab(join(np.full((300, 200), 50, np.float32), ab))[..., 1:]
    np.testing.assert_allclose(joined[200, 40], (50, 30), atol=1.5)
    np.testing.assert_allclose(joined[200, 160], (10, -50), atol=1.5)
    np.testing.assert_allclose(joined[30, 100], (0, 0), atol=1.5)
    # The edges are where they belong, to within a pixel: no half-pixel shift from the resizing.
    row = joined[200, :, 1]
    assert 98 <= np.argmax(row < -10) <= 101
    down = joined[:, 40, 0]
    assert 73 <= np.argmax(down > 25) <= 76


def test_squash_is_antialiased_and_fits_any_shape(samples):
    lightness = luminance(read_rgb(samples / "atom-playground.jpg"))
    small = squash(lightness, 64)
    assert small.shape == (64, 64) and small.dtype == np.float32
    expected = resize(lightness, (64, 64), order=1, anti_aliasing=True, preserve_range=True)
    assert structural_similarity(small, expected, data_range=100) > 0.98
    # A checkerboard of single pixels becomes flat gray; without antialiasing it would not.
    board = (np.indices((256, 256)).sum(0) % 2 * 100).astype(np.float32)
    assert np.abs(squash(board, 64)[1:-1, 1:-1] - 50).max() < 1
    assert squash(np.full((16, 3000), 7.0, np.float32), 64) == pytest.approx(np.full((64, 64), 7.0))
