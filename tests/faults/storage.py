"""Disks that are full, read-only or gone, and caches that cannot be used."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.bench import Bench, Command, last_step, resumed, rows, saved_steps
from tests.faults.fault import NotHere, fault

BAD_INPUT = 2


@contextmanager
def disk(bench: Bench, size: str = "64m") -> Iterator[Path]:
    """Yields a disk of its own, in memory. Raises NotHere where none can be mounted."""
    folder = bench.new("disk")
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        raise NotHere("mounting a disk needs an administrator")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def fill(folder: Path) -> Path:
    """Fills a disk to its last byte; returns the file that does."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return path


def _goes_on(bench: Bench, workdir: Path, *more: str, **variables: str) -> list[str]:
    """Goes on with a run to its end. Returns what is wrong with it."""
    expected = max(saved_steps(workdir), default=0)
    command = bench.train(workdir, *more, **variables)
    wrong = command.complaints(0)
    if (step := resumed(command.output)) != expected:
        wrong.append(f"went on from step {step} and not {expected}")
    return wrong + bench.compare(workdir)


def _full(bench: Bench, begins: Callable[[Command, Path], bool], *more: str) -> list[str]:
    """Fills the disk of a run once something begins, makes room again, and goes on."""
    with disk(bench) as folder:
        workdir = folder / "run"
        command = bench.train(workdir, *more)
        if not command.wait_for(lambda: begins(command, workdir)):
            return [f"ended before: {command.output[-1500:]}"]
        filler = fill(folder)
        wrong = command.complaints(BAD_INPUT, "No space left on device")
        filler.unlink()
        return wrong + _goes_on(bench, workdir, *more)


ROOM_AGAIN = "one sentence, exit 2; goes on from the last save once there is room"


@fault("full disk at a save", ROOM_AGAIN, count=10)
def full_at_save(bench: Bench, _: int) -> list[str]:
    return _full(bench, lambda _, workdir: len(saved_steps(workdir)) >= 1)


@fault("full disk at a line of metrics", ROOM_AGAIN, count=5)
def full_at_metrics(bench: Bench, _: int) -> list[str]:
    # No save comes before a line that finds the disk full.
    rare = "--config.checkpoint_every=0 steps", "--config.eval_every=12 steps"
    with disk(bench) as folder:
        workdir = folder / "run"
        command = bench.train(workdir, *rare)
        command.wait_for(lambda: last_step(workdir) >= 1)
        filler = fill(folder)
        wrong = command.complaints(BAD_INPUT, "No space left on device")
        filler.unlink()
        wrong += bench.train(workdir).complaints(0)
        steps = [row["step"] for row in rows(workdir) if "loss/g" in row]
    return wrong + ([] if steps == [*range(1, 13)] else [f"lines of the steps {steps}"])


@fault("full disk at a sheet of samples", ROOM_AGAIN, count=5)
def full_at_sheet(bench: Bench, _: int) -> list[str]:
    return _full(bench, lambda _, workdir: any(workdir.glob("sheets/*.png")), "--config.sheet_every=2 steps")


@fault("full disk of the cache", "the run trains as if there were no cache; one line says so", count=3)
def full_cache(bench: Bench, _: int) -> list[str]:
    wrong = []
    with disk(bench, "2m") as folder:
        fill(folder).rename(folder / "filler")
        workdir = bench.new()
        command = bench.train(workdir, JAX_COMPILATION_CACHE_DIR="", PALGAN_CACHE=str(folder))
        wrong += command.complaints(0) + bench.compare(workdir)
        if "cannot be kept" not in command.output:
            wrong.append("does not say that compiled programs cannot be kept")
    return wrong


@fault("full disk of the pictures", "their index is kept in the working directory", count=5)
def full_index(bench: Bench, _: int) -> list[str]:
    wrong = []
    with disk(bench, "4m") as folder:
        photos = Path(shutil.copytree(bench.folder / "photos" / "train", folder / "train"))
        fill(folder)
        workdir = bench.new()
        wrong += bench.train(workdir, f"--config.data.train=folder:{photos}").complaints(0)
        wrong += bench.compare(workdir)
    return wrong


def _written(bench: Bench, arguments: Callable[[Path], list[object]], sentences: int = 1) -> list[str]:
    """Runs a command that writes to a full disk, and again once there is room."""
    with disk(bench, "16m") as folder:
        filler = fill(folder)
        before = sorted(folder.rglob("*"))
        wrong = bench.command(*arguments(folder)).complaints(BAD_INPUT, "No space left on device", sentences)
        if halves := [path.name for path in sorted(folder.rglob("*")) if path not in before and path.is_file()]:
            wrong.append(f"leaves {halves}")
        filler.unlink()
        return wrong + bench.command(*arguments(folder)).complaints(0)


@fault("full disk at an evaluation", "one sentence, exit 2; the same command succeeds once there is room", count=3)
def full_at_evaluation(bench: Bench, _: int) -> list[str]:
    truth = bench.folder / "photos" / "val"
    fixed = ["evaluate", "--truth", truth, "--checkpoint", bench.whole, "--metrics", "psnr", "--output"]
    return _written(bench, lambda folder: [*fixed, folder / "results"])


@fault("full disk at an export", "one sentence, exit 2, no half a file; succeeds once there is room", count=6)
def full_at_export(bench: Bench, i: int) -> list[str]:
    kind = (".safetensors", ".onnx", ".stablehlo")[i % 3]
    return _written(bench, lambda folder: ["export", bench.whole, folder / f"model{kind}"])


@fault("full disk at colorizing", "a sentence a picture, exit 2, no half of one; succeeds with room", count=3)
def full_at_colorizing(bench: Bench, _: int) -> list[str]:
    fixed = ["colorize", bench.folder / "photos" / "val", "--checkpoint", bench.whole, "--output"]
    return _written(bench, lambda folder: [*fixed, folder / "out"], sentences=2)


@fault("full disk at a page of runs", "one sentence, exit 2, no half a page; succeeds once there is room", count=2)
def full_at_page(bench: Bench, _: int) -> list[str]:
    return _written(bench, lambda folder: ["runs", "show", bench.whole, "--output", folder / "runs.html"])


@fault("disk that becomes read-only", "one sentence, exit 2; goes on once it can be written to", count=5)
def read_only(bench: Bench, _: int) -> list[str]:
    with disk(bench) as folder:
        workdir = folder / "run"
        command = bench.train(workdir)
        command.wait_for(lambda: len(saved_steps(workdir)) >= 1)
        # The disk itself stays writable while a file of it is open for writing; what opens others does not.
        for options in (["--bind", folder], ["-o", "remount,bind,ro"]):
            subprocess.run(["mount", *options, folder], check=True)
        wrong = command.complaints(BAD_INPUT, "Read-only file system")
        subprocess.run(["umount", folder], check=True)
        return wrong + _goes_on(bench, workdir)


@fault("start on a read-only disk", "one sentence, exit 2", count=2)
def started_read_only(bench: Bench, i: int) -> list[str]:
    wrong = []
    with disk(bench) as folder:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        workdir = folder if i % 2 else folder / "run"
        wrong += bench.train(workdir).complaints(BAD_INPUT, "Read-only file system")
    return wrong


@fault("working directory that vanishes", "one sentence, exit 2; goes on once it is back", count=5)
def vanishing(bench: Bench, _: int) -> list[str]:
    wrong = []
    workdir = bench.new()
    command = bench.train(workdir)
    command.wait_for(lambda: len(saved_steps(workdir)) >= 1)
    target = workdir.rename(bench.new("elsewhere"))
    wrong += command.complaints(BAD_INPUT, "run-")
    if workdir.exists():
        wrong.append(f"made anew what had vanished: {sorted(x.name for x in workdir.rglob('*'))[:8]}")
        shutil.rmtree(workdir)
    wrong += _goes_on(bench, target.rename(workdir))
    return wrong


UNUSABLE = (
    {"PALGAN_CACHE": "/dev/null/cache", "JAX_COMPILATION_CACHE_DIR": ""},
    {"PALGAN_CACHE": "/proc/cache", "JAX_COMPILATION_CACHE_DIR": ""},
    {"PALGAN_CACHE": "", "HOME": "/proc/nobody", "XDG_CACHE_HOME": "", "JAX_COMPILATION_CACHE_DIR": ""},
    {"PALGAN_CACHE": "~nobody-at-all/x", "JAX_COMPILATION_CACHE_DIR": ""},
)


@fault("PALGAN_CACHE or HOME that cannot be used", "runs train as if there were no cache; one line says so", count=5)
def unusable_cache(bench: Bench, i: int) -> list[str]:
    wrong = []
    variables = UNUSABLE[i % len(UNUSABLE)]
    workdir = bench.new()
    command = bench.train(workdir, **variables)
    wrong += [f"{variables}: {problem}" for problem in command.complaints(0) + bench.compare(workdir)]
    if "cannot be kept" not in command.output:
        wrong.append(f"{variables}: does not say that compiled programs cannot be kept")
    return wrong
