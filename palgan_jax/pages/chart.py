"""Curves as inline SVG: one or several in a chart, with axes whose numbers are round."""

import html
import math
from collections.abc import Sequence

from palgan_jax.pages.html import figure
from palgan_jax.pages.rows import Curve

STYLE = """
:root { --c0: #b4472b; --c1: #2b6cb4; --c2: #3d8b45; --c3: #8a4fb0; --c4: #b07c1d; --c5: #1f8f93; }
@media (prefers-color-scheme: dark) {
  :root { --c0: #f08a6a; --c1: #7db3f0; --c2: #84cf8c; --c3: #c79be8; --c4: #e0b565; --c5: #6ccdd1; }
}
.chart polyline { stroke-width: 1.6; }
.chart .level { stroke: var(--faint); stroke-dasharray: 4 4; }
.legend { list-style: none; margin: .2rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; }
.legend li { font-size: .85rem; }
.legend i { display: inline-block; width: 1.2em; height: .25em; margin-right: .4em; vertical-align: middle; }
"""
COLORS = 6
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 480, 240, 52, 10, 24
_POINTS = 400
_SMALLEST = 1e-300  # a span of which a part is still a number


def ticks(low: float, high: float) -> list[float]:
    """Returns about four round numbers, 1, 2 or 5 times a power of ten apart, that reach over [low, high]."""
    span = (high - low) or abs(high)
    rough = (span if span > _SMALLEST else 1.0) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def thinned(curve: Curve, most: int = _POINTS) -> list[tuple[float, float]]:
    """Returns the finite points of a curve, at most `most`: means of neighbors, with the last point as it is."""
    points = [(float(x), float(y)) for x, y in zip(curve.steps, curve.values, strict=True) if math.isfinite(y)]
    size = -(-len(points) // most)
    if size <= 1:
        return points
    groups = [points[i : i + size] for i in range(0, len(points) - 1, size)]
    means = [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]
    return [*means[: most - 1], points[-1]]


def chart(title: str, curves: Sequence[Curve], levels: Sequence[tuple[str, float]] = ()) -> str:
    """Returns the markup of a chart: curves over training steps, each in its color, and levels as dashed lines.

    The axis of values reaches over the curves and the levels, which so give the curves a scale. Empty where no curve
    has a finite value.
    """
    lines = [(curve.name, thinned(curve)) for curve in curves]
    points = [point for _, line in lines for point in line]
    if not points:
        return ""
    marks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    values = [*(y for _, y in points), *(value for _, value in levels)]
    scale = ticks(min(values), max(values))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - marks[0]) / (marks[-1] - marks[0])
        up = (y - scale[0]) / (scale[-1] - scale[0])
        return _LEFT + across * (_WIDTH - _LEFT - 16), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    for value in scale:
        _, y = place(marks[0], value)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{figure(value)}</text>')
    for mark in marks:
        x, _ = place(mark, scale[0])
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{figure(mark)}</text>')
    for name, value in levels:
        _, y = place(marks[0], value)
        parts.append(f'<line class="level" x1="{_LEFT}" x2="{_WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_WIDTH - 18}" y="{y - 4:.1f}" text-anchor="end">{html.escape(name)}</text>')
    for number, (_, line) in enumerate(lines):
        parts.append(_line([place(x, y) for x, y in line], number % COLORS))
    summary = "; ".join(_summary(name, line) for name, line in lines if line)
    label = summary if len(lines) == 1 and lines[0][0] == title else f"{title}. {summary}"
    keys = "".join(
        f'<li><i style="background: var(--c{number % COLORS})"></i>{html.escape(name)}</li>'
        for number, (name, line) in enumerate(lines)
        if line
    )
    return (
        f'<div class="card"><h3>{html.escape(title)}</h3>'
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">{"".join(parts)}</svg>'
        + (f'<ul class="legend">{keys}</ul>' if len(lines) > 1 else "")
        + "</div>"
    )


def _summary(name: str, line: Sequence[tuple[float, float]]) -> str:
    first, last = (f"{figure(y)} at step {figure(x)}" for x, y in (line[0], line[-1]))
    return f"{name}: from {first} to {last}"


def _line(places: Sequence[tuple[float, float]], number: int) -> str:
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    line = f'<polyline style="stroke: var(--c{number})" points="{text}"/>' if places else ""
    dots = places if len(places) <= 12 else places[-1:]
    return line + "".join(
        f'<circle style="fill: var(--c{number})" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in dots
    )
