"""Runs that start from a model: that of another run with its discriminator, or that of a weights file."""

import json
import shutil

import jax
import numpy as np
import pytest

from palgan_jax import cli
from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.reading import load_discriminator, load_ema
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.config import flatten, from_dict, load_config, read_config
from palgan_jax.training.start import find_model, follow, load_start
from palgan_jax.util.trees import flatten_names
from tests.support.checkpoint_state import CONFIG, build
from tests.support.export_networks import LITE0, weights_of
from tests.support.training_runs import NETWORK

SHORT = [f"--config.{override}" for override in NETWORK]
SHORT += [f"--config.{name}=1 steps" for name in ("log_every", "checkpoint_every")]
SHORT += ["--config.total=2 steps", "--config.sheet_every=0 steps", "--config.data.val=", "--config.data.workers=0"]
# With these rates a step changes nothing but statistics. All runs here are one program: compiling is what they cost.
SHORT += ["--config.optim.g_lr=0", "--config.optim.d_lr=0"]


def train(workdir, *more: str) -> int:
    return cli.main(["train", "--config", "tiny", "--workdir", str(workdir), *SHORT, *more])


def refusal(capsys, *command: str) -> str:
    assert train(*command) == 2
    return next(line for line in capsys.readouterr().err.splitlines() if line.startswith("palgan: error: "))


@pytest.fixture(scope="module")
def first(tmp_path_factory, one_device):
    workdir = tmp_path_factory.mktemp("first")
    assert train(workdir) == 0
    return workdir


def leaves(tree) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def assert_same(tree, other) -> None:
    leaves_of_tree, expected = leaves(tree), leaves(other)
    assert leaves_of_tree.keys() == expected.keys()
    for name, value in leaves_of_tree.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_run_goes_on_from_another_with_its_discriminator(first, tmp_path, capsys):
    second = tmp_path / "second"
    options = ["--from", str(first), "--config.seed=5"]
    assert train(second, *options) == 0
    model, ema = load_ema(first), load_ema(second, 1)
    assert_same(ema.variables["params"], model.variables["params"])
    discriminator, expected = (load_discriminator(weights.path) for weights in (ema, model))
    assert_same(discriminator["params"], expected["params"])
    record = json.loads((second / "start.json").read_text())
    assert (record["source"], record["step"], record["discriminator"]) == (model.source, model.step, True)
    assert record["config"] == model.config and from_dict(ema.config).start == str(first)
    assert f"starts from {model.source}, with its own discriminator" in capsys.readouterr().err

    # The same command goes on from its own checkpoints, also where the model is not there any more.
    shutil.rmtree(second / "checkpoints" / "2")
    (second / "start.json").unlink()
    hidden = first.rename(first.with_name("hidden"))
    assert train(second, *options) == 0
    hidden.rename(first)
    output = capsys.readouterr().err
    assert "resumed at step 1" in output and "starts from" not in output
    assert not (second / "start.json").exists()
    sentence = refusal(capsys, second, "--from", "bundled", *options[2:])
    assert 'start ("' in sentence and sentence.endswith(f"with another --workdir and --from {second}.")


def test_networks_follow_the_model_and_all_else_the_config(first, tmp_path):
    fields = [f"start={first}", "loss.l1=3", "optim.b1=0.5", "resolution=128"]
    config = follow(read_config("demo", fields), fields, tmp_path)
    run_fields, model = flatten(config), flatten(from_dict(load_ema(first).config))
    demo = flatten(load_config("demo"))
    assert run_fields["net.width"] == run_fields["discriminator.width"] == model["net.width"] != demo["net.width"]
    assert (run_fields["loss.l1"], run_fields["optim.b1"], run_fields["resolution"]) == (3.0, 0.5, 128)
    assert run_fields["optim.g_lr"] == demo["optim.g_lr"] and run_fields["ema"] == demo["ema"]
    assert set(load_start(config).discriminator) == {"params", "spectral"}
    assert follow(read_config("demo"), [], tmp_path) == load_config("demo")


def test_another_discriminator_than_that_of_the_run_begins_anew(first):
    fields = [f"start={first}", "discriminator.kind=projection"]
    assert load_start(follow(read_config("tiny", fields), fields)).discriminator == {}


def test_a_weights_file_brings_no_discriminator_and_another_network_is_refused(first, tmp_path, capsys):
    file = tmp_path / "model.safetensors"
    save_weights(file, find_weights(first))
    fields = [f"start={file}", "discriminator.width=0.125"]
    config = follow(read_config("tiny", fields), fields)
    start = load_start(config)
    assert start.discriminator == {} and "with a new discriminator" in str(start)
    assert (config.net.width, config.discriminator.width) == (1 / 16, 0.125)

    run = tmp_path / "run"
    other = refusal(capsys, run, "--from", str(file), "--config.net.norm=instance")
    assert other.startswith("palgan: error: --config.net.norm=instance does not fit the model to start from, step 2 of")
    assert "there is no checkpoint at" in refusal(capsys, run, "--from", str(tmp_path / "nowhere"))


def test_g_may_begin_to_paint_at_another_size(tmp_path):
    file = tmp_path / "model.safetensors"
    save_weights(file, weights_of({**LITE0, "net.paint_stride": 2, "resolution": 128}))
    names = {}
    for stride in (2, 1):
        fields = [f"start={file}", f"net.paint_stride={stride}"]
        config = follow(read_config("tiny", fields), fields)
        assert (config.net.paint_stride, config.net.encoder) == (stride, "efficientnet_lite0")
        names[stride] = set(flatten_names(load_start(config).weights.variables))
    assert names[1] < names[2]
    taps = {f"params/palette_generator/tap_{i}/{name}" for i in range(4) for name in ("kernel", "bias")}
    assert names[2] - names[1] == taps


def test_a_working_directory_means_its_best_step(tmp_path):
    with Checkpoints(tmp_path / "checkpoints", keep=3, best="val/psnr") as checkpoints:
        for step, psnr in ((1, 20.0), (2, 23.0), (3, 21.0)):
            checkpoints.save(step, build(step), data_position=0, config=CONFIG, metrics={"val/psnr": psnr})
    assert find_model(str(tmp_path)).step == 2
    assert find_model(str(tmp_path / "checkpoints" / "3")).step == 3
    with Checkpoints(tmp_path / "none" / "checkpoints") as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, build(step), data_position=0, config=CONFIG)
    assert find_model(str(tmp_path / "none")).step == 2, "the latest where none was measured"
    assert find_model("bundled").source.endswith("(bundled)")
