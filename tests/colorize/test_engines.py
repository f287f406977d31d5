"""ONNX Runtime in the place of JAX: the same pictures, and a sentence for what it cannot do."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from palgan_jax.colorize.engines import choose_engine
from palgan_jax.colorize.join import luminance
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.decode import read_rgb
from palgan_jax.errors import UserError
from tests.support.colorize_model import tiny_weights


def test_the_bundled_model_paints_the_same_within_one_level(samples):
    ours, theirs = (Colorizer.load(engine=engine) for engine in ("jax", "onnx"))
    for name in ("dog.jpg", "fish.jpg", "hay-field.jpg"):
        rgb = read_rgb(samples / name)
        one, other = ours(rgb), theirs(rgb)
        assert np.ptp(one.pixels.astype(int), axis=-1).mean() > 10
        assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 1
        np.testing.assert_allclose(other.palette.counts(), one.palette.counts(), atol=2e-6)


def test_the_command_says_what_ran_and_paints_a_reference_with_both(palgan, samples, tmp_path):
    results = {}
    for engine, line in (("jax", "run by JAX."), ("onnx", "run by ONNX Runtime."), ("auto", "run by ONNX Runtime.")):
        options = ["--engine", engine, "--reference", samples / "hay-field.jpg"]
        code, out, _ = palgan(samples / "dog.jpg", options=options, output=tmp_path / engine)
        assert code == 0 and line in out
        results[engine] = np.asarray(Image.open(tmp_path / engine / "dog.png")).astype(int)
    assert np.array_equal(results["onnx"], results["auto"])
    # The colors of random weights are strong, and what rounds differently grows in them.
    assert np.mean(np.abs(results["jax"] - results["onnx"]) > 1) < 1e-3


def test_palettes_are_the_same_and_have_colors(samples):
    lightness = luminance(read_rgb(samples / "coffee.jpg"))
    ours, theirs = (Colorizer(tiny_weights(), engine) for engine in ("jax", "onnx"))
    expected = ours.predict_palette(lightness).counts()
    np.testing.assert_allclose(theirs.predict_palette(lightness).counts(), expected, atol=1e-6)
    np.testing.assert_allclose(theirs.predict(lightness)[0], expected, atol=1e-6)
    with pytest.raises(UserError, match="a palette without colors"):
        theirs.predict(lightness, np.zeros(256))


def test_auto_takes_onnx_where_it_can(monkeypatch):
    assert choose_engine("auto", tiny_weights()) == "onnx"
    assert choose_engine("auto", tiny_weights("vae")) == "jax"
    assert choose_engine("jax", tiny_weights()) == "jax"
    monkeypatch.setattr("palgan_jax.colorize.engines.find_spec", lambda name: name != "onnxruntime" or None)
    assert choose_engine("auto", tiny_weights()) == "jax"
    assert choose_engine("onnx", tiny_weights()) == "onnx"


def test_what_onnx_cannot_run_is_one_sentence():
    with pytest.raises(UserError, match='the kind "vae" paints with no palette'):
        Colorizer(tiny_weights("vae"), "onnx")
    weights = tiny_weights()
    conv = {**weights.variables["params"]["palette_generator"]["conv_1"], "kernel": np.ones((3, 3, 7, 4), np.float32)}
    encoder = {**weights.variables["params"]["palette_generator"], "conv_1": conv}
    params = {**weights.variables["params"], "palette_generator": encoder}
    colorizer = Colorizer(replace(weights, variables={**weights.variables, "params": params}), "onnx")
    with pytest.raises(UserError, match="do not fit the network") as error:
        colorizer.predict(np.zeros((64, 64), np.float32))
    assert "\n" not in str(error.value)
