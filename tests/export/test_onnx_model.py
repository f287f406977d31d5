"""ONNX models beside the networks in Flax, run by ONNX Runtime: every kind of part, any batch, any size."""

import json
from functools import partial
from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.colorize.join import luminance, squash
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.config import CHOICES, from_dict
from palgan_jax.data.decode import read_rgb
from palgan_jax.errors import UserError
from palgan_jax.export import assignment_generator
from palgan_jax.export.onnx_model import onnx_model, save_onnx
from palgan_jax.export.onnx_session import open_session
from palgan_jax.nn.assignment_generator import PaletteAssignmentGenerator
from palgan_jax.nn.build import build_generator
from palgan_jax.nn.palette_generator import PaletteGenerator
from palgan_jax.palette.regions import Regions
from tests.support.colorize_model import tiny_weights
from tests.support.export_networks import LITE0, NETWORKS, flax, palettes, pictures, weights_of

PARITY = {"instance, affine": 1e-4}
"""Of normalized ab, where it is not 1e-5: the variance of the network in Flax, taken in one pass, is less exact."""
PORTABLE = {
    "Abs", "Add", "AveragePool", "Cast", "Clip", "Concat", "Conv", "Div", "Expand", "Flatten", "Gather", "Gemm",
    "GlobalAveragePool", "Greater", "InstanceNormalization", "LeakyRelu", "Less", "LessOrEqual", "MatMul", "Max", "Min",
    "Mul", "Pow", "Range", "ReduceMean", "ReduceSum", "Reshape", "Resize", "Round", "Shape", "Sigmoid", "Slice",
    "Softmax", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
"""Operators that are in the tables of TensorRT (onnx-tensorrt, docs/operators.md) and of ONNX Runtime for WebGPU
(js/web/docs/webgpu-operators.md), but for Max, Min and Round, which only compute with sizes here, on the CPU."""


def run(model: onnx.ModelProto, lightness: np.ndarray, palette: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = session.run(None, {"lightness": lightness[:, None], "palette": palette})
    return dict(zip([output.name for output in session.get_outputs()], results, strict=True))


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_computes_what_the_network_does(name):
    weights = weights_of(NETWORKS[name])
    config = from_dict(weights.config)
    model = onnx_model(weights)
    assert operators(model) <= PORTABLE
    lightness, parity = pictures(2, config.resolution, config.resolution), PARITY.get(name, 1e-5)
    h = palettes(2, config.palette.bins**2)
    predicted, ab = flax(weights, lightness, h)
    assert np.ptp(ab) > 20, "the colors of this test are not far from gray"
    result = run(model, lightness, h)
    np.testing.assert_array_equal(result["used_palette"], h)
    np.testing.assert_allclose(result["ab"] / config.ab_range, ab / config.ab_range, atol=parity)
    h[1] = 0  # the second picture takes the predicted palette
    _, ab = flax(weights, lightness, np.stack([h[0], predicted[1]]))
    result = run(model, lightness, h)
    np.testing.assert_array_equal(result["used_palette"][0], h[0])
    np.testing.assert_allclose(result["used_palette"][1], predicted[1], atol=1e-6)
    np.testing.assert_allclose(result["ab"] / config.ab_range, ab / config.ab_range, atol=parity)
    single = run(model, lightness[1:], h[1:])
    np.testing.assert_allclose(single["ab"], result["ab"][1:], atol=1e-3)


def test_every_kind_of_part_is_among_these_networks():
    configs = [from_dict(tiny_weights(fields=tuple(fields.items())).config) for fields in NETWORKS.values()]
    for field in ("encoder", "norm", "attention", "local", "guide", "tap"):
        assert {config.net[field] for config in configs} == set(CHOICES[f"net.{field}"]), field


def test_the_painter_is_the_last_part_of_the_model():
    weights = weights_of({**LITE0, "net.paint_stride": 2, "resolution": 128})
    lightness, h = pictures(2, 128, 128), palettes(2, 256)
    painter = onnx_model(weights, painter=True)
    assert operators(painter) <= PORTABLE
    result = run(painter, lightness, h)
    assert list(result) == ["ab"]
    np.testing.assert_allclose(result["ab"], run(onnx_model(weights), lightness, h)["ab"], atol=1e-3)
    assert run(painter, pictures(1, 192, 64), h[:1])["ab"].shape == (1, 2, 192, 64)


def test_the_painter_takes_pictures_of_any_size():
    """E predicts for pictures of one size alone; its features and G are compared at another."""
    weights = weights_of({"net.guided_radius": 10})
    lightness, h = pictures(1, 96, 160), palettes(1, 256)
    l = (lightness[..., None] - 50) / 100
    params: Any = weights.variables["params"]
    _, taps = PaletteGenerator(width=1 / 16, head="none").apply({"params": params["palette_generator"]}, l)
    collections = {name: tree["assignment_generator"] for name, tree in weights.variables.items()}
    generator = PaletteAssignmentGenerator(1 / 16, guided_radius=10)
    ab: Any = jax.jit(generator.apply)(collections, l, taps, h)
    model = onnx_model(weights, painter=True)
    assert not any(name.startswith("palette_generator/conv_4") for name in (x.name for x in model.graph.initializer))
    result = run(model, lightness, h)
    np.testing.assert_allclose(result["ab"] / 110, np.moveaxis(np.asarray(ab), -1, 1), atol=1e-5)


@pytest.mark.parametrize(("norm", "atol"), [("palette", 2e-5), ("spade", 2e-5), ("instance", 1e-4)])
def test_the_painter_of_regions_is_flaxs(norm, atol):
    weights = weights_of({"net.norm": norm})
    lightness, h = pictures(2, 128, 128), np.stack([palettes(2, 256), palettes(2, 256)[::-1]], 1)
    share = np.random.default_rng(0).uniform(size=(2, 128, 128, 1)).astype(np.float32)
    shares = np.concatenate([share, 1 - share], -1)
    network = build_generator(from_dict(weights.config))
    expected: Any = jax.jit(partial(network.apply, method="paint"))(
        weights.variables, (lightness[..., None] - 50) / 100, Regions(h, shares)
    )
    session = open_session(onnx_model(weights, painter=True, side=128, regions=2).SerializeToString())
    inputs = {"lightness": lightness[:, None], "palette": h, "shares": np.moveaxis(shares, -1, 1)}
    (ab,) = session.run(None, inputs)
    np.testing.assert_allclose(np.asarray(ab) / 110, np.moveaxis(np.asarray(expected), -1, 1), atol=atol)


def test_attention_in_bands_is_attention(monkeypatch):
    weights, lightness, h = weights_of({}), pictures(1, 128, 128), palettes(1, 256)
    expected = run(onnx_model(weights, painter=True, side=128), lightness, h)
    monkeypatch.setattr(assignment_generator, "_BAND", 24)
    bands = onnx_model(weights, painter=True, side=128)
    assert sum(node.op_type == "Softmax" for node in bands.graph.node) == 11  # 256 queries
    np.testing.assert_allclose(run(bands, lightness, h)["ab"], expected["ab"], atol=1e-4)


def test_the_bundled_model_on_photographs(samples):
    """Its attention multiplies what rounds differently: the network in Flax is as far from itself without Winograd."""
    colorizer = Colorizer.load(engine="jax")
    model = onnx_model(find_weights())
    zeros = np.zeros((1, colorizer.spec.size), np.float32)
    differences = []
    for path in sorted(samples.glob("*.jpg"))[::6]:
        lightness = squash(luminance(read_rgb(path)), colorizer.resolution)
        used_palette, ab = colorizer.predict(lightness)
        result = run(model, lightness[None], zeros)
        np.testing.assert_allclose(result["used_palette"][0], used_palette, atol=2e-6)
        differences.append(np.abs(np.moveaxis(result["ab"][0], 0, -1) - ab).max() / 110)
    assert np.median(differences) < 1e-5 and max(differences) < 1e-4


def test_half_the_size_on_demand(tmp_path):
    weights = weights_of({})
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    save_onnx(whole, weights)
    save_onnx(half, weights, "float16")
    stored = {x.name: x for x in onnx.load(half).graph.initializer}
    kernel = onnx.numpy_helper.to_array(stored["assignment_generator/block_00/conv_0/kernel"])
    assert kernel.dtype == np.float16
    numbers = sum(np.prod(x.dims) for x in stored.values() if x.data_type == onnx.TensorProto.FLOAT16)
    assert whole.stat().st_size - half.stat().st_size > 1.8 * numbers
    lightness = pictures(1, 64, 64)
    zeros = np.zeros((1, 256), np.float32)
    exact, rounded = (run(onnx.load(path), lightness, zeros) for path in (whole, half))
    assert 0 < np.abs(exact["ab"] - rounded["ab"]).max() < 2


def test_weights_that_16_bits_cannot_hold_stay_as_they_are():
    weights = weights_of({})
    kernel = weights.variables["params"]["palette_generator"]["conv_5"]["kernel"]
    variables = jax.tree.map(lambda x: x, weights.variables)
    variables["params"]["palette_generator"]["conv_5"]["kernel"] = kernel * 1e6
    model = onnx_model(Weights(variables, weights.config, 1), half=True)
    stored = next(x for x in model.graph.initializer if x.name == "palette_generator/conv_5/kernel")
    assert stored.data_type == onnx.TensorProto.FLOAT


def test_a_file_says_what_it_is(tmp_path):
    weights = weights_of({"palette.sigma": 0.2, "data.train": "folder:/home/jane/photos", "start": "bundled"})
    save_onnx(tmp_path / "a.onnx", weights)
    model = onnx.load(tmp_path / "a.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (facts["format"], facts["step"]) == ("palgan_jax", "1234")
    assert json.loads(facts["config"]) == dict(
        weights.config, data={**weights.config["data"], "train": "folder:photos"}
    )
    assert json.loads(facts["palette"])["sigma"] == 0.2
    assert (model.opset_import[0].version, model.ir_version) == (18, 8)
    shapes = {x.name: [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] for x in model.graph.input}
    assert shapes == {"lightness": ["batch", 1, 64, 64], "palette": ["batch", 256]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("model", ["autoencoder", "vae"])
def test_models_without_palettes_are_one_sentence(model, tmp_path):
    with pytest.raises(UserError, match=f'the kind "{model}" paints with no palette'):
        save_onnx(tmp_path / "a.onnx", tiny_weights(model))
    assert not list(tmp_path.iterdir())


def changed(weights: Weights, path: tuple[str, ...], value: dict[str, np.ndarray]) -> Weights:
    """The weights with other arrays in the place of a layer's."""
    tree = variables = jax.tree.map(lambda x: x, weights.variables)
    for name in path[:-1]:
        tree = tree[name]
    tree[path[-1]] = value
    return Weights(variables, weights.config, 1, source="x")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("params assignment_generator stem", {}),
        ("batch_stats assignment_generator block_00 norm_0 BatchNorm_0", {}),
        ("batch_stats assignment_generator block_00 norm_0 BatchNorm_0", dict.fromkeys(("mean", "var"), np.ones(3))),
        ("params assignment_generator block_00 norm_0 hidden", {"kernel": np.ones((9, 16)), "bias": np.ones(16)}),
        ("params palette_generator conv_1", {"kernel": np.ones((3, 3, 7, 4)), "bias": np.ones(4)}),
    ],
)
def test_weights_that_do_not_fit_their_config_are_one_sentence(tmp_path, path, value, capfd):
    weights = changed(tiny_weights(), tuple(path.split()), value)
    with pytest.raises(UserError, match=r"the weights \(x\) do not fit the network") as error:
        save_onnx(tmp_path / "a.onnx", weights)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""
