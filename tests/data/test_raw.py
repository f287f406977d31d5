"""Raw files of cameras: developed where rawpy is installed, and named where it is not."""

import sys

import numpy as np
import pytest

from palgan_jax.data.decode import decode_picture, picture_size, picture_size_of
from palgan_jax.errors import UserError
from tests.support.picture_files import dng

MOSAIC = np.zeros((64, 96), np.uint16)
MOSAIC[:32], MOSAIC[:, :20] = 20000, 60000


def test_a_raw_file_is_developed_upright(tmp_path):
    pytest.importorskip("rawpy")
    lying, turned = (decode_picture(dng(MOSAIC, orientation), name="x").pixels for orientation in (1, 6))
    assert lying.shape == (64, 96, 3) and lying.dtype == np.uint16
    assert np.array_equal(turned, np.rot90(lying, -1))
    left, top, bottom = lying[10, 10], lying[10, 80], lying[50, 80]
    assert (left == 65535).all() and (bottom == 0).all()
    assert np.ptp(top) == 0  # gray behind the mosaic is gray
    # A third of the brightest: sRGB's curve of it.
    np.testing.assert_allclose(top / 65535, 1.055 * (1 / 3) ** (1 / 2.4) - 0.055, atol=0.02)
    for orientation, size in ((1, (96, 64)), (6, (64, 96))):
        (tmp_path / "x.dng").write_bytes(dng(MOSAIC, orientation))
        assert picture_size(tmp_path / "x.dng") == size


def test_a_damaged_raw_file_is_one_sentence():
    pytest.importorskip("rawpy")
    for bad in (dng(MOSAIC)[:-6000], b"IIRO" + b"x" * 1000, b"FUJIFILMCCD-RAW 0201" + bytes(5000)):
        with pytest.raises(UserError, match=r"LibRaw: .*\)") as error:
            decode_picture(bad, name="x")
        assert str(error.value).startswith("x is ") and "\n" not in str(error.value)


def test_the_limit_of_pixels_holds_for_raw_files():
    pytest.importorskip("rawpy")
    with pytest.raises(UserError, match=r"more than the limit of 0\.001 megapixels"):
        decode_picture(dng(MOSAIC), name="x", max_pixels=1000)


@pytest.mark.parametrize("data", [dng(MOSAIC), b"IIU\0" + bytes(100), bytes(3) + b"\x18ftypcrx \0\0\0\1crx isom"])
def test_without_rawpy_a_raw_file_is_named(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    for function in (decode_picture, picture_size_of):
        with pytest.raises(UserError, match=r"x is a camera's raw file: this needs rawpy, .*\[formats\]"):
            function(data, name="x")
