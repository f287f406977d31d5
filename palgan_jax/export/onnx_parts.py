"""E and G as two ONNX models, for what paints one picture many times, as a page does: E sees it once.

The encoder: `lightness` (1, 1, R, R), L in [0, 100], gives the predicted `palette` (1, K) and features, `m1` to `m4`.
The painter: these, the same `lightness`, `palettes` (1, 2, K) and `shares` (1, 2, R, R), how much each of them counts
at each pixel, give `ab` (1, 2, R, R), Lab units.
"""

from typing import Any

import numpy as np
import onnx

from palgan_jax import __version__
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.config import palette_spec
from palgan_jax.export.assignment_generator import Shares, paint
from palgan_jax.export.graph import Graph, Tensor
from palgan_jax.export.layers import Part, reshape
from palgan_jax.export.onnx_model import arrays_of, properties_of
from palgan_jax.export.onnx_session import open_session
from palgan_jax.export.palette_generators import encode
from palgan_jax.export.refusals import config_with_palettes, misfit
from palgan_jax.nn.dimensions import TAPS

_PALETTES = 2  # of the picture, and of a region
_FEATURES = [f"m{i}" for i in range(1, TAPS + 1)]


def onnx_parts(weights: Weights, half: bool = False) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Returns the encoder and the painter of trained weights, once they have painted a gray picture.

    half: store the weights as float16; everything is computed in float32.

    Raises UserError for models without palettes, and for weights that do not fit their config.
    """
    config: Any = config_with_palettes(weights)
    try:
        parts = _encoder(weights, config, half), _painter(weights, config, half)
        _paint_gray(*parts, int(config.resolution))
    except Exception as error:  # the types of the errors of ONNX Runtime are private
        raise misfit(weights, error) from error
    return parts


def _encoder(weights: Weights, config: Any, half: bool) -> onnx.ModelProto:
    graph, spec = Graph(half), palette_spec(config)
    part = Part(graph, arrays_of(weights.variables), "palette_generator")
    palette, features = encode(part, config.net, _luminance(graph, config), True, int(config.resolution))
    graph.output(palette, "palette", (1, spec.size), "the predicted palette")
    for name, tensor in zip(_FEATURES, features, strict=True):
        graph.output(tensor, name, _shape(name), "features for the painter")
    return graph.model("encoder", __version__, properties_of(weights, spec))


def _painter(weights: Weights, config: Any, half: bool) -> onnx.ModelProto:
    graph, spec, side = Graph(half), palette_spec(config), int(config.resolution)
    l = _luminance(graph, config)
    features = [graph.input(name, _shape(name), "features of the encoder") for name in _FEATURES]
    palettes = graph.input("palettes", (1, _PALETTES, spec.size), "palettes to paint with")
    shares = graph.input("shares", (1, _PALETTES, side, side), "how much each palette counts at each pixel")
    part = Part(graph, arrays_of(weights.variables), "assignment_generator")
    colors = paint(
        part, config.net, l, reshape(palettes, -1, spec.size), features, side, Shares(shares, _PALETTES, side)
    )
    graph.output(colors * float(config.ab_range), "ab", (1, 2, side, side), "a and b of Lab")
    return graph.model("painter", __version__, properties_of(weights, spec))


def _luminance(graph: Graph, config: Any) -> Tensor:
    """Adds the input of L; returns it normalized."""
    side = int(config.resolution)
    return (graph.input("lightness", (1, 1, side, side), "L in [0, 100]") - 50.0) / 100.0


def _shape(feature: str) -> tuple[int | str, ...]:
    return 1, *(f"{feature}_{axis}" for axis in ("channels", "height", "width"))


def _paint_gray(encoder: onnx.ModelProto, painter: onnx.ModelProto, side: int) -> None:
    gray = {"lightness": np.full((1, 1, side, side), 50, np.float32)}
    for model in (encoder, painter):
        onnx.checker.check_model(model, full_check=True)
    palette, *features = (np.asarray(x) for x in open_session(encoder.SerializeToString()).run(None, gray))
    palettes = np.stack([palette, palette], axis=1)
    shares = np.full((1, _PALETTES, side, side), 1 / _PALETTES, np.float32)
    inputs = gray | dict(zip(_FEATURES, features, strict=True)) | {"palettes": palettes, "shares": shares}
    open_session(painter.SerializeToString()).run(None, inputs)
