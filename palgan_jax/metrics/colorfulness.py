"""Colorfulness (Hasler and Süsstrunk, 2003), as the original defines it and as the colorization field computes it."""

from typing import TypeVar

import jax
import numpy as np

Array = TypeVar("Array", jax.Array, np.ndarray)


def colorfulness(rgb: Array, *, signed: bool = False) -> Array:
    """The colorfulness (B,) of sRGB pictures (B, H, W, 3) in [0, 255], NumPy's or JAX's, of any type.

    The opponent channels are taken absolutely, as the field's tables do; `signed` takes them as the original does.
    """
    rgb = rgb * 1.0  # type: ignore[assignment]  # differences of bytes would wrap
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    rg, yb = red - green, (red + green) / 2 - blue
    if not signed:
        rg, yb = abs(rg), abs(yb)
    pixels = (1, 2)
    spread = (rg.var(axis=pixels) + yb.var(axis=pixels)) ** 0.5
    shift = (rg.mean(axis=pixels) ** 2 + yb.mean(axis=pixels) ** 2) ** 0.5
    return spread + 0.3 * shift  # type: ignore[return-value]


def delta_colorfulness(predicted: np.ndarray, truth: np.ndarray) -> float:
    """|mean CF(predictions) - mean CF(truths)| of the colorfulness of every picture of a set, (N,) each.

    A difference of means, as the field's tables have it, not a mean of differences: a set that is too colorful in
    one half and too pale in the other has none.
    """
    return float(abs(predicted.mean() - truth.mean()))
