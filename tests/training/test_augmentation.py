"""What training changes of pictures: their tones, and their colors with their palettes."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color as skimage_color

from palgan_jax.color import AB_RANGE, denormalize_lab, from_bytes, lab_to_rgb
from palgan_jax.training.augmentation import GAINS, recolored


def photograph() -> tuple[jnp.ndarray, jnp.ndarray]:
    rgb = np.random.default_rng(0).integers(40, 200, (1, 8, 8, 3), np.uint8)
    return from_bytes(rgb)


def change(turn: float, mirror: float, gain: float) -> jnp.ndarray:
    return jnp.asarray([[turn, mirror, gain]], jnp.float32)


UNCHANGED = -np.log(GAINS[0]) / (np.log(GAINS[1]) - np.log(GAINS[0]))  # the gain of factor 1


def test_no_turn_and_a_factor_of_one_change_nothing():
    l, c = photograph()
    np.testing.assert_allclose(recolored(l, c, change(0, 0, UNCHANGED), AB_RANGE), c, atol=1e-5)


def test_a_quarter_turn_takes_a_to_b():
    l, c = jnp.zeros((1, 1, 1, 1)), jnp.asarray([[[[0.1, 0.02]]]])
    np.testing.assert_allclose(recolored(l, c, change(0.25, 0, UNCHANGED), AB_RANGE)[0, 0, 0], [-0.02, 0.1], atol=1e-5)
    np.testing.assert_allclose(recolored(l, c, change(0.25, 1, UNCHANGED), AB_RANGE)[0, 0, 0], [0.02, 0.1], atol=1e-5)


@settings(max_examples=30)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_changed_colors_are_in_gamut_and_keep_the_hue_that_was_asked_for(turn, mirror, gain):
    l, c = photograph()
    result = recolored(l, c, change(turn, mirror, gain), AB_RANGE)
    rgb = np.asarray(lab_to_rgb(denormalize_lab(l, result)))
    assert rgb.min() > -1e-3
    assert rgb.max() < 1 + 1e-3
    expected = np.asarray(c[..., 0] + (1j if mirror < 0.5 else -1j) * c[..., 1]) * np.exp(2j * np.pi * turn)
    actual = np.asarray(result[..., 0] + 1j * result[..., 1])
    np.testing.assert_allclose((actual * np.conj(expected)).imag, 0, atol=1e-5)
    assert (np.abs(actual) <= np.abs(expected) * GAINS[1] + 1e-6).all()


def test_colors_are_reduced_no_more_than_the_gamut_asks():
    lab = np.asarray(skimage_color.rgb2lab(np.eye(3)[None]), np.float32)[None]  # full red, green and blue
    l, c = (lab[..., :1] - 50) / 100, lab[..., 1:] / AB_RANGE
    result = np.asarray(recolored(jnp.asarray(l), jnp.asarray(c), change(0, 0, 1), AB_RANGE))
    np.testing.assert_allclose(result, c, atol=0.03)
