"""What a user names with --checkpoint: a run, one of its checkpoints, a file or nothing; and its description."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from palgan_jax.checkpoint import find
from palgan_jax.checkpoint.find import describe, find_weights
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.errors import UserError
from palgan_jax.util.text import in_words
from tests.support.checkpoint_state import build
from tests.support.colorize_model import tiny_weights


@pytest.fixture(scope="module")
def config() -> dict:
    return tiny_weights().config


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
    assert find_weights(run).source == f"step 20 of {folder / '20'}"
    assert find_weights(folder / "10").source == f"step 10 of {folder / '10'}"
    best = find_weights(str(run), "best")
    assert best.source == f"step 10 of {folder / '10'}"
    path = tmp_path / "palgan.safetensors"
    save_weights(path, best)
    weights = find_weights(path)
    assert weights.source == f"step 10 of {path}"
    for loaded, saved in zip(jax.tree.leaves(weights.variables), jax.tree.leaves(best.variables), strict=True):
        assert np.array_equal(loaded, saved)
    assert weights.config == best.config == config
    monkeypatch.setattr(find, "BUNDLED", tmp_path)
    assert find_weights().source == "step 10 of palgan.safetensors (bundled)"
    monkeypatch.setattr(find, "BUNDLED", tmp_path / "none")
    with pytest.raises(UserError, match=r"no weights come with this installation: train some .* --checkpoint"):
        find_weights(None)


@pytest.mark.parametrize("step", ["best", 10])
def test_a_step_of_a_single_file_is_refused(tmp_path, step):
    with pytest.raises(UserError, match=f"one.safetensors holds the weights of one step: .* choose the .*{step} among"):
        find_weights(tmp_path / "one.safetensors", step)
    with pytest.raises(UserError, match="the bundled file holds the weights of one step"):
        find_weights(None, step)


def test_description_of_a_run_and_of_a_file(tmp_path, run):
    text = describe(run)
    assert f"step 20 of {run / 'checkpoints' / '20'}" in text
    assert "EMA weights" in text and "24" in text and "lpips" not in text
    weights = replace(tiny_weights(), metrics={"val/psnr": 24.25})
    save_weights(tmp_path / "a.safetensors", weights)
    lines = describe(tmp_path / "a.safetensors").splitlines()
    assert lines[0] == f"checkpoint   step 1234 of {tmp_path / 'a.safetensors'}"
    assert lines[1] == f"size         {in_words((tmp_path / 'a.safetensors').stat().st_size, 1)}"
    rows = {line.split()[0]: line.split()[-1] for line in lines if line.startswith("  ")}
    parts = {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in weights.variables["params"].items()}
    assert {name: int(rows[name].replace(",", "")) for name in parts} == parts
    assert f"{sum(parts.values()):,}" in "\n".join(lines) and rows["val/psnr"] == "24.25"
    assert "net            " in "\n".join(lines) and f"width={1 / 16}" in "\n".join(lines)
    assert any('checkpoint_every="1 epochs"' in line for line in lines)  # not broken over two lines
    with pytest.raises(UserError):
        describe(tmp_path / "nothing")
