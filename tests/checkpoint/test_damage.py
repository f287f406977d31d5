"""Killed saves and damaged files: nothing half-written or damaged is taken for good."""

import logging
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.errors import UserError
from tests.support.checkpoint_state import (
    CONFIG,
    abstract,
    assert_same,
    build,
    flip_bit,
    remove_arrays,
    run_python,
    save_steps,
    truncate_arrays,
)

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


def test_a_save_killed_half_way_is_no_checkpoint(tmp_path, state, single_mesh):
    for _ in range(5):
        process = run_python(KILLED, str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        while not list(tmp_path.glob("2*/state")):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0]
        assert process.returncode == -signal.SIGKILL
        if "2" not in (entry.name for entry in tmp_path.iterdir()):
            break
        shutil.rmtree(tmp_path)  # on a busy machine it may be through before the signal comes
        tmp_path.mkdir()
    assert rest == ""
    left = [entry.name for entry in tmp_path.iterdir()]
    assert "1" in left and "2" not in left and len(left) == 2  # the second is what was half-written
    assert load_ema(tmp_path).step == 1
    with pytest.raises(UserError, match="a save that was not finished"):
        load_ema(next(entry for entry in tmp_path.iterdir() if entry.name != "1"))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [1]
        restored, position, _ = checkpoints.restore(abstract(single_mesh))
        assert_same(state, restored)
        assert position == 10
        checkpoints.save(2, state, data_position=21, config=CONFIG)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1", "2"]


def empty_note(folder: Path) -> None:
    (folder / "_CHECKPOINT_METADATA").write_bytes(b"")


def remove_checksums(folder: Path) -> None:
    (folder / "checksums.json").unlink()


DAMAGES = [flip_bit, truncate_arrays, remove_arrays, empty_note, remove_checksums]


@pytest.mark.parametrize("harm", DAMAGES)
def test_a_damaged_latest_checkpoint_is_passed_over_and_then_replaced(tmp_path, state, single_mesh, caplog, harm):
    save_steps(tmp_path, [1, 2, 3], state)
    harm(tmp_path / "3")
    with Checkpoints(tmp_path, keep=2) as checkpoints, caplog.at_level(logging.WARNING):
        assert checkpoints.read_config() == CONFIG
        restored, position, _ = checkpoints.restore(abstract(single_mesh))
        assert_same(state, restored)
        assert position == 20
        assert f"{tmp_path}/3 is damaged" in caplog.text
        assert checkpoints.steps == [1, 2] and checkpoints.latest_step == 2
        # The run goes on from 2 and comes to 3 again.
        checkpoints.save(3, build(5), data_position=31, config=CONFIG)
        assert checkpoints.steps == [2, 3]
    with Checkpoints(tmp_path) as checkpoints:
        restored, position, _ = checkpoints.restore(abstract(single_mesh))
        assert_same(build(5), restored)
        assert position == 31


def test_a_damaged_checkpoint_does_not_push_out_a_sound_one(tmp_path, state, single_mesh):
    save_steps(tmp_path, [1, 3], state)
    flip_bit(tmp_path / "3")
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.restore(abstract(single_mesh))
        checkpoints.save(2, state, data_position=0, config=CONFIG)
    assert [entry.name for entry in tmp_path.iterdir()] == ["2"]


def test_no_sound_checkpoint_is_an_error_that_names_all(tmp_path, state, single_mesh):
    save_steps(tmp_path, [1, 2], state)
    flip_bit(tmp_path / "1")
    remove_arrays(tmp_path / "2")
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError) as error:
        checkpoints.restore(abstract(single_mesh))
    assert f"{tmp_path}/1 is damaged" in str(error.value) and f"{tmp_path}/2 is damaged" in str(error.value)
    assert "has changed since it was written" in str(error.value) and "is missing" in str(error.value)
