"""Spectral norm divided into the kernels, beside the networks that divide at every call."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from palgan_jax.config import default_config
from palgan_jax.nn.build import build_generator
from palgan_jax.nn.fold import fold_spectral_norm, has_spectral_norm
from tests.support.colorize_model import tiny_weights


def small_config(**fields):
    config = default_config()
    config.resolution, config.net.width = 64, 1 / 16
    config.update_from_flattened_dict(fields)
    return config


def initialize(network):
    return network.init(jax.random.key(0), np.zeros((1, 64, 64, 1), np.float32))


@pytest.mark.parametrize("model", ["palgan", "autoencoder"])
def test_the_folded_network_computes_the_same(model):
    network = build_generator(small_config(model=model))
    variables = tiny_weights(model).variables
    l = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 64, 64, 1)).astype(np.float32)
    expected_palette, expected = jax.jit(network.apply)(variables, l)
    folded, folded_variables = fold_spectral_norm(network, variables)
    assert not folded.spectral and "spectral" not in folded_variables
    palette, actual = jax.jit(folded.apply)(folded_variables, l)
    assert np.ptp(expected) > 1e-1
    np.testing.assert_allclose(palette, expected_palette, atol=1e-6)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    _, undivided = jax.jit(folded.apply)({**folded_variables, "params": variables["params"]}, l)
    assert np.abs(undivided - expected).max() > 1e-2, "the kernels of this test are not normalized already"


@pytest.mark.parametrize(
    "fields",
    [
        *({"net.norm": norm} for norm in ("palette", "instance", "batch", "spade")),
        *({"net.attention": attention} for attention in ("global", "local", "none", "self")),
        *({"net.local": local} for local in ("guided_without_b", "affine")),
        *({"model": model} for model in ("autoencoder", "vae")),
    ],
)
def test_the_kernels_under_spectral_norm_are_those_of_the_network(fields):
    network = build_generator(small_config(**fields))
    variables = jax.eval_shape(lambda: initialize(network))
    expected = {path[:-1] for path in flatten_dict(variables["spectral"])}
    assert {path[:-1] for path in flatten_dict(variables["params"]) if has_spectral_norm(path)} == expected


def test_a_network_without_spectral_norm_stays_as_it_is():
    network = build_generator(small_config(**{"net.spectral": False}))
    variables = {"params": {"palette_generator": {"head": {"bias": np.ones(3)}}}}
    assert fold_spectral_norm(network, variables) == (network, variables)
