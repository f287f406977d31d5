"""Measures each step of a run of G, and all means of two or three, by paintings in which paler colors gain nothing.

    python -m comparisons.step_means runs/pretrained VAL --figures step_means.csv

Networks are measured alone, at their resolution, on the photographs of the folder VAL: the ab error and PSNR of
paintings with the truth's palette. A line of the file of figures is one set of steps; an interrupted command goes on.
"""

import argparse
import csv
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palgan_jax.checkpoint.averaging import average_weights
from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.reading import steps_in
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.color import from_bytes, to_bytes
from palgan_jax.config import from_dict, palette_spec
from palgan_jax.data.eval_batches import eval_batches
from palgan_jax.data.source import open_source
from palgan_jax.metrics.ab_error import ab_error
from palgan_jax.metrics.psnr import psnr
from palgan_jax.nn.build import build_generator
from palgan_jax.palette.histogram import histogram
from palgan_jax.util.progress import Progress

MOST = 3
Steps = tuple[int, ...]
Figures = tuple[float, float]
"""ab error in Lab, PSNR in dB: means over photographs."""


def sets_of(steps: Iterable[int]) -> list[Steps]:
    """Returns each step alone, then all pairs, and so on to `MOST`."""
    ordered = sorted(steps)
    return [chosen for size in range(1, MOST + 1) for chosen in itertools.combinations(ordered, size)]


def read_figures(path: Path) -> dict[Steps, Figures]:
    """Returns what a file of figures has; nothing where there is none."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {
            tuple(map(int, row["steps"].split())): (float(row["ab_error"]), float(row["psnr"]))
            for row in csv.DictReader(file)
        }


def painter(config: Any) -> Callable[[Any, np.ndarray], tuple[jax.Array, jax.Array]]:
    """Returns measure(variables, rgb (B, R, R, 3)) -> ab error (B,), PSNR (B,), with the truth's palettes."""
    network, spec = build_generator(config), palette_spec(config)

    @jax.jit
    def measure(variables: Any, rgb: jax.Array) -> tuple[jax.Array, jax.Array]:
        l, truth = from_bytes(rgb, config.ab_range)
        painted: Any
        _, painted = network.apply(variables, l, histogram(truth, spec))
        error = ab_error(painted * config.ab_range, truth * config.ab_range)
        return error, psnr(to_bytes(l, painted, config.ab_range), rgb)

    return measure


def table(figures: Mapping[Steps, Figures], best: int) -> list[str]:
    """Returns the lines of the table: each step alone, then the best sets of steps by their ab error."""
    ranked = sorted(figures, key=lambda steps: figures[steps][0])
    alone = sorted(steps for steps in figures if len(steps) == 1)
    rows = [*alone, *ranked[:best]]
    lines = [
        f"| {', '.join(f'{step:,}' for step in steps)} | {ranked.index(steps) + 1} | "
        f"{figures[steps][0]:.2f} | {figures[steps][1]:.2f} |"
        for steps in rows
    ]
    return [f"| steps | place of {len(ranked)} | ab error | PSNR, dB |", "|---|---|---|---|", *lines]


def measure_all(
    weights: Mapping[int, Weights], rgb: np.ndarray, figures_file: Path, batch: int = 8
) -> dict[Steps, Figures]:
    """Measures what the file of figures lacks of the weights of steps, and adds it there; returns all of it."""
    figures = read_figures(figures_file)
    measure = painter(from_dict(next(iter(weights.values())).config))
    missing = [steps for steps in sets_of(weights) if steps not in figures]
    with figures_file.open("a", newline="") as file, Progress("means", len(missing), unit="mean") as progress:
        writer = csv.writer(file)
        if not figures:
            writer.writerow(["steps", "ab_error", "psnr"])
        for steps in missing:
            chosen = [weights[step] for step in steps]
            variables = (average_weights(chosen) if len(chosen) > 1 else chosen[0]).variables
            parts = [measure(variables, rgb[i : i + batch]) for i in range(0, len(rgb), batch)]
            error, ratio = (float(jnp.concatenate(values).mean()) for values in zip(*parts, strict=True))
            figures[steps] = error, ratio
            writer.writerow([" ".join(map(str, steps)), f"{error:.5f}", f"{ratio:.5f}"])
            file.flush()
            progress.advance()
    return figures


def main() -> None:
    """Measures what is not measured yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--figures", type=Path, required=True, help="the file of figures, which is read and added to")
    parser.add_argument("--best", type=int, default=10, help="how many sets of steps to print (default: 10)")
    args = parser.parse_args()
    weights = {step: find_weights(args.run, step) for step in steps_in(args.run)}
    source, side = open_source(f"folder:{args.val}"), find_weights(args.run).config["resolution"]
    batches = eval_batches(source, resolution=side, batch_size=8)
    rgb = np.concatenate([batch["rgb"][batch["mask"]] for batch in batches])
    print(*table(measure_all(weights, rgb, args.figures), args.best), sep="\n")


if __name__ == "__main__":
    main()
