"""The systems: a checkpoint that gets no more than its inputs, predictions that fit or not, and the baselines."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import lab2rgb, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from palgan_jax.colorize.edges import Guide
from palgan_jax.colorize.join import join, luminance
from palgan_jax.colorize.lab_levels import lab_to_levels
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.picture import Picture
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.errors import UserError
from palgan_jax.evaluation.evaluate import evaluate
from palgan_jax.evaluation.examples import local_programs, paint_example
from palgan_jax.evaluation.join import along_edges as along_edges_on_device
from palgan_jax.evaluation.join import join_batch
from palgan_jax.evaluation.measure import Programs
from palgan_jax.evaluation.plan import make_plan
from palgan_jax.evaluation.systems import Checkpoint, NearestPalette, Predictions, SetToAverage, gray, mean_color
from palgan_jax.evaluation.truth import partners, read_picture
from palgan_jax.metrics.measure import Networks
from palgan_jax.palette.palette import Palette
from tests.support.colorize_model import tiny_weights
from tests.support.small_evaluation import COUNT, SIDE, SMALL


def test_the_device_joins_as_the_host_does(squares):
    lightness, rng = luminance(squares[0])[:64, :64], np.random.default_rng(0)
    ab = rng.normal(0, 30, (64, 64, 2)).astype(np.float32)
    (offset, slope), expected = along_edges_on_device(lightness[None], ab[None]), Guide(lightness).along(ab)
    np.testing.assert_allclose(slope[0], expected[1], atol=1e-4)
    np.testing.assert_allclose(offset[0], expected[0], atol=0.02)
    lab = np.concatenate([lightness[..., None], ab], -1).reshape(-1, 3)
    levels = np.asarray(join_batch(lightness[None], ab[None])).reshape(-1, 3)
    assert np.abs(levels.astype(int) - lab_to_levels(lab)).max() <= 1


def test_the_model_sees_nothing_of_the_truth_but_its_luminance(model, squares):
    """The photograph and a gray picture of its luminance are painted alike; with the truth's palette they are not."""
    photographs = np.stack(squares[:8])
    grays = np.stack([join(luminance(square), np.zeros((1, 1, 2), np.float32)) for square in squares[:8]])
    change = {}
    for palette in ("automatic", "truth"):
        system = Checkpoint(model.colorizer, "", palette)
        programs = Programs(make_mesh(), system, Networks(), ())
        first, second = (programs.paint({"truth": rgb})[0].astype(int) for rgb in (photographs, grays))
        change[palette] = np.abs(first - second).mean()
    assert change["automatic"] < 1 < 5 < change["truth"]


def test_palettes_of_the_truth_and_of_other_photographs(model, truth, squares):
    """What is painted is what the model paints with those palettes."""
    examples = {}
    for palette in ("truth", "random"):
        plan = make_plan(Checkpoint(model.colorizer, "", palette), truth, SMALL, ("psnr",), 8, 3, make_mesh())
        programs = local_programs(plan.system)
        examples[palette] = [paint_example(plan.photographs, i, programs) for i in range(3)]
    others = partners(COUNT, 3)
    for i in range(3):
        for palette, source in (("truth", squares[i]), ("random", squares[others[i]])):
            expected = model.colorizer.palette_of(source)
            painted = model.colorizer(squares[i], palette=Palette(expected), paint_border=True).pixels
            np.testing.assert_allclose(examples[palette][i].palette, expected, atol=1e-5)
            assert np.abs(examples[palette][i].predicted.astype(int) - painted).max() <= 2
        np.testing.assert_array_equal(examples["truth"][i].truth, squares[i])
        assert np.ptp(examples["truth"][i].gray.astype(int), axis=-1).max() <= 1


def test_the_mean_palette_is_that_of_the_named_photographs_and_paints_all(truth, squares):
    numbers = [0, 3, 4]
    system = Checkpoint.of(tiny_weights(), "mean", averaged=SetToAverage(truth, numbers, "three"))
    other = Checkpoint.of(tiny_weights(), "mean", averaged=SetToAverage(truth, [1], "one"))
    assert system.weights["mean palette"] != other.weights["mean palette"]
    plan = make_plan(system, truth, SMALL, ("psnr",), 8, 3, make_mesh())
    programs = local_programs(plan.system)
    first, second = (paint_example(plan.photographs, i, programs) for i in range(2))
    np.testing.assert_array_equal(first.palette, second.palette)
    counted = np.mean([system.colorizer.palette_of(read_picture(truth, i, at_least=256)) for i in numbers], axis=0)
    assert Palette(first.palette).distance(Palette(counted)) < 0.02
    painting = Painting(Palette(first.palette), paint_border=True, follow=False)
    painted = system.colorizer.paint(Picture(squares[1]), painting).pixels
    assert np.abs(second.predicted.astype(int) - painted).max() <= 2


def test_a_model_without_palettes_takes_none():
    with pytest.raises(UserError, match="takes no palette: leave out --palette truth"):
        Checkpoint(Colorizer(tiny_weights("autoencoder")), "", "truth")


def test_baselines_know_what_they_are_said_to_know(truth, squares, tmp_path):
    """Gray has no color, the mean has the truth's mean, and the truth's colors by luminance have its palette."""
    metrics = ("psnr", "colorfulness", "palette_distance", "luminance_error")
    means = [rgb2lab(read_picture(truth, i, at_least=256))[..., 1:].mean((0, 1)) for i in range(len(truth))]
    mean = mean_color(SetToAverage(truth, range(len(truth)), "the truth"))
    np.testing.assert_allclose(mean.variables, np.mean(means, 0), atol=1e-3)
    measurements = {
        system.label: evaluate(system, truth, SMALL, tmp_path / str(i), metrics=metrics, batch_size=8).evaluation.values
        for i, system in enumerate((gray(), mean, NearestPalette()))
    }
    flat, mean_values, nearest = measurements.values()
    assert flat["colorfulness"].max() < 1
    for i, square in enumerate(squares):
        lab = rgb2lab(square)
        lab[..., 1:] = 0
        colorless = np.round(np.clip(lab2rgb(lab), 0, 1) * 255).astype(np.uint8)
        assert flat["psnr"][i] == pytest.approx(peak_signal_noise_ratio(square, colorless), abs=0.01)
    assert mean_values["psnr"].mean() > flat["psnr"].mean()
    assert nearest["psnr"].mean() > mean_values["psnr"].mean()
    assert (nearest["palette_distance"] < 0.5 * mean_values["palette_distance"]).all()
    for values in measurements.values():
        assert values["luminance_error"].max() < 0.5


def test_colors_by_luminance_are_those_of_a_picture_whose_colors_go_by_luminance(squares):
    """Where hue follows luminance the baseline is perfect: it must return such a picture as it is."""
    l = np.linspace(20, 80, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    steps = np.minimum(np.arange(SIDE * SIDE) * 4 // (SIDE * SIDE), 3).reshape(SIDE, SIDE)
    ab = np.array([[-28, 20], [3, -31], [20, 3], [-10, -10]], np.float32)[steps]
    rgb = np.round(lab2rgb(np.concatenate([l[..., None], ab], -1)) * 255).astype(np.uint8)
    system = NearestPalette()
    painted, palette = system.paint((), rgb2lab(rgb)[None, ..., 0].astype(np.float32), {"truth": rgb[None]})
    # A pixel or two at the three steps, since bytes move the luminance.
    assert (np.abs(np.asarray(painted[0]).astype(int) - rgb).max(axis=-1) > 2).mean() < 0.005
    assert palette.shape == (1, 256)


def refused(folder, truth, tmp_path) -> str:
    with pytest.raises(UserError) as error:
        evaluate(Predictions(folder), truth, SMALL, tmp_path / "results", metrics=("psnr",), batch_size=8)
    return str(error.value)


def test_predictions_that_do_not_fit_are_named(truth, squares, tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()
    stems = [Path(truth.picture_name(i)).stem for i in range(COUNT)]
    for name, square in zip(stems[2:], squares[2:], strict=True):
        Image.fromarray(square).save(folder / f"{name}.png")
    message = refused(folder, truth, tmp_path)
    assert "has no prediction for 2 of 11 photographs" in message and all(name in message for name in stems[:2])

    for name in stems[:2]:
        Image.fromarray(squares[0]).resize((50, 40)).save(folder / f"{name}.png")
    message = refused(folder, truth, tmp_path)
    assert f"{stems[0]}.png is 50 x 40, which is neither 64 x 64 nor the" in message

    # A prediction of the photograph's own size is brought to the protocol's as the photograph is.
    for i, name in enumerate(stems[:2]):
        Image.fromarray(read_picture(truth, i)).save(folder / f"{name}.png")
    results = evaluate(Predictions(folder), truth, SMALL, tmp_path / "good", metrics=("psnr",), batch_size=8).evaluation
    np.testing.assert_array_equal(results.values["psnr"], 100.0)

    Image.fromarray(squares[0]).save(folder / f"{stems[0]}.webp")
    assert f"more than one prediction for 1 photographs ({stems[0]}.jpg)" in refused(folder, truth, tmp_path).replace(
        "a/", ""
    ).replace("b/", "")
    (folder / f"{stems[0]}.webp").unlink()
    (folder / f"{stems[1]}.png").write_bytes(b"no picture")
    assert f"{stems[1]}.png" in refused(folder, truth, tmp_path)
