"""Checkpoints of two processes: they save and restore together, and with one process in turn."""

import contextlib
import json
import socket
import subprocess
from pathlib import Path

from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.checkpoint.saving import Checkpoints
from tests.support.checkpoint_state import abstract, assert_same, build, flip_bit, mesh, run_python, sharded

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
        outputs = [process.communicate(timeout=600)[0] for process in processes]
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
    flip_bit(tmp_path / "2")
    for result in two_processes(tmp_path, "restore"):
        assert result["seed"] == 1 and result["same"] and result["position"] == 1
        assert result["ema"] == 2  # whose own arrays are sound
        assert result["steps"] == [1, 9]
    with Checkpoints(tmp_path) as checkpoints:
        assert_same(build(9), checkpoints.restore(abstract(mesh(1, 1)))[0])
