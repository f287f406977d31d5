"""`palgan evaluate`: the bundled model on real photographs, two processes as one, and what is asked for wrongly."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from palgan_jax.cli import main
from palgan_jax.errors import ExitCode
from palgan_jax.evaluation.kept_pictures import FOLDER
from palgan_jax.evaluation.results import PICTURES, REPORT, RESULTS, ROW
from palgan_jax.metrics.catalogue import DEFAULT, EVALUATION
from tests.support.places import QUICK_COMPILATION

METRICS_HERE = ("--metrics", "psnr,colorfulness")


@pytest.fixture(scope="module")
def photographs(samples, tmp_path_factory) -> Path:
    """Five photographs by their names, and one that is broken."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("china", "coffee", "dog", "flower", "parrot"):
        (folder / f"{name}.jpg").symlink_to(samples / f"{name}.jpg")
    (folder / "broken.jpg").write_bytes((folder / "dog.jpg").read_bytes()[:5000])
    return folder


def numbers(folder: Path) -> dict[str, dict[str, float]]:
    with (folder / PICTURES).open(newline="") as file:
        return {row.pop("name"): {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def mean(photographs, tmp_path_factory, one_device) -> Path:
    """The results of a baseline, in one process."""
    folder = tmp_path_factory.mktemp("results") / "mean"
    arguments = ["evaluate", "--truth", photographs, "--output", folder, "--baseline", "mean", *METRICS_HERE]
    assert main([str(word) for word in arguments]) == 0
    return folder


def test_the_bundled_model_beats_the_baseline_with_the_truths_palette(photographs, mean, tmp_path, capsys):
    arguments = ["evaluate", "--truth", photographs, "--output", tmp_path, "--palette", "truth", *METRICS_HERE]
    capsys.readouterr()
    assert main([str(word) for word in arguments]) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {RESULTS, PICTURES, ROW, REPORT, FOLDER}
    results = json.loads((tmp_path / RESULTS).read_text())
    psnr = results["metrics"]["psnr"]
    (row,) = (line for line in printed.splitlines() if line.startswith("PSNR"))
    numbers_of_row = [f"{psnr['mean']:.2f}", f"{psnr['low']:.2f}", "to", f"{psnr['high']:.2f}"]
    assert row.split() == ["PSNR", *numbers_of_row, "higher", "is", "better"]
    assert "\\" not in printed and "|" not in printed, "Markdown is for files"
    assert results["palette"] == "truth" and results["count"] == 5
    assert results["system"].startswith("mean of steps 1500, 3250 and 4000 of pretrained.safetensors")
    # A picture could not be read: even a folder's numbers do not count as those of the whole folder then.
    assert results["facts"]["unreadable"] == ["broken.jpg"] and not results["protocol_exact"]
    assert sorted(results["absent"]) == sorted(set(EVALUATION) - {"psnr", "colorfulness"})
    model, baseline = numbers(tmp_path), numbers(mean)
    assert model.keys() == baseline.keys()
    assert np.mean([row["psnr"] for row in model.values()]) > 2 + np.mean([row["psnr"] for row in baseline.values()])

    outputs = ["--json", str(tmp_path / "compared.json"), "--page", str(tmp_path / "compared.html")]
    assert main(["evaluate", "compare", str(tmp_path), str(mean), *outputs]) == 0
    assert (tmp_path / "compared.html").read_text().count('class="card comparison"') == 5
    assert "A is better" in capsys.readouterr().out
    assert json.loads((tmp_path / "compared.json").read_text())["count"] == 5


def test_two_processes_measure_as_one(photographs, mean, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = ["--truth", photographs, "--output", tmp_path, "--baseline", "mean", "--batch-size", "4", *METRICS_HERE]
    flags = f"--xla_force_host_platform_device_count=2 {QUICK_COMPILATION}"
    cluster = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "XLA_FLAGS": flags}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "palgan_jax.cli", "evaluate", *map(str, arguments)],
            env={**os.environ, **cluster, "JAX_PROCESS_ID": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert ["holds the report" in out for out, _ in outputs] == [True, False]
    result, expected = numbers(tmp_path), numbers(mean)
    assert list(result) == list(expected)
    for name, row in expected.items():
        assert result[name] == pytest.approx(row, abs=1e-3)
    results = json.loads((tmp_path / RESULTS).read_text())
    assert results["facts"]["processes"] == 2 and results["facts"]["unreadable"] == ["broken.jpg"]
    # One process finds the finished results again, whatever measured them.
    before = (tmp_path / RESULTS).read_bytes()
    assert main(["evaluate", *map(str, arguments), "--batch-size", "8"]) == 0
    assert (tmp_path / RESULTS).read_bytes() == before


STOPPED_AT_THE_FIRST_BATCH = """
import os, signal, sys
from palgan_jax.cli import main
from palgan_jax.evaluation.measure import Programs
measure = Programs.measure
def stopped(self, batch):
    os.kill(os.getpid(), signal.SIGTERM)
    return measure(self, batch)
Programs.measure = stopped
sys.exit(main(sys.argv[1:]))
"""


def test_sigterm_saves_and_the_same_command_goes_on(photographs, mean, tmp_path, capsys):
    arguments = ["evaluate", "--truth", photographs, "--output", tmp_path, "--baseline", "mean", *METRICS_HERE]
    arguments = [str(word) for word in arguments]
    flags = f"--xla_force_host_platform_device_count=2 {QUICK_COMPILATION}"
    command = [sys.executable, "-c", STOPPED_AT_THE_FIRST_BATCH, *arguments, "--batch-size", "2"]
    process = subprocess.run(
        command, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True, check=False
    )
    assert process.returncode == ExitCode.STOPPED, process.stderr
    assert not (tmp_path / RESULTS).exists() and "goes on after 2 pictures" in process.stderr
    assert main(arguments) == ExitCode.FINISHED
    assert "going on after 2 of 6 pictures" in capsys.readouterr().err
    result, expected = numbers(tmp_path), numbers(mean)
    assert list(result) == list(expected)
    for name, row in expected.items():
        assert result[name] == pytest.approx(row, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--output", "x"], "palgan evaluate needs --truth"),
        (["--truth", "x"], "palgan evaluate needs --output"),
        (["--truth", "nowhere", "--output", "x"], "there is no folder nowhere"),
        (
            ["--truth", ".", "--output", "x", "--protocol", "val50k"],
            "val50k is no protocol: name one of imagenet-val50k",
        ),
        (
            ["--truth", ".", "--output", "x", "--metrics", "psnr,beauty"],
            "beauty is no metric: name some of default, psnr",
        ),
        (["--truth", ".", "--output", "x", "--metrics", ","], "--metrics names none"),
        (["--truth", ".", "--output", "x", "--baseline", "gray", "--palette", "truth"], "--palette is for checkpoints"),
        (["--truth", ".", "--output", "x", "--train", "."], "--train is for --baseline mean"),
        (["compare", "x", "y"], "x holds no results.json"),
    ],
)
def test_what_is_asked_for_wrongly_gets_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("palgan: error: ") and sentence in line
    assert not any(tmp_path.iterdir())


def test_the_metrics_of_a_command_stand_in_their_own_order():
    from palgan_jax.evaluation.command import parse_metrics

    assert parse_metrics("default") == DEFAULT
    assert parse_metrics(" ssim, psnr") == ("psnr", "ssim")
    assert parse_metrics("size_consistency,default,diversity") == EVALUATION
