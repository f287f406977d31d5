"""The input's part of a line of metrics."""

import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from palgan_jax.training.timing import InputWatch, MetricsWindow, bottleneck

READY = {"loss/g": jnp.float32(1)}


class Busy:
    """Stands for a result that the devices need a while for."""

    def __init__(self, seconds: float):
        self.end = time.monotonic() + seconds

    def block_until_ready(self) -> None:
        time.sleep(max(0.0, self.end - time.monotonic()))


def batch(*numbers: int, seconds: float = 0.02) -> dict[str, np.ndarray]:
    count = len(numbers)
    return {"index": np.array(numbers), "replaced": np.full(count, -1), "seconds": np.full(count, seconds)}


def test_bytes_and_work_are_those_of_the_pictures_of_the_batch():
    window = MetricsWindow(4, file_bytes=np.array([10, 2000, 30_000]), decoders=2)
    start = time.monotonic()
    window.add(READY, batch(0, 1))
    window.add(READY, batch(2, 2))
    time.sleep(0.1)
    line = window.close(READY)
    seconds = line["step_seconds"] * 2
    assert 0.1 <= seconds <= time.monotonic() - start
    assert line["input_megabytes_per_second"] == pytest.approx(62_010 / seconds / 1e6)
    assert line["input_decoder_use"] == pytest.approx(0.08 / (2 * seconds))
    assert line["input_images_per_second"] == pytest.approx(2 / 0.02)


def wait_for_input(busy: float, wait: float) -> float:
    """Seconds of starvation, of one wait after a step that keeps the devices busy for so long."""
    window = MetricsWindow(1, file_bytes=np.array([1]), decoders=1)
    result = Busy(busy)
    window.add({"loss/g": result}, batch(0))
    start = time.monotonic()
    with window.waiting():
        time.sleep(wait)
    longest = max(0.0, time.monotonic() - max(start, result.end))
    seconds = window.close(READY)["input_wait_seconds"]
    assert seconds <= longest + 0.01
    return seconds


def test_waiting_counts_only_while_the_devices_have_nothing_to_do():
    assert wait_for_input(busy=3.0, wait=0.1) == 0
    assert wait_for_input(busy=0.1, wait=1.0) > 0.3
    assert wait_for_input(busy=0.0, wait=0.6) > 0.2


def test_no_more_than_two_steps_are_queued_and_the_thread_ends_with_the_window():
    with MetricsWindow(1, file_bytes=np.array([1]), decoders=1) as window:
        start = time.monotonic()
        for _ in range(3):
            window.add({"loss/g": Busy(0.2)}, batch(0))
        assert time.monotonic() - start > 0.15, "the third waits for the first"
        (thread,) = (thread for thread in threading.enumerate() if thread.name.startswith("end-of-step"))
    thread.join(600)
    assert not thread.is_alive()


def line(share: float, use: float) -> dict[str, float]:
    return {
        "input_wait_share": share,
        "input_decoder_use": use,
        "input_images_per_second": 500.0,
        "images_per_second": 480.0,
    }


def test_the_bottleneck_is_named():
    assert bottleneck(line(0.09, 1.0)) is None
    decoding = bottleneck(line(0.2, 0.97))
    assert decoding is not None and "20% of the time" in decoding and "500 pictures a second" in decoding
    assert "some 600" in decoding and "more cores" in decoding
    handing_over = bottleneck(line(0.2, 0.3))
    assert handing_over is not None and "moving batches" in handing_over


def test_waiting_is_told_once_each_time_that_it_begins():
    watch = InputWatch()
    shares = [0.9, 0.9, 0.9, 0.0, 0.5, 0.5]  # the first line is that of a cold start
    assert [watch.warning(line(share, 1.0)) is not None for share in shares] == [False, True, False, False, True, False]
