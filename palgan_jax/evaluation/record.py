"""The record of an evaluation: its numbers, and what they were measured on and with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palgan_jax.metrics.catalogue import in_order
from palgan_jax.metrics.confidence import interval


@dataclass(frozen=True)
class Evaluation:
    """One system measured on one list of pictures.

    Attributes:
      system: a label for the system that was measured.
      protocol: the protocol asked for.
      protocol_exact: whether exactly the protocol's pictures were measured; without it the name means nothing.
      list_sha256: of the list of pictures that were measured.
      count: how many those are, N.
      resize: how pictures were resized, for people.
      palette: where palettes came from: "automatic", "truth", "random", "mean" or "none".
      names: of the pictures, no two the same.
      values: by metric, a finite value a picture, float64 (N,).
      whole: by metric, a number of the whole set.
      absent: by metric, the reason why it was left out.
      weights: the SHA-256 of everything that was loaded: the checkpoint, networks of metrics.
      facts: what else belongs to the numbers: versions, devices, seed, date, command.

    Raises ValueError where these contradict each other.
    """

    system: str
    protocol: str
    protocol_exact: bool
    list_sha256: str
    count: int
    resize: str
    palette: str
    names: list[str]
    values: dict[str, np.ndarray]
    whole: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != self.count or len(set(self.names)) != self.count:
            raise ValueError(f"{self.count} pictures need as many different names, got {len(set(self.names))}")
        for name, values in self.values.items():
            if np.shape(values) != (self.count,) or not np.isfinite(values).all():
                raise ValueError(f"{name} needs a finite value for each of {self.count} pictures")
        if bad := [name for name, value in self.whole.items() if not np.isfinite(value)]:
            raise ValueError(f"{', '.join(bad)} of the whole set must be finite")


@dataclass(frozen=True)
class Example:
    """One picture as the report shows it.

    Attributes:
      gray: the luminance that the system got, uint8 (256, 256, 3).
      predicted: the picture that it painted, uint8 (256, 256, 3).
      truth: the photograph, uint8 (256, 256, 3).
      palette: of the painted picture (256,); None for systems that have none.
    """

    gray: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray
    palette: np.ndarray | None = None


Summary = dict[str, dict[str, float]]


def summarize(evaluation: Evaluation) -> Summary:
    """Computes what is printed of each metric, in the order of the catalogue.

    A metric with a value a picture has mean, low and high (the 95 % bootstrap interval of the mean over pictures),
    sd, median and count; a metric of the whole set has value and count.
    """
    intervals: dict[str, tuple[float, float]] = {}
    if evaluation.values:
        columns = np.stack(list(evaluation.values.values()), axis=1)  # (N, M): all metrics share the drawings
        low, high = interval(columns)
        intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(evaluation.values)}
    summary: Summary = {}
    for name in in_order({**evaluation.values, **evaluation.whole}):
        if name in evaluation.whole:
            summary[name] = {"value": float(evaluation.whole[name]), "count": evaluation.count}
            continue
        values, (low, high) = np.asarray(evaluation.values[name], np.float64), intervals[name]
        middle = {"sd": float(values.std()), "median": float(np.median(values))}
        summary[name] = {"mean": float(values.mean()), "low": low, "high": high, **middle, "count": evaluation.count}
    return summary


def headline(entry: Mapping[str, float]) -> float:
    """Returns the one number of an entry of a summary: the mean, or the value of the whole set."""
    return entry["mean"] if "mean" in entry else entry["value"]
