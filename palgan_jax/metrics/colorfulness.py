"""Colorfulness (Hasler and Süsstrunk, 2003), as the original defines it and as the colorization field computes it."""

import numpy as np

from palgan_jax.color import colorfulness

__all__ = ["colorfulness", "delta_colorfulness"]


def delta_colorfulness(predicted: np.ndarray, truth: np.ndarray) -> float:
    """|mean CF(predictions) - mean CF(truths)| of the colorfulness of every picture of a set, (N,) each.

    A difference of means, as the field's tables have it, not a mean of differences: a set that is too colorful in
    one half and too pale in the other has none.
    """
    return float(abs(predicted.mean() - truth.mean()))
