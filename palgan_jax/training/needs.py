"""What a run needs beside its pictures: checked and loaded before anything that takes long."""

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from palgan_jax.config import duration_in_steps
from palgan_jax.errors import UserError
from palgan_jax.metrics.measure import Networks
from palgan_jax.pretrained.load import load_efficientnet_lite0, load_vgg16
from palgan_jax.training.start import Start, load_start
from palgan_jax.training.state import TrainState
from palgan_jax.training.validation import load_metric_networks, measured_names
from palgan_jax.util.text import in_words


@dataclass(frozen=True)
class Needs:
    """What a run needs beside its pictures.

    Attributes:
      start: the model that a new run starts from, or None.
      encoder: published weights that a new run begins with, or None.
      vgg: parameters of the perceptual network, or None.
      networks: those of the metrics of validation, where there is any.
    """

    start: Start | None
    encoder: Any
    vgg: Any
    networks: Networks


def load_needs(config: ConfigDict, *, fresh: bool) -> Needs:
    """Loads what a run needs; `fresh` is a run that begins, and does not go on from a checkpoint.

    Raises UserError where something is missing, or the best checkpoint is to be chosen by what is not measured.
    """
    if config.tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise UserError("--config.tensorboard=True needs tensorboardX: pip install -e '.[tensorboard]'.")
    networks = Networks()
    if config.data.val and duration_in_steps(config.eval_every, "eval_every", batch_size=1, epoch_examples=1, total=1):
        networks = load_metric_networks(config)
        names = measured_names(config, networks)
        if config.best and config.best not in names:
            choices = ", ".join(sorted(names))
            raise UserError(f"--config.best={config.best} is not measured: choose one of {choices}.")
    start = load_start(config) if fresh and config.start else None
    published = fresh and start is None and config.net.encoder != "paper"
    return Needs(
        start,
        load_efficientnet_lite0() if published else None,
        load_vgg16(config.loss.perceptual_weights or None) if config.loss.perceptual else None,
        networks,
    )


def check_room(state: TrainState, folder: Path, keep: int) -> None:
    """Raises UserError where a disk has no room for the checkpoints of a run: `keep`, the best, and one being written.

    `state`: the run's, of arrays or shapes. What the run has saved in the folder until now is reckoned in.
    """
    if jax.process_index():
        return
    checkpoint_size = sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    present_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free
    if (keep + 2) * checkpoint_size > free + present_bytes:
        raise UserError(
            f"a checkpoint of this run takes {in_words(checkpoint_size, 1)}, and {in_words(free, 1)} are free in "
            f"{folder}, too few for {keep + 2} of them: make room, or lower --config.keep."
        )
