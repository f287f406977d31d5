"""The programs of an evaluation: paint a batch and measure it, spread over all devices of a mesh."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from palgan_jax.color import bytes_to_lab
from palgan_jax.distributed.mesh import batch_sharding, replicated, to_devices
from palgan_jax.evaluation.systems import Checkpoint, System, squared
from palgan_jax.metrics.lpips import diversity
from palgan_jax.metrics.measure import FEATURES, Networks, measure, network_input
from palgan_jax.metrics.size_consistency import size_consistency
from palgan_jax.pretrained.inception import inception_features

ANSWERS = 4
"""Palettes of other photographs that diversity paints each photograph with."""
SIZES = (1, 2, 4)
"""Times the protocol's side at which a photograph is given for size consistency: 256, 512 and 1024."""


def answer(k: int) -> str:
    """The name under which a batch has the photograph whose palette makes answer number k."""
    return f"answer_{k}"


LARGE = "large"
"""The name under which a batch has the photographs at the largest of SIZES."""


def luminance(rgb: jax.Array) -> jax.Array:
    """L (B, S, S) of sRGB uint8 (B, S, S, 3)."""
    return bytes_to_lab(rgb)[..., 0]


class Programs:
    """Compiled for one system, one set of metrics and one mesh.

    Values come back whole to every process, (B,) of the global batch, so that all of them know the same.
    """

    def __init__(
        self, mesh: Mesh, system: System, networks: Networks, metrics: Collection[str], *, truth_features: bool = True
    ):
        """`truth_features`: whether FID is taken against the photographs themselves."""
        everywhere, split = replicated(mesh), batch_sharding(mesh)
        # One process sees all of its devices: nothing has to cross, where XLA would end it if one core came too late.
        seen = everywhere if jax.process_count() > 1 else split
        self._mesh, self._system, self._metrics = mesh, system, metrics
        self._truth_features = truth_features
        self.batch_multiple = mesh.size
        """What the number of rows of a batch has to be a multiple of."""
        # From the host, since arrays of one process's device cannot be spread over those of others.
        self._variables, self._params = jax.device_put(jax.device_get((system.variables, networks.params)), everywhere)
        self._luminance = jax.jit(luminance, out_shardings=split)
        self._paint = jax.jit(system.paint, out_shardings=split)
        # Inception has a program of its own, which serves predictions and truths.
        cheap = frozenset(metrics) - {"fid"}
        self._measure = jax.jit(partial(_measure, metrics=cheap), out_shardings=seen)
        self._features = jax.jit(_features, out_shardings=seen)
        self._whole = jax.jit(lambda x: x, out_shardings=seen)
        self._diversity = jax.jit(_diversity, out_shardings=seen)
        self._sizes = jax.jit(self._size_consistency, out_shardings=seen)

    def measure(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's rows of a batch -> values of the global one: "mask", those of `measure` and those on request.

        They may still be on their way when it returns.

        `batch` has "truth", uint8 (b, S, S, 3), "mask" (b,), and what the system and the metrics ask for.
        """
        on_devices = to_devices(batch, self._mesh)
        l, truth = self._luminance(on_devices["truth"]), on_devices["truth"]
        predicted, _ = self._paint(self._variables, l, self._given(on_devices))
        values = dict(self._measure(self._params, predicted, truth, on_devices["mask"]))
        if "fid" in self._metrics:
            compared = (predicted, truth) if self._truth_features else (predicted,)
            values |= {
                name: self._features(self._params["fid"], rgb) for name, rgb in zip(FEATURES, compared, strict=False)
            }
        if "diversity" in self._metrics:
            answers = [self._paint(self._variables, l, {"partner": on_devices[answer(k)]})[0] for k in range(ANSWERS)]
            values["diversity"] = self._diversity(self._params["diversity"], answers)
        if "size_consistency" in self._metrics:
            values["size_consistency"] = self._sizes(self._variables, self._luminance(on_devices[LARGE]))
        return values

    def features(self, batch: dict[str, np.ndarray]) -> tuple[jax.Array, jax.Array]:
        """The features (B, 2048) of "truth", and "mask" (B,), of photographs that nothing else is measured of."""
        on_devices = to_devices({name: batch[name] for name in ("truth", "mask")}, self._mesh)
        return self._features(self._params["fid"], on_devices["truth"]), self._whole(on_devices["mask"])

    def paint(self, batch: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """The pictures, uint8 (B, S, S, 3), and palettes of a batch, where this process has all of its devices."""
        on_devices = to_devices(batch, self._mesh)
        return jax.device_get(
            self._paint(self._variables, self._luminance(on_devices["truth"]), self._given(on_devices))
        )

    def _given(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        return {name: batch[name] for name in self._system.asks}

    def _size_consistency(self, variables: Any, large: jax.Array) -> jax.Array:
        assert isinstance(self._system, Checkpoint)
        side = large.shape[1] // max(SIZES)
        given = [squared(large[..., None], side * times)[..., 0] for times in SIZES]
        return size_consistency([self._system.colors(variables, l) for l in given])


def _measure(
    params: Mapping[str, Any], predicted: jax.Array, truth: jax.Array, mask: jax.Array, *, metrics: Collection[str]
) -> dict[str, jax.Array]:
    return {**measure(params, predicted, truth, metrics=metrics), "mask": mask}


def _features(params: Any, rgb: jax.Array) -> jax.Array:
    return inception_features(params, network_input(rgb))


def _diversity(weights: Any, answers: list[jax.Array]) -> jax.Array:
    return diversity(weights, [network_input(rgb) for rgb in answers], network="alexnet")
