"""Trains a model further on a folder of photographs, and judges it on some of them that were kept aside."""

import io
import logging
import textwrap
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from palgan_jax.checkpoint.find import find_weights
from palgan_jax.colorize.join import join, luminance
from palgan_jax.config import apply_overrides, check_config, durations, from_dict
from palgan_jax.evaluation.compare import compare_folders
from palgan_jax.evaluation.evaluate import evaluate
from palgan_jax.evaluation.protocols import find_protocol
from palgan_jax.evaluation.systems import Checkpoint
from palgan_jax.evaluation.truth import open_truth, read_picture
from palgan_jax.finetune.choices import choose
from palgan_jax.finetune.split import ASIDE, split_folder
from palgan_jax.finetune.verdict import verdict
from palgan_jax.pages.grid import Section, draw_grid, evenly
from palgan_jax.training.loop import Outcome, train
from palgan_jax.training.start import find_model
from palgan_jax.util.files import write_file

log = logging.getLogger(__name__)

METRICS = ("psnr", "ciede2000", "colorfulness")
SHEET, COMPARISON = "before-and-after.png", "comparison.json"
ON_SHEET = 12
CELL = 224  # the longer side of a picture on the sheet


def finetune(folder: str | Path, run: Path, start: str = "bundled", overrides: Sequence[str] = ()) -> list[str] | None:
    """Trains a model further on a folder; the same call goes on where it ended.

    Writes into `run`, a working directory, beside what `training.loop.train` writes: lists of the photographs to train
    on and of those kept aside, before/ and after/ as `palgan evaluate` writes them, comparison.json, and
    before-and-after.png.

    Args:
      start: the model, as `--from` names it.
      overrides: `field=value` of the config, in place of what was chosen.

    Returns sentences on whether it helped; None where it was told to stop and saved. Raises UserError as `train` and
    `split.split_folder` do.
    """
    run = Path(run).absolute()  # the lists in it are found wherever the command is given
    model = find_model(start)
    photographs, held_out = split_folder(folder, run)
    on_cpu = jax.default_backend() == "cpu"
    config = choose(from_dict(model.config), start, run, photographs, jax.device_count(), on_cpu)
    apply_overrides(config, overrides)
    check_config(config)
    durations(config, photographs)  # what `train` refuses is refused before the model is measured
    log.info(
        "%d photographs to learn from, %d kept aside to judge by: %s of %d, %d x %d pixels, from %s",
        photographs, held_out, config.total, config.batch_size, config.resolution, config.resolution, model.source,
    )  # fmt: skip
    before = Checkpoint.of(model, label="before")
    if not _measure(before, run):
        return None
    if train(config, run) is Outcome.STOPPED:
        return None
    after = Checkpoint.of(find_weights(run), label="after")
    if not _measure(after, run):
        return None
    sentences = verdict(compare_folders(run / after.label, run / before.label, run / COMPARISON))
    _draw((before, after), sentences, run)
    return sentences


def _measure(system: Checkpoint, run: Path) -> bool:
    """Measures a model on the pictures kept aside and writes RUN/LABEL; returns False where it was told to stop."""
    truth = open_truth(f"list:{run / ASIDE}")
    return not evaluate(system, truth, find_protocol("folder"), run / system.label, metrics=METRICS).stopped


def _draw(systems: Sequence[Checkpoint], sentences: Sequence[str], run: Path) -> None:
    """Writes RUN/before-and-after.png: some of the pictures kept aside, evenly out of all, by each model."""
    truth = open_truth(f"list:{run / ASIDE}")
    sections = []
    for number in evenly(len(truth), ON_SHEET).tolist():
        rgb = read_picture(truth, number, at_least=CELL)
        gray = join(luminance(rgb), np.zeros((1, 1, 2), np.float32))
        paintings = [(system.label, system.colorizer(rgb).pixels) for system in systems]
        sections.append(Section(Path(truth.picture_name(number)).name, [("gray", gray), *paintings, ("truth", rgb)]))
    notes = [line for sentence in sentences for line in textwrap.wrap(sentence, 115)]
    sheet = draw_grid(sections, "Before and after", notes, cell=CELL, columns=4)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    write_file(run / SHEET, buffer.getvalue())
