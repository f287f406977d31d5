"""Confidence intervals of means over pictures, by the percentile bootstrap (Efron, 1979).

Only the choice of pictures is resampled. The interval says how much a mean would move with other pictures of the same
kind; it knows nothing of other runs of the training. With N pictures it is shorter than Student's t by a factor of
1.96 sqrt(1 - 1 / N) / t(N - 1): 0.97 with 57 pictures, 0.93 with 24, 0.82 with 10.
"""

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_AT_ONCE = 2**22  # drawn numbers in memory at a time


def resampled_means(values: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Computes the means over pictures of `resamples` drawings with replacement: (N, ...) to (resamples, ...), float64.

    All columns of `values` share the drawings. The same seed and N give the same drawings, so that the means of two
    runs over the same pictures can be subtracted.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        raise ValueError("there are no values to resample")
    rng = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // values.size)
    means = [
        values[rng.integers(0, len(values), (min(rows, resamples - start), len(values)))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(means)


def interval(values: np.ndarray, *, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Computes the ends, (...) each, of the interval that holds the mean of `values` (N, ...) with chance LEVEL."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled_means(values, resamples=resamples), (tail, 1 - tail), axis=0)
    return low, high


def paired_interval(
    values: np.ndarray, others: np.ndarray, *, resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the interval of mean(values) - mean(others), both (N, ...) of the same pictures in the same order.

    Much narrower than two intervals side by side: what makes a picture hard is hard for both. A difference whose
    interval holds 0 is no difference.
    """
    values, others = np.asarray(values, np.float64), np.asarray(others, np.float64)
    if values.shape != others.shape:
        raise ValueError(f"a paired difference needs the same pictures, got {values.shape} and {others.shape}")
    return interval(values - others, resamples=resamples)
