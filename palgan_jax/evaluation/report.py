"""Makes the report of an evaluation: one HTML file with tables, histograms and pictures, which fetches nothing."""

import math
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from palgan_jax.evaluation.record import Evaluation, Example, Summary
from palgan_jax.evaluation.table import (
    NOTHING,
    TABLE_COLUMNS,
    describe_protocol,
    describe_system,
    format_fact,
    format_interval,
    format_value,
    label_with_direction,
    lines,
)
from palgan_jax.metrics.catalogue import find_metric, in_order
from palgan_jax.pages.html import describe_palette, document, figure, image
from palgan_jax.pages.table import STYLE as TABLES
from palgan_jax.pages.table import escaped, printable, row, section, table
from palgan_jax.palette.histogram import of_picture
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.spec import PaletteSpec

MOST_SHOWN = 4
"""Pictures of each kind: the best, those in the middle, the worst."""

_STYLE = """
tr.ours { background: color-mix(in srgb, var(--curve) 12%, transparent); }
.warning { border-left: 4px solid var(--curve); padding: .2rem 0 .2rem .9rem; margin: 1.2rem 0 0; max-width: 80ch; }
.facts td { overflow-wrap: anywhere; }
svg .bar { fill: var(--curve); opacity: .75; }
svg .mean { stroke: var(--ink); stroke-width: 1.5; }
h3.name { overflow-wrap: anywhere; }
"""


def report(evaluation: Evaluation, summary: Summary, pictures: Callable[[int], Example]) -> str:
    """Returns the page.

    `pictures` is called with the numbers of the best, the middle and the worst pictures by PSNR, or, where that was not
    measured, by the first metric.
    """
    title = f"{describe_system(evaluation)} on {describe_protocol(evaluation)}"
    body = [_numbers(summary), _beside_others(evaluation, summary)]
    if evaluation.absent:
        body.append(_left_out(evaluation.absent))
    if evaluation.values:
        body += [_distributions(evaluation, summary), _examples(evaluation, pictures)]
    body.append(_facts(evaluation))
    notes = [f"{evaluation.count:,} pictures", evaluation.resize, f"palette: {evaluation.palette}"]
    if not evaluation.protocol_exact:
        differs = evaluation.facts.get("difference from the list", "some cannot be read")
        warning = f"The pictures measured are not those of {evaluation.protocol}: {differs}. The name is refused."
        body.insert(0, f'<p class="warning">{escaped(warning)}</p>')
    return document(printable(title), [printable(note) for note in notes], "".join(body), TABLES + _STYLE)


def _numbers(summary: Summary) -> str:
    rows = []
    for name, entry in summary.items():
        decimals = find_metric(name).decimals
        spread = [f"{entry[key]:.{decimals}f}" if key in entry else NOTHING for key in ("median", "sd")]
        numbers = [format_value(name, entry), format_interval(name, entry), *spread]
        rows.append(row(label_with_direction(name), numbers, [find_metric(name).meaning]))
    caption = (
        "Means over pictures with their 95 % bootstrap intervals, which say how much a mean would move with other "
        "pictures of the same kind. A number of the whole set has none. ↑ higher is better, ↓ lower is better."
    )
    head = ["metric", "mean or value", "95 % interval", "median", "standard deviation", "what it is"]
    return section("Numbers", table(caption, head, rows, range(1, 5)))


def _beside_others(evaluation: Evaluation, summary: Summary) -> str:
    rows = [
        row(line.system, list(line.cells), [line.source], "ours" if line.is_ours else "")
        for line in lines(evaluation, summary)
    ]
    caption = (
        "What others publish for the same protocol, as printed in the source named; not measured again. They do not "
        "name the network of their LPIPS."
    )
    if len(rows) == 1:
        caption = "No published rows of the same pictures are known."
    head = ["system", *TABLE_COLUMNS.values(), "source"]
    return section("Beside published numbers", table(caption, head, rows, range(1, 1 + len(TABLE_COLUMNS))))


def _left_out(reasons: Mapping[str, str]) -> str:
    rows = [row(find_metric(name).label, [], [reasons[name]]) for name in in_order(reasons)]
    return section("Left out", table("Metrics that were not measured, and why.", ["metric", "reason"], rows, range(0)))


def _distributions(evaluation: Evaluation, summary: Summary) -> str:
    charts = [
        _histogram(find_metric(name).label, np.asarray(evaluation.values[name]), entry["mean"])
        for name, entry in summary.items()
        if name in evaluation.values
    ]
    return section("How pictures differ", f'<div class="curves">{"".join(charts)}</div>')


def _histogram(title: str, values: np.ndarray, mean: float) -> str:
    """Draws how many pictures have which value; the far tails are gathered in the first and the last bar."""
    low = float(np.quantile(values, 0.005, method="lower"))
    high = float(np.quantile(values, 0.995, method="higher"))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    bins = int(np.clip(math.sqrt(len(values)), 5, 40))
    counts, _ = np.histogram(np.clip(values, low, high), bins, (low, high))
    width, height, top, bottom = 320, 150, 18, 22
    bar, tallest = width / bins, max(int(counts.max()), 1)
    base = height - bottom
    heights = [(base - top) * int(count) / tallest for count in counts]
    bars = "".join(
        f'<rect class="bar" x="{i * bar:.1f}" y="{base - tall:.1f}" width="{bar - 1:.1f}" height="{tall:.1f}"/>'
        for i, tall in enumerate(heights)
        if tall
    )
    x = min(max((mean - low) / (high - low), 0), 1) * width
    anchor = "start" if x < width / 2 else "end"
    below, above = ("≤ " if values.min() < low else ""), ("≥ " if values.max() > high else "")
    ends = f"{figure(float(values.min()))} to {figure(float(values.max()))}"
    summary = f"histogram of {title}: mean {figure(mean)}, median {figure(float(np.median(values)))}, from {ends}"
    return (
        f'<div class="card"><h3>{escaped(title)}</h3>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escaped(summary)}">'
        f'{bars}<line x1="0" x2="{width}" y1="{base}" y2="{base}"/>'
        f'<line class="mean" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{base}"/>'
        f'<text x="{x + (5 if anchor == "start" else -5):.1f}" y="12" text-anchor="{anchor}">mean {figure(mean)}</text>'
        f'<text x="0" y="{height - 6}">{below}{figure(low)}</text>'
        f'<text x="{width}" y="{height - 6}" text-anchor="end">{above}{figure(high)}</text></svg></div>'
    )


def select_examples(values: np.ndarray, *, higher_is_better: bool) -> dict[str, list[int]]:
    """Returns the numbers of the best, the middle and the worst pictures, at most MOST_SHOWN each, none of them twice.

    Best and worst come first with the extreme one; equal values keep their order.
    """
    order = np.argsort(-values if higher_is_better else values, kind="stable")
    count = min(MOST_SHOWN, max(1, len(order) // 3))
    start = (len(order) - count) // 2
    parts = {"best": order[:count], "worst": order[::-1][:count], "median": order[start : start + count]}
    selected_numbers: set[int] = set()
    selected: dict[str, list[int]] = {}
    for name, numbers in parts.items():
        selected[name] = [number for number in numbers.tolist() if number not in selected_numbers]
        selected_numbers.update(selected[name])
    return {name: selected[name] for name in ("best", "median", "worst") if selected[name]}


def _examples(evaluation: Evaluation, pictures: Callable[[int], Example]) -> str:
    metric = "psnr" if "psnr" in evaluation.values else next(iter(evaluation.values))
    selected = select_examples(
        np.asarray(evaluation.values[metric]), higher_is_better=find_metric(metric).direction != "lower"
    )
    headings = {"best": "The best", "median": "In the middle", "worst": "The worst"}
    return "".join(
        section(
            f"{headings[name]} by {escaped(find_metric(metric).label)}",
            f'<div class="cards">{"".join(_card(evaluation, number, pictures(number)) for number in numbers)}</div>',
        )
        for name, numbers in selected.items()
    )


def _card(evaluation: Evaluation, number: int, example: Example) -> str:
    name = printable(evaluation.names[number])
    images = [
        image(example.gray, "gray", f"{name}, in gray, as the system got it"),
        image(example.predicted, "predicted", f"{name}, as colorized"),
        image(example.truth, "truth", f"{name}, in its true colors"),
    ]
    if example.palette is None:
        label, palette = "its colors", _palette(example.predicted)
    else:
        label, palette = "palette", Palette(example.palette, PaletteSpec(bins=math.isqrt(len(example.palette))))
    drawings = [
        image(np.asarray(palette.draw()), text, f"{text} of {name}: {describe_palette(palette)}", kind="palette")
        for text, palette in ((label, palette), ("true colors", _palette(example.truth)))
    ]
    figures = ", ".join(
        f"{find_metric(key).label} {evaluation.values[key][number]:.{find_metric(key).decimals}f}"
        for key in ("psnr", "ssim", "lpips_alexnet", "lpips_vgg16", "ciede2000")
        if key in evaluation.values
    )
    return (
        f'<figure class="card"><div class="pictures">{"".join(images + drawings)}</div>'
        f'<figcaption><h3 class="name">{escaped(name)}</h3><p>{escaped(figures)}</p></figcaption></figure>'
    )


def _palette(rgb: np.ndarray) -> Palette:
    """Returns the palette of a picture uint8 (H, W, 3)."""
    return Palette(np.asarray(of_picture(jnp.asarray(rgb))))


def _facts(evaluation: Evaluation) -> str:
    facts = {
        "protocol": describe_protocol(evaluation),
        "pictures": f"{evaluation.count:,}",
        "SHA-256 of their list": evaluation.list_sha256,
        "resize": evaluation.resize,
        "palette": evaluation.palette,
        **{f"SHA-256 of {name}": sha256 for name, sha256 in sorted(evaluation.weights.items())},
        **dict(sorted(evaluation.facts.items())),
    }
    rows = [row(name, [], [format_fact(value)]) for name, value in facts.items()]
    caption = "What belongs to every number on this page."
    return section("What these numbers are of", table(caption, ["fact", "value"], rows, range(0), "facts"))
