"""Validation while training: metrics of the averaged weights, and of two baselines, on pictures not trained on."""

import logging
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.color import from_bytes, to_bytes
from palgan_jax.config import palette_spec
from palgan_jax.data.train_batches import EvalBatches
from palgan_jax.distributed.mesh import replicated, to_devices
from palgan_jax.errors import DataStopped, UserError
from palgan_jax.metrics.ab_error import ab_error
from palgan_jax.metrics.colorfulness import colorfulness
from palgan_jax.metrics.frechet import empty, frechet_distance, update
from palgan_jax.metrics.measure import DEFAULT, FEATURES, FID_OTHER, load_networks
from palgan_jax.metrics.measure import measure as metrics_of_batch
from palgan_jax.metrics.psnr import psnr
from palgan_jax.palette import hellinger, histogram
from palgan_jax.pretrained.inception import FEATURES as INCEPTION_FEATURES

log = logging.getLogger(__name__)

Sums = dict[str, jax.Array]


MORE = tuple(name for name in DEFAULT if name not in ("psnr", "colorfulness", "palette_distance"))
"""What `eval_metrics` may ask for beside what is always measured."""
LESS_IS_BETTER = ("ab_error", "ab_error_truth_palette", "palette_distance", "lpips_alexnet", "lpips_vgg16", "fid",
                  FID_OTHER, "ciede2000", "luminance_error", "bleeding")  # fmt: skip
"""Of all other measures more is better."""


def more_metrics(config: ConfigDict) -> tuple[str, ...]:
    """The metrics that a config asks for beside the usual ones. Raises UserError for unknown ones."""
    asked = {name for name in (part.strip() for part in config.eval_metrics.split(",")) if name}
    if unknown := sorted(asked - set(MORE)):
        raise UserError(
            f"--config.eval_metrics names {unknown[0]}, which is not known: name some of {', '.join(MORE)}."
        )
    return tuple(name for name in MORE if name in asked)


SUFFIXES = ("", "_truth_palette", "_gray", "_mean_ab")
"""Ends of the names of metrics, by how a picture is colored: by the model alone, by the model with the truth's palette,
not at all, and with the training set's mean color."""


def validation_names(config: ConfigDict, fid: str) -> tuple[str, ...]:
    """Returns the names of all that validation measures; `fid` is the name that FID goes by."""
    palettes = config.model == "palgan"
    suffixes = [suffix for suffix in SUFFIXES if palettes or suffix != "_truth_palette"]
    names = [f"{name}{suffix}" for name in ("psnr", "ab_error") for suffix in suffixes]
    names += ["colorfulness_of_truth", "colorfulness", *["colorfulness_truth_palette", "palette_distance"] * palettes]
    return (*names, *(fid if name == "fid" else name for name in more_metrics(config)))


def make_measure(config: ConfigDict, generator: nn.Module) -> Callable[..., tuple[Sums, dict[str, jax.Array]]]:
    """Returns measure(variables, params, batch, mean_ab) -> sums over the pictures of the batch, and features.

    batch holds "rgb", uint8 (B, H, W, 3), and "mask" (B,), which is False for padding; mean_ab (2,) is the training
    set's mean color, normalized; params has the networks that `eval_metrics` needs. Each metric is measured for the
    automatic colors (no suffix), the usual ones also for those painted with the truth's palette ("_truth_palette"),
    and for the baselines without color ("_gray") and with the mean color everywhere ("_mean_ab"). PSNR is in dB on
    8-bit sRGB, ab_error in units of Lab. The sums have the number of pictures beside them, "count"; the features,
    (B, 2048) of the automatic colors and of the truth, are for FID alone and have "mask" beside them.
    """
    spec, more = palette_spec(config), more_metrics(config)

    def measure(
        variables: Any, params: Any, batch: dict[str, jax.Array], mean_ab: jax.Array
    ) -> tuple[Sums, dict[str, jax.Array]]:
        truth_rgb = batch["rgb"].astype(jnp.float32)  # (B, H, W, 3)
        l, truth = from_bytes(truth_rgb, config.ab_range)
        h = histogram(truth, spec)  # (B, K)
        h_hat, automatic = generator.apply(variables, l)  # type: ignore[misc]
        rivals = {"": automatic, "_gray": jnp.zeros_like(truth), "_mean_ab": jnp.broadcast_to(mean_ab, truth.shape)}
        values = {"colorfulness_of_truth": colorfulness(truth_rgb)}
        if config.model == "palgan":
            values["palette_distance"] = hellinger(h_hat, h)
            _, rivals["_truth_palette"] = generator.apply(variables, l, h)  # type: ignore[misc]
        for suffix, c in rivals.items():
            rgb = to_bytes(l, c, config.ab_range).astype(jnp.float32)
            if suffix == "":
                values |= metrics_of_batch(params, rgb, truth_rgb, metrics=more)
            values[f"psnr{suffix}"] = psnr(rgb, truth_rgb)
            values[f"ab_error{suffix}"] = ab_error(c * config.ab_range, truth * config.ab_range)
            if suffix in ("", "_truth_palette"):
                values[f"colorfulness{suffix}"] = colorfulness(rgb)
        mask = batch["mask"]
        features = {name: values.pop(name) for name in FEATURES if name in values} | {"mask": mask}
        sums = {name: jnp.sum(jnp.where(mask, value, 0)) for name, value in values.items()}
        return sums | {"count": jnp.sum(mask)}, features

    return measure


class Validation:
    """Measures weights on all pictures of a set, spread over the mesh.

    Args:
      mean_ab: float32 (2,), the training set's mean color, normalized.
      batches: this process's "rgb" (b, H, W, 3) and "mask" (b,); iterated over by each run.

    Raises UserError where the config asks for a metric that is not known, or whose weights are missing.
    """

    def __init__(
        self,
        config: ConfigDict,
        generator: nn.Module,
        mesh: Mesh,
        mean_ab: np.ndarray,
        batches: EvalBatches,
    ):
        self._batches = batches
        self._mesh, self._mean_ab = mesh, jax.device_put(mean_ab, replicated(mesh))
        networks = load_networks(more_metrics(config))
        for name, reason in networks.absent.items():
            raise UserError(f"--config.eval_metrics asks for {name}, and {reason}")
        self._params, self._fid = jax.device_put(networks.params, replicated(mesh)), networks.fid
        self.names = tuple(f"val/{name}" for name in validation_names(config, networks.fid))
        """The names of all that `run` returns."""
        self._measure = jax.jit(make_measure(config, generator), out_shardings=replicated(mesh))

    def run(self, variables: Any) -> dict[str, float]:
        """Returns the means over all pictures that can be read, by `names`. Raises DataStopped where none can."""
        total: Sums = {}
        moments = {name: empty(INCEPTION_FEATURES) for name in FEATURES if "fid" in self._params}
        for batch in self._batches:
            shared = to_devices({name: batch[name] for name in ("rgb", "mask")}, self._mesh)
            sums, features = self._measure(variables, self._params, shared, self._mean_ab)
            for name in moments:
                moments[name] = update(moments[name], np.asarray(features[name])[np.asarray(features["mask"])])
            total = sums if not total else jax.tree.map(jnp.add, total, sums)
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
