"""Measures weights that no run has measured, such as the mean of several steps, as validation does while training."""

import tempfile
from pathlib import Path

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.config import from_dict
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.errors import UserError
from palgan_jax.training.data import open_data
from palgan_jax.training.validation import load_metric_networks, make_validation, training_averages

_BATCH = 8
"""The most pictures at a time on a device: of no effect on what is measured, and this machine may be a small one."""


def measure_weights(weights: Weights) -> dict[str, float]:
    """Returns what validation measures of weights, by names such as "val/psnr", on the pictures of their config.

    Nothing is written but indexes of pictures that have none. Raises UserError where the config names no pictures for
    validation, or where some of its pictures, or the weights of its metrics, are not here.
    """
    config = from_dict(weights.config)
    if not config.data.val:
        raise UserError("the run had no pictures for validation: `palgan evaluate` measures on any.")
    networks, mesh = load_metric_networks(config), make_mesh()
    config.batch_size = min(config.batch_size, _BATCH * mesh.size)
    with tempfile.TemporaryDirectory(prefix="palgan-measure-") as folder:
        source, val_source = open_data(config, "train", Path(folder)), open_data(config, "val", Path(folder))
        constants = training_averages(config, source)
        validation = make_validation(config, mesh, constants, val_source, networks)
        return validation.run(weights.variables, show_progress=True)
