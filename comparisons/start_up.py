"""Measures what one picture costs in a new process: `palgan --help`, and `palgan colorize` of one sample.

    python -m comparisons.start_up [--rounds 5]

With JAX, warm: the compiled programs of an earlier process are kept; cold: nothing is kept. ONNX Runtime keeps nothing,
so that each of its starts is a cold one. Beside them the floor: a process that imports JAX and adds two numbers. CPU
seconds are those of user and system together; the smallest of the rounds counts, since other work on the machine only
adds.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADD_TWO_NUMBERS = "import jax.numpy as jnp; jnp.add(1, 2).block_until_ready()"


def seconds_of(command: list[str], **environment: str) -> tuple[float, float]:
    """Returns CPU and wall seconds of a command that has to succeed."""
    usage_before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True)
    wall, usage_after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage_after.ru_utime + usage_after.ru_stime - usage_before.ru_utime - usage_before.ru_stime, wall


def measure(rounds: int) -> dict[str, tuple[float, float]]:
    """Returns CPU and wall seconds of each kind of start, each the smallest of `rounds`."""
    palgan = [sys.executable, "-m", "palgan_jax.cli"]
    with tempfile.TemporaryDirectory() as folder:

        def colorize(number: int, programs: str, engine: str = "jax") -> tuple[float, float]:
            words = ["colorize", "examples/samples/dog.jpg", "--output", f"{folder}/{programs}{number}"]
            words += ["--engine", engine]
            return seconds_of([*palgan, *words], JAX_PLATFORMS="cpu", JAX_COMPILATION_CACHE_DIR=f"{folder}/{programs}")

        colorize(-1, "warm")
        starts = {
            "palgan --help": lambda number: seconds_of([*palgan, "--help"]),
            "import JAX, add two numbers": lambda number: seconds_of(
                [sys.executable, "-c", ADD_TWO_NUMBERS], JAX_PLATFORMS="cpu"
            ),
            "palgan colorize, JAX, warm": lambda number: colorize(number, "warm"),
            "palgan colorize, JAX, cold": lambda number: colorize(number, f"cold{number}"),
            "palgan colorize, ONNX Runtime": lambda number: colorize(number, "onnx", "onnx"),
        }
        pairs = {name: [start(number) for number in range(rounds)] for name, start in starts.items()}
    return {name: (min(cpu for cpu, _ in rows), min(wall for _, wall in rows)) for name, rows in pairs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="processes of each kind (default: 5)")
    print(f"{'':30}{'CPU s':>8}{'wall s':>8}")
    for name, (cpu, wall) in measure(parser.parse_args().rounds).items():
        print(f"{name:30}{cpu:8.2f}{wall:8.2f}")


if __name__ == "__main__":
    main()
