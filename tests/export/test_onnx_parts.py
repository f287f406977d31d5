"""The encoder and the painter beside the whole model and the painter of regions."""

import numpy as np
import pytest

from palgan_jax.checkpoint.find import find_weights
from palgan_jax.colorize.join import luminance, squash
from palgan_jax.data.decode import read_rgb
from palgan_jax.errors import UserError
from palgan_jax.export.onnx_model import onnx_model
from palgan_jax.export.onnx_parts import onnx_parts
from palgan_jax.export.onnx_session import open_session
from tests.export.test_onnx_model import NETWORKS, palettes, pictures, weights_of
from tests.support.colorize_model import tiny_weights


def run(model, names, inputs):
    return dict(zip(names, open_session(model.SerializeToString()).run(names, inputs), strict=True))


@pytest.mark.parametrize("name", ["as the paper has it", "spade, local", "batch, global", "pretrained, half"])
def test_the_parts_paint_what_the_whole_paints(name):
    weights = weights_of(NETWORKS[name])
    side, bins = weights.config["resolution"], weights.config["palette"]["bins"] ** 2
    gray = {"lightness": pictures(1, side, side)[:, None]}
    encoder, painter = onnx_parts(weights)
    features = run(encoder, ["palette", "m1", "m2", "m3", "m4"], gray)
    at_once = run(onnx_model(weights), ["ab", "used_palette"], gray | {"palette": np.zeros((1, bins), np.float32)})
    predicted = features.pop("palette")
    np.testing.assert_array_equal(predicted, at_once["used_palette"])

    def painted(share):
        inputs = {"palettes": np.stack([predicted, palettes(1, bins)], 1), "shares": np.stack([1 - share, share], 1)}
        return run(painter, ["ab"], gray | features | inputs)["ab"], inputs

    share = np.zeros((1, side, side), np.float32)
    np.testing.assert_allclose(painted(share)[0], at_once["ab"], atol=1e-3)
    if name == "batch, global":  # it paints without a palette
        return
    share[..., : side // 2] = 1
    ab, inputs = painted(share)
    regions = onnx_model(weights, painter=True, side=side, regions=2)
    expected = run(regions, ["ab"], gray | {"palette": inputs["palettes"], "shares": inputs["shares"]})["ab"]
    np.testing.assert_allclose(ab, expected, atol=1e-3)
    assert np.abs(ab - at_once["ab"]).max() > 0.1


def test_weights_of_16_bits_paint_the_same(samples):
    """Where the first layers of the encoder are rounded, too, the third of these is off by 1.4."""
    weights = find_weights()
    full, half = (open_session(onnx_model(weights, half).SerializeToString()) for half in (False, True))
    for name in ("hay-field", "parrot", "egret"):
        square = squash(luminance(read_rgb(samples / f"{name}.jpg")), weights.config["resolution"])
        inputs = {"lightness": square[None, None], "palette": np.zeros((1, 256), np.float32)}
        exact, rounded = (np.asarray(session.run(["ab"], inputs)[0]) for session in (full, half))
        assert 0 < np.abs(exact - rounded).max() < 0.05


@pytest.mark.parametrize("model", ["autoencoder", "vae"])
def test_models_without_palettes_are_one_sentence(model):
    with pytest.raises(UserError, match="paints with no palette"):
        onnx_parts(tiny_weights(model))
