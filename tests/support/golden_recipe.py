"""Inputs and weights of the golden files, drawn from their names alone, so that the files need hold only results.

A value depends on nothing but its name and shape: the bits come straight from PCG64, whose stream NumPy keeps for ever,
and are turned into numbers by arithmetic here. Names and shapes are Flax's (e.g. `params/stem/kernel`, HWIO).
"""

import zlib
from typing import Any

import numpy as np

SAMPLES = 64
"""How many entries of each gradient a golden file keeps."""


def uniform(name: str, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Numbers in [low, high) that the name determines, float32 of the shape given."""
    bits = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape, dtype=int)))
    return (low + (high - low) * ((bits >> np.uint64(11)) * 2.0**-53)).astype(np.float32).reshape(shape)


def spread(name: str, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    """Numbers of mean zero and standard deviation `scale` that the name determines."""
    return uniform(name, shape, -scale * 3**0.5, scale * 3**0.5)


def palette(name: str, batch: int, bins: int = 256) -> np.ndarray:
    """Palettes (batch, bins) with a few strong colors each, sum 1; no bin is empty, as none of a real palette is."""
    h = uniform(name, (batch, bins)) ** 4 + np.float32(1e-3)
    return h / h.sum(-1, keepdims=True)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A network's variable: weights scaled by their fan-in, statistics and vectors in a plausible range."""
    *_, layer, kind = name.split("/")
    if kind == "kernel":
        gain = 0.3 if layer in ("gamma", "beta") else 1.0
        return spread(name, shape, gain * float(np.prod(shape[:-1], dtype=int)) ** -0.5)
    if kind == "var":
        return uniform(name, shape, 4.0, 12.0)  # such that a deep network neither explodes nor fades in evaluation
    if kind == "scale":
        return uniform(name, shape, 0.5, 1.5)
    return spread(name, shape, 1.0 if kind == "u" else 0.3)


def weights(shapes: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fills a nested dictionary of things with a shape; a leaf's name is its path, joined by `/`."""
    return {
        key: weights(value, f"{prefix}{key}/") if isinstance(value, dict) else weight(f"{prefix}{key}", value.shape)
        for key, value in shapes.items()
    }


def flatten(tree: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """A nested dictionary of arrays as one of paths, joined by `/`."""
    if not isinstance(tree, dict):
        return {prefix: np.asarray(tree)}
    return {
        path: array
        for key, value in tree.items()
        for path, array in flatten(value, f"{prefix}/{key}" if prefix else key).items()
    }


def probe(name: str, gradient: np.ndarray) -> np.ndarray:
    """What a golden file keeps of a gradient: its norm, largest entry, product with a random direction, some entries.

    The norm and the product see every entry; the entries say where a difference lies.
    """
    flat = np.asarray(gradient, np.float64).ravel()
    picked = flat[np.linspace(0, flat.size - 1, min(SAMPLES, flat.size)).astype(int)]
    product = flat @ spread(f"direction of {name}", flat.shape).astype(np.float64)
    return np.concatenate([[np.linalg.norm(flat), np.abs(flat).max(), product], picked]).astype(np.float32)
