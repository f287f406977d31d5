"""Measures what each way of learning to paint from few photographs brings: G without it, beside G with all of them.

    python -m comparisons.little_data TRAIN VAL --palette runs/palette --runs runs/little_data

TRAIN and VAL are folders of photographs, and runs/palette is the first run of the bundled model (docs/model.md). From
its best step, G learns as in the second run, but for one field a row and for 400 steps. An interrupted command goes on.

Networks are measured alone on VAL at 256 x 256: with the predicted palette PSNR, LPIPS and colorfulness, with the
truth's PSNR, LPIPS and the Hellinger distance of the painting's palette from it. PSNR and LPIPS stand as differences to
the first row, paired, with half of the 95 % interval over photographs. Each row is trained once.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from comparisons.ablations import evaluated, palgan
from comparisons.figures import half_interval

Figures = Mapping[str, Mapping[str, list[float]]]
"""A row's: kind of palette -> metric -> a figure for each photograph."""
STEPS = 400
ROWS: dict[str, dict[str, object]] = {
    "as it is": {},
    "the truth's palettes alone": {"predicted_share": 0.0},
    "colors as they are": {"recolored_share": 0.0},
    "no consistency of palettes": {"loss.consistency": 0.0},
    "neither of these two": {"recolored_share": 0.0, "loss.consistency": 0.0},
    "tones as they are": {"data.luminance_jitter": 0.0},
    "L1 in place of Huber": {"loss.color_kind": "l1"},
}
COLUMNS = ("PSNR", "LPIPS", "colorfulness", "PSNR", "LPIPS", "palette distance")
HEAD = ["", *(f"{column}, truth's palette" if i > 2 else column for i, column in enumerate(COLUMNS))]


def train(train: Path, val: Path, palette: Path, workdir: Path, changes: dict[str, object]) -> None:
    """Trains G from the best step of the palette's run, or goes on."""
    fields = {"total": f"{STEPS} steps", "eval_every": f"{STEPS} steps", "checkpoint_every": "100 steps", **changes}
    palgan(
        "train", "--config", "pretrained:paint", "--from", palette, "--workdir", workdir,
        f"--config.data.train=folder:{train}", f"--config.data.val=folder:{val}",
        *(f"--config.{name}={value}" for name, value in fields.items()),
    )  # fmt: skip


def line(name: str, row: Figures, base: Figures) -> str:
    """Returns a row of the table: differences where it is another row than the base."""

    def over(palette: str, metric: str, decimals: int) -> str:
        values = np.array(row[palette][metric])
        if row is base:
            return f"{values.mean():.{decimals}f}"
        more = values - np.array(base[palette][metric])
        return f"{more.mean():+.{decimals}f} +- {half_interval(more):.{decimals}f}"

    cells = [name]
    for palette, last, decimals in (("automatic", "colorfulness", 1), ("truth", "palette_distance", 3)):
        cells += [over(palette, "psnr", 2), over(palette, "lpips_alexnet", 3)]
        cells.append(f"{np.mean(row[palette][last]):.{decimals}f}")
    return f"| {' | '.join(cells)} |"


def table(rows: Mapping[str, Figures]) -> list[str]:
    """Returns the lines of the table, of which the first row is the one that others are told over."""
    base = next(iter(rows.values()))
    return [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|", *(line(name, row, base) for name, row in rows.items())]


def arguments(description: str | None) -> argparse.Namespace:
    """Reads the folders of photographs and of runs from the command's words."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--palette", type=Path, required=True, help="the first run's folder")
    parser.add_argument("--runs", type=Path, required=True, help="where the runs are written")
    return parser.parse_args()


def main() -> None:
    """Trains what is not trained yet, and prints the table."""
    args = arguments(__doc__)
    rows = {}
    for number, (name, changes) in enumerate(ROWS.items()):
        workdir = args.runs / f"row-{number}"
        train(args.train, args.val, args.palette, workdir, changes)
        rows[name] = evaluated(workdir, ("automatic", "truth"), args.val)
    print(*table(rows), sep="\n")


if __name__ == "__main__":
    main()
