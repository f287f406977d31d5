"""Reading a config: its file, the variant of it, and overrides of single fields."""

import ast
import difflib
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from palgan_jax.config.checks import check_config
from palgan_jax.config.fields import flatten
from palgan_jax.errors import UserError

# In a checkout these are links to folders at its top; in an installed package they are folders.
CONFIGS = Path(__file__).parents[1] / "configs"
EXAMPLES = Path(__file__).parents[1] / "examples"


def load_config(spec: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads a config as `read_config` does, and checks it. Raises UserError as that and `check_config` do."""
    config = read_config(spec, overrides)
    check_config(config)
    return config


def read_config(spec: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads `NAME` or `FILE.py`, or with `:ARG` its get_config(ARG), and applies `field=value` overrides.

    Raises UserError for a missing or broken file, and for an override of an unknown field or of another type.
    """
    name, _, arg = spec.partition(":")
    path = _config_file(name)
    try:
        get_config = runpy.run_path(str(path))["get_config"]
        config = get_config(arg) if arg else get_config()
    except UserError:
        raise
    except Exception as error:  # whatever a file of Python can do
        raise UserError(
            f"the config file {path} cannot be used ({type(error).__name__}: {error}): it must define get_config, "
            "which takes the name of a variant and returns the config."
        ) from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"get_config of {path} returns no ConfigDict: start from palgan_jax.config.default_config().")
    apply_overrides(config, overrides)
    return config


def _config_file(name: str) -> Path:
    """Returns the file of a config. Raises UserError where there is none."""
    bundled = sorted(CONFIGS.glob("*.py"))
    for path in (Path(name), *(file for file in bundled if file.stem == name)):
        if path.is_file():
            return path
    raise UserError(
        f"there is no config file at {name}: give a Python file, or the name of one that comes with the package, "
        f"{', '.join(file.stem for file in bundled)}."
    )


def apply_overrides(config: ConfigDict, overrides: Sequence[str]) -> None:
    """Sets the field of each "net.width=0.5". Raises UserError for unknown fields and values of another type."""
    fields = flatten(config)
    for override in overrides:
        name, has_value, text = override.partition("=")
        if name not in fields or not has_value:
            suggestions = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
            hint = (
                f"did you mean {suggestions[0]}?"
                if suggestions
                else "the fields are listed in palgan_jax/config/fields.py."
            )
            problem = "has no value" if name in fields else "is not a field of the config"
            raise UserError(f"--config.{name} {problem}: {hint if name not in fields else 'write it as field=value.'}")
        config.update_from_flattened_dict({name: _parse(name, text, fields[name])})


def _parse(name: str, text: str, current: Any) -> Any:
    if isinstance(current, str):
        return text
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text.lower(), text))
    except (ValueError, SyntaxError):
        value = text
    if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(current):
        kind = {int: "a whole number", float: "a number", bool: "true or false"}[type(current)]
        raise UserError(f"--config.{name}={text} does not fit: it must be {kind}, such as {current}.")
    return value


def variant(config: ConfigDict, name: str = "") -> ConfigDict:
    """Returns the config: as it is for "", for "runlocal" changed to a run of seconds on a laptop's processor.

    "runlocal" keeps the config's own kind of networks, losses and optimizer and shrinks the rest. It needs no files
    but the bundled photographs. Raises UserError for other names.
    """
    if name == "runlocal":
        config.resolution = 64
        config.batch_size = 8
        config.accumulate = 1
        config.precision = "float32"
        config.net.width = 0.125
        config.discriminator.width = 0.125
        config.loss.perceptual = 0.0  # needs weights that are not bundled
        config.data.train = f"folder:{EXAMPLES / 'photos'}"
        config.data.val = f"folder:{EXAMPLES / 'samples'}"
        config.total = "20 steps"
        config.log_every = "5 steps"
        config.eval_every = config.checkpoint_every = config.sheet_every = "10 steps"
    elif name:
        raise UserError(
            f"there is no variant {name!r} of this config: leave out what follows the colon, or write runlocal."
        )
    return config
