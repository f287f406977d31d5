"""Where faults happen: a folder, a few photographs, and commands as processes of their own."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from tests.support.miniature_sets import encode, photographs
from tests.support.places import COMPILATION_CACHE, QUICK_COMPILATION, ROOT

LONGEST_WAIT = 900
"""Seconds; a busy machine is no fault."""

SMALL = (
    "--config=tiny", "--config.net.attention=none", "--config.net.norm=batch", "--config.net.spectral=false",
    "--config.discriminator.kind=patch", "--config.batch_size=2", "--config.total=12 steps",
    "--config.log_every=1 steps", "--config.eval_every=4 steps", "--config.checkpoint_every=3 steps",
    "--config.sheet_every=0 steps", "--config.data.workers=0",
)  # fmt: skip
"""A run that is short, and whose step is traced soon: every fault costs a start."""

TIMES = re.compile(r"_seconds|_per_second|input_|step_seconds")
"""Names of metrics that depend on the machine."""

FOREIGN = re.compile(
    r"Traceback|^ +File \"|orbax|absl|tensorstore|tensorflow|grpc|Warning|libtpu|xla|coordination|^[EWIF]\d{4} ",
    re.IGNORECASE,
)
"""What a library writes, and no person should read."""


class Command:
    """A `palgan` command in a process of its own, whose output comes into a file.

    Attributes:
      process: the process, of a session of its own.
      began: the time, in seconds since 1970.
    """

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str]):
        self._log, self.began = log, time.time()
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "palgan_jax.cli", *arguments], stdout=file, stderr=file, cwd=log.parent,
                env=environment, start_new_session=True,
            )  # fmt: skip

    @property
    def output(self) -> str:
        """Returns what the command has written until now."""
        return self._log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Waits until a condition holds; returns False where the command has ended before."""
        end = time.monotonic() + LONGEST_WAIT
        while not condition():
            if not self.running:
                return False
            if time.monotonic() > end:
                self.kill()
                raise AssertionError(f"nothing happened: {self.output[-2000:]}")
            time.sleep(0.01)
        return True

    def end(self, seconds: float = LONGEST_WAIT) -> int | None:
        """Waits for the end; returns the exit code, None, and kills it, where it does not end in time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self) -> None:
        """Kills the process and those that it has started."""
        for end in (lambda: os.killpg(self.process.pid, signal.SIGKILL), self.process.kill):
            with suppress(ProcessLookupError):
                end()
        self.process.wait()

    def sentences(self) -> list[str]:
        """Returns the errors that the command told."""
        return re.findall(r"^palgan: error: (.*)$", self.output, re.MULTILINE)

    def complaints(self, code: int | tuple[int, ...], sentence: str | None = None, times: int = 1) -> list[str]:
        """Waits for the end. Returns what is wrong with it: another exit code, no sentence or several, other text.

        `sentence`: a pattern that each of so many errors has to match; None where there has to be none.
        """
        codes = (code,) if isinstance(code, int) else code
        ended = self.end()
        wrong = [] if ended in codes else [f"ended with {ended} and not {code}: {self.output[-1500:]}"]
        sentences = self.sentences()
        if sentence is None and sentences:
            wrong.append(f"says {sentences}")
        if sentence is not None and (
            len(sentences) != times or not all(re.search(sentence, text) for text in sentences)
        ):
            wrong.append(f"says {sentences} and not {sentence!r}: {self.output[-1500:]}")
        return wrong + self.foreign()

    def foreign(self) -> list[str]:
        """Returns a complaint of each line that a library wrote."""
        # The second is written for the test server of a bucket alone.
        own_lines = (
            x for x in self.output.splitlines() if not x.startswith("palgan: error: ") and "_FOR_TESTING" not in x
        )
        lines = [line for line in own_lines if FOREIGN.search(line)]
        return [f"{len(lines)} lines of libraries, such as {lines[0][:300]!r}"] if lines else []


class Bench:
    """A folder with photographs, in which commands run.

    Attributes:
      folder: the place of all that is made.
      chance: the moments of faults.
      note: what the table says beside the outcome.
    """

    def __init__(self, folder: Path, seed: int = 0):
        self.folder, self.chance, self.note = folder, random.Random(seed), ""
        self._numbers = iter(range(1_000_000))
        pictures = [encode(picture) for picture in photographs()[:10]]
        for kind, part in (("train", pictures[:8]), ("val", pictures[8:])):
            (folder / "photos" / kind).mkdir(parents=True)
            for i, content in enumerate(part):
                (folder / "photos" / kind / f"{i}.jpg").write_bytes(content)

    def new(self, name: str = "run") -> Path:
        """Returns a path that nothing has."""
        return self.folder / f"{name}-{next(self._numbers)}"

    def copied_photos(self, kind: str = "train") -> Path:
        """Returns a folder with photographs that may be harmed."""
        return Path(shutil.copytree(self.folder / "photos" / kind, self.new("photos")))

    def environment(self, devices: int = 1, **variables: str) -> dict[str, str]:
        """Returns the variables of a command: devices of the CPU, and where compiled programs are kept."""
        flags = QUICK_COMPILATION + (f" --xla_force_host_platform_device_count={devices}" if devices > 1 else "")
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags,
            "JAX_COMPILATION_CACHE_DIR": str(COMPILATION_CACHE),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "PALGAN_CACHE": str(self.folder / "cache"),
            **variables,
        }

    def command(self, *arguments: object, devices: int = 1, **variables: str) -> Command:
        """Starts any command."""
        return Command([*map(str, arguments)], self.new("log"), self.environment(devices, **variables))

    def train(self, workdir: Path | str, *more: str, devices: int = 1, **variables: str) -> Command:
        """Starts a run, or goes on with it."""
        data = [f"--config.data.{kind}=folder:{self.folder / 'photos' / kind}" for kind in ("train", "val")]
        return self.command("train", *SMALL, "--workdir", workdir, *data, *more, devices=devices, **variables)

    def pair(self, workdir: Path | str, *more: str, **variables: str) -> list[Command]:
        """Starts a run of two processes."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        return [
            self.train(
                workdir,
                *more,
                JAX_COORDINATOR_ADDRESS=address,
                JAX_NUM_PROCESSES="2",
                JAX_PROCESS_ID=str(number),
                **variables,
            )
            for number in range(2)
        ]

    @cached_property
    def whole(self) -> Path:
        """The working directory of a run that nothing happened to."""
        workdir = self.new("whole")
        if wrong := self.train(workdir).complaints(0):
            raise AssertionError(wrong)
        return workdir

    def compare(self, workdir: Path) -> list[str]:
        """Returns what is wrong with the metrics of a run that has to be as one that nothing happened to."""
        return self.compare_lines((workdir / "metrics.jsonl").read_text(), workdir.name)

    def compare_lines(self, text: str, name: str) -> list[str]:
        """As `compare`, of the content of a file of metrics; `name` is what the run is called."""
        rows_of_run, expected = parsed(text), rows(self.whole)
        if rows_of_run == expected:
            return []
        differ = [row["step"] for row, other in zip(rows_of_run, expected, strict=False) if row != other]
        return [f"{name}: {len(rows_of_run)} lines of metrics and not {len(expected)}, others at steps {differ[:5]}"]


def rows(workdir: Path) -> list[dict]:
    """Returns the lines of metrics that are complete, without what depends on the machine."""
    path = workdir / "metrics.jsonl"
    return parsed(path.read_text()) if path.exists() else []


def parsed(text: str) -> list[dict]:
    """As `rows`, of the content of a file of metrics."""
    lines = text.split("\n")[:-1]
    return [{k: v for k, v in json.loads(line).items() if not TIMES.search(k)} for line in lines]


def last_step(workdir: Path) -> int:
    """Returns the step of the last line of metrics, 0 where there is none."""
    return max((row["step"] for row in rows(workdir)), default=0)


def saved_steps(workdir: Path) -> list[int]:
    """Returns the steps of the checkpoints that are complete, ascending."""
    folder = workdir / "checkpoints"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def resumed(output: str) -> int:
    """Returns the step that a start went on from, 0 where it began."""
    match = re.search(r"resumed at step (\d+) of", output)
    return int(match[1]) if match else 0
