"""Whole runs through the public command: finished, ended by errors, and refused."""

import dataclasses
import io
import os
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from palgan_jax import cli
from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.checkpoint.weights_file import load_weights, save_weights
from palgan_jax.config import load_config
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.training import loop, measuring, prepare
from palgan_jax.training.lease import Lease
from palgan_jax.training.measuring import measure_weights
from tests.support.places import ROOT
from tests.support.terminal import Terminal
from tests.support.training_runs import NETWORK, TIMES, arguments, command, environment, finish, lines, start
from tests.support.waiting import PATIENCE


@pytest.fixture(scope="module")
def on_a_terminal(tmp_path_factory) -> tuple[Path, Terminal]:
    """The working directory of a whole run, and the terminal that it ran on."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    more = ["--config.sheet_every=12 steps", "--config.tensorboard=true"]
    terminal = Terminal(command(workdir, *more), columns=110, env=environment(), cwd=ROOT)
    assert terminal.end(PATIENCE) == 0, terminal.lines()
    return workdir, terminal


@pytest.fixture(scope="module")
def uninterrupted(on_a_terminal) -> Path:
    return on_a_terminal[0]


def test_a_person_sees_what_is_done_and_whole_messages_above_the_bar(on_a_terminal):
    workdir, terminal = on_a_terminal
    screen, output = terminal.lines(), terminal.written.decode()
    bars = [line for line in screen if "training:" in line]
    assert len(bars) == 1 and bars[0] == screen[-1] and "training: 100%" in bars[0] and "12/12" in bars[0]
    assert "compiling the training step, which takes minutes on a CPU the first time" in output
    head = next(line.split("  ") for line in screen if line.startswith("step 12 "))
    assert [word.strip() for word in head if word] == [
        "step 12", "ours", "best, 6", "gray", "mean color", "mean palette", "true palette"
    ]  # fmt: skip
    rows = [row for row in lines(workdir) if "val/psnr" in row]
    numbers = next(line for line in reversed(screen) if line.startswith("PSNR")).split()[-6:]
    assert numbers[:3] == [f"{row:.2f}" for row in (rows[1]["val/psnr"], rows[0]["val/psnr"], rows[1]["val/psnr_gray"])]
    log = (workdir / "log.txt").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} process 0: step compiled in ", log, re.MULTILINE)
    assert all(line in log for line in screen if "%|" not in line)


def test_a_run_leaves_metrics_checkpoints_and_its_config(uninterrupted):
    rows = lines(uninterrupted)
    steps = [row["step"] for row in rows if "loss/g" in row]
    assert steps == list(range(1, 13))
    for row in rows:
        assert all(np.isfinite(value) for value in row.values())
    assert {*TIMES, "grad_norm/g", "logit/real"} <= set(rows[0])
    validations = [row for row in rows if "val/psnr" in row]
    assert [row["step"] for row in validations] == [6, 12]
    assert {"val/psnr_truth_palette", "val/psnr_gray", "val/psnr_mean_ab", "val/colorfulness"} <= set(validations[0])
    weights = load_ema(uninterrupted)
    assert weights.step == 12
    assert weights.config["net"]["width"] == 1 / 16
    assert [path.name for path in (uninterrupted / "sheets").iterdir()] == ["step_00000012.png"]


def test_weights_are_measured_again_as_the_run_measured_them(uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "make_mesh", partial(make_mesh, devices=jax.devices()[:1]))
    monkeypatch.chdir(ROOT)  # as the run was started: its config names bundled photographs from there
    first, last = (load_ema(uninterrupted, step) for step in (6, 12))
    assert measure_weights(first) == pytest.approx(first.metrics, rel=1e-4)
    path = tmp_path / "mean.safetensors"
    assert cli.main(["export", str(uninterrupted), str(path), "--average", "6,12"]) == 0
    mean = load_weights(path)
    assert mean.averaged == (6, 12) and mean.metrics.keys() == last.metrics.keys()
    same = [name for name in mean.metrics if name.endswith(("_gray", "_mean_ab"))]
    assert same and all(mean.metrics[name] == pytest.approx(last.metrics[name], rel=1e-4) for name in same)
    assert mean.metrics["val/psnr"] not in (first.metrics["val/psnr"], last.metrics["val/psnr"])


def test_tensorboard_reads_the_same_numbers_the_sheets_and_the_palettes(uninterrupted):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(uninterrupted / "tensorboard")).Reload()
    for name in ("loss/g", "val/psnr"):
        values = [(row["step"], row[name]) for row in lines(uninterrupted) if name in row]
        events = [(event.step, event.value) for event in board.Scalars(name)]
        assert [step for step, _ in events] == [step for step, _ in values]
        np.testing.assert_allclose([value for _, value in events], [value for _, value in values], rtol=1e-6)
    (sheet,), (palettes,) = board.Images("sheet"), board.Images("palettes")
    sheet_of_file = np.asarray(Image.open(uninterrupted / "sheets" / "step_00000012.png").convert("RGB"))
    sheet_of_board = np.asarray(Image.open(io.BytesIO(sheet.encoded_image_string)).convert("RGB"))
    assert sheet.step == 12 and np.array_equal(sheet_of_board, sheet_of_file)
    assert (palettes.width, palettes.height) == (12 * (128 + 8), 2 * (128 + 8 + 20 + 8))


def test_a_finished_run_says_so_before_it_loads_or_compiles_anything(uninterrupted, caplog, monkeypatch):
    for name in ("load_needs", "make_program", "compile_program", "train_batches", "training_averages"):
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


def test_training_stops_at_a_loss_that_is_not_finite(uninterrupted, tmp_path):
    """In the first step after a model whose weights are finite, and what it computes is not."""
    weights, file = find_weights(uninterrupted), tmp_path / "model.safetensors"
    huge = jax.tree.map(lambda leaf: np.full_like(leaf, 1e30), weights.variables)
    save_weights(file, dataclasses.replace(weights, variables=huge))
    (errors,) = finish([start(tmp_path / "run", "--from", str(file))], 2)
    sentence = [line for line in errors.splitlines() if line.startswith("palgan: error: ")]
    assert len(sentence) == 1
    assert "not finite at step 1 (" in sentence[0]
    assert lines(tmp_path / "run") == [] and not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))


def test_steps_are_saved_before_an_error_that_nobody_foresaw_ends_the_run(tmp_path):
    (tmp_path / "sheets").write_text("somebody's file in the place of the folder")
    more = ["--config.checkpoint_every=0 steps", "--config.eval_every=0", "--config.sheet_every=5 steps"]
    (errors,) = finish([start(tmp_path, *more)], 2)
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
    opens, closes = [], []

    class Noted(Checkpoints):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            opens.append(self)

        def close(self):
            closes.append(self)
            super().close()

    monkeypatch.setattr(prepare, "Checkpoints", Noted)
    assert "is not measured" in refusal(capsys, *arguments(tmp_path, "--config.best=val/beauty"))
    assert len(opens) == 1 and closes == opens
