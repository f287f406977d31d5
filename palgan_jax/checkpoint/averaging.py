"""Averages the weights of several steps of a run, which are often better together than each alone.

Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from etils import epath

from palgan_jax.checkpoint.weights import Weights, steps_in_words
from palgan_jax.errors import UserError


def average_weights(weights: Sequence[Weights]) -> Weights:
    """Returns the mean of weights that have one config, as those of the last step; a step that comes twice counts once.

    Vectors of spectral norms are no averages, but those of the last step. The metrics of each step say nothing of the
    mean and are left out. Raises UserError where the weights are not all of the same parameters, or all of one step.
    """
    weights = list({checkpoint.step: checkpoint for checkpoint in weights}.values())
    last = max(weights, key=lambda checkpoint: checkpoint.step)
    if len(weights) < 2:
        raise UserError(f"{last.source} is all that was named, and has no mean: name another step beside it.")
    structures = {str(jax.tree.map(np.shape, checkpoint.variables)) for checkpoint in weights}
    if len(structures) > 1:
        raise UserError("weights of different networks have no mean: name steps of one run.")

    def mean(collection: str) -> Any:
        trees = [checkpoint.variables[collection] for checkpoint in weights]
        return jax.tree.map(lambda *leaves: np.mean(leaves, axis=0, dtype=np.float64).astype(np.float32), *trees)

    means = {name: mean(name) for name in ("params", "batch_stats") if name in last.variables}
    steps = tuple(sorted(checkpoint.step for checkpoint in weights))
    source = f"{steps_in_words(last.step, steps)} of {epath.Path(last.path).parent}"
    return replace(last, variables={**last.variables, **means}, metrics={}, source=source, averaged=steps)
