"""Checks what a file or folder of weights says and holds, before it is used.

Whoever made the file, and whatever became of it on its way: what passes is a description of the expected form, and
arrays of finite floats whose names make one tree. Whether the config is one that can work, and whether the arrays fit
its network, is checked where the network is built.
"""

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from palgan_jax.checkpoint.weights import COLLECTIONS
from palgan_jax.errors import printable
from palgan_jax.util.text import in_words

_LAST_STEP = 2**53
"""A program that read JSON with floats, as many do, would mistake steps from here on."""
_MOST_PACKED = 100
"""What arrays are packed to at most, as one part in so many; those of networks hardly at all."""


class Damaged(Exception):
    """Says what is wrong with the files of a checkpoint; the caller names the checkpoint."""


def check_description(step: Any, config: Any, metrics: Any, averaged: Any = ()) -> None:
    """Raises Damaged where the values that were read from JSON are not those that stand beside weights.

    Args:
      step: a whole number from 0 on.
      config: fields by name, and sections of such; each field a text, a number, a truth value, a list of these, or
        nothing.
      metrics: a finite number, or nothing where it was none, by name.
      averaged: nothing, or two steps or more in ascending order, of which `step` is the last.
    """
    if not _is_whole(step) or not 0 <= step < _LAST_STEP:
        raise Damaged(f"its step is {_text_of(step)}")
    if not _are_averaged(averaged, step):
        raise Damaged(f"it is the mean of {_text_of(averaged)}")
    if not isinstance(config, dict) or not isinstance(metrics, dict):
        raise Damaged("its config or its metrics are not named values")
    for name, value in config.items():
        fields = value if isinstance(value, dict) else {name: value}
        if bad_field := next((field for field, leaf in fields.items() if not _is_field(leaf)), None):
            raise Damaged(f"the field {_text_of(bad_field)} of its config is no single value")
    for name, value in metrics.items():
        if value is not None and not _is_number(value):
            raise Damaged(f"its metric {_text_of(name)} is {_text_of(value)} and no number")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_averaged(steps: Any, last: int) -> bool:
    if not isinstance(steps, list | tuple) or not all(map(_is_whole, steps)):
        return False
    ascend = all(a < b for a, b in pairwise(steps))
    return not steps or (ascend and len(steps) > 1 and steps[0] >= 0 and steps[-1] == last)


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _is_field(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(leaf is None or isinstance(leaf, str | bool) or _is_number(leaf) for leaf in values)


def check_arrays(arrays: Mapping[str, tuple[Any, str]], file_bytes: int) -> None:
    """Raises Damaged where arrays that are about to be read cannot be those of a network.

    Args:
      arrays: shape and name of the type of each array, by names such as "params/conv_0/kernel".
      file_bytes: the size of the files that hold them.
    """
    if not arrays:
        raise Damaged("it holds no weights")
    total = 0
    for name, (shape, dtype) in arrays.items():
        collection, *path = name.split("/")
        if collection not in COLLECTIONS or not path or not all(path):
            raise Damaged(f"it holds {_text_of(name)}, which is no part of a network")
        if not dtype.lower().startswith(("f", "bf")):  # float32 or, in files of safetensors, F32
            raise Damaged(f"{_text_of(name)} holds {_text_of(dtype)} instead of floats")
        if not all(_is_whole(side) and side >= 0 for side in shape):
            raise Damaged(f"{_text_of(name)} has the shape {_text_of(shape)}")
        total += 4 * math.prod(shape)
    if clash := _clash(arrays):
        raise Damaged(f"it holds {_text_of(clash)} both as an array and as a part with arrays in it")
    if total > _MOST_PACKED * file_bytes:
        raise Damaged(f"its arrays are of {in_words(min(total, 10**30))}, which its files are too small for")


def _clash(names: Iterable[str]) -> str | None:
    """Returns a name that others continue."""
    parts = {name[:at] for name in names for at, letter in enumerate(name) if letter == "/"}
    return next((name for name in names if name in parts), None)


def sound_values(name: str, values: np.ndarray) -> np.ndarray:
    """Returns an array of floats as float32. Raises Damaged where it holds what no network of ours computes with."""
    with np.errstate(over="ignore"):
        values = np.asarray(values).astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise Damaged(f"{_text_of(name)} holds numbers that are not finite")
    if name.startswith("batch_stats/") and name.endswith("/var") and (values < 0).any():
        raise Damaged(f"{_text_of(name)} holds negative variances")
    return values


def _text_of(value: Any) -> str:
    """Returns a value of unknown origin for a sentence."""
    try:
        text = printable(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"of the type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
