"""Compiles the programs of an evaluation, which paint a batch and measure it, spread over all devices of a mesh."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from palgan_jax.color import bytes_to_lab
from palgan_jax.distributed.mesh import batch_sharding, replicated, to_devices
from palgan_jax.evaluation.photographs import ANSWERS, LARGE, SIZES, answer
from palgan_jax.evaluation.systems import Checkpoint, System, resize_square
from palgan_jax.metrics.catalogue import FEATURE_NAMES, with_companions
from palgan_jax.metrics.measure import Networks, features, measure


class Programs:
    """Compiled for one system, one set of metrics and one mesh.

    Values come back whole to every process, (B,) of the global batch, so that all of them know the same.
    """

    def __init__(
        self, mesh: Mesh, system: System, networks: Networks, metrics: Collection[str], *, truth_features: bool = True
    ):
        """Puts all weights on the devices. `truth_features`: False where FID is taken against other pictures."""
        on_all, split = replicated(mesh), batch_sharding(mesh)
        # One process sees all of its devices: nothing has to cross, where XLA would end it if one core came too late.
        visible = on_all if jax.process_count() > 1 else split
        self._mesh, self._system, self._metrics = mesh, system, metrics
        self._truth_features = truth_features
        self.batch_multiple = mesh.size
        """The number of rows of a batch is a multiple of this."""
        # From the host, since arrays of one process's device cannot be spread over those of others.
        self._variables, self._params = jax.device_put(jax.device_get((system.variables, networks.params)), on_all)
        self._luminance = jax.jit(lambda rgb: bytes_to_lab(rgb)[..., 0], out_shardings=split)
        self._paint = jax.jit(system.paint, out_shardings=split)
        self._colors = jax.jit(self._colors_by_size, out_shardings=split)
        # Inception has a program of its own, which serves predictions and truths.
        names = frozenset(with_companions(metrics)) - {"fid"}
        self._measure = jax.jit(partial(measure, metrics=names), out_shardings=visible)
        self._features = jax.jit(features, out_shardings=visible)
        self._gather = jax.jit(lambda x: x, out_shardings=visible)

    def measure(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Returns the values (B,) of the global batch by metric, its "mask", and FEATURE_NAMES (B, 2048) for FID.

        Devices may still be computing them. `batch` is this process's rows: "truth", uint8 (b, S, S, 3), "mask" (b,),
        and the inputs of the system and of the metrics.
        """
        on_devices = to_devices(batch, self._mesh)
        l, truth = self._luminance(on_devices["truth"]), on_devices["truth"]
        predicted, _ = self._paint(self._variables, l, self._inputs(on_devices))
        inputs: dict[str, Any] = {"predicted": predicted, "truth": truth}
        if "diversity" in self._metrics:
            references = [{"partner": on_devices[answer(k)]} for k in range(ANSWERS)]
            inputs["answers"] = [self._paint(self._variables, l, reference)[0] for reference in references]
        if "size_consistency" in self._metrics:
            inputs["ab_by_size"] = self._colors(self._variables, self._luminance(on_devices[LARGE]))
        values = {**self._measure(self._params, inputs), "mask": self._gather(on_devices["mask"])}
        if "fid" in self._metrics:
            pictures = (predicted, truth) if self._truth_features else (predicted,)
            for name, rgb in zip(FEATURE_NAMES, pictures, strict=False):
                values[name] = self._features(self._params["fid"], rgb)
        return values

    def features(self, batch: dict[str, np.ndarray]) -> tuple[jax.Array, jax.Array]:
        """Returns the features (B, 2048) of "truth" and "mask" (B,) of the global batch."""
        on_devices = to_devices({name: batch[name] for name in ("truth", "mask")}, self._mesh)
        return self._features(self._params["fid"], on_devices["truth"]), self._gather(on_devices["mask"])

    def paint(self, batch: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the pictures, uint8 (B, S, S, 3), and palettes (B, K) of a batch, of a mesh within this process."""
        on_devices = to_devices(batch, self._mesh)
        l = self._luminance(on_devices["truth"])
        return jax.device_get(self._paint(self._variables, l, self._inputs(on_devices)))

    def _inputs(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        return {name: batch[name] for name in self._system.inputs}

    def _colors_by_size(self, variables: Any, large: jax.Array) -> list[jax.Array]:
        """Predicts ab (B, R, R, 2) at each of SIZES, of L (B, S, S) at the largest."""
        assert isinstance(self._system, Checkpoint)
        side = large.shape[1] // max(SIZES)
        sizes = [resize_square(large[..., None], side * times)[..., 0] for times in SIZES]
        return [self._system.colors(variables, l) for l in sizes]
