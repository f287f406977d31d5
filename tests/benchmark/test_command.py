"""`palgan benchmark`: for a slice that is not there, on the devices that are, sweeps, and what is refused."""

import argparse
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import jax
import pytest

from palgan_jax.benchmark.command import _default_config, add_arguments
from palgan_jax.benchmark.compiled import compile_lowered
from palgan_jax.benchmark.first_step import time_to_first_step
from palgan_jax.benchmark.sweep import overrides, settings
from palgan_jax.benchmark.topology import describe_slice
from palgan_jax.cli import main
from palgan_jax.config import Phases, load_config
from palgan_jax.distributed.mesh import make_mesh, replicated
from palgan_jax.errors import UserError
from palgan_jax.training.compile import make_program
from tests.support.places import COMPILATION_CACHE

TINY = "tiny"

needs_libtpu = pytest.mark.skipif(find_spec("libtpu") is None, reason="libtpu is for Linux on x86-64")


@pytest.fixture(autouse=True)
def _environment_as_before():
    """The command sets variables for libtpu."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def refusal(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["benchmark", *arguments]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == "" and line.startswith("palgan: error: ")
    return line


def elements(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@needs_libtpu
def test_the_only_collectives_of_a_step_are_sums_of_gradients_and_batch_statistics(tmp_path):
    """Compiled for four chips: the partitioning is that of any number of them."""
    figures, arguments = tmp_path / "figures.json", ["--topology", "v5e:2x2", "--batch", "2", "--only", "train"]
    command = [
        sys.executable,
        "-m",
        "palgan_jax.cli",
        "benchmark",
        "--config",
        TINY,
        *arguments,
        "--json",
        str(figures),
    ]
    # Effort of the compiler changes how fast a program is, and not what its devices tell each other.
    environment = {**os.environ, "JAX_OPTIMIZATION_LEVEL": "O0"}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    results = json.loads(figures.read_text())

    state = make_program(load_config(TINY), make_mesh(devices=jax.devices()[:1]), Phases(1000, 500)).abstract_state
    gradients = 4 * (elements(state.generator["params"]) + elements(state.discriminator["params"]))
    statistics = 4 * elements(state.generator["batch_stats"])
    assert set(results["collectives"]) == {"all-reduce"}
    summed = results["collectives"]["all-reduce"]
    # Forward mean and mean square, backward two sums more, which may be gradients already; and some losses. Kernels of
    # strips are summed with their zeros.
    assert gradients + statistics < summed["bytes"] <= 1.05 * gradients + 2 * statistics + 4 * 16
    assert summed["sent"] == pytest.approx(2 * 3 / 4 * summed["bytes"])

    assert (results["chips"], results["images_per_chip"]) == (4, 2)
    assert results["gflop_per_image"] > 0 and results["gb_per_image"] > 0
    assert 0 < results["hbm_gib_per_chip"] < 1 and results["images_per_second_per_chip"] > 0
    state_gib = sum(leaf.size * 4 for leaf in jax.tree.leaves(state) if leaf.dtype == "float32") / 2**30
    assert state_gib < results["hbm_gib"]["arguments"]
    for text in ("all-reduce", "largest arrays, train", "PalGAN/assignment_generator", "cloud.google.com/tpu/docs/v5e"):
        assert text in process.stdout
    assert "compiling the training step for v5e:2x2, 2 images a chip" in process.stderr


@needs_libtpu
def test_a_topology_that_is_not_one_is_refused(capsys):
    for name in ("v5e:3x3", "v9:2x2", "v5e", "v5e:0x4", "cat"):
        assert f"{name} is no" in refusal(capsys, "--config", TINY, "--topology", name)


@needs_libtpu
def test_what_does_not_fit_a_chip_is_refused():
    chips = describe_slice("v5e:1x1")
    assert chips.chips == 1
    square = jax.ShapeDtypeStruct((60000, 60000), "float32", sharding=replicated(make_mesh(devices=chips.devices)))
    with pytest.raises(
        UserError, match=r"squaring of 3 images does not fit a chip of v5e:1x1 \(it needs .*G of 15.75G"
    ):
        compile_lowered(jax.jit(lambda x: x @ x).lower(square), "squaring", 3, chips)


@needs_libtpu
@pytest.mark.parametrize("name", ["v4:2x2x2", "v5p:2x2x2", "v6e:2x4"])
def test_a_chip_is_one_device_on_which_meshes_can_be_made(name):
    chips = describe_slice(name)
    assert chips.chips == make_mesh(devices=chips.devices).size == 8


def test_without_libtpu_the_command_that_brings_it_is_named(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install -e '.[tpu]'" in refusal(capsys, "--config", TINY, "--topology", "v5e:2x2")


def test_what_cannot_be_is_refused(capsys, tmp_path):
    topology = ("--config", TINY, "--topology", "v5e:2x2")
    assert "--batch=0" in refusal(capsys, *topology, "--batch", "0")
    assert "--steps=0" in refusal(capsys, "--config", TINY, "--steps", "0")
    assert "has no values" in refusal(capsys, *topology, "--sweep", "batch=")
    assert "--only" in refusal(capsys, "--config", TINY, "--only", "train")
    assert "--trace" in refusal(capsys, *topology, "--trace", str(tmp_path))
    assert "did you mean net.width?" in refusal(capsys, *topology, "--config.net.widht=1")
    assert "palgan benchmark" in refusal(capsys, *topology, "--fast")
    assert "missing.py" in refusal(capsys, "--config", "missing.py")
    assert "missing.py" in refusal(capsys, "--config", TINY, "--config", "missing.py")
    assert "foo is not a field" in refusal(capsys, "--config", TINY, "--sweep", "batch=1,2", "foo=1,2")
    assert "--sweep batch=x" in refusal(capsys, "--config", TINY, "--sweep", "batch=1,x")
    assert "v5e:7x7" in refusal(capsys, "--config", TINY, "--sweep", "topology=v5e:2x2,v5e:7x7")


def test_a_sweep_is_the_product_of_its_axes():
    assert settings([]) == [{}]
    assert settings(["batch=8,16", "precision=float32,bfloat16"]) == [
        {"batch": "8", "precision": "float32"},
        {"batch": "8", "precision": "bfloat16"},
        {"batch": "16", "precision": "float32"},
        {"batch": "16", "precision": "bfloat16"},
    ]
    setting = {"topology": "v5e:2x2", "batch": "8", "width": "0.5", "perceptual": "0", "net.attention": "none"}
    assert overrides(setting) == [
        "net.width=0.5", "discriminator.width=0.5", "loss.perceptual=0", "net.attention=none",
    ]  # fmt: skip


@needs_libtpu
def test_a_sweep_notes_what_cannot_be_measured_and_goes_on(tmp_path, capsys):
    figures = tmp_path / "figures.json"
    axes = ["--topology", "v5e:2x2", "--sweep", "mesh.data=3,5"]
    assert main(["benchmark", "--config", TINY, *axes, "--json", str(figures)]) == 2, "nothing could be"
    out = capsys.readouterr().out
    rows = json.loads(figures.read_text())["rows"]
    assert [row["setting"] for row in rows] == [{"mesh.data": "3"}, {"mesh.data": "5"}]
    assert all("does not fit 4 devices" in row["error"] for row in rows)
    assert out.splitlines()[0].split() == ["mesh.data"], "no columns without figures"
    assert "3: mesh.data=3 x" in out and "5: mesh.data=5 x" in out


def test_figures_of_several_files_are_one_table(tmp_path, capsys):
    def row(config, speed, **more):
        return {"config": config, "overrides": ["ema=0.5"], "images_per_second_per_chip": speed, **more}

    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps(row("small", 20.0, setting={}, device="cpu", step_ms={"median": 400.0})))
    swept = [
        row("tiny", 30.0, setting={"batch": "8"}),
        {"config": "tiny", "setting": {"batch": "9"}, "error": "too big"},
    ]
    second.write_text(json.dumps({"rows": swept}))
    assert main(["benchmark", "--compare", str(first), str(second)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.split("  +", lines[0]) == [
        "file", "config", "changed", "on", "step ms", "images/s/chip", "speed a chip",
    ]  # fmt: skip
    assert re.split("  +", lines[1]) == ["a.json", "small", "ema=0.5", "cpu", "400.0", "20", "1.00 x"]
    assert re.split("  +", lines[2]) == ["b.json", "tiny", "ema=0.5 batch=8", "-", "-", "30", "1.50 x"]
    assert lines[-1] == "b.json tiny batch=9 -: too big"
    second.write_text("[]")
    assert "holds no figures of palgan benchmark" in refusal(capsys, "--compare", str(first), str(second))


def test_what_is_measured_by_default_fits_the_machine():
    arguments = argparse.ArgumentParser()
    add_arguments(arguments)
    assert _default_config(arguments.parse_args(["--topology", "v5e:2x2"])) == "imagenet256"
    assert _default_config(arguments.parse_args([])) == "demo"


RUN = """
import json, sys
from pathlib import Path
from palgan_jax.benchmark.timed import run_and_time
from palgan_jax.config import load_config
config = load_config(sys.argv[1], ["net.attention=none", "net.norm=batch", "net.spectral=false"])
print(json.dumps(run_and_time(config, 2, Path(sys.argv[2]))))
"""


def test_steps_are_run_and_timed(tmp_path):
    """In a process with one device, and with networks that are compiled in half the time."""
    flags = " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": str(COMPILATION_CACHE)}
    command = [sys.executable, "-c", RUN, TINY, str(tmp_path)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    results = json.loads(process.stdout)
    assert (results["devices"], results["images_per_chip"]) == (1, 8)
    step = results["step_ms"]
    assert 0 < step["least"] <= step["median"] <= step["most"]
    assert results["images_per_second"] == pytest.approx(8 / step["median"] * 1e3)
    assert results["inference"]["images_per_second"] > results["images_per_second"]
    assert results["share_of_matrix_peak"] == pytest.approx(
        results["gflop_per_image"] * results["images_per_second"] / results["matrix_peak_gflops"]
    )
    assert list(tmp_path.rglob("*.xplane.pb"))


def test_a_run_that_cannot_start_says_why():
    with pytest.raises(UserError, match=r"ended before its first step: mesh.data=3 .* does not fit"):
        time_to_first_step(TINY, ["mesh.data=3"])
