"""What slices of 8 to 1,024 chips do with the ImageNet run: what each needs, what limits it, and what preemptions cost.

    python -m comparisons.elastic [--figures FILE] [--preemptions 0.25] [--markdown]

Nothing is trained. The step of a chip comes from a compiled program: the one whose figures are in docs/performance.md,
or that of `palgan benchmark --topology v5e:8x8 --config imagenet256 --only train --json FILE`. The number of chips
changes only the collectives, whose bytes are those of the compiled program; their time is that of a ring over all links
of a chip, and of the data center's network between slices, of which none has more than 256 chips. What a picture asks
of its host is measured (docs/data.md). Preemptions are drawn: each ends the slice, with a warning, in which the step is
saved, or without one; then machines are waited for, programs loaded, and the steps since the last save done again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palgan_jax.benchmark.topology import PEAKS
from palgan_jax.util.text import aligned

SIZES = (8, 64, 256, 1024)
SLICE = 256
"""The largest slice of v5e."""
EPOCHS, PICTURES = 30, 30 * 1_281_167
BATCH_A_CHIP = 32
# Compiled for v5e:4x4 and v5e:16x16 on 2026-11-24: docs/performance.md, "Bytes" and "Scaling".
IMAGES_A_CHIP, SUMMED_MB = 619.0, 49.58
STATE_MB = 271.3
"""Of the config's state: parameters, optimizers, averages, statistics; what a checkpoint writes."""
# A machine of a v5e slice has 4 chips and 112 logical cores, half as many real ones; eight chips share two network
# cards of 100 Gbit/s: https://cloud.google.com/tpu/docs/v5e (read 2026-11).
CHIPS_A_HOST, CORES_A_HOST, NETWORK_A_CHIP = 4, 56, 25e9 / 8
DECODED_A_CORE, PICTURE_BYTES = 795.0, 106e3
"""Measured with worker processes; the average file of ImageNet."""


@dataclass(frozen=True)
class Assumptions:
    """What nobody here has measured; options of the command.

    Seconds, and bytes a second. `start` is of kept programs, `compile` of none.
    """

    wait: float
    start: float
    compile: float
    write: float
    read: float


@dataclass(frozen=True)
class Size:
    """What one number of chips does: times of a step in seconds, by what takes them, if that were all."""

    chips: int
    parts: dict[str, float]
    steps: int

    @property
    def step(self) -> float:
        """Returns the seconds of a step: collectives after the chips' work, and input beside both."""
        chips = self.parts["the chips"] + self.parts["the links"]
        return max(chips, self.parts["decoding"], self.parts["reading"])

    @property
    def limit(self) -> str:
        """Returns what takes the longest part of a step."""
        return max(self.parts, key=self.parts.__getitem__)


def size_of(chips: int, images_a_chip: float, summed_mb: float, assumed: Assumptions) -> Size:
    """Computes the step of the run on so many chips of v5e, 32 pictures on each."""
    batch, slices = chips * BATCH_A_CHIP, -(-chips // SLICE)
    chips_a_slice, summed = min(chips, SLICE), summed_mb * 1e6
    links = 2 * (chips_a_slice - 1) / chips_a_slice * summed / PEAKS["v5e"].sending
    seconds_between_slices = 2 * (slices - 1) / slices * summed / chips_a_slice / NETWORK_A_CHIP
    decoding = CHIPS_A_HOST * BATCH_A_CHIP / (DECODED_A_CORE * CORES_A_HOST)
    reading = max(batch * PICTURE_BYTES / assumed.read, BATCH_A_CHIP * PICTURE_BYTES / NETWORK_A_CHIP)
    parts = {"the chips": BATCH_A_CHIP / images_a_chip, "the links": links + seconds_between_slices}
    return Size(chips, parts | {"decoding": decoding, "reading": reading}, -(-PICTURES // batch))


@dataclass(frozen=True)
class Outcome:
    """Mean hours of drawn runs: in total, of machines that are held and cost, and of repeated steps."""

    total: float
    machine: float
    repeats: float


def simulate(
    size: Size, every: int, preemptions: float, warned: bool, assumed: Assumptions, runs: int = 2000
) -> Outcome:
    """Draws runs through so many preemptions of the whole slice in an hour, seed 0.

    `every`: steps between two saves, which are written behind the steps and take no time here.
    """
    rng, sums = np.random.default_rng(0), np.zeros(3)
    work, seconds_a_save = size.steps * size.step, every * size.step
    for _ in range(runs):
        progress, held_time, waiting_time, repeated_time = 0.0, assumed.compile, assumed.wait, 0.0
        while True:
            interruption = rng.exponential(3600 / preemptions) if preemptions else np.inf
            if progress + interruption >= work:
                break
            progress_reached = progress + interruption
            saved_progress = progress_reached if warned else progress_reached - progress_reached % seconds_a_save
            repeated_time += progress_reached - saved_progress
            held_time += interruption + assumed.start
            waiting_time += assumed.wait
            progress = saved_progress
        held_time += work - progress
        sums += held_time + waiting_time, held_time, repeated_time
    return Outcome(*(sums / runs / 3600))


def cells(size: Size, assumed: Assumptions, every: int, rates: Sequence[float]) -> dict[str, str]:
    """Returns the figures of a size in words; saves come each `every` steps, and with the validation of each epoch."""
    every = min(every, max(1, size.steps // EPOCHS))
    training = size.steps * size.step / 3600
    images = size.chips * BATCH_A_CHIP / size.step
    hosts = max(1, size.chips // CHIPS_A_HOST)
    row = {
        "chips": f"{size.chips:,}",
        "a step, ms": f"{1e3 * size.step:.1f}",
        "pictures a second": f"{images:,.0f}",
        "machines": f"{hosts}",
        "cores that decode, a machine": f"{images / hosts / DECODED_A_CORE:.1f} of {CORES_A_HOST}",
        "GB read a second": f"{images * PICTURE_BYTES / 1e9:.2f}",
        "a checkpoint, s": f"{STATE_MB * 1e6 / assumed.write:.1f}",
        "steps": f"{size.steps:,}",
        "steps between saves": f"{every:,}",
        "training, h": f"{training:.2f}",
        "chip-hours of it": f"{training * size.chips:.0f}",
    }
    for rate in rates:
        with_warning, without_warning = (simulate(size, every, rate, is_warned, assumed) for is_warned in (True, False))
        row |= {
            f"{rate:g} preemptions an hour: all, h": f"{without_warning.total:.2f}",
            f"{rate:g}: chip-hours held": f"{without_warning.machine * size.chips:.0f}",
            f"{rate:g}: steps done twice, min": f"{60 * without_warning.repeats:.1f}",
            f"{rate:g}, each with a warning: all, h": f"{with_warning.total:.2f}",
        }
    slow = (assumed.wait + assumed.compile) / 3600 > training
    return row | {"limited by": f"{size.limit}; the start, longer than the training" if slow else size.limit}


def read_figures(path: Path) -> tuple[float, float]:
    """Reads the images a second of a chip and the MB that collectives sum from what `palgan benchmark --json` wrote."""
    figures = json.loads(path.read_text())
    figures = figures.get("rows", [figures])[-1]
    return figures["images_per_second_per_chip"], figures["collective_mb"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--figures", type=Path, help="of another compiled program: what `palgan benchmark --json` wrote"
    )
    parser.add_argument("--preemptions", type=float, nargs="+", default=[0.25, 2], help="of the slice in an hour")
    parser.add_argument("--every", type=int, default=5000, help="steps between saves, or an epoch if that is less")
    parser.add_argument("--wait", type=float, default=600, help="seconds until machines are there (default: 600)")
    parser.add_argument("--start", type=float, default=120, help="seconds from machines to steps, programs kept")
    parser.add_argument("--compile", type=float, default=431, help="seconds more at the first start (default: 431)")
    parser.add_argument("--write-gb", type=float, default=0.2, help="GB a second into the bucket (default: 0.2)")
    parser.add_argument("--read-gbit", type=float, default=200, help="Gbit a second from buckets (default: 200)")
    parser.add_argument("--markdown", action="store_true", help="print the table for a document")
    options = parser.parse_args()
    assumed = Assumptions(
        options.wait, options.start, options.compile + options.start, options.write_gb * 1e9,
        options.read_gbit * 1e9 / 8,
    )  # fmt: skip
    images, summed = read_figures(options.figures) if options.figures else (IMAGES_A_CHIP, SUMMED_MB)
    sizes = [size_of(chips, images, summed, assumed) for chips in SIZES]
    columns = [cells(size, assumed, options.every, options.preemptions) for size in sizes]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    if options.markdown:
        lines = [f"| {' | '.join(row)} |" for row in rows]
        print("\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]))
    else:
        print(aligned(rows))


if __name__ == "__main__":
    main()
