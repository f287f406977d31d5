"""A page that compares systems: their ranking, and the same photographs by each, side by side and under a slider."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palgan_jax.colorize.join import join, luminance
from palgan_jax.evaluation.compare import Comparison, pairing
from palgan_jax.evaluation.kept_pictures import MOST_KEPT, kept_picture
from palgan_jax.evaluation.ranking import Ranking, rank_in_order, shown_metrics
from palgan_jax.evaluation.record import Evaluation, Summary
from palgan_jax.evaluation.results import read_results
from palgan_jax.evaluation.table import (
    NOTHING,
    describe_system,
    format_interval,
    format_value,
    label_with_direction,
)
from palgan_jax.metrics.catalogue import find_metric
from palgan_jax.pages.html import document, image
from palgan_jax.pages.table import STYLE as TABLES
from palgan_jax.pages.table import escaped, printable, row, section, table
from palgan_jax.util.files import write_file

MOST_SHOWN = 12
"""Photographs of each kind: where the first system is farthest ahead of the second, and where it is farthest behind."""

STYLE = """
.side-by-side { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .6rem; }
.side-by-side img { width: 100%; height: auto; border-radius: 6px; display: block; }
.side-by-side span { font-size: .8rem; color: var(--faint); overflow-wrap: anywhere; }
.slider { position: relative; max-width: 32rem; }
.slider img { display: block; width: 100%; height: auto; border-radius: 6px; }
.slider .over { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--cut, 50%)); }
.choose { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .6rem 0; align-items: center; font-size: .9rem; }
.choose input { flex: 1 1 100%; max-width: 32rem; accent-color: var(--curve); }
select { font: inherit; color: inherit; background: var(--card); max-width: 14rem; }
.comparison { margin-bottom: 1.5rem; }
"""
_SCRIPT = """
for (const card of document.querySelectorAll(".comparison")) {
  const pictures = [...card.querySelectorAll(".side-by-side img")];
  const [under, over] = card.querySelectorAll(".slider img");
  const [left, right] = card.querySelectorAll("select");
  const cut = card.querySelector("input");
  const show = () => {
    for (const [target, choice] of [[under, left], [over, right]]) {
      target.src = pictures[choice.value].src;
      target.alt = pictures[choice.value].alt;
    }
    card.querySelector(".slider").style.setProperty("--cut", cut.value + "%");
  };
  for (const control of [left, right, cut]) control.addEventListener("input", show);
  show();
}
"""


@dataclass(frozen=True)
class _Measured:
    """A system's evaluation, its folder, and the number in it of each picture of the system that is ranked first."""

    folder: Path
    evaluation: Evaluation
    order: list[int]

    @property
    def label(self) -> str:
        return describe_system(self.evaluation)

    def values(self, metric: str) -> np.ndarray:
        return self.evaluation.values[metric][self.order]


def write_comparison_page(folders: Sequence[Path], path: Path) -> None:
    """Writes the page about what `palgan evaluate` wrote into two or more folders: one file that fetches nothing.

    Raises UserError where a folder holds no results, they cannot be compared or the page cannot be written.
    """
    evaluations = [read_results(folder) for folder in folders]
    ranking, order = rank_in_order(evaluations)
    first = evaluations[order[0]]
    systems = [_Measured(folders[i], evaluations[i], pairing(first, evaluations[i])) for i in order]
    body = [_means(ranking), _differences(ranking), *_pictures(ranking, systems)]
    notes = [f"{ranking.count:,} pictures of {ranking.protocol}", first.resize]
    title = f"{len(systems)} systems by {find_metric(ranking.metric).label}"
    page = document(title, list(map(printable, notes)), "".join(body) + f"<script>{_SCRIPT}</script>", TABLES + STYLE)
    write_file(path, page.encode())


def _means(ranking: Ranking) -> str:
    names = shown_metrics(ranking)
    rows = []
    for number, (system, summary) in enumerate(zip(ranking.systems, ranking.summaries, strict=True), 1):
        cells = [_cell(name, summary) for name in names]
        rows.append(row(f"{number} {system}", cells))
    head = ["system", *map(label_with_direction, names)]
    caption = "Means over pictures with their 95 % bootstrap intervals. ↑ higher is better, ↓ lower is better."
    return section("Ranking", table(caption, head, rows, range(1, 1 + len(names))))


def _cell(name: str, summary: Summary) -> str:
    if name not in summary:
        return NOTHING
    interval = format_interval(name, summary[name])
    return format_value(name, summary[name]) + ("" if interval == NOTHING else f" {interval}")


def _differences(ranking: Ranking) -> str:
    names = shown_metrics(ranking)
    rows = [
        row(f"{number} {system}", [_difference(name, comparison) for name in names])
        for number, (system, comparison) in enumerate(zip(ranking.systems[1:], ranking.against_first, strict=True), 2)
    ]
    caption = (
        f"Each minus {ranking.systems[0]}, picture by picture, with the 95 % interval; a star where it does not hold 0."
    )
    return section(
        "Differences", table(caption, ["system", *map(label_with_direction, names)], rows, range(1, 1 + len(names)))
    )


def _difference(name: str, comparison: Comparison) -> str:
    difference, decimals = comparison.metrics.get(name), find_metric(name).decimals
    if difference is None:
        return NOTHING
    mean = f"{0 - difference.difference:+.{decimals}f}"
    if difference.low is None or difference.high is None:
        return mean
    clear = " *" if not difference.low <= 0 <= difference.high else ""
    return f"{mean} [{-difference.high:+.{decimals}f}, {-difference.low:+.{decimals}f}]{clear}"


def _pictures(ranking: Ranking, systems: Sequence[_Measured]) -> list[str]:
    """Returns the parts with photographs: where the first is farthest ahead of the second, and farthest behind it."""
    if kept_picture(systems[0].folder, 0, "truth") is None:
        reason = f"Pictures are kept of {MOST_KEPT} photographs or fewer; {systems[0].folder} has none."
        return [section("Photographs", f"<p>{escaped(reason)}</p>")]
    sign = -1 if find_metric(ranking.metric).direction == "lower" else 1
    lead = sign * (systems[0].values(ranking.metric) - systems[1].values(ranking.metric))
    order = np.argsort(-lead, kind="stable").tolist()
    count = min(MOST_SHOWN, (len(order) + 1) // 2)
    names = escaped(systems[0].label), escaped(systems[1].label)
    parts = {
        f"Where {names[0]} is farthest ahead of {names[1]}": order[:count],
        "Where it is farthest behind": order[::-1][: min(count, len(order) - count)],
    }
    return [
        section(heading, "".join(_card(ranking.metric, systems, i) for i in numbers))
        for heading, numbers in parts.items()
        if numbers
    ]


def _card(metric: str, systems: Sequence[_Measured], i: int) -> str:
    name = printable(systems[0].evaluation.names[i])
    truth = kept_picture(systems[0].folder, i, "truth")
    assert truth is not None
    pictures = {"gray": join(luminance(truth), np.zeros((1, 1, 2), np.float32)), "truth": truth}
    decimals = find_metric(metric).decimals
    for system in systems:
        picture = kept_picture(system.folder, system.order[i], "painted")
        if picture is not None:
            pictures[f"{system.label}, {system.values(metric)[i]:.{decimals}f}"] = picture
    images = "".join(
        image(picture, escaped(label), f"{name}: {printable(label)}") for label, picture in pictures.items()
    )
    labels = [escaped(label) for label in pictures]
    first = min(2, len(labels) - 1)

    def choice(selected: int, title: str) -> str:
        options = "".join(
            f'<option value="{n}"{" selected" if n == selected else ""}>{label}</option>'
            for n, label in enumerate(labels)
        )
        return f"<label>{title} <select>{options}</select></label>"

    return (
        f'<figure class="card comparison"><figcaption><h3>{escaped(name)}</h3></figcaption>'
        f'<div class="slider"><img alt=""><img class="over" alt=""></div>'
        f'<div class="choose"><input type="range" min="0" max="100" value="50" aria-label="where the two meet">'
        f"{choice(first, 'left')}{choice(min(first + 1, len(labels) - 1), 'right')}</div>"
        f'<div class="side-by-side">{images}</div></figure>'
    )
