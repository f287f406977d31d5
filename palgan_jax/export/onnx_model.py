"""E and G as one ONNX model, or G alone as a painter of pictures of any size, from trained weights.

The model computes what `Colorizer.predict` does with pictures of the network's size: `lightness` (B, 1, R, R), L in
[0, 100], and `palette` (B, K) give `ab` (B, 2, R, R), Lab units, and `used_palette` (B, K). A palette of zeros asks for
the predicted one. The painter has no prediction, and its pictures are (B, 1, H, W). B, H and W are free, or H and W
are one side that is known, of which attention in bands needs less memory. The painter of N regions has palettes
(B, N, K), and `shares` (B, N, R, R): how much each of them counts at each pixel.

Its metadata are those of a file of weights: the config, the step, and how palettes are counted.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from palgan_jax import __version__
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.config import from_dict, palette_spec, without_folders
from palgan_jax.export.assignment_generator import Shares, paint
from palgan_jax.export.graph import Graph, Tensor
from palgan_jax.export.layers import Part, reshape, sum_of_bins
from palgan_jax.export.onnx_session import open_session
from palgan_jax.export.palette_generators import encode
from palgan_jax.export.refusals import config_with_palettes, misfit
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.util.files import write_file
from palgan_jax.util.trees import flatten_names

FORMAT = 1


def save_onnx(path: Path, weights: Weights, dtype: str = "float32", painter: bool = False) -> None:
    """Writes `checked_model` to a file, whole or not at all. Raises UserError where that does, or it cannot be."""
    write_file(path, checked_model(weights, dtype == "float16", painter).SerializeToString())


def checked_model(weights: Weights, half: bool = False, painter: bool = False) -> onnx.ModelProto:
    """Returns `onnx_model` once it has painted a gray picture. Raises UserError where that does, or it does not run."""
    model = onnx_model(weights, half, painter)
    config: Any = from_dict(weights.config)
    gray = np.full((1, 1, config.resolution, config.resolution), 50, np.float32)
    palette = np.ones((1, config.palette.bins**2), np.float32)
    try:
        onnx.checker.check_model(model, full_check=True)
        open_session(model.SerializeToString()).run(None, {"lightness": gray, "palette": palette / palette.size})
    except Exception as error:  # the types of the errors of ONNX Runtime are private
        raise misfit(weights, error) from error
    return model


def onnx_model(
    weights: Weights, half: bool = False, painter: bool = False, side: int | None = None, regions: int = 0
) -> onnx.ModelProto:
    """Returns the ONNX model of trained weights; everything is computed in float32.

    Args:
      weights: the weights, with their config.
      half: store the weights as float16.
      painter: G alone, for pictures of any size.
      side: of the painter's pictures, if it is known.
      regions: the number of palettes of parts of the picture that the painter takes, which needs a known side; 0 for
        one palette of all of it.

    Raises UserError for models without palettes, and where arrays are missing. Shapes are not compared.
    """
    config: Any = config_with_palettes(weights)
    graph, spec = Graph(half), palette_spec(config)
    side = side if painter else int(config.resolution)
    sides = (side, side) if side is not None else ("height", "width")
    lightness = graph.input("lightness", ("batch", 1, *sides), "L in [0, 100]")
    count = (regions,) if regions else ()
    meaning = "palette to paint with" if painter else "palette to paint with, or zeros"
    palette = graph.input("palette", ("batch", *count, spec.size), meaning)
    shares = None
    if regions and side is not None:
        tensor = graph.input("shares", ("batch", regions, side, side), "how much each palette counts at each pixel")
        shares, palette = Shares(tensor, regions, side), reshape(palette, -1, spec.size)
    try:
        ab, used_palette = _network(
            graph, arrays_of(weights.variables), config, lightness, palette, side, painter, shares
        )
    except (LookupError, ValueError) as error:
        raise misfit(weights, error) from error
    graph.output(ab * float(config.ab_range), "ab", ("batch", 2, *sides), "a and b of Lab")
    if not painter:
        graph.output(used_palette, "used_palette", ("batch", spec.size), "the palette, or the predicted one")
    return graph.model("painter" if painter else "palgan", __version__, properties_of(weights, spec))


def properties_of(weights: Weights, spec: PaletteSpec) -> dict[str, str]:
    """Returns the metadata of a model: config, step, the steps of a mean, and how palettes are counted."""
    return {
        "format": "palgan_jax",
        "format_version": str(FORMAT),
        "step": str(int(weights.step)),
        "averaged": json.dumps(weights.averaged),
        "config": json.dumps(without_folders(weights.config)),
        "palette": json.dumps(asdict(spec)),
    }


def _network(
    graph: Graph,
    arrays: Mapping[str, np.ndarray],
    config: Any,
    lightness: Tensor,
    palette: Tensor,
    side: int | None,
    painter: bool,
    shares: Shares | None,
) -> tuple[Tensor, Tensor]:
    """Adds E and G (nn/palgan.py); returns normalized ab (B, 2, H, W), and the palette that was used."""
    net, l = config.net, (lightness - 50.0) / 100.0
    predicted, taps = encode(Part(graph, arrays, "palette_generator"), net, l, not painter, side or 0)
    if predicted is not None:
        palette = graph.add("Where", sum_of_bins(palette) > 0.0, palette, predicted)
    return paint(Part(graph, arrays, "assignment_generator"), net, l, palette, taps, side, shares), palette


def arrays_of(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the arrays of all collections by names such as "params/assignment_generator/stem/kernel"."""
    return {name: np.asarray(array, np.float32) for name, array in flatten_names(variables).items()}
