"""The last stage of the pipeline: bytes to the devices ahead of the step, and Lab and the palette made there.

8-bit sRGB is a quarter of what Lab takes in float32, so it is what crosses; the conversion costs an accelerator next to
nothing, and a host as much as decoding does.
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
from palgan_jax.palette import PaletteSpec, histogram

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
    """The shapes, types and places of `lab_batch`, to compile a step for."""
    rgb = jax.ShapeDtypeStruct((batch_size, resolution, resolution, 3), np.uint8)
    shapes = jax.eval_shape(partial(lab_batch, spec=spec, ab_range=ab_range), rgb)
    place = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)


def make_lab_stage(spec: PaletteSpec, ab_range: float, mesh: Mesh) -> Callable[[LocalBatch], DeviceBatch]:
    """Returns stage(local) -> the global `lab_batch` on the mesh, of this process's rows "rgb", uint8 (b, H, W, 3)."""
    convert = jax.jit(partial(lab_batch, spec=spec, ab_range=ab_range), out_shardings=batch_sharding(mesh))
    return lambda local: convert(**to_devices({"rgb": local["rgb"]}, mesh))


@dataclass(frozen=True)
class Fed:
    """One batch, and how many samples it has over all processes."""

    batch: DeviceBatch
    local: LocalBatch  # this process's rows, as the pipeline gave them
    samples: int


class DeviceBatches:
    """Keeps the devices AHEAD batches ahead of the step.

    `batches` gives local batches and says its `position`. What it raises as DataStopped is held back until all batches
    from before are used. Then, a single process ends with it. One of several tells the others to stop, as if it had got
    a SIGTERM, and repeats its last batch until all stop at the same step, since none can step without it; `failed` is
    then to be raised at the end.

    `waiting()` is entered while there is nothing to do but to wait for `batches`.
    """

    def __init__(
        self,
        batches: Any,
        stage: Callable[[LocalBatch], DeviceBatch],
        waiting: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ):
        self._batches, self._stage, self._waiting = batches, stage, waiting
        self._ahead: deque[Fed] = deque()
        self._last: Fed | None = None
        self.failed: DataStopped | None = None
        self.position: int = batches.position
        """Samples in the batches handed out, over all processes: where a resumed run goes on."""

    def start(self) -> None:
        """Fetches the first batches. Raises DataStopped in all processes where one of them has none."""
        self._fill()
        if any_agree(not self._ahead):
            raise self.failed or DataStopped("another process of this run has no pictures any more: see its log.")
        self._tell()

    def __iter__(self) -> Iterator[tuple[DeviceBatch, LocalBatch]]:
        return self

    def __next__(self) -> tuple[DeviceBatch, LocalBatch]:
        well = self.failed is None
        self._fill()
        if well:
            self._tell()
        if self._ahead:
            self._last = self._ahead.popleft()
        elif self._last is None or jax.process_count() == 1:
            assert self.failed is not None
            raise self.failed
        self.position += self._last.samples
        return self._last.batch, self._last.local

    def _fill(self) -> None:
        while len(self._ahead) < AHEAD + 1 and self.failed is None:
            before = self._batches.position
            try:
                with self._waiting():
                    local = next(self._batches)
            except DataStopped as error:
                self.failed = error
            else:
                self._ahead.append(Fed(self._stage(local), local, self._batches.position - before))

    def _tell(self) -> None:
        if self.failed is not None and jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
