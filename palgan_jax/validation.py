"""Validation while training: what the averaged weights do on pictures that they have not seen, beside two baselines."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.color import from_bytes, to_bytes
from palgan_jax.config import palette_spec
from palgan_jax.data.pipeline import EvalBatches
from palgan_jax.errors import DataStopped
from palgan_jax.metrics.ab_error import ab_error
from palgan_jax.metrics.colourfulness import colourfulness
from palgan_jax.metrics.psnr import psnr
from palgan_jax.palette import hellinger, histogram
from palgan_jax.sharding import replicated, to_devices

log = logging.getLogger(__name__)

Sums = dict[str, jax.Array]


def make_measure(config: ConfigDict, generator: nn.Module) -> Callable[..., Sums]:
    """Returns measure(variables, batch, mean_ab) -> sums over the pictures of the batch, and "count".

    batch holds "rgb", uint8 (B, H, W, 3), and "mask" (B,), which is False for padding; mean_ab (2,) is the training
    set's mean colour, normalised. Each metric is measured for the automatic colours (no suffix), for those painted
    with the truth's palette ("_truth_palette"), and for the baselines without colour ("_gray") and with the mean
    colour everywhere ("_mean_ab"). PSNR is in dB on 8-bit sRGB, ab_error in units of Lab.
    """
    spec = palette_spec(config)

    def measure(variables: Any, batch: dict[str, jax.Array], mean_ab: jax.Array) -> Sums:
        truth_rgb = batch["rgb"].astype(jnp.float32)  # (B, H, W, 3)
        l, truth = from_bytes(truth_rgb, config.ab_range)
        h = histogram(truth, spec)  # (B, K)
        h_hat, automatic = generator.apply(variables, l)  # type: ignore[misc]
        rivals = {"": automatic, "_gray": jnp.zeros_like(truth), "_mean_ab": jnp.broadcast_to(mean_ab, truth.shape)}
        values = {"colourfulness_of_truth": colourfulness(truth_rgb)}
        if config.model == "palgan":
            values["palette_distance"] = hellinger(h_hat, h)
            _, rivals["_truth_palette"] = generator.apply(variables, l, h)  # type: ignore[misc]
        for suffix, c in rivals.items():
            rgb = to_bytes(l, c, config.ab_range).astype(jnp.float32)
            values[f"psnr{suffix}"] = psnr(rgb, truth_rgb)
            values[f"ab_error{suffix}"] = ab_error(c * config.ab_range, truth * config.ab_range)
            if suffix in ("", "_truth_palette"):
                values[f"colourfulness{suffix}"] = colourfulness(rgb)
        mask = batch["mask"]
        return {name: jnp.sum(jnp.where(mask, value, 0)) for name, value in values.items()} | {"count": jnp.sum(mask)}

    return measure


class Validation:
    """Measures weights on all pictures of a set, spread over the mesh.

    `batches` is gone through anew each time, and holds this process's "rgb" (b, H, W, 3) and "mask" (b,).
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
        self._measure = jax.jit(make_measure(config, generator), out_shardings=replicated(mesh))

    def run(self, variables: Any) -> dict[str, float]:
        """The means over all pictures that can be read, named "val/...". Raises DataStopped where none can."""
        total: Sums = {}
        for batch in self._batches:
            shared = to_devices({name: batch[name] for name in ("rgb", "mask")}, self._mesh)
            sums = self._measure(variables, shared, self._mean_ab)
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
        return {f"val/{name}": float(value / count) for name, value in values.items()}


def mean_ab(config: ConfigDict, mesh: Mesh, batches: Iterable[dict[str, np.ndarray]]) -> np.ndarray:
    """The mean normalised ab (2,) of all pixels of a set of pictures: the baseline's one colour."""

    def sums(rgb: jax.Array, mask: jax.Array) -> jax.Array:
        _, c = from_bytes(rgb, config.ab_range)
        means = jnp.where(mask[:, None], jnp.mean(c, axis=(1, 2)), 0)  # (B, 2)
        return jnp.append(jnp.sum(means, axis=0), jnp.sum(mask))

    jitted = jax.jit(sums, out_shardings=replicated(mesh))
    total = sum(
        np.asarray(jitted(*to_devices({"rgb": b["rgb"], "mask": b["mask"]}, mesh).values()), np.float64)
        for b in batches
    )
    return np.asarray(total[:2] / total[2], np.float32)  # type: ignore[index]
