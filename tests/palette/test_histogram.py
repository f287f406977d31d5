"""Palettes: the golden values of the method, a slow histogram, and properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
from hypothesis import given, settings
from hypothesis import strategies as st

from palgan_jax.palette.histogram import bin_colors, entropy, hellinger, histogram, of_picture, picture
from palgan_jax.palette.spec import PaletteSpec

GOLDEN = [  # ab, largest bin, its share, entropy in nats
    ((0, 0), (7, 7), 0.101391, 3.7480),
    ((60, -40), (12, 5), 0.150171, 3.6056),
    ((80, 67), (13, 12), 0.210582, 3.3742),
]


@pytest.mark.parametrize(("ab", "largest", "share", "nats"), GOLDEN)
def test_golden_values(ab, largest, share, nats):
    h = histogram(jnp.broadcast_to(jnp.array(ab) / 110, (3, 5, 2)))
    assert h.shape == (256,)
    assert h.dtype == jnp.float32
    assert divmod(int(jnp.argmax(h)), 16) == largest
    np.testing.assert_allclose(h.max(), share, atol=2e-6)
    np.testing.assert_allclose(entropy(h), nats, atol=1e-4)
    if ab == (0, 0):
        np.testing.assert_allclose(h.reshape(16, 16)[7:9, 7:9], share, atol=2e-6)


def _slow_histogram(ab: np.ndarray, spec: PaletteSpec) -> np.ndarray:
    """One pixel and one bin at a time, in float64."""
    centers = np.linspace(-spec.half_range, spec.half_range, spec.bins)
    counts = np.zeros((spec.bins, spec.bins))
    for a, b in ab.reshape(-1, 2).astype(np.float64):
        distance = [np.abs(x - centers) / spec.sigma for x in (a, b)]
        if spec.kernel == "hard":
            votes = [np.eye(spec.bins)[d.argmin()] for d in distance]
        else:
            kernel = {"inverse_quadratic": lambda d: 1 / (1 + d**2), "gaussian": lambda d: np.exp(-(d**2) / 2)}
            votes = [kernel[spec.kernel](d) for d in distance]
        counts += np.outer(*votes)
    return (counts / (counts.sum() if spec.normalization == "sum" else counts.max())).ravel()


@pytest.mark.parametrize("kernel", ["inverse_quadratic", "gaussian", "hard"])
@pytest.mark.parametrize("normalization", ["sum", "max"])
@pytest.mark.parametrize(("bins", "half_range", "sigma"), [(16, 1.0, 0.1), (8, 0.9, 0.2)])
def test_agrees_with_a_slow_histogram(kernel, normalization, bins, half_range, sigma):
    spec = PaletteSpec(bins, half_range, sigma, kernel, normalization)
    ab = np.random.default_rng(0).uniform(-1, 1, (6, 7, 2)).astype(np.float32)
    for place in (np.asarray, jnp.asarray):
        h = histogram(place(ab), spec)
        assert isinstance(h, type(place(ab))) and h.dtype == np.float32
        np.testing.assert_allclose(h, _slow_histogram(ab, spec), atol=2e-6)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1.2))
def test_a_palette_is_a_distribution_that_ignores_where_pixels_are(seed, spread):
    rng = np.random.default_rng(seed)
    ab = rng.uniform(-spread, spread, (2, 8, 8, 2)).astype(np.float32)
    h = np.asarray(histogram(ab))
    assert h.shape == (2, 256)
    assert h.min() >= 0
    np.testing.assert_allclose(h.sum(-1), 1, atol=1e-5)
    shuffled = rng.permutation(ab.reshape(2, 64, 2), axis=1).reshape(2, 8, 8, 2)
    np.testing.assert_allclose(histogram(shuffled), h, atol=1e-6)
    distance = np.asarray(hellinger(h[0], h[1]))
    assert 0 <= distance <= 1
    np.testing.assert_allclose(distance, hellinger(h[1], h[0]), atol=1e-6)
    assert float(hellinger(h[0], h[0])) < 1e-5
    assert 0 < float(entropy(h[0])) <= np.log(256) + 1e-5


def test_batches_and_single_pictures_agree():
    ab = np.random.default_rng(3).uniform(-1, 1, (2, 3, 4, 5, 2)).astype(np.float32)
    expected = histogram(ab)
    assert expected.shape == (2, 3, 256)
    np.testing.assert_allclose(expected[1, 2], histogram(ab[1, 2]), atol=1e-6)


def test_entropy_and_hellinger_at_their_ends():
    first, second, flat = np.eye(256)[0], np.eye(256)[9], np.full(256, 1 / 256)
    np.testing.assert_allclose(entropy(flat), np.log(256), atol=1e-4)
    np.testing.assert_allclose(entropy(first), 0, atol=1e-4)
    np.testing.assert_allclose(hellinger(first, second), 1, atol=1e-4)


@pytest.mark.parametrize("function", [lambda h: entropy(h).sum(), lambda h: hellinger(h, jnp.eye(256)[:2]).sum()])
def test_gradients_are_finite_where_bins_are_empty(function):
    assert bool(jnp.all(jnp.isfinite(jax.grad(function)(jnp.eye(256)[:2]))))


def test_the_picture_has_a_to_the_right_and_b_upwards():
    h = np.zeros((16, 16), np.float32)
    h[15, 8] = 1  # strong a: magenta or red, at the right
    image = picture(h.ravel(), cell=4)
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    bright_pixels = np.argwhere((image != 24).any(-1))
    assert bright_pixels.min(0).tolist() == [28, 60]  # row 7 from the top: b of bin 8, a little over 0
    assert bright_pixels.max(0).tolist() == [31, 63]
    red, green, _ = image[28, 60].astype(int)
    assert red > green
    np.testing.assert_array_equal(image[28, 60], np.round(bin_colors()[15, 8] * 255).astype(np.uint8))


def test_the_palette_of_a_picture_is_that_of_its_lab_by_scikit_image():
    rgb = np.random.default_rng(0).integers(0, 256, (2, 6, 7, 3), np.uint8)
    spec = PaletteSpec(bins=8)
    expected = histogram(jnp.asarray(skimage.color.rgb2lab(rgb)[..., 1:] / 90), spec)
    np.testing.assert_allclose(of_picture(jnp.asarray(rgb), spec, 90.0), expected, atol=1e-5)
