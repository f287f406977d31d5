"""Difference in colorfulness of two sets; that of a picture is `color.colorfulness`."""

import numpy as np


def delta_colorfulness(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Computes |mean CF(predictions) - mean CF(truths)| from the colorfulness of each picture of a set, (N,) each.

    A difference of means, as the field's tables have it, not a mean of differences: a set that is too colorful in
    one half and too pale in the other has none.
    """
    return float(abs(predicted.mean() - truth.mean()))
