"""Several processes: of one run, on other numbers of devices and processes, and in each other's way."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np

from palgan_jax.distributed.partner_death import ABOUT
from tests.faults.bench import Bench, Command, last_step, resumed, rows, saved_steps
from tests.faults.fault import NotHere, fault, faults

BAD_INPUT, STOPPED = 2, 75
EIGHT = "--config.batch_size=8"
PATIENCE = 60
"""Seconds in which a process has to end after another one of its run has died."""


def _near(rows_of_run: list[dict], expected: list[dict]) -> list[str]:
    """Compares the losses of runs whose sums have other orders."""
    wrong = (
        [f"{len(rows_of_run)} lines of metrics and not {len(expected)}"] if len(rows_of_run) != len(expected) else []
    )
    for row, other in zip(rows_of_run, expected, strict=False):
        for name in ("loss/g", "loss/d"):
            if name in other and not np.isclose(row.get(name, np.nan), other[name], rtol=0.1):
                wrong.append(f"step {row['step']}: {name} is {row.get(name)} and not {other[name]}")
    return wrong


@fault("1, 2, 8 and 1 devices", "each goes on where the one before was stopped; losses as on one device")
def devices(bench: Bench, _: int) -> list[str]:
    uninterrupted, workdir = bench.new("whole"), bench.new()
    wrong = bench.train(uninterrupted, EIGHT).complaints(0)
    for number, stop in ((1, 3), (2, 6), (8, 9)):
        wrong += _stop_at(workdir, stop, bench.train(workdir, EIGHT, devices=number))
    return wrong + bench.train(workdir, EIGHT).complaints(0) + _near(rows(workdir), rows(uninterrupted))


def _stop_at(workdir: Path, stop: int, *commands: Command) -> list[str]:
    """Stops a run of one or several processes at a step. Returns what is wrong with where it began and how it ended."""
    expected = max(saved_steps(workdir), default=0)
    commands[0].wait_for(lambda: last_step(workdir) >= stop)
    commands[-1].process.send_signal(signal.SIGTERM)
    wrong = [problem for command in commands for problem in command.complaints((STOPPED, 0))]
    starts = {resumed(command.output) for command in commands}
    return wrong + ([] if starts == {expected} else [f"went on from {starts} and not {expected}"])


@fault("1, 2 and 1 processes", "each goes on where the one before was stopped; losses as of one process")
def processes(bench: Bench, _: int) -> list[str]:
    workdir = bench.new()
    wrong = _stop_at(workdir, 3, bench.train(workdir)) + _stop_at(workdir, 7, *bench.pair(workdir))
    return wrong + bench.train(workdir).complaints(0) + _near(rows(workdir), rows(bench.whole))


@faults("one of two processes killed", "the other ends within 60 s, not with 0; the pair goes on", count=20)
def killed_partner(bench: Bench, count: int) -> list[str]:
    wrong, workdir, slowest = [], bench.new(), 0.0
    for i in range(count):
        commands = bench.pair(workdir)
        expected = max(saved_steps(workdir), default=0)
        goal = last_step(workdir) + bench.chance.randrange(1, 4)
        # Now and then before the first step, when they have just joined.
        joined, step = partial(_joined, commands[0]), partial(_reached, workdir, goal)
        commands[0].wait_for(joined if i % 4 == 0 else step)
        start, victim = time.monotonic(), bench.chance.randrange(2)
        commands[victim].kill()
        code = commands[1 - victim].end(PATIENCE)
        slowest = max(slowest, time.monotonic() - start)
        if code is None or (code == 0 and last_step(workdir) < 12):
            wrong.append(f"the other process ended with {code}: {commands[1 - victim].output[-800:]}")
        sentences = commands[1 - victim].sentences()
        if code and (len(sentences) != 1 or ABOUT not in sentences[0]):
            wrong.append(f"says {sentences} and not {ABOUT!r}")
        wrong += commands[1 - victim].foreign()
        if i % 4 and resumed(commands[0].output) != expected:
            wrong.append(f"went on from {resumed(commands[0].output)} and not {expected}")
        if max(saved_steps(workdir), default=0) == 12:
            workdir = bench.new()
    pair = bench.pair(workdir)
    bench.note = f"the slowest took {slowest:.0f} s"
    return wrong + [problem for command in pair for problem in command.complaints(0)]


def _joined(command: Command) -> bool:
    return "process 0 of 2" in command.output


def _reached(workdir: Path, step: int) -> bool:
    return last_step(workdir) >= step


@fault("two runs in one working directory", "the second is refused, with who holds it; the first is as alone", count=3)
def same_workdir(bench: Bench, _: int) -> list[str]:
    wrong = []
    workdir = bench.new()
    first = bench.train(workdir)
    first.wait_for(lambda: (workdir / "lease.json").exists())
    second = bench.train(workdir)
    wrong += second.complaints(BAD_INPUT, rf"in use by process {first.process.pid} on ")
    wrong += first.complaints(0) + bench.compare(workdir)
    return wrong


@fault("two runs on new pictures and an empty cache", "both train as if alone", count=1)
def same_index(bench: Bench, _: int) -> list[str]:
    wrong = []
    photos, compiled = bench.copied_photos(), str(bench.new("compiled"))
    folders = [bench.new(), bench.new()]
    data = f"--config.data.train=folder:{photos}"
    commands = [bench.train(workdir, data, JAX_COMPILATION_CACHE_DIR=compiled) for workdir in folders]
    for command, workdir in zip(commands, folders, strict=True):
        wrong += command.complaints(0) + bench.compare(workdir)
    if halves := [path.name for path in photos.iterdir() if path.suffix == ".tmp"]:
        wrong.append(f"leaves {halves} beside the pictures")
    return wrong


@fault("two commands that color into one folder", "every picture has a whole result", count=3)
def same_output(bench: Bench, _: int) -> list[str]:
    wrong = []
    output = bench.new("out")
    commands = [
        bench.command("colorize", bench.folder / "photos" / "train", "--checkpoint", bench.whole, "-o", output)
        for _ in range(2)
    ]
    for command in commands:
        wrong += command.complaints(0)
    wrong += _unsound(output, 8)
    return wrong


def _unsound(output: Path, least: int) -> list[str]:
    from PIL import Image

    results = [path for path in output.rglob("*") if path.suffix == ".png"]
    for path in results:
        with Image.open(path) as picture:
            picture.load()
    return [f"{len(results)} results of {least}"] if len(results) < least else []


@fault("two evaluations into one folder", "the second is refused or both give the same results", count=2)
def same_evaluation(bench: Bench, _: int) -> list[str]:
    wrong = []
    fixed = ["evaluate", "--truth", bench.folder / "photos" / "train", "--checkpoint", bench.whole, "--metrics", "psnr"]
    output = bench.new("results")
    commands = [bench.command(*fixed, "--output", output) for _ in range(2)]
    codes = [command.end() for command in commands]
    if 0 not in codes:
        wrong.append(f"both end with {codes}: {commands[0].output[-800:]}")
    for command, code in zip(commands, codes, strict=True):
        wrong += command.foreign() if code == 0 else command.complaints(BAD_INPUT, str(output))
    if not (output / "results.json").is_file():
        wrong.append("there are no results")
    return wrong


@fault("a clock that jumps", "the lease is kept, and a run goes on as if there were no clock", count=4)
def clock(bench: Bench, i: int) -> list[str]:
    library = os.environ.get("LIBFAKETIME") or next(
        (str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None
    )
    if library is None:
        raise NotHere("it needs libfaketime")
    wrong = []
    workdir, file = bench.new(), bench.new("clock")
    file.write_text("+0\n")
    variables = {
        "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    command = bench.train(workdir, **variables)
    command.wait_for(lambda: last_step(workdir) >= 2)
    file.write_text(("-2d\n", "+400d\n", "+30s\n", "-30s\n")[i % 4])
    second = bench.train(workdir)  # on a machine whose clock is right
    wrong += second.complaints(BAD_INPUT, "in use by process")
    wrong += command.complaints(0) + bench.compare(workdir)
    return wrong
