"""Trained weights with their config, wherever they were read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COLLECTIONS = ("params", "batch_stats", "spectral")


@dataclass(frozen=True)
class Weights:
    """The weights of `PalGAN`, with their config and origin.

    Attributes:
      variables: {"params", "batch_stats", "spectral"}, each a tree of arrays or left out.
      config: the config that they were trained with, as nested dicts of JSON types.
      step: the training step.
      metrics: results of the validation at that step, by name.
      path: the file or the folder; "" for weights that were never written.
      source: the step and the path, for people: "step 12000 of runs/a/checkpoints/12000".
    """

    variables: dict[str, Any]
    config: dict[str, Any]
    step: int
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    path: str = ""
    source: str = ""
