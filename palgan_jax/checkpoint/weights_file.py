"""Weights for colorizing in one file (safetensors).

The file holds the EMA weights under names such as `params/palette_generator/.../kernel`, and in its metadata the
config (JSON; absolute paths are their last parts), the step, the metrics and the version of this format; of a mean,
also the steps that it is the mean of.
"""

import json
import os
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import safe_open

from palgan_jax.checkpoint.soundness import Damaged, check_arrays, check_description, sound_values
from palgan_jax.checkpoint.weights import COLLECTIONS, Weights, steps_in_words, without_canceled_biases
from palgan_jax.config import without_folders
from palgan_jax.errors import UserError, one_line
from palgan_jax.util.files import write_file
from palgan_jax.util.trees import flatten_names, unflatten_names

FORMAT = 1
_LONGEST_JSON = 1_000_000


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
    flat = flatten_names({c: weights.variables.get(c, {}) for c in COLLECTIONS})
    tensors = {}
    for name, leaf in flat.items():
        value = np.asarray(leaf)
        value = np.ascontiguousarray(value, np.float32) if np.issubdtype(value.dtype, np.floating) else value
        tensors[name] = stored_array(name, value, dtype)
    metadata = {
        "format": "palgan_jax",
        "format_version": str(FORMAT),
        "step": str(int(weights.step)),
        "config": json.dumps(without_folders(weights.config)),
        # JSON has no NaN.
        "metrics": json.dumps({name: v if v is None or isfinite(v) else None for name, v in weights.metrics.items()}),
        **({"averaged": json.dumps(weights.averaged)} if weights.averaged else {}),
    }
    write_file(path, _with_sorted_metadata(safetensors.numpy.save(tensors, metadata)))


def _with_sorted_metadata(content: bytes) -> bytes:
    """Returns a file whose bytes follow from its weights: safetensors writes metadata in another order each time."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # as safetensors aligns the arrays
    return len(text).to_bytes(8, "little") + text + content[end:]


def stored_array(name: str, value: np.ndarray, dtype: str) -> np.ndarray:
    """Converts parameters to float16, where that is the dtype; statistics, which take next to no room, and what
    overflows stay as they are."""
    holds = name.startswith("params/") and np.abs(value).max(initial=0.0) <= np.finfo(np.float16).max
    return value.astype(np.float16) if dtype == "float16" and holds else value


def load_weights(path: str | os.PathLike, name: str = "") -> Weights:
    """Reads a file of `save_weights`; parameters are float32 numpy arrays whatever they are stored as.

    `name`: what people call it, if not by its path.
    Raises UserError for a missing, broken or foreign file.
    """
    path = Path(path)
    name = name or str(path)
    if not path.is_file():
        raise UserError(
            f"there are no weights at {path} ({'it is a folder' if path.is_dir() else 'no such file'}): check the path."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != "palgan_jax":
                raise UserError(f"{name} is a safetensors file, but does not hold weights of palgan_jax: name another.")
            if int(metadata["format_version"]) > FORMAT:
                raise UserError(f"{name} was written by a newer version of palgan_jax: update the package to read it.")
            step = int(metadata["step"])
            config, metrics = _from_json(metadata["config"]), _from_json(metadata.get("metrics", "{}"))
            averaged = _from_json(metadata.get("averaged", "[]"))
            check_description(step, config, metrics, averaged)
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            arrays = {name: (piece.get_shape(), piece.get_dtype()) for name, piece in slices.items()}
            check_arrays(arrays, path.stat().st_size)
            tensors = {name: sound_values(name, file.get_tensor(name)) for name in arrays}
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes of its readers
        reason = f"its {one_line(error)} is missing" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{name} is not a readable weights file ({reason}): get it again.") from error
    variables = {**{collection: {} for collection in COLLECTIONS}, **unflatten_names(tensors)}
    variables = without_canceled_biases(variables, config)
    source = f"{steps_in_words(step, averaged)} of {name}"
    return Weights(variables, config, step, metrics, str(path), source, tuple(averaged))


def _from_json(text: str) -> Any:
    if len(text) > _LONGEST_JSON:
        raise Damaged(f"its description has {len(text)} letters")
    return json.loads(text)
