"""Weights in one file: every bit back, half the size on demand, and a sentence for every other file."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.checkpoint.weights_file import load_weights, save_weights
from palgan_jax.colorize.predictor import Colorizer
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


def test_a_file_does_not_say_where_pictures_lay(tmp_path, variables, config):
    config = dict(config, data={**config["data"], "train": "folder:/home/jane/photos"}, start="/home/jane/runs/a")
    save_weights(tmp_path / "a.safetensors", Weights(variables, config, 1))
    assert b"jane" not in (tmp_path / "a.safetensors").read_bytes()
    kept = load_weights(tmp_path / "a.safetensors").config
    assert (kept["data"]["train"], kept["start"], kept["net"]) == ("folder:photos", "a", config["net"])


def test_a_mean_is_called_so_and_names_its_steps(tmp_path, variables, config):
    path = tmp_path / "a.safetensors"
    save_weights(path, Weights(variables, config, 30, averaged=(10, 20, 30)))
    weights = load_weights(path)
    assert (weights.step, weights.averaged) == (30, (10, 20, 30))
    assert weights.source == f"mean of steps 10, 20 and 30 of {path}"


def test_equal_weights_are_equal_files(tmp_path, variables, config):
    for name in "ab":
        save_weights(tmp_path / f"{name}.safetensors", Weights(variables, config, 1200, {"val/psnr": 24.5}))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


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


def file_of(path, tensors: dict, **description) -> Path:
    metadata = {"format": "palgan_jax", "format_version": "1", "step": "1", "config": "{}", "metrics": "{}"}
    path.write_bytes(safetensors.numpy.save(tensors, {**metadata, **description}))
    return path


WEIGHT = {"params/w": np.ones((2, 3), np.float32)}
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


@pytest.mark.parametrize(
    ("tensors", "description", "message"),
    [
        ({"params/w": np.array([1, np.nan], "f4")}, {}, "params/w holds numbers that are not finite"),
        ({"params/w": np.array([-np.inf], "f2")}, {}, "params/w holds numbers that are not finite"),
        ({"params/w": np.array([1e200])}, {}, "params/w holds numbers that are not finite"),
        ({"batch_stats/n/var": np.array([1, -1e-3], "f4")}, {}, "batch_stats/n/var holds negative variances"),
        ({"params/w": np.ones(2, np.int32)}, {}, "params/w holds I32 instead of floats"),
        ({"params/w": np.ones(2, bool)}, {}, "params/w holds BOOL instead of floats"),
        ({**WEIGHT, "params/w/kernel": np.ones(2, "f4")}, {}, "params/w both as an array and as a part"),
        ({"params/w": np.ones(2, "f4"), "params": np.ones(1, "f4")}, {}, "params, which is no part of a network"),
        ({"params//w": np.ones(2, "f4")}, {}, "params//w, which is no part of a network"),
        ({"other/\n": np.ones(2, "f4")}, {}, r"other/\\n, which is no part of a network"),
        ({}, {}, "it holds no weights"),
        (WEIGHT, {"step": "-1"}, "its step is -1"),
        (WEIGHT, {"step": "1" * 5000}, "not a readable weights file"),
        (WEIGHT, {"config": DEEP}, "not a readable weights file"),
        (WEIGHT, {"config": '{"a": {"b": {"c": 1}}}'}, "the field b of its config is no single value"),
        (WEIGHT, {"config": '{"a": NaN}'}, "the field a of its config is no single value"),
        (WEIGHT, {"config": " " * 2_000_000 + "{}"}, "its description has 2000002 letters"),
        (WEIGHT, {"metrics": '{"val/psnr": "high"}'}, "its metric val/psnr is high and no number"),
        (WEIGHT, {"metrics": '{"val/psnr": true}'}, "its metric val/psnr is True and no number"),
        (WEIGHT, {"metrics": '{"val/psnr": Infinity}'}, "its metric val/psnr is inf and no number"),
        (WEIGHT, {"metrics": "[]"}, "its config or its metrics are not named values"),
        *((WEIGHT, {"averaged": steps}, "it is the mean of ") for steps in (
            "0", "null", "[1]", "[0, 2]", "[1, 1]", "[1, 0, 1]", "[-1, 1]", '["0", "1"]', '{"0": 1}', "[0.5, 1]",
        )),
    ],
)  # fmt: skip
def test_what_no_network_can_use_is_refused(tmp_path, tensors, description, message):
    path = file_of(tmp_path / "a.safetensors", tensors, **description)
    with pytest.raises(UserError, match=message) as error:
        load_weights(path)
    assert str(error.value).startswith(f"{path} is not a readable weights file (") and "\n" not in str(error.value)


def test_metrics_that_are_no_numbers_are_written_as_nothing(tmp_path):
    save_weights(tmp_path / "a.safetensors", Weights({"params": {"w": np.ones(3, "f4")}}, {}, 1, {"a": np.nan, "b": 1}))
    assert load_weights(tmp_path / "a.safetensors").metrics == {"a": None, "b": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": 1 << 40}, {"resolution": 1088}, {"net.width": 1e9}, {"palette.bins": 10**6},
        {"net.guided_radius": 10**5}, {"resolution": 10**400}, {"net.width": 10**400}, {"net.palette_scale": True},
        {"resolution": 0, "net.width": 1.0}, {"no\nfield": 1},
    ],
    ids=str,
)  # fmt: skip
def test_absurd_configs_are_refused(variables, changes):
    with pytest.raises(UserError) as error:
        Colorizer(Weights(variables, changes, 1, source="x"))
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_statistics_of_another_size_are_not_stretched(variables, config):
    flat = flatten_dict(variables, sep="/")
    name = next(name for name in flat if name.startswith("batch_stats/") and name.endswith("/var"))
    damaged = unflatten_dict({**flat, name: np.ones(1, np.float32)}, sep="/")
    with pytest.raises(UserError, match=name):
        Colorizer(Weights(damaged, config, 1, source="x"))


def test_weights_that_paint_with_infinite_numbers_are_refused(variables, config):
    huge = jax.tree.map(lambda x: np.full_like(x, 1e30), variables["params"])
    with pytest.raises(UserError, match="numbers that are not finite"):
        Colorizer(Weights({**variables, "params": huge}, config, 1, source="x")).predict(np.full((64, 64), 50, "f4"))
