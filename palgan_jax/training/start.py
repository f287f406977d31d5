"""The model that a run starts from: the bundled one, or that of a run, a checkpoint or a weights file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from palgan_jax.checkpoint.find import find_weights, has_one_step
from palgan_jax.checkpoint.reading import best_in, has_checkpoints, load_discriminator, load_ema
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.config import apply_overrides, flatten, from_dict, model_fields
from palgan_jax.errors import UserError
from palgan_jax.util.trees import flatten_names, unflatten_names

FILE = "start.json"  # within a working directory


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
      weights: the model; its averaged weights are those that the training changes.
      discriminator: variables of D; empty where D begins anew.
    """

    weights: Weights
    discriminator: dict[str, Any]

    def record(self) -> bytes:
        """Returns what WORKDIR/start.json says: which step of which model, its metrics and its config."""
        weights = self.weights
        origin = {"source": weights.source, "step": weights.step, "discriminator": bool(self.discriminator)}
        return json.dumps({**origin, "metrics": dict(weights.metrics), "config": weights.config}, indent=2).encode()

    def __str__(self) -> str:
        return f"{self.weights.source}, with {'its own' if self.discriminator else 'a new'} discriminator"


def find_model(name: str) -> Weights:
    """Loads the model that `--from NAME` means: "bundled", or a path as `find_weights` takes it.

    Of a working directory it is the best step by the rule of its run, or the latest where none was measured.
    Raises UserError as `find_weights` does.
    """
    if name == "bundled":
        return find_weights()
    return find_weights(name, None if has_one_step(name) else best_in(name))


def follow(config: ConfigDict, overrides: Sequence[str], workdir: str | Path | None = None) -> ConfigDict:
    """Returns a config that starts from a model with the fields of that model, and any other config as it is.

    These are the fields that the model only works with, and those of the discriminator where the model has one;
    `overrides` are applied once more. A run that is resumed in `workdir` follows its own checkpoints: its start may be
    gone.
    """
    if not config.start:
        return config
    resumed = workdir is not None and has_checkpoints(workdir)
    model = load_ema(workdir) if resumed else find_model(config.start)
    model_config = from_dict(model.config)
    fields = model_fields(model_config) | (_discriminator_fields(model_config) if _has_discriminator(model) else {})
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(fields)
    apply_overrides(config, overrides)
    return config


def load_start(config: ConfigDict) -> Start:
    """Loads the model that a config starts from, and its discriminator where the config's has the same fields.

    G may begin to paint at another size, `net.paint_stride`. Its own layers are convolutions and attention, which stay;
    those that bring E's maps to it are left out, since other maps have its sizes then.
    Raises UserError where there is no such model, and where the config asks for another one.
    """
    weights = find_model(config.start)
    model_config, run_fields = from_dict(weights.config), model_fields(config)
    for name, value in model_fields(model_config).items():
        if run_fields[name] == value:
            continue
        if name == "net.paint_stride":
            weights = replace(weights, variables=without_taps(weights.variables))
        else:
            raise UserError(
                f"--config.{name}={run_fields[name]} does not fit the model to start from, {weights.source}, which has "
                f"{value}: leave it out, or start from another model."
            )
    has_discriminator = _has_discriminator(weights) and _discriminator_fields(model_config) == _discriminator_fields(
        config
    )
    return Start(weights, load_discriminator(weights.path) if has_discriminator else {})


def without_taps(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out the convolutions that bring the maps of a pretrained encoder to G."""
    return unflatten_names({name: x for name, x in flatten_names(variables).items() if "/tap_" not in name})


def _has_discriminator(weights: Weights) -> bool:
    """Returns True for a checkpoint of a run; a file of weights has E and G alone."""
    return not weights.path.endswith(".safetensors")


def _discriminator_fields(config: ConfigDict) -> dict[str, Any]:
    return {f"discriminator.{name}": value for name, value in flatten(config.discriminator).items()}
