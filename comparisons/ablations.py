"""Trains each row of `configs/ablations.py` on photographs with equal budgets, and tells how it fares beside PalGAN.

    python -m comparisons.ablations run photos/train photos/val --runs runs/ablations --seeds 3 [--rows spade,vae]
    python -m comparisons.ablations table

The first trains and evaluates what docs/results.json does not have yet, seed after seed and row after row, and adds the
figures of each picture there; an interrupted one goes on. The second writes docs/results.md. AE and VAE have no palette
that could be given; PalGAN is given those of other photographs, too ("w rand ref").
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from configs.ablations import ROWS
from palgan_jax.evaluation.evaluate import evaluate
from palgan_jax.evaluation.protocols import find_protocol
from palgan_jax.evaluation.systems import Checkpoint
from palgan_jax.evaluation.truth import open_truth
from palgan_jax.metrics.catalogue import find_metric
from palgan_jax.metrics.confidence import paired_interval
from palgan_jax.util.files import write_file

DOCS = Path(__file__).parents[1] / "docs"
FIGURES, PAGE = DOCS / "results.json", DOCS / "results.md"
METRICS = ("psnr", "ssim", "lpips_alexnet", "ciede2000", "palette_distance", "colorfulness", "bleeding")
COMPARED = METRICS[:5]
WITHOUT_PALETTE = ("autoencoder", "vae")
RANDOM = "random_palette"
"""The row of the default model with the palettes of other photographs, which trains nothing."""
PAPER = {  # PSNR, SSIM and LPIPS on COCO-Stuff (method: section 10)
    "palgan": (24.56, 0.924, 0.148),
    "autoencoder": (25.89, 0.928, 0.146),
    "vae": (23.21, 0.905, 0.179),
    "self_attention": (22.68, 0.892, 0.175),
    "patch_discriminator": (23.07, 0.895, 0.183),
    "batch_norm": (22.36, 0.895, 0.209),
    "spade": (24.06, 0.916, 0.167),
    "no_entropy": (24.58, 0.924, 0.149),
    "attention_none": (21.93, 0.902, 0.203),
    "attention_local": (24.52, 0.924, 0.146),
    "attention_global": (23.32, 0.907, 0.174),
    RANDOM: (20.88, 0.883, 0.240),
}

HEAD = """# Ablations on photographs

Each row of `configs/ablations.py` ([what it changes](method.md#10-what-the-paper-reports)), trained on the photographs
of `palgan prepare photographs` with the same budget ({steps} steps of 8 pictures of 128 x 128, an eighth of the paper's
width, the paper's palette generator E but for `pretrained`, with the discriminator D and without the perceptual loss),
and measured on the {count} photographs for validation at 256 x 256. [Evaluation](evaluation.md#metrics) says what the
figures mean; CF is colorfulness.

    python -m comparisons.ablations run photos/train photos/val --runs runs/ablations --seeds 3
    python -m comparisons.ablations table

Machine: {machines}.

These runs say which part matters after so few steps on so few photographs. They are far too short and small to repeat
the paper's figures, and FID means nothing on so few pictures. Networks are measured alone: what they paint with the
truth's palette is not moved to it ([method](method.md#14-following-the-palette-beyond-the-paper)). Intervals are of
photographs (95 %, paired bootstrap, means over seeds), and know nothing of the chance of the training:
{chance}.
So a difference is bold where its interval does not hold 0 and all seeds of the row are on one side of all seeds of
`palgan`.
"""
OF_AUTOMATIC = """The row minus `palgan`. The paper's differences are those on COCO-Stuff
([method](method.md#10-what-the-paper-reports)); "same sign" is of PSNR, SSIM and LPIPS, and unclear where our
difference is not bold:
"""
CONCLUSIONS = """## What they say

- With the paper's E, 500 steps teach no palettes: in validation they are 0.252 to 0.259 (Hellinger) from the truth's,
  one constant palette 0.249. Only `pretrained` predicts closer ones (0.21), and it is clearly better in all but SSIM.
  So with the predicted palette the other rows tell how G paints with one that fits no better than the training set's
  mean; that of another photograph fits far worse (`random_palette`), as in the paper.
- With the predicted palette, attention that is global only is worse in PSNR, SSIM and LPIPS, and `vae` in PSNR, as in
  the paper. `autoencoder` is worse in PSNR and SSIM, where the paper's is better. `no_entropy` paints palettes that
  are farther from the truth's; what the paper gains by the entropy term is FID.
- With the truth's palette, G without palettes in its norms (`batch_norm`) paints what it paints without it, and
  palettes that are not scaled (`palette_chain`) are followed less: both clear. But `spade`, `patch_discriminator`,
  `attention_none`, `no_entropy` and `first_reading` are clearly better than the default there, in some or most
  metrics. What the paper gains by attention as a whole, by PalNorm over SPADE and by a discriminator that sees the
  palette, was not seen at this size.
- Three seeds are apart from three others by chance once in ten times, so that single bold figures may be chance, such
  as those of a few thousandths.

The paper's rows were trained on all of COCO-Stuff, for days, with the perceptual loss; each of these took minutes, and
had none. So the defaults stay the paper's, and [the bundled model](model.md) departs from them where its own
measurements say so. `first_reading` differs in the three fields of `configs/ablations.py` alone.
"""


@dataclass(frozen=True)
class Row:
    """The figures of one row: by metric an array (seeds, photographs), for one source of palettes."""

    name: str
    values: dict[str, np.ndarray]

    def of_pictures(self, metric: str) -> np.ndarray:
        """Averages a metric over seeds: (photographs,)."""
        return self.values[metric].mean(axis=0)

    def of_seeds(self, metric: str) -> np.ndarray:
        """Averages a metric over photographs: (seeds,)."""
        return self.values[metric].mean(axis=1)


@dataclass(frozen=True)
class Difference:
    """The mean difference of two rows, the ends of its interval over photographs, and whether seeds tell them apart."""

    mean: float
    low: float
    high: float
    apart: bool

    @property
    def is_clear(self) -> bool:
        """Returns True where neither the photographs nor the seeds leave the sign open."""
        return self.apart and not self.low <= 0 <= self.high


def run(train: Path, val: Path, runs: Path, rows: Sequence[str], seeds: int) -> None:
    """Trains and evaluates all rows with all seeds, and adds their figures to docs/results.json."""
    figures = read_figures()
    for seed in range(seeds):
        for row in rows:
            entries = [entry for entry in figures["runs"] if entry["row"] == row and entry["seed"] == seed]
            entry = entries[0] if entries else {"row": row, "seed": seed, "machine": machine()}
            palettes = [palette for palette in palettes_of(row) if palette not in entry]
            if not palettes:
                continue
            workdir = runs / f"{row}-{seed}"
            palgan(
                "train", "--config", f"ablations:{row},photographs", "--workdir", workdir, f"--config.seed={seed}",
                f"--config.data.train=folder:{train}", f"--config.data.val=folder:{val}",
            )  # fmt: skip
            entry |= evaluated(workdir, palettes, val)
            figures["runs"] += [] if entries else [entry]
            write_file(FIGURES, (json.dumps(figures) + "\n").encode())


def palettes_of(row: str) -> tuple[str, ...]:
    """Returns the kinds of palettes that a row is measured with."""
    if row in WITHOUT_PALETTE:
        return ("automatic",)
    return ("automatic", "truth", "random") if row == "palgan" else ("automatic", "truth")


def palgan(*words: object) -> None:
    """Runs a command of the program, which ends this one where it fails."""
    subprocess.run([sys.executable, "-m", "palgan_jax.cli", *map(str, words)], check=True)


def evaluated(workdir: Path, palettes: Sequence[str], val: Path, step: int | None = None) -> dict[str, Any]:
    """Measures a run's networks with these kinds of palettes, at a step of its or at the one that counts."""
    model = workdir if step is None else workdir / "checkpoints" / str(step)
    entry: dict[str, Any] = {"steps": int(json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])["step"])}
    for palette in palettes:
        system = Checkpoint.load(str(model), palette)
        system.follows = False
        truth, protocol = open_truth(f"folder:{val}"), find_protocol("folder")
        results = evaluate(system, truth, protocol, workdir / palette, metrics=METRICS).evaluation
        if results is None:
            sys.exit("stopped; the same command goes on")
        entry["photographs"] = results.count
        entry[palette] = {name: [round(float(x), 5) for x in results.values[name]] for name in METRICS}
    return entry


def machine() -> str:
    """Returns where and when figures were made, in words."""
    return f"{jax.device_count()} {jax.devices()[0].platform} device, {platform.machine()}, jax {jax.__version__}, " + (
        f"{datetime.now(UTC):%Y-%m-%d}"
    )


def read_figures() -> dict[str, Any]:
    """Returns all that was measured."""
    return json.loads(FIGURES.read_bytes()) if FIGURES.exists() else {"runs": []}


def rows_of(figures: dict[str, Any], palette: str) -> dict[str, Row]:
    """Gathers the seeds of each row, in the order of `configs/ablations.py`."""
    sources = [(name, name, palette) for name in ROWS]
    if palette == "automatic":
        sources.append((RANDOM, "palgan", "random"))
    rows = {}
    for name, row, kind in sources:
        entries = [entry[kind] for entry in figures["runs"] if entry["row"] == row and kind in entry]
        if entries:
            rows[name] = Row(name, {metric: np.array([entry[metric] for entry in entries]) for metric in METRICS})
    return rows


def differences(row: Row, base: Row) -> dict[str, Difference]:
    """Computes row minus base of the COMPARED metrics, with 95 % paired intervals over photographs."""
    row_values, base_values = (
        np.stack([system.of_pictures(metric) for metric in COMPARED], axis=1) for system in (row, base)
    )
    columns = np.stack(
        [(row_values - base_values).mean(axis=0), *paired_interval(row_values, base_values)], axis=1
    ).tolist()
    of_all = {}
    for metric, (mean, low, high) in zip(COMPARED, columns, strict=True):
        seeds, base_seeds = row.of_seeds(metric), base.of_seeds(metric)
        apart = seeds.min() > base_seeds.max() or seeds.max() < base_seeds.min()
        of_all[metric] = Difference(mean, low, high, bool(apart))
    return of_all


def agreement(name: str, of_row: dict[str, Difference]) -> str:
    """Returns, for PSNR, SSIM and LPIPS, whether the sign of the difference is the paper's: yes, no, or unclear."""
    if name not in PAPER:
        return "-"
    words = []
    for metric, paper, base in zip(METRICS, PAPER[name], PAPER["palgan"], strict=False):
        same_side = (of_row[metric].mean > 0) == (paper > base)
        clear = of_row[metric].is_clear
        words.append("unclear" if not clear else "equal there" if paper == base else "yes" if same_side else "no")
    return ", ".join(words)


def table(rows: dict[str, Row], with_paper: bool) -> list[str]:
    """Returns a table of the means of all rows, beside the paper's figures on COCO-Stuff where it has the row."""
    labels = [find_metric(name).label for name in METRICS]
    last = ["paper: PSNR / SSIM / LPIPS"] if with_paper else []
    lines = [f"| row | seeds | {' | '.join([*labels, *last])} |", "|---" * (len(labels) + len(last) + 2) + "|"]
    for row in rows.values():
        cells = [f"{row.of_pictures(name).mean():.{find_metric(name).decimals}f}" for name in METRICS]
        if with_paper:
            cells.append("{:.2f} / {:.3f} / {:.3f}".format(*PAPER[row.name]) if row.name in PAPER else "-")
        lines.append(f"| `{row.name}` | {len(row.values['psnr'])} | {' | '.join(cells)} |")
    return lines


def table_of_differences(rows: dict[str, Row], with_paper: bool) -> list[str]:
    """Returns a table of the differences to the default model, beside the paper's where it has the row."""
    labels = [find_metric(name).label for name in COMPARED]
    last = " | paper: PSNR / SSIM / LPIPS | same sign |" if with_paper else " |"
    lines = [f"| row | {' | '.join(labels)}{last}", "|---" * (len(labels) + (3 if with_paper else 1)) + "|"]
    for row in rows.values():
        if row.name == "palgan":
            continue
        of_row = differences(row, rows["palgan"])
        cells = []
        for name, one in of_row.items():
            decimals = find_metric(name).decimals
            mean, low, high = (f"{value:+.{decimals}f}" for value in (one.mean, one.low, one.high))
            cells.append(f"**{mean}** [{low}, {high}]" if one.is_clear else f"{mean} [{low}, {high}]")
        if with_paper and row.name in PAPER:
            psnr, ssim, lpips = (a - b for a, b in zip(PAPER[row.name], PAPER["palgan"], strict=True))
            cells += [f"{psnr:+.2f} / {ssim:+.3f} / {lpips:+.3f}", agreement(row.name, of_row)]
        elif with_paper:
            cells += ["-", "-"]
        lines.append(f"| `{row.name}` | {' | '.join(cells)} |")
    return lines


def page(figures: dict[str, Any]) -> str:
    """Returns docs/results.md."""
    automatic, truth = (rows_of(figures, palette) for palette in ("automatic", "truth"))
    steps = sorted({entry["steps"] for entry in figures["runs"]})
    count = sorted({entry["photographs"] for entry in figures["runs"]})
    machines = sorted({entry["machine"] for entry in figures["runs"]})
    chance = "each row with one seed was trained once"
    if len(automatic["palgan"].values["psnr"]) > 1:
        ranges = [
            f"{find_metric(name).label} {np.ptp(automatic['palgan'].of_seeds(name)):.{find_metric(name).decimals}f}"
            for name in COMPARED
        ]
        chance = f"with the predicted palette, the seeds of `palgan` differ by up to: {', '.join(ranges)}"
    head = HEAD.format(
        steps=" or ".join(map(str, steps)),
        count=" or ".join(map(str, count)),
        machines="; ".join(machines),
        chance=chance,
    )
    lines = [
        head,
        "## With the predicted palette",
        "",
        *table(automatic, with_paper=True),
        "",
        OF_AUTOMATIC,
        *table_of_differences(automatic, with_paper=True),
        "",
        "## With the truth's palette",
        "",
        *table(truth, with_paper=False),
        "",
        "The row minus `palgan`:",
        "",
        *table_of_differences(truth, with_paper=False),
        "",
        CONCLUSIONS,
    ]
    return "\n".join(lines)


def main() -> None:
    """Runs or tells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("train", type=Path)
    running.add_argument("val", type=Path)
    running.add_argument("--runs", type=Path, required=True)
    running.add_argument("--seeds", type=int, default=1)
    running.add_argument("--rows", type=lambda words: words.split(","), default=list(ROWS))
    commands.add_parser("table")
    args = parser.parse_args()
    if args.command == "run":
        run(args.train, args.val, args.runs, args.rows, args.seeds)
    else:
        write_file(PAGE, page(read_figures()).encode())


if __name__ == "__main__":
    main()
