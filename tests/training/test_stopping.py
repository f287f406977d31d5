"""Runs that are stopped and go on: in one process and in two, by signals and by pictures that vanish."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.data.source import open_source
from palgan_jax.errors import ExitCode
from tests.support.places import ROOT
from tests.support.training_runs import LONG, TIMES, finish, lines, start, start_two, wait_for_step

MEASURED = [*LONG, "--config.checkpoint_every=4 steps", "--config.eval_every=4 steps"]


def copied_photos(folder: Path) -> Path:
    """Copies the pictures that runs begin with to where they may be harmed."""
    return Path(shutil.copytree(ROOT / "examples" / "photos", folder))


def data(photos: Path, workers: int = 1) -> list[str]:
    # A worker process reads each picture anew; without one, so few would stay in memory.
    return [f"--config.data.train=folder:{photos}", f"--config.data.workers={workers}"]


def going_on(workdir: Path, copy: Path) -> tuple[Path, int]:
    """Returns a copy of a working directory, in which a run may go on, and its last step."""
    shutil.copytree(workdir, copy)
    return copy, load_ema(copy).step


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, Path, str]:
    """A run of one process whose pictures vanished: its working directory, where they were, and what it wrote."""
    folder = tmp_path_factory.mktemp("alone")
    workdir, photos = folder / "run", copied_photos(folder / "photos")
    process = start(workdir, *MEASURED, *data(photos))
    wait_for_step(workdir, 6, process)
    photos.rename(folder / "unmounted")
    (errors,) = finish([process], ExitCode.STOPPED)
    return workdir, photos, errors


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, list[str]]:
    """A run of two processes, one of which got SIGTERM: its working directory, and what they wrote."""
    workdir = tmp_path_factory.mktemp("pair") / "run"
    processes = start_two(workdir, *MEASURED)
    wait_for_step(workdir, 6, processes[0])
    processes[1].send_signal(signal.SIGTERM)
    return workdir, finish(processes, ExitCode.STOPPED)


def test_a_folder_that_vanishes_ends_the_run_with_a_saved_step(alone):
    workdir, photos, errors = alone
    sentence = [line for line in errors.splitlines() if line.startswith("palgan: error: ")]
    assert len(sentence) == 1 and str(photos) in sentence[0] and "is gone" in sentence[0]
    step = load_ema(workdir).step
    assert step == lines(workdir)[-1]["step"] and f"saved step {step}" in errors


def test_two_processes_train_as_one(alone, pair):
    for i, rows in enumerate(("rows 0 to 3", "rows 4 to 7")):
        assert f"process {i} of 2: 1 device(s) of 2" in pair[1][i]
        assert f"process {i} has {rows} of each batch" in pair[1][i]
    pair_rows, expected = [[row for row in lines(run[0]) if "loss/g" in row][:4] for run in (pair, alone)]
    for row, expected_validation in zip(pair_rows, expected, strict=True):
        for name in set(expected_validation) - set(TIMES):
            np.testing.assert_allclose(row[name], expected_validation[name], rtol=2e-2, atol=2e-3, err_msg=name)
    np.testing.assert_allclose(pair_rows[0]["loss/g"], expected[0]["loss/g"], rtol=1e-5)
    validation, expected_validation = [next(row for row in lines(run[0]) if "val/psnr" in row) for run in (pair, alone)]
    for name in ("val/psnr_gray", "val/psnr_mean_ab", "val/ab_error_gray", "val/colorfulness_truth"):
        np.testing.assert_allclose(validation[name], expected_validation[name], rtol=1e-5, err_msg=name)


def test_sigterm_for_one_of_two_processes_ends_both_at_the_same_step(pair):
    workdir, outputs = pair
    step = load_ema(workdir).step
    assert step >= 6 and all(f"saved step {step}" in errors for errors in outputs)


def test_one_process_goes_on_from_two_and_ctrl_c_ends_it_with_a_saved_step(pair, tmp_path):
    workdir, step = going_on(pair[0], tmp_path / "run")
    process = start(workdir, *LONG, "--config.data.workers=1", start_new_session=True)
    wait_for_step(workdir, step + 1, process)
    # As a terminal does, which tells the worker processes too; it is not to be taken for their end.
    os.killpg(process.pid, signal.SIGINT)
    (errors,) = finish([process], ExitCode.STOPPED)
    assert f"resumed at step {step} of" in errors
    assert f"saved step {load_ema(workdir).step}" in errors
    assert "Traceback" not in errors and "worker process" not in errors


def test_two_go_on_from_one_and_a_folder_that_vanishes_for_one_ends_both_at_the_same_step(alone, tmp_path):
    workdir, step = going_on(alone[0], tmp_path / "run")
    photos = [copied_photos(tmp_path / f"photos-{i}") for i in range(2)]
    processes = start_two(workdir, *LONG, own_arguments=[data(copy) for copy in photos])
    wait_for_step(workdir, step + 1, processes[0])
    photos[1].rename(tmp_path / "unmounted")
    outputs = finish(processes, ExitCode.STOPPED)
    assert "photos-1" in outputs[1] and "is gone" in outputs[1]
    saved = f"saved step {load_ema(workdir).step}"
    assert all(f"resumed at step {step} of" in errors and saved in errors for errors in outputs)


def test_a_process_that_cannot_even_begin_ends_the_others_too(tmp_path):
    photos = [copied_photos(tmp_path / f"photos-{i}") for i in range(2)]
    for copy in photos:
        open_source(f"folder:{copy}")  # leaves an index, so that nobody looks at the pictures again
    for path in photos[1].glob("*.jpg"):
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    outputs = finish(start_two(tmp_path / "run", *LONG, own_arguments=[data(copy, workers=0) for copy in photos]), 2)
    assert "another process of this run has no pictures any more" in outputs[0]
    assert "cannot be read any more" in outputs[1]
