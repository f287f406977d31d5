"""Two evaluations of the same pictures, compared picture by picture."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from palgan_jax.errors import UserError
from palgan_jax.evaluation.protocols import base_name, first_few
from palgan_jax.evaluation.record import Evaluation
from palgan_jax.evaluation.results import read_results
from palgan_jax.evaluation.table import describe_protocol, describe_system
from palgan_jax.metrics.catalogue import find_metric, in_order
from palgan_jax.metrics.confidence import LEVEL, RESAMPLES, paired_interval
from palgan_jax.pretrained.kinds import KINDS
from palgan_jax.util.files import write_file

SAME_TRUTH = 0.01
"""How far the colorfulness of the same photograph may lie apart, for the rounding of other devices."""


@dataclass(frozen=True)
class MetricDifference:
    """A metric of A and of B.

    Attributes:
      first, second: the means, or the numbers of the whole sets, of A and B.
      difference: A - B.
      low, high: the 95 % paired bootstrap interval of the mean difference; None for a number of the whole set.
      first_better: the share of pictures where A is strictly better; None where neither direction is better.
      ties: the share of pictures where both have the same value; None for a number of the whole set.
      verdict: for people. A difference is clear where its interval does not hold 0.
    """

    first: float
    second: float
    difference: float
    low: float | None = None
    high: float | None = None
    first_better: float | None = None
    ties: float | None = None
    verdict: str = "one number a set, no interval"


@dataclass(frozen=True)
class Comparison:
    """Two evaluations side by side: labels of A and B, what both were measured on, and a MetricDifference a metric.

    `only_first` and `only_second` are metrics that the other does not have.
    """

    first: str
    second: str
    protocol: str
    count: int
    metrics: dict[str, MetricDifference]
    only_first: list[str] = field(default_factory=list)
    only_second: list[str] = field(default_factory=list)


def compare(first: Evaluation, second: Evaluation, *, resamples: int = RESAMPLES) -> Comparison:
    """Compares two evaluations, A and B.

    Raises UserError where they are not of the same pictures and resize, or a metric's network had other weights.
    """
    order = pairing(first, second)
    _refuse_other_networks(first, second)
    # What is measured of the truth alone is the same for both.
    common = in_order(first.values.keys() & second.values.keys())
    shared = [name for name in common if find_metric(name).inputs != ("truth",)]
    metrics: dict[str, MetricDifference] = {}
    if shared:
        a, b = (np.stack([e.values[name] for name in shared], axis=1) for e in (first, second))
        b = b[order]
        lows, highs = paired_interval(a, b, resamples=resamples)
        for i, name in enumerate(shared):
            metrics[name] = _paired(name, a[:, i], b[:, i], float(lows[i]), float(highs[i]))
    for name in first.whole.keys() & second.whole.keys():
        a, b = first.whole[name], second.whole[name]
        metrics[name] = MetricDifference(a, b, a - b)
    names_a, names_b = (set(e.values) | set(e.whole) for e in (first, second))
    return Comparison(
        describe_system(first),
        describe_system(second),
        describe_protocol(first),
        first.count,
        {name: metrics[name] for name in in_order(metrics)},
        sorted(names_a - names_b),
        sorted(names_b - names_a),
    )


def pairing(first: Evaluation, second: Evaluation) -> list[int]:
    """Returns the number in B of each picture of A. Raises UserError where the two have other pictures or resizes."""
    for aspect, a, b in (
        ("protocol", describe_protocol(first), describe_protocol(second)),
        ("resize", first.resize, second.resize),
        ("number of pictures", first.count, second.count),
    ):
        if a != b:
            raise UserError(
                f"the {aspect} of A is {a} and that of B {b}: compare evaluations of one protocol, list and resize."
            )
    a, b = first.names, second.names
    if set(a) != set(b):  # the same files in other folders
        a, b = [base_name(name) for name in a], [base_name(name) for name in b]
    if first.list_sha256 != second.list_sha256 or set(a) != set(b) or len(set(a)) != len(a):
        names = first_few(sorted(set(a) - set(b))) or "none of its own"
        raise UserError(
            f"the two are of different pictures (A alone has {names}): measure both on the same list, then compare."
        )
    places = {name: i for i, name in enumerate(b)}
    order = [places[name] for name in a]
    if all("colorfulness_truth" in evaluation.values for evaluation in (first, second)):
        truth_a, truth_b = first.values["colorfulness_truth"], second.values["colorfulness_truth"][order]
        if len(rows := np.flatnonzero(np.abs(truth_a - truth_b) > SAME_TRUTH)):
            raise UserError(
                f"the two have different photographs under the same names ({first_few([a[i] for i in rows])}): "
                "measure both against the same truth, then compare."
            )
    return order


def _refuse_other_networks(first: Evaluation, second: Evaluation) -> None:
    shared_kinds = first.weights.keys() & second.weights.keys() & KINDS.keys()  # those of systems may differ
    if kinds := sorted(name for name in shared_kinds if first.weights[name] != second.weights[name]):
        raise UserError(
            f"the two were measured with different weights of {', '.join(kinds)}: import one file for both and measure "
            "again."
        )


def _paired(name: str, a: np.ndarray, b: np.ndarray, low: float, high: float) -> MetricDifference:
    direction = find_metric(name).direction
    wins = {"higher": a > b, "lower": a < b}.get(direction)
    if low <= 0 <= high:
        verdict = "no clear difference"
    elif direction == "neither":
        verdict = "a clear difference"
    else:
        verdict = "A is better" if (low > 0) == (direction == "higher") else "B is better"
    share = None if wins is None else float(wins.mean())
    means = float(a.mean()), float(b.mean())
    return MetricDifference(*means, means[0] - means[1], low, high, share, float((a == b).mean()), verdict)


def as_text(comparison: Comparison) -> str:
    """Returns the comparison as a table for people."""
    rows = [["metric", "A", "B", "A - B", "95 % interval", "A better", ""]]
    for name, row in comparison.metrics.items():
        decimals = find_metric(name).decimals
        interval = "-" if row.low is None else f"{row.low:+.{decimals}f} to {row.high:+.{decimals}f}"
        share = "-" if row.first_better is None else f"{100 * row.first_better:.1f} %"
        numbers = [f"{row.first:.{decimals}f}", f"{row.second:.{decimals}f}", f"{row.difference:+.{decimals}f}"]
        rows.append([find_metric(name).label, *numbers, interval, share, row.verdict])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:6], widths[1:6], strict=True)), row[6]])
        for row in rows
    ]
    lines = [
        f"A: {comparison.first}",
        f"B: {comparison.second}",
        f"{comparison.count:,} pictures of {comparison.protocol}",
        "",
        *(line.rstrip() for line in table),
        "",
        "A difference is clear where its 95 % interval, of pictures drawn anew, does not hold 0.",
    ]
    for letter, names in (("A", comparison.only_first), ("B", comparison.only_second)):
        if names:
            lines.append(f"Measured of {letter} alone: {', '.join(find_metric(name).label for name in names)}.")
    return "\n".join(lines)


def compare_folders(first: str | Path, second: str | Path, output: str | Path | None = None) -> Comparison:
    """Compares what `palgan evaluate` wrote into two folders; with `output`, writes the comparison there as JSON.

    Raises UserError where a folder holds no results, the two cannot be compared or the file cannot be written.
    """
    comparison = compare(read_results(first), read_results(second))
    if output is not None:
        contents = {**asdict(comparison), "intervals": {"level": LEVEL, "resamples": RESAMPLES}}
        write_file(Path(output), (json.dumps(contents, indent=2, allow_nan=False) + "\n").encode())
    return comparison
