"""Worker processes: that their number fits, that they end with their parent, and that their own end is explained."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from palgan_jax.data import shares
from palgan_jax.data.source import StoredSource
from palgan_jax.data.train_batches import train_batches
from palgan_jax.errors import DataStopped
from tests.support.batches import BATCH, SIDE
from tests.support.places import ROOT


def test_worker_processes_need_no_parsed_flags(folder):
    """As in a plain script, where nobody parses absl's flags."""
    program = f"""
from palgan_jax.data.train_batches import train_batches
from palgan_jax.data.source import open_source
if __name__ == "__main__":
    with train_batches(open_source({str(folder)!r}), resolution=32, batch_size=4, seed=0, workers=1) as batches:
        print(next(batches)["rgb"].shape)
"""
    script = folder.parent / "script.py"
    script.write_text(program)
    process = subprocess.run([sys.executable, script], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "(4, 32, 32, 3)"


def test_a_killed_worker_is_reported_with_its_picture(source):
    with train_batches(source, resolution=SIDE, batch_size=BATCH, seed=3, workers=2) as batches:
        for _ in range(2):
            next(batches)
        pids = [pid for pid, _ in batches._notes.read()]
        assert len(set(pids)) == 2 and all(pid > 0 for pid in pids)
        os.kill(pids[1], signal.SIGKILL)
        with pytest.raises(
            DataStopped, match=r"^a worker process was killed by SIGKILL while it read \d\d\.(jpg|png): "
        ):
            for _ in range(100):
                next(batches)
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_while_it_hands_a_share_over_is_reported(folder):
    """Shares of 37 KB would go through a pipe of 64 KB: while nobody takes any, one is in it and half of the next."""
    program = f"""
import os, signal, time
from palgan_jax.data.train_batches import train_batches
from palgan_jax.data.source import open_source
from palgan_jax.errors import DataStopped
if __name__ == "__main__":
    with train_batches(open_source({str(folder)!r}), resolution=64, batch_size=3, seed=0, workers=1) as batches:
        next(batches)
        time.sleep(2)
        os.kill(batches._notes.read()[0][0], signal.SIGKILL)
        try:
            for _ in range(100):
                next(batches)
        except DataStopped as error:
            print(error)
"""
    script = folder.parent / "handed.py"
    script.write_text(program)
    process = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, timeout=300
    )
    assert process.stdout.startswith("a worker process was killed by SIGKILL while it read "), process.stderr


@dataclasses.dataclass(frozen=True)
class Deadly(StoredSource):
    """A picture of this source ends the process that reads it, as a bug in a decoder would."""

    def read(self, i, *, at_least=None):
        if i == 11:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().read(i, at_least=at_least)


def test_a_picture_that_kills_its_worker_is_named(source):
    fields = {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}
    with (
        train_batches(Deadly(**fields), resolution=SIDE, batch_size=BATCH, seed=3, workers=1) as batches,
        pytest.raises(
            DataStopped, match=f"^a worker process was killed by SIGSEGV while it read {source.picture_name(11)}"
        ),
    ):
        for _ in range(10):
            next(batches)


def test_a_killed_process_leaves_neither_workers_nor_shared_memory(folder):
    program = f"""
import os, signal
from pathlib import Path
from palgan_jax.data.train_batches import train_batches
from palgan_jax.data.source import open_source
if __name__ == "__main__":
    before = set(Path("/dev/shm").glob("psm_*"))
    batches = train_batches(open_source({str(folder)!r}), resolution=96, batch_size=4, seed=0, workers=1)
    batch = next(batches)
    print(*(f"/proc/{{pid}}" for pid, _ in batches._notes.read()))
    print(*(set(Path("/dev/shm").glob("psm_*")) - before), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    script = folder.parent / "killed.py"
    script.write_text(program)
    process = subprocess.run([sys.executable, script], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert process.returncode == -signal.SIGKILL, process.stderr
    left = [Path(name) for name in process.stdout.split()]
    assert len(left) >= 2 and left[0].parent == Path("/proc")
    deadline = time.monotonic() + 300
    while any(path.exists() for path in left) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [path for path in left if path.exists()]


@pytest.mark.parametrize(
    ("cores", "cached", "asked", "expected"),
    [
        (1, False, "auto", 0),
        (2, False, "auto", 0),
        (8, False, "auto", 7),
        (8, True, "auto", 0),
        (500, False, "auto", 32),
        (2, False, 5, 5),
        (8, False, "3", 3),
        (8, False, 0, 0),
    ],
)
def test_number_of_workers_follows_the_machine(monkeypatch, cores, cached, asked, expected):
    monkeypatch.setattr(shares, "available_cores", lambda: cores)
    assert shares.worker_count(asked, cached) == expected
