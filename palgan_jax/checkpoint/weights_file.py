"""Weights for colorizing in one file (safetensors).

The file holds the EMA weights under names such as `params/palette_generator/.../kernel`, and in its metadata the
config (JSON), the step, the metrics and the version of this format.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open

from palgan_jax.checkpoint.weights import COLLECTIONS, Weights, without_canceled_biases
from palgan_jax.errors import UserError
from palgan_jax.util.files import write_file

FORMAT = 1


def save_weights(path: str | os.PathLike, weights: Weights, dtype: str = "float32") -> None:
    """Writes weights into one .safetensors file, whole or not at all.

    `dtype`: "float32", or "float16" to store the parameters in half the space.
    Raises UserError for another ending, another dtype, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UserError(f"weights are written to a file that ends in .safetensors, not to {path}.")
    if dtype not in ("float32", "float16"):
        raise UserError(f"weights can be stored as float32 or float16, not as {dtype}.")
    flat: Any = flatten_dict({c: weights.variables.get(c, {}) for c in COLLECTIONS}, sep="/")
    tensors = {}
    for name, leaf in flat.items():
        value = np.asarray(leaf)
        value = np.ascontiguousarray(value, np.float32) if np.issubdtype(value.dtype, np.floating) else value
        tensors[name] = _to_half(name, value) if dtype == "float16" else value
    metadata = {
        "format": "palgan_jax",
        "format_version": str(FORMAT),
        "step": str(int(weights.step)),
        "config": json.dumps(weights.config),
        "metrics": json.dumps(dict(weights.metrics)),
    }
    write_file(path, safetensors.numpy.save(tensors, metadata))


def _to_half(name: str, value: np.ndarray) -> np.ndarray:
    """Converts parameters to float16; statistics, which take next to no room, and what overflows stay float32."""
    if not name.startswith("params/") or np.abs(value).max(initial=0.0) > np.finfo(np.float16).max:
        return value
    return value.astype(np.float16)


def load_weights(path: str | os.PathLike) -> Weights:
    """Reads a file of `save_weights`; parameters are float32 numpy arrays whatever they are stored as.

    Raises UserError for a missing, broken or foreign file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"there are no weights at {path} ({'it is a folder' if path.is_dir() else 'no such file'}): check the path."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != "palgan_jax":
                raise UserError(f"{path} is a safetensors file, but does not hold weights of palgan_jax: name another.")
            if int(metadata["format_version"]) > FORMAT:
                raise UserError(f"{path} was written by a newer version of palgan_jax: update the package to read it.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        config, metrics = json.loads(metadata["config"]), json.loads(metadata.get("metrics", "{}"))
        step = int(metadata["step"])
        if not isinstance(config, dict) or not isinstance(metrics, dict):
            raise ValueError("its config or its metrics are not named values")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a readable weights file ({error}): it may be truncated, get it again."
        ) from error
    floats = {n: v.astype(np.float32) if np.issubdtype(v.dtype, np.floating) else v for n, v in tensors.items()}
    variables = {**{collection: {} for collection in COLLECTIONS}, **unflatten_dict(floats, sep="/")}
    variables = without_canceled_biases(variables, config)
    return Weights(variables, config, step, metrics, str(path), f"step {step} of {path}")
