"""What is compared with PyTorch: the cases, their inputs, and how close is close enough.

A case is run by `parity_flax.run` and, where PyTorch is installed, by `porting/torch_cases.py`. Both draw the same
inputs and weights (golden_recipe) and return the same kind of `Result`. The scalar whose gradient is compared is the
sum of the products of all outputs with random directions, so that every output entry counts with a weight of its own.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.support import golden_recipe as recipe

LAB_SCALE, LAB_CENTER = np.float32([50, 110, 110]), np.float32([50, 0, 0])


@dataclass(frozen=True)
class Case:
    """One network, layer or group of functions.

    Attributes:
      name: names the golden file and the draws of the inputs.
      kind: "palette_generator", "assignment_generator", "palgan", "discriminator", "norm", "attention", "functions"
        or "step".
      inputs: name -> (what it is, NHWC shape).
      options: the fields of the Flax module that differ from their defaults.
      modes: of "train" (batch statistics and spectral vectors are updated) and "eval".
    """

    name: str
    kind: str
    inputs: dict[str, tuple[str, tuple[int, ...]]]
    options: dict[str, Any] = field(default_factory=dict)
    modes: tuple[str, ...] = ("train", "eval")


@dataclass
class Result:
    """Arrays by path: outputs (NHWC), gradients of parameters ("params/...") and of inputs, the state after the run."""

    outputs: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    state: dict[str, np.ndarray]


def draw_inputs(case: Case, salt: int) -> dict[str, np.ndarray]:
    """The inputs of a case. `salt` picks one of many draws: one in which no LeakyReLU stands on its kink."""
    kinds = {
        "l": lambda name, shape: recipe.uniform(name, shape, -0.5, 0.5),
        "ab": lambda name, shape: recipe.uniform(name, shape, -0.9, 0.9),
        "rgb": lambda name, shape: recipe.uniform(name, shape, -1.0, 1.0),
        "unit": lambda name, shape: recipe.uniform(name, shape, 0.0, 1.0),
        "lab": lambda name, shape: recipe.uniform(name, shape, -0.9, 0.9) * LAB_SCALE + LAB_CENTER,
        "picture": lambda name, shape: recipe.uniform(name, shape, 0.0, 256.0).astype(np.uint8),
        "features": recipe.spread,
        # Faint channels show the epsilon of a norm.
        "uneven features": lambda name, shape: (
            recipe.spread(name, shape) * np.geomspace(0.01, 1, shape[-1], dtype="f4")
        ),
        "palette": lambda name, shape: recipe.palette(name, *shape),
        # Of several parts, or how much of each pixel is each part's.
        "palettes": lambda name, shape: recipe.palette(name, int(np.prod(shape[:-1])), shape[-1]).reshape(shape),
    }
    return {name: kinds[kind](f"{case.name}/{name}/{salt}", shape) for name, (kind, shape) in case.inputs.items()}


def direction(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights with which an output's entries are summed; a palette's entries are small, so its weights large."""
    return recipe.spread(f"weights of {name}", shape, 100.0 if name == "h" else 1.0)


def function_case() -> Case:
    """Color, palettes and losses. Inputs are named `function/argument`: each function has a gradient of its own."""
    ab, palette, logits = ("ab", (2, 12, 10, 2)), ("palette", (2, 256)), ("features", (6,))
    arguments = {
        "rgb_to_lab": [("unit", (2, 12, 10, 3))],
        "lab_to_rgb": [("lab", (2, 12, 10, 3))],
        "render": [("l", (2, 12, 10, 1)), ab],
        "render_leak": [("l", (2, 12, 10, 1)), ab],
        "histogram": [ab],
        "histogram_gaussian": [ab],
        "histogram_max": [ab],
        "histogram_hard": [ab],
        "entropy": [palette],
        "hellinger": [palette, palette],
        "discriminator_loss": [logits, logits],
        "adversarial_loss": [logits],
        "l1_loss": [ab, ab],
        "palette_loss": [palette, palette],
        "palette_kl": [palette, palette],
        "palette_hellinger": [palette, palette],
        "consistency_loss": [ab, palette],
        "kl_loss": [("features", (2, 16)), ("features", (2, 16))],
    }
    inputs = {f"{name}/{i}": spec for name, specs in arguments.items() for i, spec in enumerate(specs)}
    return Case("functions", "functions", inputs, {}, ("eval",))


def network_cases(width: float, size: int, batch: int = 2) -> list[Case]:
    """E, G, G with regions, both, and both discriminators, at a width and a picture size (a multiple of 64)."""

    def scaled(channels: int) -> int:
        return max(4, round(channels * width))

    l, h = ("l", (batch, size, size, 1)), ("palette", (batch, 256))
    taps = {f"m{i + 1}": ("features", (batch, size >> (i + 1), size >> (i + 1), scaled(32 << i))) for i in range(4)}
    regions = {"palettes": ("palettes", (batch, 3, 256)), "shares": ("palettes", (batch, size, size, 3))}
    pictures = {"ab": ("ab", (batch, size, size, 2)), "rgb": ("rgb", (batch, size, size, 3)), "h": h}
    return [
        Case("palette_generator", "palette_generator", {"l": l}, {"width": width}, ("eval",)),
        Case("assignment_generator", "assignment_generator", {"l": l, **taps, "h": h}, {"width": width}),
        Case("regions", "assignment_generator", {"l": l, **taps, **regions}, {"width": width}, ("eval",)),
        Case("palgan", "palgan", {"l": l}, {"width": width}),
        Case("discriminator_projection", "discriminator", pictures, {"width": width}),
        Case("discriminator_sqrt", "discriminator", pictures, {"width": width, "palette": "sqrt"}),
        Case("discriminator_plain", "discriminator", pictures, {"width": width, "palette": "plain"}),
        Case("discriminator_patch", "discriminator", pictures, {"width": width, "kind": "patch"}),
    ]


def layer_cases() -> list[Case]:
    """The alternatives of PalNorm and of chromatic attention."""
    x = {"x": ("uneven features", (3, 8, 8, 12)), "h": ("palette", (3, 256)), "l": ("l", (3, 32, 32, 1))}
    kinds = ("palette", "instance", "batch", "spade")
    norms = [Case(f"norm_{kind}", "norm", x, {"kind": kind, "width": 1 / 16}) for kind in kinds]
    sf = {"s": ("features", (2, 4, 4, 12)), "f": ("features", (2, 16, 16, 8)), "l": ("l", (2, 16, 16, 1))}
    choices = [
        {"attention": "full", "radius": 16, "eps": 1e-2, "spectral": True},
        {"attention": "full", "radius": 16, "guide": "convolution", "spectral": True},
        {"attention": "full", "local": "affine"},
        {"attention": "full", "local": "affine", "guide": "convolution", "residual": True},
        {"attention": "local", "local": "guided_without_b"},
        {"attention": "global"},
        {"attention": "self"},
    ]
    attentions = [
        Case(
            f"attention_{choice['attention']}_{choice.get('local', 'guided')}{'_convolved' * ('guide' in choice)}",
            "attention",
            sf,
            {"width": 1 / 16, **choice},
            ("train",) if choice.get("spectral") else ("eval",),
        )
        for choice in choices
    ]
    return norms + attentions


def step_case(width: float = 1 / 16, size: int = 64, batch: int = 2) -> Case:
    """All losses and all gradients of one training step, from uint8 pictures."""
    return Case("step", "step", {"rgb": ("picture", (batch, size, size, 3))}, {"width": width}, ("train",))


GOLDEN_WIDTH, GOLDEN_SIZE = 1 / 16, 64


def golden_cases() -> list[Case]:
    """What the committed golden files hold."""
    return [*network_cases(GOLDEN_WIDTH, GOLDEN_SIZE), *layer_cases(), function_case(), step_case()]


def differences(result: Result, expected: Result) -> dict[str, float]:
    """The largest difference of each array, as a share of what is allowed: 1 is just close enough.

    Outputs and state: 1e-4 absolute (of entries up to 1; relative to the largest entry beyond). Gradients: see
    `_allowed`.
    """
    shares = {}
    for part in ("outputs", "state"):
        a, b = getattr(result, part), getattr(expected, part)
        _same_names(a, b, part)
        for name, array in b.items():
            tolerance = 1e-4 * max(1.0, float(np.abs(array).max()))
            shares[f"{part}/{name}"] = _largest(a[name], array, name) / tolerance
    _same_names(result.gradients, expected.gradients, "gradients")
    largest = {name: float(np.abs(array).max()) for name, array in expected.gradients.items()}
    for name, array in expected.gradients.items():
        tolerance = _allowed(largest[name], max(largest.values()))
        shares[f"gradients/{name}"] = _largest(result.gradients[name], array, name) / tolerance
    return shares


def _allowed(largest: float, largest_of_all: float) -> float:
    """The difference that a gradient may show whose largest entry is `largest`: a thousandth of that.

    In exact arithmetic some gradients vanish (a batch norm, a softmax and the guided filter each cancel a bias). What
    is left of those is rounding noise, of which only the size is looked at.
    """
    if largest < 3e-6 * largest_of_all:
        return 3e-6 * largest_of_all
    return max(1e-3 * largest, 1e-7 * largest_of_all)


def probe_differences(result: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """As `differences`, for gradients of which golden files keep a probe (golden_recipe.probe)."""
    _same_names(result, expected, "gradients")
    largest_of_all = max(float(array[1]) for array in expected.values())
    shares = {}
    for name, array in expected.items():
        norm, largest, product, *entries = recipe.probe(name, result[name]).astype(np.float64)
        tolerance = _allowed(float(array[1]), largest_of_all)
        # The norm of a difference, and its product with a direction of unit deviations, are bounded by its entries.
        spread = tolerance * result[name].size ** 0.5
        shares[name] = max(
            abs(norm - array[0]) / spread,
            abs(largest - array[1]) / tolerance,
            abs(product - array[2]) / (4 * spread),
            float(np.abs(np.array(entries) - array[3:]).max()) / tolerance,
        )
    return shares


def _same_names(a: dict[str, np.ndarray], b: dict[str, np.ndarray], part: str) -> None:
    if a.keys() != b.keys():
        raise AssertionError(f"{part}: only one side has {sorted(a.keys() ^ b.keys())}")


def _largest(a: np.ndarray, b: np.ndarray, name: str) -> float:
    if a.shape != b.shape:
        raise AssertionError(f"{name}: {a.shape} against {b.shape}")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))
