"""Pictures that are deleted, replaced and cut while a run reads them, and worker processes that are killed."""

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.bench import Bench, Command, last_step, resumed, rows, saved_steps
from tests.faults.fault import fault, faults

STOPPED = 75
WORKER = "--config.data.workers=1"
"""Without a process of their own, so few pictures stay in memory."""
LONG = ("--config.total=60 steps", "--config.eval_every=0 steps", "--config.log_every=1 steps")


def _running(bench: Bench, workdir: Path, photos: Path, *more: str) -> Command:
    command = bench.train(workdir, f"--config.data.train=folder:{photos}", WORKER, *LONG, *more)
    command.wait_for(lambda: last_step(workdir) >= 2)
    return command


@fault("a picture deleted, replaced or cut", "another one takes its place, and a line names it", count=9)
def harmed_picture(bench: Bench, i: int) -> list[str]:
    wrong = []
    photos, workdir = bench.copied_photos(), bench.new()
    victim = photos / f"{bench.chance.randrange(8)}.jpg"
    command = _running(bench, workdir, photos)
    kind = ("deleted", "replaced", "cut")[i % 3]
    if kind == "deleted":
        victim.unlink()
    elif kind == "replaced":
        shutil.copy(photos / "0.jpg" if victim.name != "0.jpg" else photos / "1.jpg", victim)
    else:
        os.truncate(victim, victim.stat().st_size // 3)
    wrong += [f"{kind}: {problem}" for problem in command.complaints(0)]
    if kind != "replaced" and f"{victim.name} cannot be read any more" not in command.output:
        wrong.append(f"{kind}: {victim.name} is not named: {command.output[-800:]}")
    if len(rows(workdir)) != 60:
        wrong.append(f"{kind}: {len(rows(workdir))} lines of metrics")
    return wrong


@fault("all pictures deleted or cut", "one sentence, the step saved, exit 75; goes on once they are back", count=4)
def harmed_set(bench: Bench, i: int) -> list[str]:
    wrong = []
    photos, workdir = bench.copied_photos(), bench.new()
    command = _running(bench, workdir, photos)
    for path in photos.glob("*.jpg"):
        if i % 2:
            path.unlink()
        else:
            os.truncate(path, 100)
    wrong += command.complaints(STOPPED, "cannot be read any more")
    saved = max(saved_steps(workdir), default=0)
    if saved != last_step(workdir):
        wrong.append(f"saved step {saved}, and not {last_step(workdir)}")
    shutil.copytree(bench.folder / "photos" / "train", photos, dirs_exist_ok=True)
    command = bench.train(workdir, f"--config.data.train=folder:{photos}", WORKER, *LONG)
    wrong += command.complaints(0)
    if resumed(command.output) != saved:
        wrong.append(f"went on from {resumed(command.output)} and not {saved}")
    return wrong


@fault("worker processes killed", "one sentence, the step saved, exit 75; the same command goes on", count=10)
def killed_workers(bench: Bench, _: int) -> list[str]:
    wrong = []
    workdir = bench.new()
    command = _running(bench, workdir, bench.folder / "photos" / "train")
    workers = [pid for pid in _children(command.process.pid) if b"spawn_main" in _command_line(pid)]
    if not workers:
        command.kill()
        return [*wrong, "there is no worker process"]
    os.kill(bench.chance.choice(workers), signal.SIGKILL)
    wrong += command.complaints(STOPPED, "a worker process was killed by SIGKILL")
    saved = max(saved_steps(workdir), default=0)
    if saved != last_step(workdir):
        wrong.append(f"saved step {saved}, and not {last_step(workdir)}")
    command = bench.train(workdir, f"--config.data.train=folder:{bench.folder / 'photos' / 'train'}", WORKER, *LONG)
    wrong += command.complaints(0)
    return wrong


def _children(process: int) -> list[int]:
    """Returns the processes that a process has started, and those that these have."""
    children = [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    tasks = Path(f"/proc/{process}/task").iterdir()
    children = sorted({int(pid) for task in tasks for pid in (task / "children").read_text().split()} | set(children))
    return [*children, *(grandchild for child in children for grandchild in _children(child))]


def _command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@faults("pictures by the thousand in one process", "memory does not grow with their number", count=10_000)
def many_pictures(bench: Bench, count: int) -> list[str]:
    folder, output = bench.new("many"), bench.new("out")
    folder.mkdir()
    chance = np.random.default_rng(0)
    for i in range(16):
        Image.fromarray(chance.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / f"{i}.png")
    for i in range(16, count):
        os.link(folder / f"{i % 16}.png", folder / f"{i}.png")
    command = bench.command("colorize", folder, "--checkpoint", bench.whole, "--output", output)
    sizes: list[int] = []
    for done in (0.2 * count, 0.98 * count):
        command.wait_for(partial(_has, output, done))
        sizes.append(_resident(command.process.pid))
    wrong = command.complaints(0)
    done = len(list(output.glob("*.png")))
    growth = (sizes[1] - sizes[0]) / 1e6
    bench.note = f"{sizes[0] / 1e6:.0f} MB after a fifth, {growth:+.0f} MB from there"
    if growth > 100:
        wrong.append(f"memory grew by {growth:.0f} MB")
    return wrong + ([f"{done} of {count} results"] if done != count else [])


def _has(folder: Path, files: float) -> bool:
    return folder.is_dir() and sum(1 for _ in os.scandir(folder)) >= files


def _resident(process: int) -> int:
    """Returns the bytes of memory of a process, 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
