"""Whole runs through the public command: finished, killed, stopped, resumed, and refused."""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax import cli
from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.config import load_config
from palgan_jax.data.source import open_source
from palgan_jax.errors import ExitCode
from palgan_jax.training import loop, prepare
from palgan_jax.training.lease import Lease
from tests.support.places import COMPILATION_CACHE, ROOT
from tests.support.terminal import Terminal

TIMES = (
    "images_per_second",
    "step_seconds",
    "input_wait_seconds",
    "input_wait_share",
    "input_decoder_use",
    "input_images_per_second",
    "input_megabytes_per_second",
)
STOPPED = ExitCode.STOPPED
# What runs do is tested, not what networks compute: these are traced and compiled in half the time.
NETWORK = ["net.attention=none", "net.norm=batch", "net.spectral=false"]
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


def lines(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def without_times(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


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
    """The command as a person runs it."""
    return subprocess.Popen(
        command(workdir, *more), env=environment(**variables), stderr=subprocess.PIPE, text=True, cwd=ROOT,
        start_new_session=start_new_session,
    )  # fmt: skip


def wait_for(condition, process: subprocess.Popen, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def on_a_terminal(tmp_path_factory) -> tuple[Path, Terminal]:
    """The working directory of a whole run, and the terminal that it ran on."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    more = ["--config.sheet_every=12 steps", "--config.tensorboard=true"]
    terminal = Terminal(command(workdir, *more), columns=110, env=environment(), cwd=ROOT)
    assert terminal.end(600) == 0, terminal.lines()
    return workdir, terminal


@pytest.fixture(scope="module")
def uninterrupted(on_a_terminal) -> Path:
    return on_a_terminal[0]


def test_a_person_sees_what_is_done_and_whole_messages_above_the_bar(on_a_terminal):
    workdir, terminal = on_a_terminal
    seen, written = terminal.lines(), terminal.written.decode()
    bars = [line for line in seen if "training:" in line]
    assert len(bars) == 1 and bars[0] == seen[-1] and "training: 100%" in bars[0] and "12/12" in bars[0]
    assert "compiling the training step, which takes minutes on a CPU the first time" in written
    head = next(line.split("  ") for line in seen if line.startswith("step 12 "))
    assert [word.strip() for word in head if word] == [
        "step 12", "ours", "best, 6", "gray", "mean color", "mean palette", "true palette"
    ]  # fmt: skip
    measured = [row for row in lines(workdir) if "val/psnr" in row]
    numbers = next(line for line in reversed(seen) if line.startswith("PSNR")).split()[-6:]
    assert numbers[:3] == [
        f"{row:.2f}" for row in (measured[1]["val/psnr"], measured[0]["val/psnr"], measured[1]["val/psnr_gray"])
    ]
    log = (workdir / "log.txt").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} process 0: step compiled in ", log, re.MULTILINE)
    assert all(line in log for line in seen if "%|" not in line)


def test_a_run_leaves_metrics_checkpoints_and_its_config(uninterrupted):
    rows = lines(uninterrupted)
    steps = [row["step"] for row in rows if "loss/g" in row]
    assert steps == list(range(1, 13))
    for row in rows:
        assert all(np.isfinite(value) for value in row.values())
    assert {*TIMES, "grad_norm/g", "logit/real"} <= set(rows[0])
    measured = [row for row in rows if "val/psnr" in row]
    assert [row["step"] for row in measured] == [6, 12]
    assert {"val/psnr_truth_palette", "val/psnr_gray", "val/psnr_mean_ab", "val/colorfulness"} <= set(measured[0])
    weights = load_ema(uninterrupted)
    assert weights.step == 12
    assert weights.config["net"]["width"] == 1 / 16
    assert [path.name for path in (uninterrupted / "sheets").iterdir()] == ["step_00000012.png"]


def test_tensorboard_reads_the_same_numbers_the_sheets_and_the_palettes(uninterrupted):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(uninterrupted / "tensorboard")).Reload()
    for name in ("loss/g", "val/psnr"):
        ours = [(row["step"], row[name]) for row in lines(uninterrupted) if name in row]
        theirs = [(event.step, event.value) for event in board.Scalars(name)]
        assert [step for step, _ in theirs] == [step for step, _ in ours]
        np.testing.assert_allclose([value for _, value in theirs], [value for _, value in ours], rtol=1e-6)
    (sheet,), (palettes,) = board.Images("sheet"), board.Images("palettes")
    drawn = np.asarray(Image.open(uninterrupted / "sheets" / "step_00000012.png").convert("RGB"))
    shown = np.asarray(Image.open(io.BytesIO(sheet.encoded_image_string)).convert("RGB"))
    assert sheet.step == 12 and np.array_equal(shown, drawn)
    assert (palettes.width, palettes.height) == (12 * (128 + 8), 2 * (128 + 8 + 20 + 8))


def test_killed_and_resumed_gives_the_same_metrics_to_the_bit(uninterrupted, tmp_path):
    process = start(tmp_path)
    reached = tmp_path / "metrics.jsonl"
    wait_for(lambda: reached.exists() and any(row["step"] >= 7 for row in _complete(reached)), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed_at = max(row["step"] for row in _complete(reached))
    assert killed_at < 12, "the run was over before it could be killed"
    (errors,) = finish([start(tmp_path)])
    assert "resumed at step" in errors
    assert without_times(lines(tmp_path)) == without_times(lines(uninterrupted))


def _complete(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_a_finished_run_says_so_before_it_loads_or_compiles_anything(uninterrupted, caplog, monkeypatch):
    for name in ("load_needs", "make_program", "compile_program", "train_batches", "averages"):
        monkeypatch.setattr(prepare, name, lambda *_, name=name, **__: pytest.fail(f"{name} comes too early"))
    before = (uninterrupted / "metrics.jsonl").read_text()
    caplog.set_level("INFO")
    assert loop.train(load_config("tiny", [*NETWORK, "total=12 steps"]), uninterrupted) is loop.Outcome.FINISHED
    assert "12 steps are saved; there is nothing left to do" in caplog.text
    assert (uninterrupted / "metrics.jsonl").read_text() == before


def test_a_finished_run_whose_last_checkpoint_is_damaged_goes_on_from_the_one_before(uninterrupted, tmp_path, caplog):
    shutil.copytree(uninterrupted / "checkpoints", tmp_path / "checkpoints")
    largest = max((tmp_path / "checkpoints" / "12" / "state").rglob("*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(bytes(largest.stat().st_size))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert not prepare.is_finished(checkpoints, 12) and prepare.is_finished(checkpoints, 8)
    assert "12 is damaged" in caplog.text


def start_two(workdir: Path, *more: str, own: Sequence[Sequence[str]] = ((), ())) -> list[subprocess.Popen]:
    """The same command in two processes that join each other; `own` is what each gets beside it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    cluster = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [start(workdir, *more, *own[i], **cluster, JAX_PROCESS_ID=str(i)) for i in range(2)]


def finish(processes: list[subprocess.Popen], code: int = 0) -> list[str]:
    """Waits for all of them to exit with this code; returns what each wrote."""
    written = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), written
    return written


def test_two_processes_train_as_one_and_any_number_goes_on(uninterrupted, tmp_path):
    reached, more = tmp_path / "metrics.jsonl", ["--config.checkpoint_every=4 steps", "--config.eval_every=4 steps"]
    processes = start_two(tmp_path, *LONG, *more)
    wait_for(lambda: (tmp_path / "checkpoints" / "4").exists() and len(_complete(reached)) > 5, processes[0])

    # One is killed: the other does not wait for it.
    processes[1].kill()
    written = [process.communicate(timeout=60)[1] for process in processes]
    assert processes[0].returncode not in (0, None), written[0]
    for i, rows in enumerate(("rows 0 to 3", "rows 4 to 7")):
        assert f"process {i} of 2: 1 device(s) of 2" in written[i]
        assert f"process {i} has {rows} of each batch" in written[i]

    ours, expected = [[row for row in lines(folder) if "loss/g" in row][:4] for folder in (tmp_path, uninterrupted)]
    for row, other in zip(ours, expected, strict=True):
        for name in set(other) - set(TIMES):
            np.testing.assert_allclose(row[name], other[name], rtol=2e-2, atol=2e-3, err_msg=name)
    np.testing.assert_allclose(ours[0]["loss/g"], expected[0]["loss/g"], rtol=1e-5)
    measured, other = [next(row for row in lines(at) if "val/psnr" in row) for at in (tmp_path, uninterrupted)]
    for name in ("val/psnr_gray", "val/psnr_mean_ab", "val/ab_error_gray", "val/colorfulness_truth"):
        np.testing.assert_allclose(measured[name], other[name], rtol=1e-5, err_msg=name)

    # One process goes on, is stopped, and two go on from there.
    step, last = load_ema(tmp_path).step, lines(tmp_path)[-1]["step"]
    process = start(tmp_path, *LONG)
    wait_for(lambda: _complete(reached)[-1]["step"] > last + 1, process)
    process.send_signal(signal.SIGTERM)
    (errors,) = finish([process], STOPPED)
    assert f"resumed at step {step} of" in errors
    step, last = load_ema(tmp_path).step, lines(tmp_path)[-1]["step"]
    assert f"saved step {step}" in errors and step >= last

    processes = start_two(tmp_path, *LONG)
    wait_for(lambda: _complete(reached)[-1]["step"] > step + 1, processes[0])
    processes[1].send_signal(signal.SIGTERM)
    written = finish(processes, STOPPED)
    saved = f"saved step {load_ema(tmp_path).step}"
    assert all(f"resumed at step {step} of" in errors and saved in errors for errors in written)


def copies(folder: Path, count: int) -> list[Path]:
    made = [folder / f"photos-{i}" for i in range(count)]
    for copy in made:
        shutil.copytree(ROOT / "examples" / "photos", copy)
    return made


def test_a_folder_that_vanishes_ends_the_run_with_a_saved_step_and_ctrl_c_does_too(tmp_path):
    (photos,) = copies(tmp_path, 1)
    workdir = tmp_path / "run"
    # A worker process reads each picture anew; without one, so few would stay in memory.
    data = [f"--config.data.train=folder:{photos}", "--config.data.workers=1"]
    process = start(workdir, *LONG, *data)
    reached = workdir / "metrics.jsonl"
    wait_for(lambda: reached.exists() and len(_complete(reached)) > 2, process)
    photos.rename(tmp_path / "unmounted")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == STOPPED, errors
    sentence = [line for line in errors.splitlines() if line.startswith("palgan: error: ")]
    assert len(sentence) == 1 and str(photos) in sentence[0] and "is gone" in sentence[0]
    step = load_ema(workdir).step
    assert step == lines(workdir)[-1]["step"] and f"saved step {step}" in errors

    (tmp_path / "unmounted").rename(photos)
    process = start(workdir, *LONG, *data, start_new_session=True)
    wait_for(lambda: _complete(reached)[-1]["step"] > step, process)
    # As a terminal does, which tells the worker processes too; it is not to be taken for their end.
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == STOPPED, errors
    assert f"resumed at step {step}" in errors and "other pictures" not in errors
    assert f"saved step {load_ema(workdir).step}" in errors
    assert "Traceback" not in errors and "worker process" not in errors


def test_a_folder_that_vanishes_for_one_of_two_processes_ends_both_at_the_same_step(tmp_path):
    workdir = tmp_path / "run"
    own = [[f"--config.data.train=folder:{photos}", "--config.data.workers=1"] for photos in copies(tmp_path, 2)]
    processes = start_two(workdir, *LONG, own=own)
    reached = workdir / "metrics.jsonl"
    wait_for(lambda: reached.exists() and len(_complete(reached)) > 2, processes[0])
    (tmp_path / "photos-1").rename(tmp_path / "unmounted")
    written = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [STOPPED, STOPPED], written
    assert "photos-1" in written[1] and "is gone" in written[1]
    saved = f"saved step {load_ema(workdir).step}"
    assert all(saved in errors for errors in written)


def test_a_process_that_cannot_even_begin_ends_the_others_too(tmp_path):
    own = [[f"--config.data.train=folder:{photos}", "--config.data.workers=0"] for photos in copies(tmp_path, 2)]
    for photos in (tmp_path / "photos-0", tmp_path / "photos-1"):
        open_source(f"folder:{photos}")  # leaves an index, so that nobody looks at the pictures again
    for path in (tmp_path / "photos-1").glob("*.jpg"):
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    processes = start_two(tmp_path / "run", *LONG, own=own)
    written = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], written
    assert "another process of this run has no pictures any more" in written[0]
    assert "cannot be read any more" in written[1]


def refusal(capsys, *command: str) -> str:
    """The one sentence on standard error of a command that must fail."""
    assert cli.main(list(command)) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("palgan: error: ")]
    assert len(error) == 1
    return error[0]


def test_another_config_is_refused_with_the_fields_that_differ(uninterrupted, capsys):
    more = ["--config.net.attention=global", "--config.loss.l1=5", "--config.log_every=3 steps"]
    sentence = refusal(capsys, *arguments(uninterrupted, *more))
    assert "net.attention" in sentence
    assert "loss.l1" in sentence
    assert "log_every" not in sentence


def test_bad_input_gets_one_sentence(tmp_path, capsys):
    assert "did you mean batch_size?" in refusal(capsys, *arguments(tmp_path, "--config.batch_sise=4"))
    assert "multiple of 64" in refusal(capsys, *arguments(tmp_path, "--config.resolution=100"))
    # The tests run on eight devices.
    assert "batch_size=12" in refusal(capsys, *arguments(tmp_path, "--config.batch_size=12"))
    assert "data.train is empty" in refusal(capsys, *arguments(tmp_path, "--config.data.train="))
    (tmp_path / "notes.txt").write_text("no picture")
    assert ".txt" in refusal(capsys, *arguments(tmp_path / "w", f"--config.data.train=folder:{tmp_path}"))
    assert "no config file" in refusal(capsys, "train", "--config", "none.py", "--workdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal(capsys, *arguments(tmp_path / "file" / "run"))
    assert "is not an option" in refusal(capsys, *arguments(tmp_path), "--fast")


def test_a_directory_of_a_living_run_is_refused(tmp_path, capsys):
    with Lease(tmp_path, beat=0.1):
        (tmp_path / "log.txt").write_text("a step\n")
        before = sorted(tmp_path.iterdir())
        assert f"in use by process {os.getpid()}" in refusal(capsys, *arguments(tmp_path))
        assert sorted(tmp_path.iterdir()) == before
        log = (tmp_path / "log.txt").read_text()
        assert log.startswith("a step\n") and "in use by process" in log, "the refused command is told in it, too"


def test_training_stops_at_a_loss_that_is_not_finite(tmp_path):
    process = start(tmp_path, "--config.optim.g_lr=1", "--config.optim.weight_decay=1e9")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    sentence = [line for line in errors.splitlines() if line.startswith("palgan: error: ")]
    assert len(sentence) == 1
    assert "not finite at step" in sentence[0]
    rows = lines(tmp_path)
    assert all(np.isfinite(row["loss/g"]) for row in rows if "loss/g" in row)


def test_steps_are_saved_before_an_error_that_nobody_foresaw_ends_the_run(tmp_path):
    (tmp_path / "sheets").write_text("somebody's file in the place of the folder")
    process = start(
        tmp_path, "--config.checkpoint_every=0 steps", "--config.eval_every=0", "--config.sheet_every=5 steps"
    )
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "saved step 5" in errors and "sheets is no folder that can be written to" in errors
    assert load_ema(tmp_path).step == 5


def test_what_a_run_lacks_is_named_before_its_pictures_are_looked_at(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "open_data", lambda *_: pytest.fail("looked at pictures first"))
    sentence = refusal(capsys, *arguments(tmp_path, "--config.best=val/beauty"))
    assert "--config.best=val/beauty is not measured: choose one of val/ab_error, val/ab_error_gray," in sentence
    assert "val/psnr_truth_palette" in sentence and "val/ssim" in sentence
    assert "eval_metrics names beauty" in refusal(capsys, *arguments(tmp_path, "--config.eval_metrics=beauty"))
    lacking = ("--config.loss.perceptual=1", f"--config.loss.perceptual_weights={tmp_path / 'vgg.pth'}")
    assert "vgg.pth" in refusal(capsys, *arguments(tmp_path, *lacking))
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert "needs tensorboardX: pip install" in refusal(capsys, *arguments(tmp_path, "--config.tensorboard=true"))


def test_a_disk_without_room_for_the_checkpoints_is_named_before_anything_is_compiled(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "compile_program", lambda *_, **__: pytest.fail("compiled first"))
    sentence = refusal(capsys, *arguments(tmp_path, "--config.keep=100000000"))
    assert re.search(
        r"takes [\d.]+ .B, and [\d.]+ .B are free in .*checkpoints, too few for 100000002 of them", sentence
    )


def test_an_error_while_a_run_is_prepared_closes_what_was_open(tmp_path, capsys, monkeypatch):
    opened, closed = [], []

    class Noted(Checkpoints):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            opened.append(self)

        def close(self):
            closed.append(self)
            super().close()

    monkeypatch.setattr(prepare, "Checkpoints", Noted)
    assert "is not measured" in refusal(capsys, *arguments(tmp_path, "--config.best=val/beauty"))
    assert len(opened) == 1 and closed == opened
