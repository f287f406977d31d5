"""Weights in one file: every bit back, half the size on demand, and a sentence for every other file."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.checkpoint.weights_file import load_weights, save_weights
from palgan_jax.errors import UserError
from tests.support.colorize_model import tiny_weights


@pytest.fixture(scope="module")
def config() -> dict:
    return tiny_weights().config


@pytest.fixture(scope="module")
def variables() -> dict:
    return tiny_weights().variables


def assert_same(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape and np.array_equal(x, y)


def test_one_file_gives_every_bit_back(tmp_path, variables, config):
    path = tmp_path / "a.safetensors"
    save_weights(path, Weights(variables, config, 1200, {"val/psnr": 24.5}))
    weights = load_weights(path)
    assert_same(weights.variables, {"batch_stats": {}, "spectral": {}, **variables})
    assert (weights.step, weights.config, weights.metrics) == (1200, config, {"val/psnr": 24.5})
    assert (weights.path, weights.source) == (str(path), f"step 1200 of {path}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_device_arrays_and_missing_collections_are_fine(tmp_path):
    save_weights(tmp_path / "a.safetensors", Weights({"params": {"w": jnp.ones((2, 3)).T}}, {}, 1))
    variables = load_weights(str(tmp_path / "a.safetensors")).variables
    assert_same(variables, {"params": {"w": np.ones((3, 2), np.float32)}, "batch_stats": {}, "spectral": {}})


def test_half_precision_halves_the_file_and_comes_back_as_float32(tmp_path, variables, config):
    save_weights(tmp_path / "a.safetensors", Weights(variables, config, 1))
    save_weights(tmp_path / "b.safetensors", Weights(variables, config, 1), dtype="float16")
    sizes = [(tmp_path / name).stat().st_size for name in ("a.safetensors", "b.safetensors")]
    header = 2 * len(json.dumps(config)) + 150 * len(jax.tree.leaves(variables))
    assert sizes[1] < 0.55 * sizes[0] + header
    loaded = load_weights(tmp_path / "b.safetensors").variables
    for name in ("batch_stats", "spectral"):  # small, and their range is not that of parameters
        assert_same(loaded[name], variables.get(name, {}))
    for x, y in zip(jax.tree.leaves(loaded["params"]), jax.tree.leaves(variables["params"]), strict=True):
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, y, rtol=2**-11, atol=2**-25)


def test_half_precision_never_overflows(tmp_path):
    params = {
        "large": np.array([1e5, -3.0], np.float32),
        "small": np.array([0.5], np.float32),
        "none": np.zeros((0, 2), "f4"),
    }
    save_weights(tmp_path / "a.safetensors", Weights({"params": params}, {}, 1), dtype="float16")
    assert_same(load_weights(tmp_path / "a.safetensors").variables["params"], params)


def test_an_existing_file_is_kept_where_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_weights(path, Weights({"params": {"w": np.ones(3, np.float32)}}, {}, 1))
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_weights(path, Weights({"params": {"w": np.zeros(3, np.float32)}}, {}, 2))
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_writing_errors(tmp_path):
    weights = Weights({"params": {"w": np.ones(3, np.float32)}}, {}, 1)
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        save_weights(tmp_path / "a.npz", weights)
    with pytest.raises(UserError, match="float32 or float16, not as int8"):
        save_weights(tmp_path / "a.safetensors", weights, dtype="int8")
    with pytest.raises(UserError, match="cannot be written"):
        save_weights(tmp_path / "nowhere" / "a.safetensors", weights)


def test_reading_errors(tmp_path, variables, config):
    good = tmp_path / "good.safetensors"
    save_weights(good, Weights(variables, config, 1))
    content = good.read_bytes()
    files = {
        "empty": (b"", "not a readable weights file"),
        "short": (content[:100], "not a readable weights file"),
        "truncated": (content[:-1000], "not a readable weights file"),
        "text": (b"these are not the weights you are looking for", "not a readable weights file"),
        "foreign": (safetensors.numpy.save({"w": np.zeros(3)}), "does not hold weights of palgan_jax"),
        "newer": (
            safetensors.numpy.save({"w": np.zeros(3)}, {"format": "palgan_jax", "format_version": "9"}),
            "newer version",
        ),
        "list": (
            safetensors.numpy.save(
                {"w": np.zeros(3)}, {"format": "palgan_jax", "format_version": "1", "step": "1", "config": "[]"}
            ),
            r"not a readable weights file \(its config",
        ),
        "bare": (
            safetensors.numpy.save({"w": np.zeros(3)}, {"format": "palgan_jax", "format_version": "1"}),
            "not a readable weights file",
        ),
    }
    for name, (bad, message) in files.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(bad)
        with pytest.raises(UserError, match=message) as error:
            load_weights(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="no such file"):
        load_weights(tmp_path / "nothing.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(UserError, match="it is a folder"):
        load_weights(tmp_path / "folder.safetensors")


@pytest.mark.parametrize("local", ["guided", "affine"])
def test_biases_without_effect_that_earlier_files_hold_are_left_out(tmp_path, local):
    conv = {"kernel": np.ones((1, 1, 2, 2), "f4"), "bias": np.ones(2, "f4")}
    attention = {name: dict(conv) for name in ("key", "guide", "query")}
    variables = {"params": {"assignment_generator": {"attention": attention}}}
    save_weights(tmp_path / "old.safetensors", Weights(variables, {"net": {"local": local}}, 1))
    read = load_weights(tmp_path / "old.safetensors").variables["params"]["assignment_generator"]["attention"]
    assert set(read["key"]) == {"kernel"} and set(read["query"]) == {"kernel", "bias"}
    assert set(read["guide"]) == ({"kernel", "bias"} if local == "affine" else {"kernel"})
