"""Pictures and weights of tests/golden/efficientnet_lite0.npz, drawn from their names, as in golden_recipe.

Names and shapes are those of the package efficientnet-lite-pytorch (e.g. `_blocks.1._expand_conv.weight`, OIHW).
"""

import numpy as np

from tests.support.golden_recipe import probe, spread, uniform

SIDES = ((64, 64), (96, 64))
OUTPUTS = ("stride_2", "stride_4", "stride_8", "stride_16", "stride_32", "head")


def pictures(sides: tuple[int, int]) -> np.ndarray:
    """Two pictures (2, H, W, 3) in [-1, 1] with flat parts and detail; both sides multiples of 8."""
    height, width = sides
    coarse = uniform(f"lite0 coarse {height} {width}", (2, height // 8, width // 8, 3), -0.7, 0.7)
    return coarse.repeat(8, axis=1).repeat(8, axis=2) + uniform(f"lite0 fine {sides}", (2, height, width, 3), -0.3, 0.3)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of the network: signals neither fade nor explode, ReLU6 cuts at both ends, norms do something."""
    *_, layer, part = name.split(".")
    if layer.startswith("_bn"):
        limits = {"weight": (0.6, 1.4), "bias": (-0.5, 1.0), "running_mean": (-0.5, 0.5), "running_var": (0.3, 1.2)}
        return uniform(name, shape, *limits[part])
    gain = 0.5 if layer == "_project_conv" else 2.0
    return spread(name, shape, float(gain / np.prod(shape[1:], dtype=int)) ** 0.5)


def state(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The state dict with tensors of these names and shapes."""
    return {name: tensor(name, shape) for name, shape in shapes.items()}


def probes(weights: str, sides: tuple[int, int], outputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What the golden file keeps of the outputs (2, h, w, C) for "drawn" or "published" weights, by name."""
    names = [f"{weights}_{sides[0]}x{sides[1]}_{output}" for output in OUTPUTS]
    return {name: probe(name, output) for name, output in zip(names, outputs, strict=True)}
