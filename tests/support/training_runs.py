"""Short runs of training through the public command, in processes of their own, and the lines that they leave."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.addresses import free_address
from tests.support.places import COMPILATION_CACHE, ROOT
from tests.support.waiting import PATIENCE, wait_for

TIMES = (
    "images_per_second",
    "step_seconds",
    "input_wait_seconds",
    "input_wait_share",
    "input_decoder_use",
    "input_images_per_second",
    "input_megabytes_per_second",
)
"""Metrics that depend on the machine."""

NETWORK = ["net.attention=none", "net.norm=batch", "net.spectral=false", "discriminator.kind=patch"]
"""What runs do is tested, not what networks compute: these are traced and compiled in half the time."""

FAST = [
    *(f"--config.{override}" for override in NETWORK),
    "--config.total=12 steps",
    "--config.log_every=1 steps",
    "--config.eval_every=6 steps",
    "--config.checkpoint_every=4 steps",
    "--config.sheet_every=0 steps",
]
LONG = ["--config.total=100000 steps", "--config.checkpoint_every=0 steps", "--config.eval_every=0 steps"]
"""The length is part of what is compiled: all runs are as long as one of these two."""


def arguments(workdir: Path, *more: str) -> list[str]:
    return ["train", "--config", "tiny", "--workdir", str(workdir), *FAST, *more]


def command(workdir: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "palgan_jax.main", *arguments(workdir, *more)[1:]]


def environment(**variables: str) -> dict[str, str]:
    """One device, and environment variables beside those of the tests."""
    flags = " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)
    return {
        **os.environ,
        "XLA_FLAGS": flags,
        "JAX_COMPILATION_CACHE_DIR": str(COMPILATION_CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **variables,
    }


def start(workdir: Path, *more: str, start_new_session: bool = False, **variables: str) -> subprocess.Popen:
    """Starts the command as a person does."""
    return subprocess.Popen(
        command(workdir, *more), env=environment(**variables), stderr=subprocess.PIPE, text=True, cwd=ROOT,
        start_new_session=start_new_session,
    )  # fmt: skip


def start_two(workdir: Path, *more: str, own_arguments: Sequence[Sequence[str]] = ((), ())) -> list[subprocess.Popen]:
    """Starts the same command in two processes that join each other; `own_arguments` is what each gets beside it."""
    cluster = {"JAX_COORDINATOR_ADDRESS": free_address(), "JAX_NUM_PROCESSES": "2"}
    return [start(workdir, *more, *own_arguments[i], **cluster, JAX_PROCESS_ID=str(i)) for i in range(2)]


def wait_for_step(workdir: Path, step: int, process: subprocess.Popen) -> None:
    """Waits for the line of a step, or of a later one."""
    wait_for(lambda: any(row["step"] >= step for row in lines(workdir)), process)


def finish(processes: Sequence[subprocess.Popen], code: int = 0) -> list[str]:
    """Waits for all of them to exit with this code; returns what each wrote."""
    errors = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), errors
    return errors


def lines(workdir: Path) -> list[dict]:
    """Returns the complete lines of a run's metrics, none where it has not begun to write any."""
    path = workdir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []
