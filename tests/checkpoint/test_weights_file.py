"""Weights in one file: every bit back, half the size on demand, and a sentence for every other file."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from palgan_jax.checkpoint import weights_file as weights
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.checkpoint.weights_file import describe, find_weights, load_weights, save_weights
from palgan_jax.config import default_config, from_dict
from palgan_jax.errors import UserError
from palgan_jax.nn.build import build_generator
from tests.support.checkpoint_state import build


@pytest.fixture(scope="module")
def config() -> dict:
    config = default_config()
    config.net.width = 1 / 16
    config.resolution = 64
    return config.to_dict()


@pytest.fixture(scope="module")
def model(config) -> nn.Module:
    return build_generator(from_dict(config))


@pytest.fixture(scope="module")
def variables(model) -> dict:
    """Numbers in the shapes of a real, narrow model."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 1)))
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda x: np.abs(draw.standard_normal(x.shape)).astype(x.dtype), dict(shapes))


def assert_same(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape and np.array_equal(x, y)


def test_one_file_gives_every_bit_back(tmp_path, variables, config):
    save_weights(tmp_path / "a.safetensors", variables, config, 1200, metrics={"val/psnr": 24.5})
    found = load_weights(tmp_path / "a.safetensors")
    assert_same(found["variables"], {"batch_stats": {}, "spectral": {}, **variables})
    assert (found["step"], found["config"], found["metrics"]) == (1200, config, {"val/psnr": 24.5})
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_device_arrays_and_missing_collections_are_fine(tmp_path):
    save_weights(tmp_path / "a.safetensors", {"params": {"w": jnp.ones((2, 3)).T}}, {}, 1)
    found = load_weights(str(tmp_path / "a.safetensors"))["variables"]
    assert_same(found, {"params": {"w": np.ones((3, 2), np.float32)}, "batch_stats": {}, "spectral": {}})


def test_half_precision_halves_the_file_and_comes_back_as_float32(tmp_path, variables, config):
    save_weights(tmp_path / "a.safetensors", variables, config, 1)
    save_weights(tmp_path / "b.safetensors", variables, config, 1, dtype="float16")
    sizes = [(tmp_path / name).stat().st_size for name in ("a.safetensors", "b.safetensors")]
    header = 2 * len(json.dumps(config)) + 150 * len(jax.tree.leaves(variables))
    assert sizes[1] < 0.55 * sizes[0] + header
    found = load_weights(tmp_path / "b.safetensors")["variables"]
    for name in ("batch_stats", "spectral"):  # small, and their range is not that of parameters
        assert_same(found[name], variables.get(name, {}))
    for x, y in zip(jax.tree.leaves(found["params"]), jax.tree.leaves(variables["params"]), strict=True):
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, y, rtol=2**-11, atol=2**-25)


def test_half_precision_never_overflows(tmp_path):
    params = {
        "large": np.array([1e5, -3.0], np.float32),
        "small": np.array([0.5], np.float32),
        "none": np.zeros((0, 2), "f4"),
    }
    save_weights(tmp_path / "a.safetensors", {"params": params}, {}, 1, dtype="float16")
    assert_same(load_weights(tmp_path / "a.safetensors")["variables"]["params"], params)


def test_an_existing_file_is_kept_where_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_weights(path, {"params": {"w": np.ones(3, np.float32)}}, {}, 1)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_weights(path, {"params": {"w": np.zeros(3, np.float32)}}, {}, 2)
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_writing_errors(tmp_path):
    tree = {"params": {"w": np.ones(3, np.float32)}}
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        save_weights(tmp_path / "a.npz", tree, {}, 1)
    with pytest.raises(UserError, match="float32 or float16, not as int8"):
        save_weights(tmp_path / "a.safetensors", tree, {}, 1, dtype="int8")
    with pytest.raises(UserError, match="cannot be written"):
        save_weights(tmp_path / "nowhere" / "a.safetensors", tree, {}, 1)


def test_reading_errors(tmp_path, variables, config):
    good = tmp_path / "good.safetensors"
    save_weights(good, variables, config, 1)
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
            find_weights(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="no such file"):
        find_weights(tmp_path / "nothing.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(UserError, match="it is a folder"):
        find_weights(tmp_path / "folder.safetensors")


# ---------------------------------------------------------------------------------------------------------------- find


@pytest.fixture(scope="module")
def run(tmp_path_factory, config):
    """A working directory with two checkpoints, the first of them the best."""
    workdir = tmp_path_factory.mktemp("run")
    with Checkpoints(workdir / "checkpoints", best="val/psnr") as checkpoints:
        for step, psnr in [(10, 25.5), (20, 24.0)]:
            metrics = {"val/psnr": psnr, "val/lpips": float("nan")}
            checkpoints.save(step, build(step), data_position=0, config=config, metrics=metrics)
    return workdir


def test_finds_files_folders_and_the_bundled_weights(tmp_path, run, config, monkeypatch):
    folder = run / "checkpoints"
    assert find_weights(run)["source"] == f"step 20 of {folder / '20'}"
    assert find_weights(folder / "10")["source"] == f"step 10 of {folder / '10'}"
    best = find_weights(str(run), "best")
    assert best["source"] == f"step 10 of {folder / '10'}"
    path = tmp_path / "palgan.safetensors"
    save_weights(path, best["variables"], best["config"], best["step"], metrics=best["metrics"])
    found = find_weights(path)
    assert found["source"] == f"step 10 of {path}"
    assert_same(found["variables"], best["variables"])
    assert found.keys() == best.keys() and found["config"] == config
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    assert find_weights()["source"] == "step 10 of palgan.safetensors (bundled)"
    monkeypatch.setattr(weights, "BUNDLED", tmp_path / "none")
    with pytest.raises(UserError, match=r"no weights come with this installation: train some .* --checkpoint"):
        find_weights(None)


def test_description_of_a_run_and_of_a_file(tmp_path, run, model, variables, config):
    text = describe(run)
    assert f"step 20 of {run / 'checkpoints' / '20'}" in text
    assert "EMA weights" in text and "24" in text and "lpips" not in text
    save_weights(tmp_path / "a.safetensors", variables, config, 7, metrics={"val/psnr": 24.25})
    lines = describe(tmp_path / "a.safetensors").splitlines()
    assert lines[0] == f"checkpoint   step 7 of {tmp_path / 'a.safetensors'}"
    assert lines[1] == f"size         {(tmp_path / 'a.safetensors').stat().st_size / 1e6:,.1f} MB"
    words = {line.split()[0]: line.split()[-1] for line in lines if line.startswith("  ")}
    parts = {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in variables["params"].items()}
    assert {name: int(words[name].replace(",", "")) for name in parts} == parts
    assert f"{sum(parts.values()):,}" in "\n".join(lines) and words["val/psnr"] == "24.25"
    assert "net            " in "\n".join(lines) and f"width={1 / 16}" in "\n".join(lines)
    assert any('checkpoint_every="1 epochs"' in line for line in lines)  # not broken over two lines
    with pytest.raises(UserError):
        describe(tmp_path / "nothing")
