"""The luminance of old film, beside scikit-image, SciPy and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import color as skimage_color

from palgan_jax.color import AB_RANGE, denormalize_lab, from_bytes, lab_to_rgb
from palgan_jax.data.device import lab_batch
from palgan_jax.palette.histogram import histogram
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.training.film import BLUE, BLUR, GRAIN, RED, on_film, partly_on_film


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Two pictures of smooth shades, uint8 (2, 64, 64, 3)."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(2, 64, 64, 3)), (0, 4, 4, 0))
    return np.uint8(255 / (1 + np.exp(-40 * noise)))


@pytest.fixture(scope="module")
def kinds() -> np.ndarray:
    return np.float32([[0.5, 0.2, 0, 0.4], [0, 1, 1, 1]])


@pytest.fixture(scope="module")
def films(pictures, kinds):
    """The luminance, without noise and with it, and the colors."""
    noise = np.random.default_rng(1).normal(size=pictures.shape[:3]).astype(np.float32)
    film = jax.jit(on_film, static_argnames="ab_range")
    rgb, c = jnp.asarray(pictures), from_bytes(jnp.asarray(pictures))[1]
    (plain, colors), (grainy, grainy_colors) = (film(rgb, c, kinds, x, ab_range=AB_RANGE) for x in (0 * noise, noise))
    np.testing.assert_array_equal(colors, grainy_colors)
    return np.asarray(plain), np.asarray(grainy), np.asarray(colors)


def expected_lightness(rgb: np.ndarray, kind: np.ndarray) -> np.ndarray:
    red, blue, blur, _ = (low + (high - low) * x for (low, high), x in zip((RED, BLUE, BLUR, GRAIN), kind, strict=True))
    share = rgb / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    light = linear @ [red, (1 - red) * (1 - blue), (1 - red) * blue]
    light = gaussian_filter(light, blur, mode="nearest", radius=3)
    xyz = light[..., None] * skimage_color.xyz_tristimulus_values(illuminant="D65", observer="2")
    return skimage_color.xyz2lab(xyz)[..., 0]


def test_the_luminance_is_that_of_a_weighted_sum_of_light(pictures, kinds, films):
    for rgb, kind, l in zip(pictures, kinds, films[0], strict=True):
        np.testing.assert_allclose(100 * l[..., 0] + 50, expected_lightness(rgb, kind), atol=2e-3)


def test_grain_is_as_strong_as_asked_and_coarser_than_pixels(pictures, kinds, films):
    plain, grainy = (lab_to_rgb(denormalize_lab(l, np.zeros_like(films[2])))[..., 1] for l in films[:2])
    for before, after, (*_, strength) in zip(plain, grainy, kinds, strict=True):
        grain = np.asarray(after - before)[(before > 0.2) & (before < 0.8)]  # away from where it is cut off
        assert grain.std() == pytest.approx(GRAIN[0] + (GRAIN[1] - GRAIN[0]) * strength, rel=0.1)
        difference = np.asarray(after - before)
        assert np.corrcoef(difference[:, 1:].ravel(), difference[:, :-1].ravel())[0, 1] > 0.4


def test_colors_keep_their_hue_and_are_possible_at_that_luminance(pictures, films):
    l, _, c = films
    truth = np.asarray(from_bytes(pictures)[1])
    rgb = np.asarray(lab_to_rgb(denormalize_lab(jnp.asarray(l), jnp.asarray(c))))
    assert rgb.min() > -2e-3 and rgb.max() < 1 + 2e-3
    chroma, full = np.linalg.norm(c, axis=-1), np.linalg.norm(truth, axis=-1)
    assert (chroma <= full + 1e-6).all()
    np.testing.assert_allclose(c * full[..., None], truth * chroma[..., None], atol=1e-5)
    assert 0.2 < (chroma > 0.99 * full).mean() < 0.95, "most colors are possible, and some are not"


def test_a_share_of_a_batch_is_on_film_and_its_palettes_are_those_of_its_colors(pictures, kinds):
    spec = PaletteSpec()
    batch = lab_batch(jnp.asarray(pictures), spec, AB_RANGE)
    kind = np.concatenate([[[0.2], [0.3]], kinds], axis=1, dtype=np.float32)
    partly = jax.jit(partly_on_film, static_argnames=("share", "spec", "ab_range"))
    result = partly(batch, kind, jax.random.split(jax.random.key(0), 2), share=0.25, spec=spec, ab_range=AB_RANGE)
    assert set(result) == set(batch)
    np.testing.assert_array_equal(result["rgb"], pictures)
    for name in ("l", "c", "h"):
        assert not np.array_equal(result[name][0], batch[name][0])
        np.testing.assert_array_equal(result[name][1], batch[name][1])
    np.testing.assert_allclose(result["h"], histogram(result["c"], spec), atol=1e-6)
    grain = 100 * result["l"][0, ..., 0] + 50 - expected_lightness(pictures[0], kinds[0])
    assert 0 < np.abs(grain).mean() < 5


def test_what_is_red_is_black_and_what_is_blue_is_white():
    rgb = jnp.asarray(np.tile(np.uint8([[[[255, 0, 0]]], [[[0, 0, 255]]]]), (1, 4, 4, 1)))
    blue_alone = np.float32([[0, 1, 0, 0]] * 2)
    l, c = on_film(rgb, from_bytes(rgb)[1], blue_alone, jnp.zeros((2, 4, 4)), AB_RANGE)
    np.testing.assert_allclose(100 * l[:, 0, 0, 0] + 50, [0, 100], atol=1e-2)
    np.testing.assert_allclose(c, 0, atol=0.03)
