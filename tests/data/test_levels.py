"""Levels of samples: the order of samples stays, white is white, and nothing wraps around."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from palgan_jax.data.levels import from_floats, from_integers, from_unsigned, to_bytes


def _keeps_order(values: np.ndarray, levels: np.ndarray) -> bool:
    order = np.argsort(values.ravel(), kind="stable")
    return bool((np.diff(levels.ravel()[order].astype(int)) >= 0).all())


@given(
    values=arrays.arrays(
        np.float64, (16, 16), elements=st.floats(-1e300, 1e300, allow_nan=False, allow_subnormal=False)
    )
)
def test_floats_keep_their_order(values):
    levels = from_floats(values)
    assert levels.dtype == np.uint16 and levels.shape == values.shape and _keeps_order(values, levels)


@given(values=arrays.arrays(np.float32, (16, 16), elements=st.floats(width=32)))
def test_any_floats_give_levels_without_a_warning(values):
    levels = from_floats(values)
    assert levels.dtype == np.uint16 and (levels[np.isnan(values)] == 0).all()


@given(values=st.sampled_from(["i1", "i2", "i4", "i8", "u4", "u8"]).flatmap(lambda kind: arrays.arrays(kind, (16, 16))))
def test_integers_keep_their_order(values):
    levels = from_integers(values, 8 * values.dtype.itemsize)
    assert levels.dtype in (np.uint8, np.uint16) and _keeps_order(values, levels)


@pytest.mark.parametrize("bits", range(1, 17))
def test_unsigned_samples_reach_from_black_to_white(bits):
    top = (1 << bits) - 1
    values = np.arange(top + 1, dtype=np.uint16)[None]
    levels = from_unsigned(values, top)
    full = np.iinfo(levels.dtype).max
    assert (levels[0, 0], levels[0, -1]) == (0, full)
    assert np.abs(levels / full - values / top).max() <= 0.51 / full


def test_bytes_are_rounded():
    wide = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(to_bytes(wide), np.rint(wide / 257).astype(np.uint8))
    assert np.array_equal(to_bytes(np.uint8([[3, 4]])), [[3, 4]])
