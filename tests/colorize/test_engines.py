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
    by_jax, by_onnx = (Colorizer.load(engine=engine) for engine in ("jax", "onnx"))
    for name in ("dog.jpg", "fish.jpg", "hay-field.jpg"):
        rgb = read_rgb(samples / name)
        jax_result, onnx_result = by_jax(rgb), by_onnx(rgb)
        assert np.ptp(jax_result.pixels.astype(int), axis=-1).mean() > 10
        assert np.abs(jax_result.pixels.astype(int) - onnx_result.pixels).max() <= 1
        np.testing.assert_allclose(onnx_result.palette.counts(), jax_result.palette.counts(), atol=2e-6)


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
    plain, (jax_result, onnx_result) = engines[1](rgb), (colorizer(rgb, **options) for colorizer in engines)
    for first, second in zip((jax_result, *jax_result.samples), (onnx_result, *onnx_result.samples), strict=True):
        np.testing.assert_allclose(second.palette.counts(), first.palette.counts(), atol=2e-5)
        # The colors of random weights are strong, and what rounds differently grows in them.
        assert np.mean(np.abs(first.pixels.astype(int) - second.pixels) > 1) < 1e-3
    pixels = (onnx_result.samples or (onnx_result,))[-1].pixels
    assert np.abs(pixels.astype(int) - plain.pixels).mean() > 0.5


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
    by_jax, by_onnx = (Colorizer(tiny_weights(), engine) for engine in ("jax", "onnx"))
    expected = by_jax.predict_palette(lightness).counts()
    np.testing.assert_allclose(by_onnx.predict_palette(lightness).counts(), expected, atol=1e-6)
    np.testing.assert_allclose(by_onnx.predict(lightness)[0], expected, atol=1e-6)
    with pytest.raises(UserError, match="a palette without colors"):
        by_onnx.predict(lightness, np.zeros(256))


def installed(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(engines_module, "find_spec", lambda name: name in names or None)


def test_auto_takes_what_is_there_and_sooner_done(monkeypatch):
    modules = ("jax", "flax", "onnx", "onnxruntime")
    assert choose_engine("auto", tiny_weights()) == "onnx"
    installed(monkeypatch, *modules)
    assert choose_engine("auto", tiny_weights()) == "onnx"
    assert choose_engine("auto", tiny_weights("vae")) == "jax"
    assert choose_engine("jax", tiny_weights()) == "jax"
    installed(monkeypatch, *modules[:3])
    assert choose_engine("auto", tiny_weights()) == "jax"
    installed(monkeypatch, *modules[2:])
    assert choose_engine("auto", tiny_weights()) == "onnx"


def test_an_accelerator_is_asked_for_only_where_there_may_be_one(monkeypatch):
    requests = []
    monkeypatch.setattr("jax.default_backend", lambda: requests.append(1) or "gpu")
    monkeypatch.setattr(platforms, "entry_points", lambda group: [])
    monkeypatch.setattr(platforms, "find_spec", lambda _: None)
    installed(monkeypatch, "jax", "flax", "onnx", "onnxruntime")
    monkeypatch.delenv("JAX_PLATFORMS")
    assert choose_engine("auto", tiny_weights()) == "onnx" and not requests
    monkeypatch.setattr(platforms, "entry_points", lambda group: ["a plugin"])
    assert choose_engine("auto", tiny_weights()) == "jax" and requests
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
