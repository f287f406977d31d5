"""Validation while training: metrics of the averaged weights, and of baselines, on pictures not trained on."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.color import from_bytes, to_bytes
from palgan_jax.config import palette_spec
from palgan_jax.data.eval_batches import EvalBatches, eval_batches
from palgan_jax.data.protocols import Source
from palgan_jax.data.sampling import SIDE, Averages, averages
from palgan_jax.distributed.mesh import replicated, to_devices
from palgan_jax.errors import DataStopped, UserError
from palgan_jax.metrics.catalogue import FEATURE_NAMES, METRICS, OPTIONAL, VARIANTS, validation_names
from palgan_jax.metrics.frechet import empty, frechet_distance, update
from palgan_jax.metrics.measure import Networks, load_networks
from palgan_jax.metrics.measure import measure as metrics_of_batch
from palgan_jax.nn.build import build_generator
from palgan_jax.palette.histogram import histogram
from palgan_jax.pretrained.inception import FEATURE_SIZE
from palgan_jax.util.progress import Progress

log = logging.getLogger(__name__)

Sums = dict[str, jax.Array]


def optional_metrics(config: ConfigDict) -> tuple[str, ...]:
    """Returns the metrics that `eval_metrics` names beside the usual ones. Raises UserError for unknown ones."""
    names = {name for name in (part.strip() for part in config.eval_metrics.split(",")) if name}
    if unknown := sorted(names - set(OPTIONAL)):
        raise UserError(
            f"--config.eval_metrics names {unknown[0]}, which is not known: name some of {', '.join(OPTIONAL)}."
        )
    return tuple(name for name in OPTIONAL if name in names)


def load_metric_networks(config: ConfigDict) -> Networks:
    """Loads the networks of the metrics that `eval_metrics` names.

    Raises UserError where it names a metric that is not known, or whose weights are missing.
    """
    networks = load_networks(optional_metrics(config))
    for name, reason in networks.absent.items():
        raise UserError(f"--config.eval_metrics asks for {name}, and {reason}")
    return networks


def measured_names(config: ConfigDict, networks: Networks) -> tuple[str, ...]:
    """Returns the names of all that validation measures, such as "val/psnr"."""
    names = validation_names(optional_metrics(config), palettes=config.model == "palgan", fid=networks.fid)
    return tuple(f"val/{name}" for name in names)


def make_measure(config: ConfigDict, generator: nn.Module) -> Callable[..., tuple[Sums, dict[str, jax.Array]]]:
    """Returns measure(variables, params, batch, constants) -> sums over the pictures of the batch, and features.

    batch holds "rgb", uint8 (B, H, W, 3), and "mask" (B,), which is False for padding; constants are `Averages` of the
    training set; params has the networks that `eval_metrics` needs. The automatic colors have all metrics (no suffix),
    the others those of `catalogue.VARIANTS`: painted with the truth's palette, with the training set's mean or median
    palette for every picture, without color, and with its mean color everywhere. The sums have the number of pictures
    beside them, "count"; the features, (B, 2048) of the automatic colors and of the truth, are for FID alone and have
    "mask" beside them.
    """
    spec, optional = palette_spec(config), optional_metrics(config)

    def measure(
        variables: Any, params: Any, batch: dict[str, jax.Array], constants: Averages
    ) -> tuple[Sums, dict[str, jax.Array]]:
        l, truth = from_bytes(batch["rgb"], config.ab_range)
        truth_palette = histogram(truth, spec)  # (B, K)
        predicted_palette, automatic = generator.apply(variables, l)  # type: ignore[misc]
        mean_ab = jnp.broadcast_to(constants.ab / config.ab_range, truth.shape)
        variants = {"": automatic, "_gray": jnp.zeros_like(truth), "_mean_ab": mean_ab}
        inputs = {"truth": batch["rgb"], "truth_ab": truth * config.ab_range, "truth_palette": truth_palette}
        palettes = {}
        if config.model == "palgan":
            palettes = {
                "_truth_palette": truth_palette,
                "_mean_palette": jnp.broadcast_to(constants.mean_palette, truth_palette.shape),
                "_median_palette": jnp.broadcast_to(constants.median_palette, truth_palette.shape),
            }
            # One call for all palettes: the program holds the network twice, and not four times. Interleaved, not
            # concatenated: all answers to a picture stay on its device.
            count = len(palettes)
            stacked = jnp.stack(list(palettes.values()), axis=1).reshape(-1, truth_palette.shape[-1])  # (3B, K)
            answers: Any
            _, answers = generator.apply(variables, jnp.repeat(l, count, axis=0), stacked)  # type: ignore[misc]
            variants |= {suffix: answers[i::count] for i, suffix in enumerate(palettes)}
            palettes[""] = predicted_palette
        values: dict[str, jax.Array] = {}
        for suffix, c in variants.items():
            predictions = {"predicted": to_bytes(l, c, config.ab_range), "predicted_ab": c * config.ab_range}
            if suffix in palettes:
                predictions["predicted_palette"] = palettes[suffix]
            names = [
                name for name in VARIANTS[suffix] if set(METRICS[name].inputs) <= inputs.keys() | predictions.keys()
            ]
            names += optional if suffix == "" else ()
            for name, value in metrics_of_batch(params, inputs | predictions, names).items():
                values[f"{name}{suffix}"] = value
        mask = batch["mask"]
        features = {name: values.pop(name) for name in FEATURE_NAMES if name in values} | {"mask": mask}
        sums = {name: jnp.sum(jnp.where(mask, value, 0)) for name, value in values.items()}
        return sums | {"count": jnp.sum(mask)}, features

    return measure


class Validation:
    """Measures weights on all pictures of a set, spread over the mesh.

    Args:
      constants: averages of the training set, which the baselines paint with.
      batches: this process's "rgb" (b, H, W, 3) and "mask" (b,); iterated over by each run.
      networks: those of the config's metrics, from `load_metric_networks`.
    """

    def __init__(
        self,
        config: ConfigDict,
        generator: nn.Module,
        mesh: Mesh,
        constants: Averages,
        batches: EvalBatches,
        networks: Networks,
    ):
        self._batches = batches
        self._mesh, self._constants = mesh, jax.device_put(constants, replicated(mesh))
        self._params, self._fid = jax.device_put(networks.params, replicated(mesh)), networks.fid
        self.names = measured_names(config, networks)
        """The names of all that `run` returns."""
        self._measure = jax.jit(make_measure(config, generator), out_shardings=replicated(mesh))

    def run(self, variables: Any, show_progress: bool = False) -> dict[str, float]:
        """Returns the means over all pictures that can be read, by `names`. Raises DataStopped where none can."""
        total: Sums = {}
        moments = {name: empty(FEATURE_SIZE) for name in FEATURE_NAMES if "fid" in self._params}
        with Progress("validation", len(self._batches), unit="batch", shown=show_progress) as progress:
            for batch in self._batches:
                shared = to_devices({name: batch[name] for name in ("rgb", "mask")}, self._mesh)
                sums, features = self._measure(variables, self._params, shared, self._constants)
                for name in moments:
                    moments[name] = update(moments[name], np.asarray(features[name])[np.asarray(features["mask"])])
                total = sums if not total else jax.tree.map(jnp.add, total, sums)
                progress.advance()
        values = jax.device_get(total)
        count = values.pop("count")
        if missing := sorted(self._batches.unreadable):
            log.warning(
                "%d pictures cannot be read any more and are not measured: %s", len(missing), ", ".join(missing)
            )
        if not count:
            raise DataStopped(
                "none of the pictures of --config.data.val can be read any more: bring them back and start the same "
                "command again."
            )
        means = {name: float(value / count) for name, value in values.items()}
        if moments and count > 1:
            means[self._fid] = frechet_distance(*moments.values())
        return {f"val/{name}": value for name, value in means.items()}


def training_averages(config: ConfigDict, source: Source) -> Averages:
    """Returns what validation's baselines paint with, and what a pretrained encoder's palettes begin as.

    `source`: the pictures of the training. Raises DataStopped where none of them can be read.
    """
    read = partial(source.read, at_least=max(SIDE, config.resolution))
    return averages(
        read, range(len(source)), source.name, resolution=config.resolution, spec=palette_spec(config),
        ab_range=config.ab_range,
    )  # fmt: skip


def make_validation(
    config: ConfigDict, mesh: Mesh, constants: Averages, source: Source, networks: Networks
) -> Validation:
    """Returns the validation of a config's networks on the pictures of `source`, in batches of the config's size."""
    size = max(config.batch_size // mesh.size, 1) * mesh.size
    batches = eval_batches(
        source, resolution=config.resolution, batch_size=size, process_index=jax.process_index(),
        process_count=jax.process_count(),
    )  # fmt: skip
    return Validation(config, build_generator(config, mesh), mesh, constants, batches, networks)
