"""The small modes of comparisons/: that they run and what they write, not how fast anything is."""

import argparse
import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from PIL import Image

from tests.support.places import ROOT

SCRIPT = ROOT / "comparisons" / "input_pipeline.py"
FLOORS = {flags: (f"floor_threads{flags}", f"floor_processes{flags}") for flags in ("", "_same_flags")}


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed here")
def test_small_benchmark_measures_and_says_what_is_missing(tmp_path):
    figures, folder = tmp_path / "figures.json", tmp_path / "jpegs"
    command = [sys.executable, SCRIPT, "--quick", "--json", figures, "--folder", folder, "--only"]
    command += [*FLOORS[""], *FLOORS["_same_flags"], "ours", "ours_memory", "torch"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1, process.stderr
    assert "PyTorch DataLoader" in process.stderr and "pip install -e '.[comparisons]'" in process.stderr
    result = json.loads(figures.read_text())
    assert result["versus_torch"] is None and result["versus_tfdata"] is None
    rounds = result["all_rounds"]
    assert all(len(rates) == 1 and rates[0] > 0 for rates in rounds.values())
    for flags, names in FLOORS.items():
        fastest = max(rounds[name][0] for name in names)
        assert result[f"of_decode_floor{flags}"] == pytest.approx(rounds["ours"][0] / fastest, rel=0.01, abs=0.001)
    assert result["pictures_per_second"] == {name: rates[0] for name, rates in rounds.items()}
    assert result["jpeg_flags"] == {
        **dict.fromkeys(FLOORS[""], "defaults"),
        **dict.fromkeys(("ours", *FLOORS["_same_flags"]), "fastdct, fastupsample"),
    }
    assert 0 < result["worker_mb"] < result["memory_mb"], "a worker is one of those that take it all"
    assert abs(result["rss_growth_mb"]) < result["memory_mb"], "memory grows by a part of itself"
    sizes = set()
    for path in folder.glob("*.jpg"):
        with Image.open(path) as picture:
            sizes.add(picture.size)
    assert sizes <= {(500, 375), (375, 500)}


def test_joining_at_full_resolution_is_measured_beside_stretching(tmp_path):
    figures = tmp_path / "figures.json"
    words = ["-m", "comparisons.full_resolution", "examples/samples", "--quick", "--json", figures]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    result = json.loads(figures.read_text())
    assert result["ours_bleeding"] < result["bicubic_bleeding"]
    assert result["photographs"] == 1 and 0.9 < result["megapixels"] < 1.1
    assert all(result[name] > 0 for name in ("seconds", "cpu_seconds", "decode_cpu_seconds", "memory_mb"))


def test_the_start_is_measured_warm_and_cold():
    command = [sys.executable, "-m", "comparisons.start_up", "--rounds", "1"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds = {
        line[:30].strip(): [float(value) for value in line[30:].split()] for line in process.stdout.splitlines()[1:]
    }
    assert set(seconds) == {
        "palgan --help",
        "import JAX, add two numbers",
        "palgan colorize, JAX, warm",
        "palgan colorize, JAX, cold",
        "palgan colorize, ONNX Runtime",
    }
    cold, warm, onnx = (seconds[f"palgan colorize, {kind}"][0] for kind in ("JAX, cold", "JAX, warm", "ONNX Runtime"))
    assert cold > warm > onnx > 0, "compiling takes time, and so does importing JAX"


def test_colorizing_is_measured_beside_its_parts(tmp_path):
    command = [sys.executable, "-m", "comparisons.colorize", "--quick", "--json", str(tmp_path / "figures.json")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures = json.loads((tmp_path / "figures.json").read_text())
    (seconds,) = figures["all_rounds"]
    assert figures["pictures"] == 3 and figures["pictures_per_second"] == pytest.approx(3 / seconds["command"])
    assert figures["of_floor"] == pytest.approx(seconds["floor"] / seconds["command"])
    assert figures["one_by_floor"] == pytest.approx(seconds["one"] / seconds["one_floor"])
    assert figures["of_floor"] > 0 and f"{figures['of_floor']:.3f}" in process.stdout


SIDE = {"first_step_s": 9.0, "images_per_second": 80.0, "inference_images_per_second": 200.0, "memory_gb": 3.0}


def test_a_gpu_is_told_with_what_failed_and_beside_the_quicker_of_the_others():
    from comparisons.gpu import table

    sides = {"ours": 20.0, "pytorch_compiled": 30.0, "pytorch": 40.0}
    figures = {name: {**SIDE, "step_ms": ms} for name, ms in sides.items()}
    figures_with_error = {**figures, "pytorch_compiled": {"error": "the minutes were over"}}
    parts = {name: {"images_per_second": 9.0} for name in ("metrics", "transfer", "peak")}
    head = {"date": "2026-01-01", "device": "a card", "versions": {"jax": "1"}}
    lines = table(
        {**head, "bfloat16": figures, "float32": figures_with_error, "parity": {"error": "none"}, **parts}
    ).splitlines()
    (first,) = [line for line in lines if line.startswith("ours, bfloat16")]
    (second,) = [line for line in lines if line.startswith("ours, float32")]
    assert first.split()[-1] == "1.50" and second.split()[-1] == "2.00"
    assert "pytorch compiled, float32: the minutes were over" in lines and "metrics: images per second 9" in lines


def test_parts_of_a_gpu_are_measured_in_processes_and_given_up_in_time():
    from comparisons.gpu import part

    options = argparse.Namespace(batch=2, steps=1, quick=True)
    assert part("transfer", options, time.monotonic() + 300)["images_per_second"] > 0
    assert "took longer than 0 s" in part("transfer", options, time.monotonic() + 0.1)["error"]
    assert part("transfer", options, time.monotonic()) == {"error": "no time was left"}
    assert part("parity", options, time.monotonic() + 300)["error"].startswith("KeyError"), "nothing was painted"


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no PyTorch: make test-porting")
def test_a_gpu_is_measured_beside_pytorch(tmp_path):
    """On whatever is here, with small networks; PyTorch compiled where a C++ compiler is."""
    figures = tmp_path / "figures.json"
    flags = " ".join(flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag)
    command = [sys.executable, "-m", "comparisons.gpu", "--quick", "--minutes", "30", "--json", str(figures)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "XLA_FLAGS": flags}, check=True)
    result = json.loads(figures.read_text())
    assert result["parity"]["largest_difference"] < 1e-5 < result["parity"]["largest_value"]
    for precision in ("float32", "bfloat16"):
        for side in ("ours", "pytorch"):
            assert result[precision][side]["step_ms"] > 0 and result[precision][side]["images_per_second"] > 0
        assert result["peak"][precision]["share_of_matrix_peak"] > 0
    assert result["metrics"]["images_per_second"] > 0


def test_models_are_measured_on_old_film_beside_the_bundled_one(tmp_path, samples, monkeypatch, capsys):
    from comparisons import old_film
    from palgan_jax.checkpoint.weights_file import save_weights
    from tests.support.colorize_model import tiny_weights

    (tmp_path / "photos").mkdir()
    shutil.copy(samples / "egret.jpg", tmp_path / "photos")
    save_weights(tmp_path / "tiny.safetensors", tiny_weights())
    folders = [str(tmp_path / folder) for folder in ("none", "photos", "photos")]
    monkeypatch.setattr(sys, "argv", ["old_film", *folders, "--checkpoint", str(tmp_path / "tiny.safetensors")])
    old_film.main()
    lines = capsys.readouterr().out.splitlines()
    assert "bundled" in lines[0] and "tiny" in lines[5] and len(lines) == 10
    values = [[float(x) for x in re.findall(r"[+-]?\d+\.\d{4}", line)] for line in lines if line.startswith("  ")]
    means, differences = np.array(values)[:, :4], np.array(values)[:, 4::2]
    assert not differences[:4].any()
    np.testing.assert_allclose(differences[4:], means[4:] - means[:4], atol=2e-4)
    np.testing.assert_array_equal(means[::4], means[2::4])  # one folder, twice
    distance, error, _, psnr = means.T
    assert (distance[4:] > distance[:4]).all() and (error[4:] > error[:4]).all(), "random weights are no better"
    assert (psnr[4:] < psnr[:4]).all() and psnr[1] < psnr[0], "film has another luminance"


def test_the_table_of_sizes_is_what_its_command_prints():
    command = [sys.executable, "-m", "comparisons.elastic", "--markdown"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout in (ROOT / "docs/performance.md").read_text()


def test_what_preemptions_cost_is_what_they_must():
    from comparisons.elastic import IMAGES_A_CHIP, SUMMED_MB, Assumptions, simulate, size_of

    assumed = Assumptions(wait=600, start=120, compile=431, write=2e8, read=25e9)
    sixteen = size_of(16, IMAGES_A_CHIP, SUMMED_MB, assumed)
    assert sixteen.parts["the links"] == pytest.approx(0.46e-3, rel=0.02), "of docs/performance.md"
    hours = sixteen.steps * sixteen.step / 3600
    quiet = simulate(sixteen, 5000, 0, False, assumed)
    assert (quiet.total, quiet.machine, quiet.repeats) == (
        pytest.approx(hours + 1031 / 3600),
        pytest.approx(hours + 431 / 3600),
        0,
    )
    with_warning, without_warning = (simulate(sixteen, 5000, 1, is_warned, assumed) for is_warned in (True, False))
    # A Poisson process: as many preemptions as hours of training, each followed by 720 s of waiting.
    assert with_warning.repeats == 0 and with_warning.total == pytest.approx(quiet.total + hours * 0.2, rel=0.05)
    assert without_warning.total - with_warning.total == pytest.approx(1.2 * without_warning.repeats, rel=0.2), (
        "what is lost is trained again"
    )
    assert without_warning.repeats == pytest.approx(hours * 5000 * sixteen.step / 3600 / 2, rel=0.25), (
        "half of an interval each"
    )


@pytest.mark.parametrize("folder", ["comparisons", "porting", "tests"])
def test_modules_are_imported_from_the_root_alone(folder):
    path_change = "sys" + ".path"
    assert not [path.name for path in (ROOT / folder).rglob("*.py") if path_change in path.read_text()]


def test_ablations_are_told_as_differences_of_the_same_photographs():
    from comparisons.ablations import METRICS, page

    rng = np.random.default_rng(0)
    base = {name: rng.uniform(0.1, 0.9, 20) for name in METRICS}
    worse_figures = base | {"psnr": base["psnr"] - 1.5, "ssim": base["ssim"] + 0.25}

    def run(row, seed, values, **more):
        lists = {name: list(numbers) for name, numbers in values.items()}
        return {"row": row, "seed": seed, "steps": 7, "photographs": 20, "machine": "here", "automatic": lists, **more}

    shifted, between = (base | {"psnr": base["psnr"] + more} for more in (0.5, 0.4))
    runs = [
        run("palgan", 0, base, truth=base, random=worse_figures),
        run("palgan", 1, shifted, truth=base),
        run("batch_norm", 0, between, truth=base),
        run("spade", 0, worse_figures, truth=base),
    ]
    runs = json.loads(json.dumps({"runs": [*runs, run("vae", 0, worse_figures)]}, default=list))
    text = page(runs)
    automatic, truth = text.partition("## What they say")[0].split("## With the truth's palette")
    (spade,) = [line for line in automatic.splitlines() if line.startswith("| `spade`") and "[" in line]
    # Half of the seeds of the default model are 0.5 dB better, so that the mean is 0.25 dB better.
    assert "**-1.75** [-1.75, -1.75]" in spade and "**+0.250** [+0.250, +0.250]" in spade
    assert "-0.50 / -0.008 / +0.019 | yes, no, unclear |" in spade, "the paper's row, and whether the sign is the same"
    (batch_norm,) = [line for line in automatic.splitlines() if line.startswith("| `batch_norm`") and "[" in line]
    assert batch_norm.startswith("| `batch_norm` | +0.15 [+0.15, +0.15]"), "within the seeds of the default model"
    assert f"| `random_palette` | 1 | {base['psnr'].mean() - 1.5:.2f}" in automatic and "random_palette" not in truth
    assert "| `vae`" in automatic and "| `vae`" not in truth
    assert f"{base['psnr'].mean() + 0.25:.2f}" in automatic
    assert "differ by up to: PSNR 0.50" in automatic


def test_the_page_of_ablations_is_of_the_figures_beside_it():
    from comparisons.ablations import PAGE, page, read_figures

    assert PAGE.read_text() == page(read_figures()), "python -m comparisons.ablations table"


@pytest.mark.parametrize(
    "palette, row, metrics, sign",
    [
        ("automatic", "pretrained", ("psnr",), 1),
        ("automatic", "pretrained", ("lpips_alexnet", "ciede2000", "palette_distance"), -1),
        ("automatic", "random_palette", ("psnr", "ssim"), -1),
        ("automatic", "attention_global", ("psnr", "ssim"), -1),
        ("automatic", "attention_global", ("lpips_alexnet",), 1),
        ("automatic", "vae", ("psnr",), -1),
        ("automatic", "autoencoder", ("psnr", "ssim"), -1),
        ("automatic", "no_entropy", ("palette_distance",), 1),
        ("truth", "batch_norm", ("psnr",), -1),
        ("truth", "palette_chain", ("palette_distance",), 1),
        *(("truth", row, ("ssim",), 1) for row in ("spade", "patch_discriminator", "attention_none", "no_entropy")),
        ("truth", "first_reading", ("psnr",), 1),
    ],
)
def test_what_the_page_of_ablations_says_is_clear_in_its_figures(palette, row, metrics, sign):
    from comparisons.ablations import differences, read_figures, rows_of

    rows = rows_of(read_figures(), palette)
    clear = differences(rows[row], rows["palgan"])
    assert all(clear[metric].is_clear and clear[metric].mean * sign > 0 for metric in metrics)


def test_a_row_of_little_data_is_told_over_the_first():
    from comparisons.little_data import line

    base = {
        "automatic": {"psnr": [20.0, 22.0], "lpips_alexnet": [0.2, 0.3], "colorfulness": [30.0, 40.0]},
        "truth": {"psnr": [24.0, 26.0], "lpips_alexnet": [0.1, 0.2], "palette_distance": [0.1, 0.2]},
    }
    other = {palette: {name: [x + 1 for x in values] for name, values in row.items()} for palette, row in base.items()}
    other["truth"]["psnr"] = [24.0, 25.0]
    assert line("a", base, base) == "| a | 21.00 | 0.250 | 35.0 | 25.00 | 0.150 | 0.150 |"
    # Of differences 0 and -1, the deviation is 0.5, and that of their mean 0.5 / sqrt(2).
    expected = "| b | +1.00 +- 0.00 | +1.000 +- 0.000 | 36.0 | -0.50 +- 0.69 | +1.000 +- 0.000 | 1.150 |"
    assert line("b", other, base) == expected


def test_painters_of_two_sizes_start_with_one_palette_and_a_new_g():
    from comparisons.painting_size import with_palettes_of
    from palgan_jax.util.trees import flatten_names
    from tests.support.colorize_model import tiny_weights
    from tests.support.export_networks import LITE0, weights_of

    learned = weights_of({**LITE0, "net.paint_stride": 2, "resolution": 128}).variables
    fields = {**LITE0, "net.paint_stride": 1, "resolution": 128}
    new = jax.tree.map(lambda x: x + 1, tiny_weights(fields=tuple(fields.items())).variables)
    learned, new, start = (flatten_names(x) for x in (learned, new, with_palettes_of(learned, new)))
    assert start.keys() == new.keys() == learned.keys()
    for name, value in start.items():
        kept = "palette_generator" in name and "tap_" not in name
        np.testing.assert_array_equal(value, (learned if kept else new)[name])


def test_means_of_steps_are_measured_as_they_paint_with_the_truths_palette(tmp_path):
    from comparisons.step_means import measure_all, table
    from palgan_jax.checkpoint.averaging import average_weights
    from palgan_jax.color import from_bytes
    from palgan_jax.config import from_dict
    from palgan_jax.nn.build import build_generator
    from palgan_jax.palette.histogram import histogram
    from tests.support.colorize_model import tiny_weights

    tiny = tiny_weights()
    weights = {
        step: dataclasses.replace(tiny, step=step, variables=jax.tree.map(lambda x, k=scale: x * k, tiny.variables))
        for step, scale in ((1, 1.0), (2, 0.9), (3, 0.5))
    }
    side = tiny.config["resolution"]
    rgb = np.random.default_rng(0).integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    path = tmp_path / "figures.csv"
    figures = measure_all(weights, rgb, path, batch=2)
    assert list(figures) == [(1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)]

    variables = average_weights([weights[1], weights[3]]).variables
    l, c = from_bytes(rgb)
    _, painted = build_generator(from_dict(tiny.config)).apply(variables, l, histogram(c))
    off = 110 * np.linalg.norm(np.asarray(painted - c), axis=-1)
    assert figures[1, 3][0] == pytest.approx(off.mean(), rel=1e-4)

    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]))
    again = measure_all(weights, rgb, path, batch=2)
    assert len(lines) == 8 and path.read_text() == "".join(lines) and list(again) == list(figures)
    place = sorted(figures.values()).index(figures[1, 3]) + 1
    assert f"| 1, 3 | {place} | {figures[1, 3][0]:.2f} | {figures[1, 3][1]:.2f} |" in table(figures, 7)


def test_scratches_are_added_and_thin_ones_are_hidden():
    from comparisons.scratches import hidden, scratched

    gray = np.full((300, 400), 50, np.float32)
    light, heavy = (scratched(gray, tears, np.random.default_rng(0)) for tears in (False, True))
    shares = [np.mean(np.abs(lightness - gray) > 15) for lightness in (light, hidden(light), hidden(heavy), heavy)]
    assert 0 < shares[1] < shares[0] and shares[2] < shares[3] < 0.5
    lines = gray.copy()
    lines[:, 100], lines[50:53, 200:203] = 90, 5
    assert np.array_equal(hidden(lines), gray)


def test_regression_of_roots_is_that_of_its_normal_equations():
    from comparisons.palette_prediction import LEVELS, roots

    draw = np.random.default_rng(0)
    features = draw.normal(3, 2, (30, sum(LEVELS))).astype(np.float32)
    palettes = draw.dirichlet(np.full(256, 0.3), 30)
    predicted = roots(None, 0.03)(features[:20], palettes[:20])(features[20:])
    sizes = np.repeat(LEVELS, LEVELS)
    x, z = ((part - features[:20].mean(0)) / features[:20].std(0) / np.sqrt(sizes) for part in np.split(features, [20]))
    targets = np.sqrt(palettes[:20])
    weights = np.linalg.solve(x.T @ x + 0.03 * 20 * np.eye(len(sizes)), x.T @ (targets - targets.mean(0)))
    squares = np.maximum(targets.mean(0) + z @ weights, 1e-4) ** 2
    np.testing.assert_allclose(predicted, squares / squares.sum(1, keepdims=True), rtol=0.02, atol=1e-5)


def test_film_that_is_measured_on_is_blind_to_red_and_the_other_is_not():
    from comparisons.old_film import on_film

    rgb = np.zeros((2, 32, 32, 3), np.uint8)
    rgb[0, ..., 0] = rgb[1, ..., 2] = 220
    (red, blue), (lighter_red, darker_blue) = (on_film(rgb, 0, blind).mean(axis=(1, 2, 3)) for blind in (True, False))
    assert red < lighter_red - 50 and blue > darker_blue + 50
