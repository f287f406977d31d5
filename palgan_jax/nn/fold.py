"""Trained variables with what is constant at use computed once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from palgan_jax.util.trees import flatten, unflatten

if TYPE_CHECKING:
    from palgan_jax.nn.palgan import PalGAN


def fold_spectral_norm(network: "PalGAN", variables: Mapping[str, Any]) -> "tuple[PalGAN, dict[str, Any]]":
    """Divides the kernels by their singular values, as `nn.layers.spectral_norm` does at every call.

    Returns a network without spectral norm and its variables, without the collection "spectral". They compute the same
    but for rounding, in a program that compiles in two thirds of the time. Raises KeyError where a vector is missing,
    and ValueError where one does not fit its kernel.
    """
    if not network.spectral:
        return network, dict(variables)
    folded = {name: tree for name, tree in variables.items() if name != "spectral"}
    vectors, params = flatten(variables["spectral"]), flatten(variables["params"])
    for path, value in params.items():
        if has_spectral_norm(path):
            with np.errstate(over="ignore", invalid="ignore"):  # numbers that no training made
                params[path] = divided_by_sigma(np.asarray(value), np.asarray(vectors[(*path[:-1], "u")]))
    return network.clone(spectral=False), {**folded, "params": unflatten(params)}


def has_spectral_norm(path: tuple[str, ...]) -> bool:
    """Returns True for parameters under spectral norm: the kernels of G but those of its norms (method: section 4)."""
    in_norm = any(name.startswith("norm_") for name in path)
    return path[0] == "assignment_generator" and path[-1] == "kernel" and not in_norm


def divided_by_sigma(kernel: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Divides a kernel (..., C) by its largest singular value, of which `u` (1, C) is the vector that training kept."""
    matrix = kernel.reshape(-1, kernel.shape[-1])  # (M, C)
    if u.shape != (1, kernel.shape[-1]):
        raise ValueError(f"a vector (1, {kernel.shape[-1]}) was expected, not {u.shape}")
    left = _unit(u @ matrix.T)  # (1, M)
    right = _unit(left @ matrix)  # (1, C)
    sigma = np.sum((left @ matrix) * right)
    return kernel / (sigma if sigma != 0 else np.float32(1))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.sum(x**2) + np.float32(1e-12))
