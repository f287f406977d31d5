"""The configs that checkpoints hold, of this version and of earlier ones, and as they leave a machine."""

import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from palgan_jax.config.checks import check_config
from palgan_jax.config.fields import default_config, flatten
from palgan_jax.errors import UserError, one_line, printable

RENAMED = {
    "net.normalise_palette": "net.normalize_palette",
    "palette.normalisation": "palette.normalization",
    "data.host_lab": None,
    "loss.adversarial_from": None,
}
"""Fields of earlier checkpoints, and their names here; None for those that make no difference to what is painted."""


FIRST_READING = {
    "net.guide": "convolution",
    "render_leak": 1.0,
    "discriminator.palette": "plain",
}
"""Fields that configs of the first reading of the paper lack, and what their runs did (method: section 11)."""


_ABSOLUTE = re.compile(r"(?<![\w./\\-])(?:gs:/|[A-Za-z]:|~[\w.-]*|\\)?[/\\](?:(?! \+ ).)+", re.DOTALL)
"""An absolute path, an address of a bucket, or one of Windows, as far as the next part of a mixture."""
_VERSION = re.compile(r"\d+\.\d+\.\d+(@|$)")


def flatten_saved(fields: dict) -> dict[str, Any]:
    """Flattens the config of a checkpoint, as `flatten`, to the fields of this version."""
    all_fields = {RENAMED.get(name, name): value for name, value in flatten(fields).items()}
    current_fields = {name: value for name, value in all_fields.items() if name is not None}
    if "net.guide" in current_fields or "net.width" not in current_fields:
        return current_fields
    # The radius was one in pixels, whatever the resolution.
    radius = {
        "net.guided_radius": round(
            current_fields.get("net.guided_radius", 4) * 256 / current_fields.get("resolution", 256)
        )
    }
    return FIRST_READING | current_fields | radius


def from_dict(fields: dict[str, Any]) -> ConfigDict:
    """Returns the config of a checkpoint; fields that are missing there have their defaults.

    Raises UserError where the checkpoint holds a field that this version does not know, or values that do not fit.
    """
    config = default_config()
    defaults = flatten(config)
    try:
        for name, value in flatten_saved(fields).items():
            if name not in defaults:
                raise UserError(
                    f"the checkpoint's config has the field {printable(name)}, unknown to this version: update the "
                    "package."
                )
            if value is None or isinstance(value, bool) != isinstance(defaults[name], bool):
                raise TypeError(f"{name} is {value}")
            config.update_from_flattened_dict({name: value})
    except (TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise UserError(
            f"the checkpoint's config is not one of palgan_jax ({one_line(error)}): name another."
        ) from error
    try:
        check_config(config)
    except UserError as error:
        raise UserError(f"the config of the checkpoint cannot be used, {printable(error)}") from error
    return config


def without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config in which absolute paths are their last parts: where files lie here concerns nobody else.

    Of a prepared set, whose last part is a version, two parts are left.
    """
    return {
        name: without_folders(value)
        if isinstance(value, Mapping)
        else _ABSOLUTE.sub(_last_part, value)
        if isinstance(value, str)
        else value
        for name, value in config.items()
    }


def _last_part(path: re.Match[str]) -> str:
    *folders, last = re.split(r"[/\\]+", path[0].rstrip("/\\"))
    return "/".join([*folders[-1:], last]) if _VERSION.match(last) else last or path[0]
