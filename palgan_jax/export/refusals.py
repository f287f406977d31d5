"""What cannot be exported, in sentences."""

from typing import Any

from ml_collections import ConfigDict

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.config import from_dict
from palgan_jax.errors import UserError, one_line


def config_with_palettes(weights: Weights) -> ConfigDict:
    """Returns the config of weights. Raises UserError for models that paint with no palette."""
    config: Any = from_dict(weights.config)
    if config.model != "palgan":
        raise UserError(
            f'a model of the kind "{config.model}" paints with no palette, which exported models take: '
            "only .safetensors can hold it."
        )
    return config


def misfit(weights: Weights, error: Exception) -> UserError:
    """Returns the error for weights that are not those of the network of their config, as `error` says."""
    problem = f"{error.args[0]} is missing" if isinstance(error, KeyError) else one_line(error)
    return UserError(
        f"the weights ({weights.source}) do not fit the network that their own config describes ({problem}): "
        "name another checkpoint."
    )
