"""The colorizer on real photographs, with a real network of random weights."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from skimage.color import rgb2lab

from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.colorize import jax_network, prepared
from palgan_jax.colorize.join import join, luminance
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.decode import read_rgb
from palgan_jax.errors import UserError
from palgan_jax.palette.palette import Palette
from tests.support.colorize_model import tiny_weights


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer(tiny_weights())


def test_samples_are_colorful_of_their_size_and_keep_their_luminance(colorizer, samples):
    for path in sorted(samples.glob("*.jpg"))[::4]:
        rgb = read_rgb(path)
        painted = colorizer(rgb)
        result, palette = painted.pixels, painted.palette.counts()
        assert result.shape == rgb.shape and result.dtype == np.uint8
        assert palette.shape == (256,) and palette.sum() == pytest.approx(1, abs=1e-3)
        assert np.abs(rgb2lab(result)[..., 0] - rgb2lab(rgb)[..., 0]).max() < 1, path.name
        assert np.ptp(result.astype(int), axis=-1).mean() > 20, path.name


@pytest.mark.parametrize("size", [(16, 16), (16, 700), (700, 16), (63, 65), (64, 64), (2000, 33)])
def test_any_size_and_shape(colorizer, samples, size):
    rgb = np.resize(read_rgb(samples / "fish.jpg"), (*size, 3))
    result = colorizer(rgb).pixels
    assert result.shape == rgb.shape
    assert np.abs(luminance(result) - luminance(rgb)).max() < 1


def test_the_network_is_compiled_once_for_pictures_of_all_sizes(colorizer, samples):
    colorizer(read_rgb(samples / "fish.jpg"))
    compiled = jax_network._predict._cache_size()
    Colorizer(tiny_weights())(read_rgb(samples / "china.jpg"))
    assert jax_network._predict._cache_size() == compiled


def test_the_pictures_own_colors_have_no_influence(colorizer, samples):
    rgb = read_rgb(samples / "parrot.jpg")
    gray = join(luminance(rgb), np.zeros((2, 2, 2), np.float32))
    # Not exactly the same, since gray has only 256 levels.
    result, of_gray = (colorizer(picture).pixels.astype(int) for picture in (rgb, gray))
    assert np.abs(result - of_gray).mean() < 1


def test_a_given_palette_is_used_and_returned(colorizer, samples):
    rgb = read_rgb(samples / "dog.jpg")
    automatic = colorizer(rgb)
    reference = colorizer.palette_of(read_rgb(samples / "hay-field.jpg"))
    assert reference.shape == (256,) and reference.sum() == pytest.approx(1, abs=1e-3)
    painted = colorizer(rgb, palette=Palette(reference))
    assert np.array_equal(painted.palette.counts(), reference)
    assert np.abs(painted.pixels.astype(int) - automatic.pixels).mean() > 1
    assert np.abs(luminance(painted.pixels) - luminance(rgb)).max() < 1
    # The predicted palette, given, paints what it paints by itself.
    repeat = colorizer(rgb, palette=automatic.palette)
    assert np.abs(repeat.pixels.astype(int) - automatic.pixels).max() <= 1


def test_a_gray_reference_is_the_palette_of_gray(colorizer):
    h = colorizer.palette_of(np.full((40, 30, 3), 99, np.uint8)).reshape(16, 16)
    assert h[7:9, 7:9] == pytest.approx(np.full((2, 2), 0.101391), abs=1e-4)  # method: section 2


def test_a_palette_of_another_shape_is_refused(colorizer):
    with pytest.raises(ValueError, match=r"\(256,\)"):
        colorizer.predict(np.zeros((20, 20), np.float32), np.ones(100))


class Counted:
    """A network that counts what is asked of it."""

    def __init__(self, network) -> None:
        self._network, self.calls = network, Counter()
        self.takes_turns = network.takes_turns

    def __getattr__(self, name):
        self.calls[name] += 1
        return getattr(self._network, name)


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({}, {"predict": 1}),
        ({"samples": 2}, {"predict": 3}),
        ({"resolution": 128}, {"predict_palettes": 1, "paint": 1}),
        ({"resolution": 128, "samples": 2}, {"predict_palettes": 1, "paint": 3}),
        ({"edit": "shift hue=20", "samples": 1}, {"predict_palettes": 1, "predict": 2}),
    ],
)
def test_a_palette_is_predicted_and_a_border_looked_for_once(options, calls, samples, monkeypatch):
    colorizer, borders = Colorizer(tiny_weights()), []
    colorizer._model = counted = Counted(colorizer._model)
    monkeypatch.setattr(prepared, "find_border", lambda lightness: borders.append(lightness))
    colorizer(samples / "dog.jpg", **options)
    assert counted.calls == calls and len(borders) == 1


@pytest.mark.parametrize("model", ["autoencoder", "vae"])
def test_models_without_palettes_colorize_and_refuse_a_reference(model, samples):
    colorizer = Colorizer(tiny_weights(model))
    rgb = read_rgb(samples / "coffee.jpg")
    result = colorizer(rgb)
    assert np.abs(luminance(result.pixels) - luminance(rgb)).max() < 1
    assert result.palette.shares.sum() == pytest.approx(1, abs=1e-3)
    with pytest.raises(UserError, match="takes no palette"):
        colorizer(rgb, palette=result.palette)


def test_the_same_from_a_weights_file(colorizer, samples, tmp_path):
    save_weights(tmp_path / "w.safetensors", tiny_weights())
    loaded = Colorizer.load(tmp_path / "w.safetensors", "jax")
    assert loaded.step == 1234 and "1234" in loaded.source and loaded.resolution == 64
    rgb = read_rgb(samples / "kitchen.jpg")
    result, expected = loaded(rgb), colorizer(rgb)
    assert np.array_equal(result.pixels, expected.pixels) and result.palette == expected.palette


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"seed": "x"}, "the checkpoint's config .*seed"),
        ({"model": "foo"}, "model=foo is not known: choose one of"),
        ({"colour": 1}, "the checkpoint's config has the field colour"),
        ({"net": 3}, "the checkpoint's config"),
        ({"resolution": 100}, "resolution=100 does not fit"),
        ([], "odd.safetensors is not a readable weights file"),
        ("net", "odd.safetensors is not a readable weights file"),
    ],
)
def test_a_config_that_is_none_is_one_sentence(tmp_path, config, sentence):
    path = tmp_path / "odd.safetensors"
    save_weights(path, tiny_weights())
    with safe_open(path, "np") as file:
        metadata = {**file.metadata(), "config": json.dumps(config)}
    save_file(load_file(path), path, metadata)
    with pytest.raises(UserError, match=sentence) as error:
        Colorizer.load(path)
    assert "\n" not in str(error.value)


def test_weights_that_do_not_fit_their_config_are_one_sentence():
    weights = tiny_weights()
    wider = {**weights.config, "net": {**weights.config["net"], "width": 1 / 8}}
    with pytest.raises(UserError, match=r"do not fit the network.*of shape"):
        Colorizer(replace(weights, config=wider))
    with pytest.raises(UserError, match=r"do not fit the network.*batch_stats/\S+ is missing"):
        Colorizer(replace(weights, variables={**weights.variables, "batch_stats": {}}))


@pytest.mark.parametrize("collection", ["params", "batch_stats", "spectral"])
@pytest.mark.parametrize("harm", ["missing", "of shape"])
def test_each_array_that_is_missing_or_of_another_shape_is_named(collection, harm):
    weights = tiny_weights()
    flat = flatten_dict(weights.variables)
    path = next(path for path in flat if path[0] == collection and path[1] == "assignment_generator")
    if harm == "missing":
        del flat[path]
    else:
        flat[path] = np.zeros((*flat[path].shape[:-1], flat[path].shape[-1] + 1), np.float32)
    with pytest.raises(UserError, match=rf"do not fit the network.*{'/'.join(path)} is {harm}"):
        Colorizer(replace(weights, variables=unflatten_dict(flat)))
