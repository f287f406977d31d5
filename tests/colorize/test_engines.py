"""ONNX Runtime in the place of JAX: the same pictures, and a sentence for what it cannot do."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from palgan_jax.colorize import engines as engines_module
from palgan_jax.colorize.engines import choose_engine
from palgan_jax.colorize.join import luminance
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.decode import read_rgb
from palgan_jax.errors import UserError
from palgan_jax.palette.palette import Palette
from palgan_jax.util import platforms
from tests.support.colorize_model import tiny_weights

RED = Palette.from_colors(["#c03030", "#806040"])


def half(shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[:, : shape[1] // 2] = True
    return mask


def test_the_bundled_model_paints_the_same_within_one_level(samples):
    ours, theirs = (Colorizer.load(engine=engine) for engine in ("jax", "onnx"))
    for name in ("dog.jpg", "fish.jpg", "hay-field.jpg"):
        rgb = read_rgb(samples / name)
        one, other = ours(rgb), theirs(rgb)
        assert np.ptp(one.pixels.astype(int), axis=-1).mean() > 10
        assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 1
        np.testing.assert_allclose(other.palette.counts(), one.palette.counts(), atol=2e-6)


@pytest.fixture(scope="module")
def engines() -> list[Colorizer]:
    return [Colorizer(tiny_weights(), engine) for engine in ("jax", "onnx")]


@pytest.mark.parametrize(
    "options",
    [
        {"palette": RED},
        {"edit": "shift hue=40", "saturation": 0.5},
        {"samples": 2},
        {"points": [((100, 80), "#c03030")]},
        {"regions": True},
        {"resolution": 128},
        {"resolution": 128, "regions": True},
    ],
    ids=str,
)
def test_each_option_paints_the_same(engines, samples, options):
    rgb = read_rgb(samples / "fish.jpg")
    if "regions" in options:
        options = {**options, "regions": [(half(rgb.shape[:2]), RED)]}
    plain, (ours, theirs) = engines[1](rgb), (colorizer(rgb, **options) for colorizer in engines)
    for one, other in zip((ours, *ours.samples), (theirs, *theirs.samples), strict=True):
        np.testing.assert_allclose(other.palette.counts(), one.palette.counts(), atol=2e-5)
        # The colors of random weights are strong, and what rounds differently grows in them.
        assert np.mean(np.abs(one.pixels.astype(int) - other.pixels) > 1) < 1e-3
    changed = (theirs.samples or (theirs,))[-1].pixels
    assert np.abs(changed.astype(int) - plain.pixels).mean() > 0.5


@pytest.mark.parametrize("options", [["--lock"], ["--reference", "hay-field.jpg"], ["--region", "mask.png=fish.jpg"]])
def test_the_command_paints_the_same_and_says_what_ran(palgan, samples, tmp_path, options, monkeypatch):
    mask = half(read_rgb(samples / "dog.jpg").shape[:2])
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    for name in ("hay-field.jpg", "fish.jpg"):
        (tmp_path / name).write_bytes((samples / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    results = {}
    for engine, line in (("jax", "run by JAX."), ("onnx", "run by ONNX Runtime.")):
        code, out, _ = palgan(samples / "dog.jpg", options=["--engine", engine, *options], output=tmp_path / engine)
        assert code == 0 and line in out
        results[engine] = np.asarray(Image.open(tmp_path / engine / "dog.png")).astype(int)
    assert np.mean(np.abs(results["jax"] - results["onnx"]) > 1) < 1e-3


def test_palettes_are_the_same_and_have_colors(samples):
    lightness = luminance(read_rgb(samples / "coffee.jpg"))
    ours, theirs = (Colorizer(tiny_weights(), engine) for engine in ("jax", "onnx"))
    expected = ours.predict_palette(lightness).counts()
    np.testing.assert_allclose(theirs.predict_palette(lightness).counts(), expected, atol=1e-6)
    np.testing.assert_allclose(theirs.predict(lightness)[0], expected, atol=1e-6)
    with pytest.raises(UserError, match="a palette without colors"):
        theirs.predict(lightness, np.zeros(256))


def installed(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(engines_module, "find_spec", lambda name: name in names or None)


def test_auto_takes_what_is_there_and_sooner_done(monkeypatch):
    everything = ("jax", "flax", "onnx", "onnxruntime")
    assert choose_engine("auto", tiny_weights()) == "onnx"
    installed(monkeypatch, *everything)
    assert choose_engine("auto", tiny_weights()) == "onnx"
    assert choose_engine("auto", tiny_weights("vae")) == "jax"
    assert choose_engine("jax", tiny_weights()) == "jax"
    installed(monkeypatch, *everything[:3])
    assert choose_engine("auto", tiny_weights()) == "jax"
    installed(monkeypatch, *everything[2:])
    assert choose_engine("auto", tiny_weights()) == "onnx"


def test_an_accelerator_is_asked_for_only_where_there_may_be_one(monkeypatch):
    asked = []
    monkeypatch.setattr("jax.default_backend", lambda: asked.append(1) or "gpu")
    monkeypatch.setattr(platforms, "entry_points", lambda group: [])
    monkeypatch.setattr(platforms, "find_spec", lambda _: None)
    installed(monkeypatch, "jax", "flax", "onnx", "onnxruntime")
    monkeypatch.delenv("JAX_PLATFORMS")
    assert choose_engine("auto", tiny_weights()) == "onnx" and not asked
    monkeypatch.setattr(platforms, "entry_points", lambda group: ["a plugin"])
    assert choose_engine("auto", tiny_weights()) == "jax" and asked
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert choose_engine("auto", tiny_weights()) == "onnx"


@pytest.mark.parametrize(("wanted", "model"), [("jax", "palgan"), ("auto", "vae")])
def test_without_jax_what_needs_it_is_one_sentence(monkeypatch, wanted, model):
    installed(monkeypatch, "onnx", "onnxruntime")
    with pytest.raises(UserError, match=r"^JAX does not run here: .*pip install -e '\.\[jax\]'\.$"):
        choose_engine(wanted, tiny_weights(model))
    with pytest.raises(UserError, match="cuda is no engine: choose one of auto, jax, onnx"):
        choose_engine("cuda", tiny_weights())


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
