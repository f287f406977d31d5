"""The settings of `--sweep batch=8,16 precision=float32,bfloat16`: all combinations of the values."""

from collections.abc import Sequence
from itertools import product

from palgan_jax.errors import UserError

SHORT = {
    "width": ("net.width", "discriminator.width"),
    "perceptual": ("loss.perceptual",),
}
"""Short names of axes, and the fields of the config that they set."""
NO_FIELDS = ("config", "topology", "batch")
"""Axes that are not fields of the config."""

Setting = dict[str, str]


def settings(axes: Sequence[str]) -> list[Setting]:
    """Returns all combinations of axes such as "batch=8,16": [{"batch": "8"}, {"batch": "16"}].

    The last axis changes fastest. Raises UserError for an axis without values.
    """
    choices: dict[str, list[str]] = {}
    for axis in axes:
        name, _, values = axis.partition("=")
        choices[name] = [value for value in values.split(",") if value]
        if not choices[name]:
            raise UserError(f"--sweep {axis} has no values: write it as batch=8,16,32.")
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def overrides(setting: Setting) -> list[str]:
    """Returns the fields that a setting changes, as `palgan_jax.config.load_config` takes them: net.width=0.5."""
    fields = {name: SHORT.get(name, (name,)) for name in setting if name not in NO_FIELDS}
    return [f"{field}={setting[name]}" for name in fields for field in fields[name]]
