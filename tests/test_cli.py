"""The command line: `palgan info` and `palgan export` on real files, help without JAX, and exit codes."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from palgan_jax import __version__
from palgan_jax.checkpoint.averaging import average_weights
from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.reading import FOLDER
from palgan_jax.checkpoint.saving import Checkpoints
from palgan_jax.checkpoint.weights_file import load_weights, save_weights
from palgan_jax.cli import main
from palgan_jax.errors import UserError, report
from tests.support.checkpoint_state import build
from tests.support.colorize_model import tiny_weights
from tests.support.places import ROOT

COMMANDS = ("train", "colorize", "evaluate", "benchmark", "info", "export", "weights", "data", "prepare")


@pytest.fixture
def palgan(capsys):
    """Runs a command; returns exit code, standard output and the lines of errors."""

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    """A run with two checkpoints of an artificial state, the first of them the best, the last one the weights of it."""
    workdir = tmp_path_factory.mktemp("run")
    config = tiny_weights().config
    with Checkpoints(workdir / FOLDER, best="val/psnr") as checkpoints:
        for step, psnr in [(10, 25.5), (20, 24.0)]:
            checkpoints.save(step, build(step), data_position=0, config=config, metrics={"val/psnr": psnr})
    return workdir


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, tiny_weights())
    return path


def is_one_sentence(err: list[str], *parts: object) -> bool:
    return len(err) == 1 and err[0].startswith("palgan: error: ") and all(str(part) in err[0] for part in parts)


def kernel(tree: dict) -> np.ndarray:
    return np.asarray(tree["params"]["palette_generator"]["conv"]["kernel"])


# ---------------------------------------------------------------------------------------------------------------- info


def test_info_describes_a_run(palgan, workdir):
    code, out, err = palgan("info", workdir)
    assert (code, err) == (0, [])
    lines = out.splitlines()
    assert lines[0] == f"checkpoint   step 20 of {workdir / FOLDER / '20'}"
    assert lines[1].startswith("size ") and "EMA weights" in lines[1]
    words = {line.split()[0]: line.split()[-1] for line in lines if line.startswith("  ")}
    assert words["val/psnr"] == "24"
    assert words["palette_generator"] == f"{3 * 3 * 8 * 16 + 16:,}"
    assert "width=0.0625" in out and "resolution=64" in out


def test_info_describes_a_file(palgan, weights_file):
    code, out, err = palgan("info", weights_file)
    assert (code, err) == (0, [])
    assert out.splitlines()[0] == f"checkpoint   step 1234 of {weights_file}"
    assert "palette_generator" in out and "assignment_generator" in out


def test_info_without_bundled_weights_says_how_to_get_some(palgan, tmp_path, monkeypatch):
    monkeypatch.setattr("palgan_jax.checkpoint.find.BUNDLED", tmp_path)
    code, out, err = palgan("info")
    assert (code, out) == (2, "") and is_one_sentence(err, "palgan train")


def test_info_says_what_the_bundled_weights_are_the_mean_of_and_what_was_measured_of_them(palgan):
    """The figures are those of the table of docs/model.md, under the steps whose mean it gives."""
    code, out, err = palgan("info")
    assert (code, err) == (0, [])
    assert out.splitlines()[0] == "checkpoint   mean of steps 1500, 3250 and 4000 of pretrained.safetensors (bundled)"
    table = (ROOT / "docs" / "model.md").read_text().partition("| steps of the second run |")[2].partition("\n\n")[0]
    row = next(row for row in table.splitlines() if "1,500, 3,250 and 4,000: the bundled model" in row)
    documented = row.strip("| ").split(" | ")[2:]
    words = {line.split()[0]: float(line.split()[-1]) for line in out.splitlines() if line.startswith("  val/")}
    names = ("ab_error_truth_palette", "psnr_truth_palette", "ab_error", "psnr", "colorfulness")
    for name, text in zip(names, documented, strict=True):
        unit = 10.0 ** -len(text.partition(".")[2])
        assert words[f"val/{name}"] == pytest.approx(float(text), abs=0.6 * unit)


def test_info_describes_the_bundled_weights(palgan, weights_file, monkeypatch):
    monkeypatch.setattr("palgan_jax.checkpoint.find.BUNDLED", weights_file.parent)
    code, out, _ = palgan("info")
    assert code == 0 and "step 1234 of tiny.safetensors (bundled)" in out


# -------------------------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("options", [[], ["--dtype", "float32"], ["--dtype=float16"]])
def test_export_writes_the_latest_weights(palgan, workdir, tmp_path, options):
    path = tmp_path / "out.safetensors"
    code, out, err = palgan("export", workdir, path, *options)
    assert (code, err) == (0, [])
    assert out.split() == [f"{path}:", "step", "20", "of", str(workdir / FOLDER / "20")]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.safetensors"]
    weights, expected = load_weights(path), build(20)
    assert (weights.step, weights.metrics["val/psnr"]) == (20, 24.0)
    assert weights.config["net"]["width"] == 1 / 16
    assert kernel(weights.variables).dtype == np.float32
    rounding = 2**-11 if "float16" in str(options) else 0
    np.testing.assert_allclose(kernel(weights.variables), kernel(expected.ema), rtol=rounding, atol=2.0**-25)
    assert rounding == 0 or not np.array_equal(kernel(weights.variables), kernel(expected.ema))
    np.testing.assert_array_equal(weights.variables["spectral"]["u"], expected.generator["spectral"]["u"])


def test_export_takes_the_best_where_asked(palgan, workdir, tmp_path):
    code, out, _ = palgan("export", workdir, tmp_path / "best.safetensors", "--best")
    assert code == 0 and "step 10 of" in out
    weights = load_weights(tmp_path / "best.safetensors")
    assert (weights.step, weights.metrics["val/psnr"]) == (10, 25.5)
    np.testing.assert_array_equal(kernel(weights.variables), kernel(build(10).ema))


def test_export_averages_the_weights_of_steps(palgan, workdir, tmp_path):
    code, out, err = palgan("export", workdir, tmp_path / "mean.safetensors", "--average", "20,10")
    assert code == 0 and f"mean of steps 10 and 20 of {workdir / FOLDER}" in out
    assert len(err) == 2 and "is written" in err[0] and "holds no metrics, since the mean cannot" in err[1]
    weights = load_weights(tmp_path / "mean.safetensors")
    assert weights.step == 20 and not weights.metrics, "what was measured of one step is not true of the mean"
    code, out, _ = palgan("info", tmp_path / "mean.safetensors")
    assert out.splitlines()[0] == f"checkpoint   mean of steps 10 and 20 of {tmp_path / 'mean.safetensors'}"
    states = [build(step) for step in (10, 20)]
    np.testing.assert_allclose(kernel(weights.variables), sum(kernel(x.ema) for x in states) / 2, rtol=1e-6)
    np.testing.assert_array_equal(weights.variables["spectral"]["u"], states[1].generator["spectral"]["u"])


@pytest.mark.parametrize("steps", ["best,20", "best,10,20"])
def test_the_best_step_is_one_of_those_that_are_averaged_and_counts_once(palgan, workdir, tmp_path, steps):
    code, out, _ = palgan("export", workdir, tmp_path / "mean.safetensors", "--average", steps)
    assert code == 0 and "steps 10 and 20" in out
    mean = sum(kernel(build(step).ema) for step in (10, 20)) / 2
    np.testing.assert_allclose(kernel(load_weights(tmp_path / "mean.safetensors").variables), mean, rtol=1e-6)


def test_the_best_step_and_the_same_by_its_number_have_no_mean(palgan, workdir, tmp_path):
    code, out, err = palgan("export", workdir, tmp_path / "mean.safetensors", "--average", "best,10")
    assert (code, out) == (2, "") and is_one_sentence(err, "step 10 of", "name another step")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("steps", ["10", "best", "10,10", "best,best", "10,last", ""])
def test_export_averages_nothing_else(palgan, workdir, tmp_path, capsys, steps):
    with pytest.raises(SystemExit) as exit_of_process:
        palgan("export", workdir, tmp_path / "mean.safetensors", "--average", steps)
    assert exit_of_process.value.code == 2 and "does not name two steps or more" in capsys.readouterr().err


def test_weights_of_different_networks_have_no_mean(workdir):
    weights = find_weights(workdir)
    other = replace(weights, step=10, variables={**weights.variables, "params": {"more": np.zeros(3)}})
    with pytest.raises(UserError, match="different networks have no mean"):
        average_weights([weights, other])


def test_export_of_one_file_has_no_best_to_choose(palgan, weights_file, tmp_path):
    code, out, err = palgan("export", weights_file, tmp_path / "best.safetensors", "--best")
    assert (code, out) == (2, "") and is_one_sentence(err, "the weights of one step: name a working directory")
    assert not list(tmp_path.iterdir())


def test_what_was_exported_is_what_info_and_export_read(palgan, weights_file, tmp_path):
    half = tmp_path / "half.safetensors"
    assert palgan("export", weights_file, half, "--dtype", "float16")[0] == 0
    assert half.stat().st_size < 0.8 * weights_file.stat().st_size
    assert palgan("info", half)[1].splitlines()[0] == f"checkpoint   step 1234 of {half}"


def test_export_of_no_checkpoint_is_one_sentence(palgan, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.safetensors").write_text("weights?")
    (tmp_path / "file.txt").write_text("weights?")
    for name in ("missing", "missing.safetensors", "empty", "text.safetensors", "file.txt"):
        for command in (["info", tmp_path / name], ["export", tmp_path / name, tmp_path / "out.safetensors"]):
            code, out, err = palgan(*command)
            assert (code, out) == (2, "") and is_one_sentence(err, tmp_path / name), command
    assert not (tmp_path / "out.safetensors").exists()


def test_export_to_a_place_that_cannot_be_written_is_one_sentence(palgan, workdir, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "taken.safetensors").mkdir()
    for place in ("nowhere/out.safetensors", "file/out.safetensors", "taken.safetensors"):
        code, out, err = palgan("export", workdir, tmp_path / place)
        assert (code, out) == (2, "") and is_one_sentence(err, tmp_path / place, "cannot be written"), place

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    code, out, err = palgan("export", workdir, tmp_path / "out.safetensors")
    assert (code, out) == (2, "") and is_one_sentence(err, "out.safetensors cannot be written (Read-only file system)")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "taken.safetensors"]


def test_export_writes_an_onnx_model(palgan, weights_file, tmp_path):
    exported, painter = tmp_path / "out.onnx", tmp_path / "painter.onnx"
    code, out, err = palgan("export", weights_file, exported, "--dtype", "float16")
    assert (code, err) == (0, []) and out.startswith(f"{exported}: step 1234 of")
    assert palgan("export", weights_file, painter, "--painter")[0] == 0
    models = [onnx.load(path) for path in (exported, painter)]
    assert [[output.name for output in model.graph.output] for model in models] == [["ab", "used_palette"], ["ab"]]


def test_export_of_the_bundled_weights(palgan, weights_file, tmp_path, monkeypatch):
    monkeypatch.setattr("palgan_jax.checkpoint.find.BUNDLED", weights_file.parent)
    code, out, _ = palgan("export", "bundled", tmp_path / "out.safetensors")
    assert code == 0 and "tiny.safetensors (bundled)" in out


def test_export_options_that_do_not_fit_the_file_are_one_sentence(palgan, weights_file, tmp_path):
    code, out, err = palgan("export", weights_file, tmp_path / "out.safetensors", "--painter")
    assert (code, out) == (2, "") and is_one_sentence(err, "--painter is a part of an ONNX model")
    code, out, err = palgan("export", weights_file, tmp_path / "out.stablehlo", "--dtype", "float16")
    assert (code, out) == (2, "") and is_one_sentence(err, "holds its weights as float32")
    assert not list(tmp_path.iterdir())


def test_export_to_another_kind_of_file_is_one_sentence(palgan, workdir, tmp_path):
    for name in ("out.npz", "out"):
        code, out, err = palgan("export", workdir, tmp_path / name)
        assert (code, out) == (2, "") and is_one_sentence(err, tmp_path / name, ".safetensors")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------- help and exit codes


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)])
def test_help_needs_no_jax(words):
    program = (
        "import sys; from palgan_jax.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", program, *words]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert process.returncode == 0, process.stderr
    output, _, loaded = process.stdout.rpartition("loaded:")
    assert not set(loaded.split()) & {"jax", "jaxlib", "flax", "numpy", "PIL", "orbax"}
    assert output.strip() == __version__ if words == ["--version"] else output.startswith("usage: palgan")
    if words == ["--help"]:
        assert {line.split()[0] for line in output.splitlines() if line.startswith("    ")} >= set(COMMANDS)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "COMMAND"),
        (["paint"], "paint"),
        (["--sharpen", "info"], "--sharpen"),
        (["info", "--sharpen"], "--sharpen"),
        (["export", "run", "out.safetensors", "--dtype", "int8"], "int8"),
        (["export", "run"], "output"),
        (["colorize"], "PICTURE"),
        (["data"], "ACTION"),
        (["prepare"], "set"),
        (["prepare", "places"], "places"),
        (["data", "inspect"], "source"),
        (["train", "--workdir", "run"], "--config"),
    ],
)
def test_an_unknown_or_missing_argument_exits_with_2(capsys, words, named):
    with pytest.raises(SystemExit) as stop:
        main(words)
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == ""
    assert named in err.splitlines()[-1] and "error:" in err.splitlines()[-1]


END = """
import os, signal, sys
from palgan_jax import cli

def run(args):
    if sys.argv[1] == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
    raise ZeroDivisionError("a fault of ours")

cli.COMMANDS["info"] = ("absent:absent", "")
cli.pkgutil.resolve_name = lambda name: lambda parser: parser.set_defaults(run=run)
sys.exit(cli.main(["info"]))
"""


@pytest.mark.parametrize(
    ("end", "code", "errors"), [("interrupted", 130, ""), ("fault", 1, "ZeroDivisionError: a fault")]
)
def test_ctrl_c_and_our_faults_have_exit_codes_of_their_own(end, code, errors):
    process = subprocess.run([sys.executable, "-c", END, end], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == code
    assert errors in process.stderr and ("Traceback" in process.stderr) == bool(errors)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_quietly(weights_file, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "palgan_jax.cli", "info", str(weights_file)]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    process = subprocess.run(command, cwd=ROOT, env=environment, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, b"")


def test_a_pipe_between_processes_that_breaks_is_a_fault(capsys):
    assert report(BrokenPipeError()) == 1 and "BrokenPipeError" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8:strict", "cp1252", "ascii:strict"])
def test_names_that_the_terminal_lacks_or_would_obey_are_printed_escaped(tmp_path, encoding):
    name = "b-\udce9-ж\n\x1b[31m\u202e.safetensors"
    command = [sys.executable, "-m", "palgan_jax.cli", "info", str(tmp_path / name)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert process.returncode == 2 and process.stderr.count(b"\n") == 1
    assert process.stderr.startswith(b"palgan: error: ") and rb"\n\x1b[31m\u202e.safetensors" in process.stderr


def test_the_home_folder_is_meant_by_a_tilde_that_the_shell_left(palgan, weights_file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(weights_file.parent)
    (tmp_path / "a.safetensors").write_bytes(weights_file.read_bytes())
    assert palgan("export", "~/a.safetensors", "~/b.safetensors")[0] == 0
    assert (tmp_path / "b.safetensors").is_file() and not (weights_file.parent / "~").exists()
    code, _, err = palgan("train", "--config=~/absent.py", "--workdir=~/run")
    assert code == 2 and is_one_sentence(err, tmp_path / "absent.py")


@pytest.mark.parametrize(
    "words",
    [
        ("colorize", "a.jpg", "--output="),
        ("colorize", "a.jpg", "--output=out", "--reference="),
        ("colorize", "a.jpg", "--output=out", "--region==b.jpg"),
        ("finetune", "photos", "--output="),
        ("train", "--config=tiny", "--workdir="),
        ("palette", "extract", "", "--output=a.json"),
        ("export", "bundled", ""),
    ],
)
def test_an_empty_name_is_not_the_current_folder(palgan, samples, words, tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes((samples / "dog.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    code, _, err = palgan(*words)
    assert code == 2 and is_one_sentence(err, "an empty name: check the variables of the command")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
