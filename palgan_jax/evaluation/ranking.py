"""Any number of evaluations of the same pictures, ranked, each compared picture by picture with the best."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from palgan_jax.errors import UserError, printable
from palgan_jax.evaluation.compare import Comparison, compare
from palgan_jax.evaluation.record import Evaluation, Summary, headline, summarize
from palgan_jax.evaluation.results import read_results
from palgan_jax.evaluation.table import describe_protocol, describe_system
from palgan_jax.metrics.catalogue import find_metric, in_order
from palgan_jax.metrics.confidence import LEVEL, RESAMPLES
from palgan_jax.util.files import write_file
from palgan_jax.util.text import aligned


@dataclass(frozen=True)
class Ranking:
    """Systems in the order of a metric, the best first.

    Attributes:
      metric: the metric of the order.
      protocol, count: what all were measured on.
      systems: their labels.
      summaries: means and intervals of each.
      against_first: the comparison of the first (A) with each of the others (B).
    """

    metric: str
    protocol: str
    count: int
    systems: list[str]
    summaries: list[Summary]
    against_first: list[Comparison]


def rank(evaluations: Sequence[Evaluation]) -> Ranking:
    """Ranks evaluations as `rank_in_order`, whose errors it raises."""
    return rank_in_order(evaluations)[0]


def rank_in_order(evaluations: Sequence[Evaluation]) -> tuple[Ranking, list[int]]:
    """Ranks evaluations by the first metric of the catalogue that all have and in which something is better.

    Returns the ranking, and the numbers of the evaluations in its order. Raises UserError where they are not of the
    same pictures, and where they share no such metric.
    """
    summaries = [summarize(evaluation) for evaluation in evaluations]
    shared = in_order(set.intersection(*map(set, summaries)))
    metric = next((name for name in shared if find_metric(name).direction != "neither"), None)
    if metric is None:
        raise UserError("these results have no metric in common in which one can be better: measure all with the same.")
    sign = -1 if find_metric(metric).direction == "higher" else 1
    order = sorted(range(len(evaluations)), key=lambda i: sign * headline(summaries[i][metric]))
    best = evaluations[order[0]]
    ranking = Ranking(
        metric,
        describe_protocol(best),
        best.count,
        [describe_system(evaluations[i]) for i in order],
        [summaries[i] for i in order],
        [compare(best, evaluations[i]) for i in order[1:]],
    )
    return ranking, order


def shown_metrics(ranking: Ranking) -> list[str]:
    """Returns the metrics of a ranking in the order of tables, without those of the truth alone."""
    names = in_order(set.union(*map(set, ranking.summaries)))
    return [name for name in names if find_metric(name).inputs != ("truth",)]


def as_text(ranking: Ranking) -> str:
    """Returns the ranking as two tables for people: means with their intervals, and differences to the first."""
    names = shown_metrics(ranking)
    head = [find_metric(name).label for name in names]
    means = [["", *head]]
    for number, (system, summary) in enumerate(zip(ranking.systems, ranking.summaries, strict=True), 1):
        means.append([f"{number} {system}", *(_mean(name, summary) for name in names)])
    differences = [["", *head]]
    for number, (system, comparison) in enumerate(zip(ranking.systems[1:], ranking.against_first, strict=True), 2):
        differences.append([f"{number} {system}", *(_difference(name, comparison) for name in names)])
    text = [
        f"{ranking.count:,} pictures of {ranking.protocol}, by {find_metric(ranking.metric).label}",
        "",
        aligned(means),
        "",
        f"Differences to {ranking.systems[0]}; a star where the {LEVEL:.0%} interval of the pairs does not hold 0:",
        "",
        aligned(differences),
    ]
    return "\n".join(map(printable, "\n".join(text).split("\n")))


def _mean(name: str, summary: Summary) -> str:
    if name not in summary:
        return "-"
    entry, decimals = summary[name], find_metric(name).decimals
    interval = f" [{entry['low']:.{decimals}f}, {entry['high']:.{decimals}f}]" if "low" in entry else ""
    return f"{headline(entry):.{decimals}f}{interval}"


def _difference(name: str, comparison: Comparison) -> str:
    row = comparison.metrics.get(name)
    if row is None:
        return "-"
    clear = row.low is not None and row.high is not None and not row.low <= 0 <= row.high
    return f"{0 - row.difference:+.{find_metric(name).decimals}f}{' *' if clear else '  '}"


def rank_folders(folders: Sequence[Path], output: Path | None = None) -> Ranking:
    """Ranks what `palgan evaluate` wrote into folders; with `output`, writes the ranking there as JSON.

    Raises UserError where a folder holds no results, they cannot be compared or the file cannot be written.
    """
    ranking = rank([read_results(folder) for folder in folders])
    if output is not None:
        contents = {**asdict(ranking), "intervals": {"level": LEVEL, "resamples": RESAMPLES}}
        write_file(output, (json.dumps(contents, indent=2, allow_nan=False) + "\n").encode())
    return ranking
