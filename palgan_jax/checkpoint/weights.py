"""Trained weights with their config, wherever they were read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COLLECTIONS = ("params", "batch_stats", "spectral")


_ATTENTION = ("params", "assignment_generator", "attention")


def without_canceled_biases(variables: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out the biases that weights of earlier versions hold and that make no difference to any result.

    The softmax cancels that of the keys, and the guided filter that of the guide (method: section 11).
    """
    arrays = _without(variables, (*_ATTENTION, "key", "bias"))
    net = config.get("net")
    if isinstance(net, Mapping) and net.get("local", "guided") == "guided":
        arrays = _without(arrays, (*_ATTENTION, "guide", "bias"))
    return arrays


def _without(tree: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Returns a tree without one of its arrays, and without the branches that held nothing else."""
    name, *inner_path = path
    branch = tree.get(name)
    if not inner_path:
        return {key: leaf for key, leaf in tree.items() if key != name}
    if not isinstance(branch, Mapping):
        return dict(tree)
    remainder = _without(branch, tuple(inner_path))
    return {
        key: remainder if key == name else leaf for key, leaf in tree.items() if key != name or remainder or not branch
    }


def steps_in_words(step: int, averaged: Sequence[int] = ()) -> str:
    """Returns "step 4000", or "mean of steps 1500, 3250 and 4000" where `averaged` names several."""
    if not averaged:
        return f"step {step}"
    *others, last = averaged
    return f"mean of steps {', '.join(map(str, others))} and {last}"


@dataclass(frozen=True)
class Weights:
    """The weights of `PalGAN`, with their config and origin.

    Attributes:
      variables: {"params", "batch_stats", "spectral"}, each a tree of arrays or left out.
      config: the config that they were trained with, as nested dicts of JSON types.
      step: the training step, of a mean the last one.
      metrics: results of the validation of these weights, by name.
      path: the file or the folder; "" for weights that were never written.
      source: the step and the path, for people: "step 12000 of runs/a/checkpoints/12000".
      averaged: the steps, ascending, whose mean the weights are; empty for those of one step.
    """

    variables: dict[str, Any]
    config: dict[str, Any]
    step: int
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    path: str = ""
    source: str = ""
    averaged: tuple[int, ...] = ()

    @property
    def origin(self) -> str:
        """Returns "step 4000", or "mean of steps 1500, 3250 and 4000"."""
        return steps_in_words(self.step, self.averaged)
