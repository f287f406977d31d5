"""Paths with weights, as options of commands have them."""

import os
from pathlib import Path

from palgan_jax.errors import UserError


def weighted_path(word: str) -> tuple[Path, float]:
    """Returns the path and the weight, 1 where none is given, of PATH or PATH:WEIGHT.

    A file that is called like that is meant before. Raises UserError for a weight below 0.
    """
    name, colon, text = word.rpartition(":")
    if not colon or os.path.lexists(word):
        return Path(word), 1.0
    try:
        weight = float(text)
    except ValueError:
        return Path(word), 1.0
    if not 0 <= weight < float("inf"):
        raise UserError(f"the weight of {name} is a number of at least 0, not {text}.")
    return Path(name), weight
