"""Times a run from its command to its first step: with nothing compiled, and with the compiled programs kept."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from palgan_jax.errors import UserError

log = logging.getLogger(__name__)

FIELDS = (
    "data.train=synthetic:1000",
    "data.val=",
    "log_every=1 steps",
    "total=1000 steps",
    "checkpoint_every=0",
    "tensorboard=false",
)
"""Overrides for the timed run: synthetic pictures, which cost nothing, and a log line after step 1."""

POLL_SECONDS = 0.02


def time_to_first_step(config: str, overrides: Sequence[str]) -> dict[str, float]:
    """Returns the seconds from `palgan train` to its first line of metrics: {"cold": ..., "warm": ...}.

    Each is a new process; the first has an empty cache of compiled programs, the second that of the first. Raises
    UserError where the run ends before its first step.
    """
    with tempfile.TemporaryDirectory(prefix="palgan-benchmark-") as folder:
        log.info("starting a run with nothing compiled ...")
        cold = _start(config, overrides, Path(folder), "cold")
        log.info("starting it again ...")
        return {"cold": cold, "warm": _start(config, overrides, Path(folder), "warm")}


def _start(config: str, overrides: Sequence[str], folder: Path, name: str) -> float:
    workdir = folder / name
    fields = [f"--config.{field}" for field in (*overrides, *FIELDS)]
    command = [sys.executable, "-m", "palgan_jax.main", "--config", config, "--workdir", str(workdir)]
    command += ["--distributed=off", *fields]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    with (folder / f"{name}.log").open("w+") as output:
        start = time.monotonic()
        process = subprocess.Popen(command, env=environment, stderr=output, stdout=output)
        try:
            metrics = workdir / "metrics.jsonl"
            while not (metrics.exists() and metrics.stat().st_size):
                if process.poll() is not None:
                    output.seek(0)
                    last = (output.read().splitlines() or ["it printed nothing"])[-1].removeprefix("palgan: error: ")
                    raise UserError(f"the run that was to be timed ended before its first step: {last}")
                time.sleep(POLL_SECONDS)
            return time.monotonic() - start
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
