"""The last stage of the pipeline: moves bytes to the devices ahead of the step, and makes Lab and palettes there.

8-bit sRGB crosses, which is a quarter of the size of Lab in float32. The conversion costs an accelerator next to
nothing, and a host as much as decoding.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from palgan_jax.color import from_bytes
from palgan_jax.distributed.collectives import any_agree
from palgan_jax.distributed.mesh import batch_sharding, to_devices
from palgan_jax.errors import DataStopped
from palgan_jax.palette.histogram import histogram
from palgan_jax.palette.spec import PaletteSpec

AHEAD = 2
"""Batches that lie on the devices or are on their way there while a step runs."""

LocalBatch = dict[str, np.ndarray]
DeviceBatch = dict[str, jax.Array]


def lab_batch(rgb: jax.Array, spec: PaletteSpec, ab_range: float) -> DeviceBatch:
    """Returns what the training step receives of uint8 sRGB (B, H, W, 3).

    Returns:
      rgb: as given.
      l: float32 (B, H, W, 1), luminance in [-0.5, 0.5] (method: section 1).
      c: float32 (B, H, W, 2), a and b in units of `ab_range`.
      h: float32 (B, K), the palette of c (method: section 2).
    """
    l, c = from_bytes(rgb, ab_range)
    return {"rgb": rgb, "l": l, "c": c, "h": histogram(c, spec)}


def abstract_lab_batch(batch_size: int, resolution: int, spec: PaletteSpec, ab_range: float, mesh: Mesh) -> Any:
    """Returns the shapes, types and shardings of a global `lab_batch`, to compile a step for."""
    rgb = jax.ShapeDtypeStruct((batch_size, resolution, resolution, 3), np.uint8)
    shapes = jax.eval_shape(partial(lab_batch, spec=spec, ab_range=ab_range), rgb)
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)


def make_lab_stage(spec: PaletteSpec, ab_range: float, mesh: Mesh) -> Callable[[LocalBatch], DeviceBatch]:
    """Returns stage(local) -> the global `lab_batch` on the mesh, of this process's rows "rgb", uint8 (b, H, W, 3)."""
    convert = jax.jit(partial(lab_batch, spec=spec, ab_range=ab_range), out_shardings=batch_sharding(mesh))
    return lambda local: convert(**to_devices({"rgb": local["rgb"]}, mesh))


@dataclass(frozen=True)
class _Queued:
    """A batch that waits for its step."""

    batch: DeviceBatch
    local: LocalBatch  # this process's rows, as they came from the pipeline
    samples: int  # over all processes


class DeviceBatches:
    """Iterates over (global batch on the devices, this process's rows of it), AHEAD of them ready before their step.

    Where the pipeline raises DataStopped:
    1. The error is kept in `failed`, and the pipeline is not asked again.
    2. The batches from before it are handed out as usual.
    3. A single process then raises it, from `next`.
    4. One of several processes instead sends itself a SIGTERM, as soon as the error comes, so that all agree on a step
       to stop at (`distributed/preemption.py`). It hands out its last batch again until then, since no process can step
       without the others. Whoever ends the loop raises `failed`.

    Args:
      batches: the pipeline, an iterator over local batches with a `position` in samples.
      stage: from `make_lab_stage`.
      waiting: its context is entered while there is nothing to do but wait for the pipeline.
    """

    def __init__(
        self,
        batches: Any,
        stage: Callable[[LocalBatch], DeviceBatch],
        waiting: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ):
        self._batches, self._stage, self._waiting = batches, stage, waiting
        self._ahead: deque[_Queued] = deque()
        self._last: _Queued | None = None
        self.failed: DataStopped | None = None
        self.position: int = batches.position
        """Samples in the batches handed out, over all processes: where a resumed run goes on."""

    def start(self) -> None:
        """Fetches the first batches. Raises DataStopped in all processes where one of them has none."""
        self._fill()
        if any_agree(not self._ahead):
            raise self.failed or DataStopped("another process of this run has no pictures any more: see its log.")
        self._ask_to_stop()

    def __iter__(self) -> Iterator[tuple[DeviceBatch, LocalBatch]]:
        return self

    def __next__(self) -> tuple[DeviceBatch, LocalBatch]:
        if self.failed is None:
            self._fill()
            self._ask_to_stop()
        if self._ahead:
            self._last = self._ahead.popleft()
        elif self._last is None or jax.process_count() == 1:
            assert self.failed is not None
            raise self.failed
        self.position += self._last.samples
        return self._last.batch, self._last.local

    def _fill(self) -> None:
        """Fetches batches until AHEAD of them are ready beside the next one, or there are no more."""
        while len(self._ahead) < AHEAD + 1 and self.failed is None:
            position = self._batches.position
            try:
                with self._waiting():
                    local = next(self._batches)
            except DataStopped as error:
                self.failed = error
            else:
                self._ahead.append(_Queued(self._stage(local), local, self._batches.position - position))

    def _ask_to_stop(self) -> None:
        """Applies rule 4 where the pipeline has just failed."""
        if self.failed is not None and jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
