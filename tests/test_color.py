"""Color conversion against scikit-image, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
from hypothesis import given
from hypothesis import strategies as st

from palgan_jax.color import (
    bytes_to_signed,
    denormalize_lab,
    lab_to_rgb,
    lightness_to_srgb,
    linear_to_srgb,
    normalize_lab,
    render,
    rgb_to_lab,
    srgb_to_linear,
)

EDGES = np.array(
    [[r, g, b] for r in (0, 1e-6, 0.04045, 0.5, 1) for g in (0, 1 / 255, 0.04045, 1) for b in (0, 0.0031308, 0.5, 1)],
    np.float32,
)
HARD = jnp.array([[0.0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 0, 1], [0.04045, 0.04045, 0.04045]])


@pytest.fixture(scope="module")
def random_rgb() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(4096, 3)).astype(np.float32)


@pytest.mark.parametrize("place", [np.asarray, jnp.asarray], ids=["host", "device"])
def test_rgb_to_lab_agrees_with_scikit_image(random_rgb, place):
    rgb = np.concatenate([random_rgb, EDGES])
    lab = rgb_to_lab(place(rgb))
    assert isinstance(lab, type(place(rgb))) and lab.dtype == np.float32
    np.testing.assert_allclose(lab, skimage.color.rgb2lab(rgb), atol=1e-3)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
@pytest.mark.parametrize("place", [np.asarray, jnp.asarray], ids=["host", "device"])
def test_lab_to_rgb_agrees_with_scikit_image_out_of_gamut_too(place):
    rng = np.random.default_rng(1)
    lab = rng.uniform([0, -128, -128], [100, 128, 128], size=(4096, 3)).astype(np.float32)
    lab = np.concatenate([lab, [[0, 0, 0], [100, 0, 0], [0, 128, -128], [100, -128, 128], [8, 0, 0]]])
    rgb = lab_to_rgb(place(lab))
    assert isinstance(rgb, type(place(lab))) and rgb.dtype == np.float32
    np.testing.assert_allclose(np.clip(rgb, 0, 1), skimage.color.lab2rgb(lab), atol=1e-3)


def test_arrays_of_jax_beside_those_of_numpy_are_computed_by_jax():
    l, c = np.zeros((2, 1), np.float32), jnp.zeros((2, 2))
    assert isinstance(denormalize_lab(l, c), jax.Array) and isinstance(denormalize_lab(c[:, :1], l), jax.Array)
    assert isinstance(denormalize_lab(l, l), np.ndarray)


def test_there_and_back(random_rgb):
    rgb = np.concatenate([random_rgb, EDGES])
    np.testing.assert_allclose(lab_to_rgb(rgb_to_lab(jnp.asarray(rgb))), rgb, atol=2e-4)


@pytest.mark.parametrize("convert", [rgb_to_lab, lab_to_rgb], ids=["rgb_to_lab", "lab_to_rgb"])
def test_gradients_are_finite_everywhere(convert):
    points = jnp.concatenate([HARD, jnp.array([[0.0, 127, -127], [100, -127, 127], [-1, 0, 0], [2, 3, 300]])])
    jacobian = jax.jit(jax.vmap(jax.jacfwd(convert)))(points)
    assert bool(jnp.all(jnp.isfinite(jacobian)))


@pytest.mark.parametrize("convert", [rgb_to_lab, lab_to_rgb, srgb_to_linear, linear_to_srgb])
def test_gradients_agree_with_finite_differences(convert):
    point = jnp.array([0.4, 0.6, 0.3]) * (100 if convert is lab_to_rgb else 1)
    jacobian, step = jax.jacfwd(convert)(point), 1e-2
    for i in range(3):
        move = jnp.zeros(3).at[i].set(step)
        difference = (convert(point + move) - convert(point - move)) / (2 * step)
        np.testing.assert_allclose(jacobian[..., i], difference, rtol=2e-2, atol=2e-2)


def test_out_of_gamut_colors_keep_a_gradient():
    gradient = jax.grad(lambda lab: lab_to_rgb(lab).sum())(jnp.array([60.0, 120.0, -100.0]))
    assert float(jnp.abs(gradient).min()) > 0


@given(st.floats(0, 100), st.floats(-128, 128), st.floats(-128, 128), st.sampled_from([100.0, 110.0, 128.0]))
def test_normalize_and_back(lightness, a, b, ab_range):
    lab = np.array([lightness, a, b], np.float32)
    l, c = normalize_lab(lab, ab_range)
    assert -0.5 <= float(l[0]) <= 0.5
    np.testing.assert_allclose(denormalize_lab(l, c, ab_range), lab, atol=1e-3)


@pytest.mark.parametrize("xp", [np, jnp])
def test_bytes_become_the_range_of_networks(xp):
    signed = bytes_to_signed(xp.arange(256, dtype=xp.uint8))
    assert signed.dtype == xp.float32
    np.testing.assert_allclose(signed, np.linspace(-1, 1, 256), atol=1e-6)


@pytest.mark.parametrize("leak", [0.0, 0.01, 1.0])
def test_render_shrinks_negative_light_alone(leak):
    rng = np.random.default_rng(2)
    l, c = rng.uniform(-0.5, 0.5, (4096, 1)).astype("f4"), rng.uniform(-1, 1, (4096, 2)).astype("f4")
    free = 2 * np.asarray(lab_to_rgb(denormalize_lab(l, c))) - 1
    rendered = np.asarray(render(l, c, leak=leak))
    np.testing.assert_allclose(rendered, np.where(free < -1, leak * (free + 1) - 1, free), rtol=1e-5, atol=1e-5)
    assert free.min() < -5 and rendered.max() > 1


def test_a_grays_value_is_that_of_scikit_image():
    lightness = np.linspace(0, 100, 300, dtype=np.float32)
    lab = np.stack([lightness, np.zeros(300), np.zeros(300)], -1)
    np.testing.assert_allclose(lightness_to_srgb(lightness), skimage.color.lab2rgb(lab)[:, 1], atol=2e-4)
