"""Runs that start from a model: that of another run with its discriminator, or that of a weights file."""

import json
import shutil

import jax
import numpy as np
import pytest

from palgan_jax import cli
from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.reading import load_discriminator, load_ema
from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.config import flatten, from_dict, load_config
from palgan_jax.training.start import follow, load_start

SHORT = [f"--config.{name}=1 steps" for name in ("log_every", "checkpoint_every", "eval_every")]
SHORT += ["--config.total=2 steps", "--config.sheet_every=0 steps", "--config.data.workers=0"]
STILL = ("--config.optim.g_lr=0", "--config.optim.d_lr=0")
"""With these rates a step changes nothing but statistics."""


def train(workdir, *more: str, config: str = "tiny") -> int:
    return cli.main(["train", "--config", config, "--workdir", str(workdir), *SHORT, *more])


def refusal(capsys, *command: str) -> str:
    assert train(*command) == 2
    return next(line for line in capsys.readouterr().err.splitlines() if line.startswith("palgan: error: "))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of two steps whose first is the best by what the config asks for: few colors."""
    workdir = tmp_path_factory.mktemp("first")
    assert train(workdir, "--config.best=val/psnr") == 0
    return workdir


def leaves(tree) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def assert_same(tree, other) -> None:
    ours, theirs = leaves(tree), leaves(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_run_goes_on_from_the_best_step_of_another_with_other_losses_and_its_discriminator(first, tmp_path, capsys):
    # The config is that of wider networks.
    begun = ["--from", str(first), "--config.batch_size=8", "--config.loss.l1=3", "--config.data.val=", *STILL]
    assert train(tmp_path / "second", *begun, config="demo") == 0
    best, second = load_ema(first, "best"), load_ema(tmp_path / "second", 1)
    assert_same(second.variables["params"], best.variables["params"])
    own, theirs = (load_discriminator(weights.path) for weights in (second, best))
    assert_same(own["params"], theirs["params"])

    ours, model = (flatten(from_dict(weights.config)) for weights in (second, best))
    assert ours["net.width"] == ours["discriminator.width"] == model["net.width"] == 1 / 16
    assert (ours["loss.l1"], ours["start"]) == (3.0, str(first))
    record = json.loads((tmp_path / "second" / "start.json").read_text())
    assert (record["source"], record["step"], record["discriminator"]) == (best.source, best.step, True)
    assert record["config"] == best.config and record["metrics"] == best.metrics
    assert f"starts from {best.source}, with its own discriminator" in capsys.readouterr().err

    # The same command goes on from its own checkpoints, also where the model is not there any more.
    shutil.rmtree(tmp_path / "second" / "checkpoints" / "2")
    (tmp_path / "second" / "start.json").unlink()
    hidden = first.rename(first.with_name("hidden"))
    assert train(tmp_path / "second", *begun, config="demo") == 0
    hidden.rename(first)
    told = capsys.readouterr().err
    assert "resumed at step 1" in told and "starts from" not in told
    assert not (tmp_path / "second" / "start.json").exists()
    assert 'start ("' in refusal(capsys, tmp_path / "second", "--from", "bundled", *begun[2:])


def test_a_weights_file_brings_no_discriminator_and_another_network_is_refused(first, tmp_path, capsys):
    file = tmp_path / "model.safetensors"
    save_weights(file, find_weights(first))
    config = follow(load_config("tiny", [f"start={file}", "discriminator.width=0.125"]), [], tmp_path)
    start = load_start(config)
    assert start.discriminator == {} and "with a new discriminator" in str(start)
    assert (config.net.width, config.discriminator.width) == (1 / 16, 0.125)

    assert "palgan: error: --config.net.norm=batch does not fit the model to start from, step 2 of" in refusal(
        capsys, tmp_path / "run", "--from", str(file), "--config.net.norm=batch"
    )
    assert not (tmp_path / "run" / "checkpoints").exists() or not any((tmp_path / "run" / "checkpoints").iterdir())
    assert "there is no checkpoint at" in refusal(capsys, tmp_path / "run", "--from", str(tmp_path / "nowhere"))


def test_another_discriminator_than_that_of_the_run_begins_anew(first, tmp_path):
    given = ["discriminator.kind=patch"]
    config = follow(load_config("tiny", [f"start={first}", *given]), given, tmp_path)
    assert load_start(config).discriminator == {}
    config = follow(load_config("tiny", [f"start={first}"]), [], tmp_path)
    assert set(load_start(config).discriminator) == {"params", "spectral"}
