"""The Fréchet distance of two sets of features (FID where they are Inception's: Heusel et al., 2017).

Features are computed on the device and accumulated here on the host in float64: the covariance of 2048 features is a
small difference of large sums, and accelerators have no fast float64. Parts of a set are merged by the formulas of Chan
et al. (1979), so that neither batch size nor the number of devices or processes matters beyond the last bits.
"""

from dataclasses import dataclass

import numpy as np

from palgan_jax.errors import UserError


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of N feature vectors of length D.

    Attributes:
      count: N.
      mean: (D,), float64.
      scatter: (D, D), float64: the sum of the outer products of deviations from the mean.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Returns the unbiased estimate (D, D), as numpy.cov gives it. Raises UserError for fewer than two vectors."""
        if self.count < 2:
            raise UserError(f"a Fréchet distance needs at least two pictures in each set, and one has {self.count}.")
        return self.scatter / (self.count - 1)


def empty(size: int) -> Moments:
    """Returns the moments of no vectors of length `size`."""
    return Moments(0, np.zeros(size), np.zeros((size, size)))


def update(moments: Moments, features: np.ndarray) -> Moments:
    """Adds vectors (B, D) to moments; B may be 0."""
    features = np.asarray(features, np.float64)
    if not len(features):
        return moments
    mean = features.mean(axis=0)
    deviations = features - mean
    return merge(moments, Moments(len(features), mean, deviations.T @ deviations))


def merge(first: Moments, second: Moments) -> Moments:
    """Returns the moments of two sets together."""
    count = first.count + second.count
    if not count:
        return first
    step = second.mean - first.mean
    mean = first.mean + step * (second.count / count)
    scatter = first.scatter + second.scatter + np.outer(step, step) * (first.count * second.count / count)
    return Moments(count, mean, scatter)


def frechet_distance(first: Moments, second: Moments) -> float:
    """Computes |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), at least 0: 0 for equal moments.

    For FID it depends on the numbers of pictures (fewer give more) and on how they were resized: say both with it. The
    root's trace is the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric: unlike a root
    of the product C1 C2 this stays exact where fewer pictures than features make the covariances singular.
    """
    c1, c2 = first.covariance, second.covariance
    values, vectors = np.linalg.eigh(c1)
    half = vectors * np.sqrt(np.maximum(values, 0))  # (D, D): half half^T = C1
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(half.T @ c2 @ half), 0))
    step = first.mean - second.mean
    return max(float(step @ step + np.trace(c1) + np.trace(c2) - 2 * roots.sum()), 0.0)
