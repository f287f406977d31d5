"""The way from uint8 on the host to Lab on the devices."""

import os
import signal

import jax
import numpy as np
import pytest
import skimage.color

from palgan_jax.data.device import AHEAD, DeviceBatches, abstract_lab_batch, make_lab_stage
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.errors import DataStopped
from palgan_jax.palette.histogram import histogram
from palgan_jax.palette.spec import PaletteSpec

B, SIDE, SPEC = 16, 8, PaletteSpec()


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (B, SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(devices=jax.devices())


def test_lab_is_that_of_scikit_image_and_the_palette_is_its_histogram(rgb, mesh):
    batch = jax.device_get(make_lab_stage(SPEC, 110.0, mesh)({"rgb": rgb}))
    lab = skimage.color.rgb2lab(rgb)
    np.testing.assert_allclose(batch["l"], (lab[..., :1] - 50) / 100, atol=1e-5)
    np.testing.assert_allclose(batch["c"], lab[..., 1:] / 110, atol=1e-5)
    np.testing.assert_allclose(batch["h"], histogram(lab[..., 1:].astype(np.float32) / 110, SPEC), atol=1e-5)
    np.testing.assert_array_equal(batch["rgb"], rgb)


def test_every_device_gets_its_rows_and_only_bytes_cross(rgb, mesh):
    batch = make_lab_stage(SPEC, 110.0, mesh)({"rgb": rgb})
    for x, expected in zip(
        jax.tree.leaves(batch), jax.tree.leaves(abstract_lab_batch(B, SIDE, SPEC, 110.0, mesh)), strict=True
    ):
        assert (x.shape, x.dtype, x.sharding) == (expected.shape, expected.dtype, expected.sharding)
        assert {shard.data.shape[0] for shard in x.addressable_shards} == {B // 8}


class Numbers:
    """Local batches 0, 1, 2, ... that end with an error."""

    def __init__(self, count: int):
        self.count, self._end = 0, count

    @property
    def position(self) -> int:
        return self.count * B

    def __next__(self):
        if self.count == self._end:
            raise DataStopped("the folder is gone: mount it again.")
        self.count += 1
        return {"rgb": np.full((B, SIDE, SIDE, 3), self.count - 1, np.uint8)}


def test_batches_lie_ready_while_the_position_is_that_of_the_last_one_used(mesh):
    source = Numbers(100)
    batches = DeviceBatches(source, make_lab_stage(SPEC, 110.0, mesh))
    assert batches.position == 0
    for i in range(5):
        batch, local = next(batches)
        assert (np.asarray(batch["rgb"]) == i).all() and (local["rgb"] == i).all()
        assert batches.position == (i + 1) * B
        assert source.count == i + 1 + AHEAD


def test_all_batches_from_before_an_error_are_used(mesh):
    batches = DeviceBatches(Numbers(4), make_lab_stage(SPEC, 110.0, mesh))
    assert [int(local["rgb"][0, 0, 0, 0]) for _, local in (next(batches) for _ in range(4))] == [0, 1, 2, 3]
    for _ in range(2):
        with pytest.raises(DataStopped, match="mount it again"):
            next(batches)
    assert batches.position == 4 * B


def test_a_start_without_any_batch_is_told_at_once(mesh):
    batches = DeviceBatches(Numbers(0), make_lab_stage(SPEC, 110.0, mesh))
    with pytest.raises(DataStopped, match="mount it again"):
        batches.start()


def test_one_of_several_processes_asks_all_to_stop_and_repeats_its_last_batch(monkeypatch):
    signals = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "kill", lambda process, number: signals.append((process, number)))
    batches = DeviceBatches(Numbers(4), stage=lambda local: local)
    numbers = []
    for _ in range(6):
        numbers.append(int(next(batches)[1]["rgb"][0, 0, 0, 0]))
        if len(numbers) == 2:
            assert not signals, "the pipeline has not failed yet"
    assert numbers == [0, 1, 2, 3, 3, 3] and batches.position == 6 * B
    assert signals == [(os.getpid(), signal.SIGTERM)], "once, while batches are left"
    assert str(batches.failed) == "the folder is gone: mount it again."
