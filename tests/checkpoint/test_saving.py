"""Checkpoints: the same bits back on any mesh, and nothing half-written or damaged taken for good."""

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palgan_jax.checkpoint.compatibility import is_key
from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.config import default_config
from palgan_jax.errors import UserError
from palgan_jax.nn.build import build_discriminator, build_generator
from palgan_jax.training.optimizers import make_optimizers
from palgan_jax.training.state import ema_variables, init_state
from tests.support.checkpoint_state import State, abstract, build, mesh, raw, sharded
from tests.support.places import ROOT

CONFIG = {
    "seed": 1,
    "total": "30 epochs",
    "net": {"width": 0.5, "norm": "palette"},
    "data": {"train": "a", "near": None},
}


@pytest.fixture(scope="module")
def state() -> State:
    return build()


@pytest.fixture(scope="module")
def one() -> jax.sharding.Mesh:
    return mesh(1, 1)


def fill(folder: Path, steps, state, **kwargs) -> None:
    with Checkpoints(folder, **kwargs) as checkpoints:
        for step in steps:
            checkpoints.save(step, state, data_position=step * 10, config=CONFIG)


def assert_same(a, b) -> None:
    def same(path, x, y):
        assert x.dtype == y.dtype and np.array_equal(x, y), jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(same, raw(a), raw(b))


def damage(file: Path) -> None:
    """One bit in the middle: the kind of damage that an array store does not notice by itself."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


# ------------------------------------------------------------------------------------------------------ save, restore


def test_restored_state_is_bit_identical_with_its_note(tmp_path, state, one):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step is None
        assert checkpoints.save(7, state, data_position=123, config=CONFIG, metrics={"psnr": 20.5, "loss": np.nan})
        assert checkpoints.latest_step == 7
    with Checkpoints(tmp_path) as checkpoints:
        restored, position, metrics = checkpoints.restore(abstract(one))
        assert_same(state, restored)
        assert jax.tree.structure(state) == jax.tree.structure(restored)
        assert restored.key.dtype == state.key.dtype and restored.step.dtype == jnp.int32
        assert (position, metrics) == (123, {"psnr": 20.5, "loss": None})
        assert checkpoints.read_config() == CONFIG


def test_the_training_state_of_a_real_model_comes_back(tmp_path, one):
    config = default_config()
    config.net.width = config.discriminator.width = 1 / 16
    optimizers = make_optimizers(config.optim, 10, 20)
    shapes = jax.eval_shape(
        lambda key: init_state(key, build_generator(config), build_discriminator(config), *optimizers, 64),
        jax.random.key(0),
    )
    draw = np.random.default_rng(0)

    def fill_in(x):
        return jax.random.key(3) if is_key(x) else jnp.asarray(100 * draw.standard_normal(x.shape), x.dtype)

    state = jax.tree.map(fill_in, shapes)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, state, data_position=1, config=config.to_dict())
        assert_same(state, checkpoints.restore(state)[0])
    weights = load_ema(tmp_path)
    assert_same(ema_variables(state), weights.variables)
    assert weights.config == config.to_dict()


def test_state_may_be_donated_as_soon_as_save_returns(tmp_path, one):
    state = sharded(one)
    before = jax.tree.map(np.array, raw(state))
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s.replace(key=s.step)), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, data_position=0, config=CONFIG)
        jax.block_until_ready(overwrite(state.replace(key=state.step + 0)))
        checkpoints.wait()
        assert_same(before, checkpoints.restore(abstract(one))[0])


def test_no_array_is_stored_twice(tmp_path, state):
    """Weights of random bits do not compress: the files together are hardly larger than the arrays."""
    fill(tmp_path, [1], state)
    arrays = sum(x.nbytes for x in jax.tree.leaves(raw(state)))
    stored = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.parent.name == "d")
    assert 0.8 * arrays < stored < 1.3 * arrays


@pytest.mark.parametrize(("saved_on", "restored_on"), [((1, 1), (2, 4)), ((2, 4), (1, 1)), ((1, 8), (4, 2))])
def test_restores_onto_another_mesh(tmp_path, state, saved_on, restored_on):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, sharded(mesh(*saved_on)), data_position=0, config=CONFIG)
    target = abstract(mesh(*restored_on))
    with Checkpoints(tmp_path) as checkpoints, jax.transfer_guard("disallow"):
        restored = checkpoints.restore(target)[0]
    assert_same(state, restored)
    for leaf, wanted in zip(jax.tree.leaves(restored), jax.tree.leaves(target), strict=True):
        assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim)


def test_saves_under_a_transfer_guard(tmp_path, one):
    state = sharded(one)
    with Checkpoints(tmp_path) as checkpoints, jax.transfer_guard("disallow"):
        checkpoints.save(1, state, data_position=0, config=CONFIG)
        checkpoints.wait()
        assert checkpoints.steps == [1]


def test_saving_a_step_twice_keeps_the_first(tmp_path, state, one):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(1, state, data_position=5, config=CONFIG)
        assert not checkpoints.save(1, state, data_position=6, config=CONFIG)
        assert checkpoints.restore(abstract(one))[1] == 5
        assert not checkpoints.save(1, state, data_position=7, config=CONFIG)


# --------------------------------------------------------------------------------------------------- latest and best


def test_keeps_the_latest_and_the_best(tmp_path, state):
    psnr = {1: 20.0, 2: 25.0, 3: 21.0, 4: np.nan, 5: 24.0, 6: None}
    with Checkpoints(tmp_path, keep=2, best="psnr") as checkpoints:
        for step, value in psnr.items():
            metrics = None if value is None else {"psnr": value}
            checkpoints.save(step, state, data_position=0, config=CONFIG, metrics=metrics)
        checkpoints.wait()
        assert checkpoints.steps == [2, 5, 6] and checkpoints.best_step == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {"2", "5", "6"}
    # A run that goes on knows what was best before it.
    with Checkpoints(tmp_path, keep=2, best="psnr") as checkpoints:
        assert checkpoints.best_step == 2
        checkpoints.save(7, state, data_position=0, config=CONFIG, metrics={"psnr": 26.0})
        assert checkpoints.best_step == 7
        checkpoints.save(8, state, data_position=0, config=CONFIG, metrics={"psnr": 26.0})
        checkpoints.wait()
        assert checkpoints.steps == [7, 8] and checkpoints.best_step == 8
    assert load_ema(tmp_path, "best").step == 8


def test_best_can_be_the_least(tmp_path, state):
    with Checkpoints(tmp_path, keep=1, best="loss", best_mode="min") as checkpoints:
        for step, loss in [(1, 0.5), (2, 0.25), (3, 0.75)]:
            checkpoints.save(step, state, data_position=0, config=CONFIG, metrics={"loss": loss})
        checkpoints.wait()
        assert checkpoints.steps == [2, 3]
    assert load_ema(tmp_path, "best").step == 2
    assert load_ema(tmp_path).step == 3


# -------------------------------------------------------------------------------------------- kills and damaged files

KILLED = """
import os, sys, threading, time
from tests.support.checkpoint_state import build
from palgan_jax.checkpoint import saving as checkpoint
checkpoints = checkpoint.Checkpoints(sys.argv[1])
state = build()
checkpoints.save(1, state, data_position=10, config={})
checkpoints.wait()
# Arrays that take a while to write, and a word to the killer as soon as the writing has begun.
import jax, numpy
state = state.replace(d_opt=jax.device_put(numpy.random.default_rng(0).random((32, 1024, 1024), "float32")))
checkpoints.save(2, state, data_position=20, config={})
print("writing", flush=True)
checkpoints.wait()
print("written", flush=True)
time.sleep(60)
"""


def run_python(code: str, *arguments: str, devices: int = 1, **kwargs) -> subprocess.Popen:
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, text=True, **kwargs)


def test_a_save_killed_half_way_is_no_checkpoint(tmp_path, state, one):
    process = run_python(KILLED, str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    while not list(tmp_path.glob("2*/state")):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL and rest == ""  # it was still writing
    left = [entry.name for entry in tmp_path.iterdir()]
    assert "1" in left and "2" not in left and len(left) == 2  # the second is what was half-written
    assert load_ema(tmp_path).step == 1
    with pytest.raises(UserError, match="a save that was not finished"):
        load_ema(next(entry for entry in tmp_path.iterdir() if entry.name != "1"))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [1]
        restored, position, _ = checkpoints.restore(abstract(one))
        assert_same(state, restored)
        assert position == 10
        checkpoints.save(2, state, data_position=21, config=CONFIG)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1", "2"]


def bit_in_arrays(folder: Path) -> None:
    damage(max(folder.glob("state/ocdbt.process_0/d/*"), key=lambda file: file.stat().st_size))


def truncated_arrays(folder: Path) -> None:
    file = max(folder.glob("ema/ocdbt.process_0/d/*"), key=lambda file: file.stat().st_size)
    os.truncate(file, file.stat().st_size // 2)


def no_arrays(folder: Path) -> None:
    shutil.rmtree(folder / "state")


def empty_note(folder: Path) -> None:
    (folder / "_CHECKPOINT_METADATA").write_bytes(b"")


def no_checksums(folder: Path) -> None:
    (folder / "checksums.json").unlink()


DAMAGES = [bit_in_arrays, truncated_arrays, no_arrays, empty_note, no_checksums]


@pytest.mark.parametrize("harm", DAMAGES)
def test_a_damaged_latest_checkpoint_is_passed_over_and_then_replaced(tmp_path, state, one, caplog, harm):
    fill(tmp_path, [1, 2, 3], state)
    harm(tmp_path / "3")
    with Checkpoints(tmp_path, keep=2) as checkpoints, caplog.at_level(logging.WARNING):
        assert checkpoints.read_config() == CONFIG
        restored, position, _ = checkpoints.restore(abstract(one))
        assert_same(state, restored)
        assert position == 20
        assert f"{tmp_path}/3 is damaged" in caplog.text
        assert checkpoints.steps == [1, 2] and checkpoints.latest_step == 2
        # The run goes on from 2 and comes to 3 again.
        checkpoints.save(3, build(5), data_position=31, config=CONFIG)
        assert checkpoints.steps == [2, 3]
    with Checkpoints(tmp_path) as checkpoints:
        restored, position, _ = checkpoints.restore(abstract(one))
        assert_same(build(5), restored)
        assert position == 31


def test_a_damaged_checkpoint_does_not_push_out_a_sound_one(tmp_path, state, one):
    fill(tmp_path, [1, 3], state)
    bit_in_arrays(tmp_path / "3")
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.restore(abstract(one))
        checkpoints.save(2, state, data_position=0, config=CONFIG)
    assert [entry.name for entry in tmp_path.iterdir()] == ["2"]


def test_going_back_to_an_older_step_gives_up_the_newer(tmp_path, state, one):
    fill(tmp_path, [1, 2, 3], state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore(abstract(one), step=1)
        assert checkpoints.steps == [1]
        assert checkpoints.save(2, build(5), data_position=0, config=CONFIG)
        assert_same(build(5), checkpoints.restore(abstract(one))[0])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1", "2"]


def test_no_sound_checkpoint_is_an_error_that_names_all(tmp_path, state, one):
    fill(tmp_path, [1, 2], state)
    bit_in_arrays(tmp_path / "1")
    no_arrays(tmp_path / "2")
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError) as error:
        checkpoints.restore(abstract(one))
    assert f"{tmp_path}/1 is damaged" in str(error.value) and f"{tmp_path}/2 is damaged" in str(error.value)
    assert "has changed since it was written" in str(error.value) and "is missing" in str(error.value)


def test_restore_errors(tmp_path, state, one):
    with Checkpoints(tmp_path / "new") as checkpoints, pytest.raises(UserError, match="there is no checkpoint in"):
        checkpoints.restore(abstract(one))
    fill(tmp_path / "a", [1, 2], state)
    target = abstract(one)
    with Checkpoints(tmp_path / "a") as checkpoints:
        with pytest.raises(UserError, match=r"no checkpoint of step 5 in .*: choose one of \[1, 2\]"):
            checkpoints.restore(target, step=5)
        kernel = jax.ShapeDtypeStruct((16, 4), jnp.float32, sharding=target.step.sharding)
        wider = {**target.generator, "params": {**target.generator["params"], "out": kernel}}
        with pytest.raises(
            UserError, match=r"state does not fit the model in 1 arrays.*params/out with shape \(16, 8\)"
        ):
            checkpoints.restore(target.replace(generator=wider))
        assert checkpoints.steps == [1, 2]  # not taken for damage
    with pytest.raises(UserError, match="keep is 0"):
        Checkpoints(tmp_path / "a", keep=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="checkpoints cannot be kept in"):
        Checkpoints(tmp_path / "file")


def test_a_save_that_cannot_be_written_says_so(tmp_path, state):
    checkpoints = Checkpoints(tmp_path / "a")
    checkpoints.save(1, state, data_position=0, config=CONFIG)
    checkpoints.wait()
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").write_text("a file where the folder was")
    with pytest.raises(UserError, match="a checkpoint cannot be written to"):
        checkpoints.save(2, state, data_position=0, config=CONFIG)
        checkpoints.wait()


# ------------------------------------------------------------------------------------------------------- two processes

TWO = """
import json, sys
import jax
jax.distributed.initialize(f"localhost:{sys.argv[1]}", num_processes=2, process_id=int(sys.argv[2]))
from tests.support.checkpoint_state import abstract, build, mesh, raw, sharded
from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.checkpoint.saving import Checkpoints
import numpy as np

def same(a, b):
    ok = [np.array_equal(x.addressable_shards[i].data, np.asarray(y)[s.index])
          for x, y in zip(jax.tree.leaves(raw(a)), jax.tree.leaves(raw(b))) for i, s in enumerate(x.addressable_shards)]
    return bool(ok) and all(ok)

folder, task, on = sys.argv[3], sys.argv[4], mesh(1, 4)
result = {"processes": jax.process_count(), "devices": jax.device_count()}
with Checkpoints(folder, keep=2, best="psnr") as checkpoints:
    if task == "save":
        for step in (1, 2, 3):
            state = sharded(on, step)
            checkpoints.save(step, state, data_position=step, config={"a": [step]}, metrics={"psnr": -step})
        checkpoints.wait()
    else:
        state, result["position"], result["metrics"] = checkpoints.restore(abstract(on))
        seed = int(state.step) - 100
        result["seed"], result["same"] = seed, same(state, build(seed))
        result["ema"] = load_ema(folder).step
        checkpoints.save(9, sharded(on, 9), data_position=9, config={})
    result.update(steps=checkpoints.steps, config=checkpoints.read_config(), best=checkpoints.best_step)
print("RESULT" + json.dumps(result))
"""


def two_processes(folder: Path, task: str) -> list[dict]:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    with contextlib.ExitStack() as stack:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        processes = [
            stack.enter_context(run_python(TWO, str(port), str(i), str(folder), task, devices=2, **pipes))
            for i in (0, 1)
        ]
        for process in processes:
            stack.callback(process.kill)
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return [json.loads(output.split("RESULT")[1]) for output in outputs]


def test_two_processes_save_and_one_restores(tmp_path):
    for result in two_processes(tmp_path, "save"):
        assert result["processes"] == 2 and result["devices"] == 4
        assert result["steps"] == [1, 2, 3] and result["best"] == 1 and result["config"] == {"a": [3]}
    with Checkpoints(tmp_path) as checkpoints:
        restored, position, metrics = checkpoints.restore(abstract(mesh(2, 1)))
        assert_same(build(3), restored)
        assert position == 3 and metrics == {"psnr": -3.0}
    assert_same(build(3).ema["params"], load_ema(tmp_path).variables["params"])


def test_one_process_saves_and_two_restore_the_newest_that_is_sound(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, sharded(mesh(1, 2), step), data_position=step, config={"a": [step]})
    bit_in_arrays(tmp_path / "2")
    for result in two_processes(tmp_path, "restore"):
        assert result["seed"] == 1 and result["same"] and result["position"] == 1
        assert result["ema"] == 2  # whose own arrays are sound
        assert result["steps"] == [1, 9]
    with Checkpoints(tmp_path) as checkpoints:
        assert_same(build(9), checkpoints.restore(abstract(mesh(1, 1)))[0])


# --------------------------------------------------------------------------------------------------------- EMA weights


def test_ema_weights_load_without_the_training_state(tmp_path, state):
    fill(tmp_path / "checkpoints", [1, 2], state)
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "state")
    for place, step in [(tmp_path, None), (tmp_path / "checkpoints", 2), (tmp_path / "checkpoints" / "2", None)]:
        weights = load_ema(place, step)
        assert weights.step == 2 and weights.config == CONFIG
        assert weights.variables.keys() == {"params", "batch_stats", "spectral"}
        assert_same({**state.ema, "spectral": state.generator["spectral"]}, weights.variables)
        assert {type(x) for x in jax.tree.leaves(weights.variables)} == {np.ndarray}
    assert load_ema(str(tmp_path), 1).step == 1


def test_a_model_without_statistics_has_empty_ones(tmp_path, state, one):
    bare = state.replace(generator={"params": state.generator["params"]}, ema={"params": state.ema["params"]})
    fill(tmp_path, [1], bare)
    variables = load_ema(tmp_path).variables
    assert variables["batch_stats"] == {} and variables["spectral"] == {}
    target = abstract(one)
    target = target.replace(generator={"params": target.generator["params"]}, ema={"params": target.ema["params"]})
    with Checkpoints(tmp_path) as checkpoints:
        assert_same(bare, checkpoints.restore(target)[0])


def test_damaged_ema_weights_fall_back_with_a_warning(tmp_path, state, caplog):
    fill(tmp_path, [1, 2], state)
    truncated_arrays(tmp_path / "2")
    with caplog.at_level(logging.WARNING):
        assert load_ema(tmp_path).step == 1
    assert f"{tmp_path}/2 is not a readable PalGAN checkpoint" in caplog.text
    for place, step in [(tmp_path, 2), (tmp_path / "2", None)]:
        with pytest.raises(
            UserError,
            match=r"2 is not a readable PalGAN checkpoint \(ema/.* has changed since it was written\): name another",
        ):
            load_ema(place, step)


def foreign_orbax(folder: Path, item: str) -> None:
    from orbax.checkpoint import v1 as ocp

    ocp.save_checkpointables(folder, {item: {"w": np.zeros(3)}})


def test_ema_errors_say_what_was_found(tmp_path, state):
    cases = [(tmp_path / "nowhere", "does not exist")]
    (tmp_path / "empty").mkdir()
    cases += [(tmp_path / "empty", "is empty")]
    (tmp_path / "file.txt").write_text("x")
    cases += [(tmp_path / "file.txt", "is neither a folder")]
    (tmp_path / "other").mkdir()
    for name in "abcd":
        (tmp_path / "other" / name).write_text("x")
    cases += [(tmp_path / "other", r"which holds a, b, c, \.\.\.")]
    foreign_orbax(tmp_path / "foreign", "params")
    cases += [(tmp_path / "foreign", "no part named ema")]
    foreign_orbax(tmp_path / "alike" / "5", "ema")
    cases += [(tmp_path / "alike", "not that of a PalGAN checkpoint")]
    for place, message in cases:
        with pytest.raises(UserError, match=message):
            load_ema(place)
    fill(tmp_path / "run" / "checkpoints", [4], state)
    with pytest.raises(UserError, match=r"no checkpoint of step 3 in .*: choose one of 4"):
        load_ema(tmp_path / "run", 3)
    with pytest.raises(UserError, match="has the metric that makes one the best"):
        load_ema(tmp_path / "run", "best")


def test_a_newer_format_is_refused(tmp_path, state):
    fill(tmp_path, [1], state)
    note = tmp_path / "1" / "_CHECKPOINT_METADATA"
    content = json.loads(note.read_text())
    content["custom_metadata"]["palgan_format"] = 99
    note.write_text(json.dumps(content))
    with pytest.raises(UserError, match="newer version"):
        load_ema(tmp_path)


@pytest.mark.parametrize("changes", [{"config": []}, {"config": "x"}, {"step": None}, {"metrics": 1, "best": "psnr"}])
def test_a_description_with_something_else_in_it_is_damage(tmp_path, state, changes):
    fill(tmp_path, [1], state)
    note = tmp_path / "1" / "_CHECKPOINT_METADATA"
    content = json.loads(note.read_text())
    content["custom_metadata"].update(changes)
    note.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"\(its description lacks {', '.join(changes)}\): name another"):
        load_ema(tmp_path)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match="no readable checkpoint"):
        checkpoints.read_config()
