"""More than 8 bits a sample in formats for which Pillow gives 8, from files that other libraries write."""

import cv2
import numpy as np
import pytest

from palgan_jax.data import deep_samples, formats, jpeg_xl
from palgan_jax.data.decode import decode_picture, picture_size_of
from palgan_jax.errors import UserError
from tests.support import picture_files as made
from tests.support.picture_files import ALPHA16, GRAY16, RGB16

WHITE_AND_BLACK = np.where(np.arange(RGB16.shape[1])[:, None] % 2, 65535, RGB16).astype(np.uint16)
WIDE = [GRAY16, RGB16, WHITE_AND_BLACK, np.dstack([RGB16, ALPHA16])]


FILES = {
    "JPEG 2000": (lambda x: made.opencv(".jp2", x, 16, cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000), 16),
    "AVIF": (lambda x: made.opencv(".avif", x, 10, cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 100), 10),
    "HEIC": (made.heic, 10),
}


@pytest.mark.parametrize("array", WIDE, ids=["gray", "color", "white", "opacity"])
@pytest.mark.parametrize("kind", FILES)
def test_no_bit_is_lost(kind, array):
    write, bits = FILES[kind]
    picture = decode_picture(write(array), name="x")
    assert picture.pixels.dtype == np.uint16 and not picture.notes
    colors = array[..., :3] if array.ndim == 3 else array
    steps = np.abs(picture.pixels.astype(float) - colors) / 65535 * ((1 << bits) - 1)
    # Colors go through YCbCr but in JPEG 2000.
    assert steps.max() <= (1 if kind == "JPEG 2000" else 2.5)
    if array.shape[2:] == (4,):
        assert picture.alpha is not None and np.abs(picture.alpha.astype(float) - ALPHA16).max() <= 65535 / 1000


def test_without_opencv_bits_that_are_lost_are_said_and_wrong_ones_refused(monkeypatch):
    monkeypatch.setattr(deep_samples, "_opencv", lambda: None)
    picture = decode_picture(FILES["AVIF"][0](RGB16), name="x")
    assert picture.pixels.dtype == np.uint8 and "x is of 10 bits, of which 8 are taken" in picture.notes[0]
    with pytest.raises(UserError, match="x is a JPEG 2000 of 16 bits in a layout that is not supported here"):
        decode_picture(FILES["JPEG 2000"][0](RGB16), name="x")


@pytest.mark.parametrize("top", [255, 1000, 65535])
@pytest.mark.parametrize("kind", ["P3", "P6", "P7", "P7 with opacity", "PF", "PF of the other order"])
def test_netpbm(kind, top):
    height, width = RGB16.shape[:2]
    size = b"%d %d\n" % (width, height)
    levels = np.rint(np.dstack([RGB16, ALPHA16]) / 65535 * top).astype(int)
    stored = levels.astype(">u2" if top > 255 else "u1")
    alpha, bits = None, np.uint16 if top > 255 else np.uint8
    if kind == "P3":
        data = b"P3\n# of a program\n" + size + b"%d\n" % top + b" ".join(b"%d" % v for v in levels[..., :3].ravel())
    elif kind == "P6":
        data = b"P6\n" + size + b"%d\n" % top + stored[..., :3].tobytes()
    elif kind.startswith("P7"):
        depth = 4 if "opacity" in kind else 3
        words = b"WIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL %d\n# x\nTUPLTYPE RGB%s\nENDHDR\n"
        data = b"P7\n" + words % (width, height, depth, top, b"_ALPHA" * (depth == 4)) + stored[..., :depth].tobytes()
        alpha = levels[..., 3] if depth == 4 else None
    else:
        order, scale = ("<", b"-1.0\n") if kind == "PF" else (">", b"1.0\n")
        data = b"PF\n" + size + scale + (levels[::-1, :, :3] / top).astype(order + "f4").tobytes()
        bits = np.uint16
    assert picture_size_of(data, name="x") == (width, height)
    picture = decode_picture(data, name="x")
    full = np.iinfo(bits).max
    assert picture.pixels.dtype == bits
    assert np.abs(picture.pixels - levels[..., :3] / top * full).max() <= 0.51  # floats of 32 bits
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        assert np.array_equal(picture.alpha, np.rint(alpha / top * full))
    for cut in (0, 5, 14, len(data) // 2):
        with pytest.raises(UserError, match=r"x .*\.$"):
            decode_picture(data[:cut] + (b"\n" if not cut else b""), name="x")


def test_headers_of_jpeg_xl():
    """Of cjxl and libjxl: 64 x 64 with 16 bits, and a picture of 48 x 40 that is shown standing."""
    assert jpeg_xl.read_header(bytes.fromhex("ff0a4ff00350b40808040100")) == jpeg_xl.Header((64, 64), 16)
    assert jpeg_xl.read_header(bytes.fromhex("ff0a892c10505c1208020100")) == jpeg_xl.Header((40, 48))


@pytest.mark.parametrize("size", [(48, 40), (64, 48), (1000, 17), (16, 600)])
def test_a_jpeg_xl_is_refused_before_its_pixels_are_decoded(size):
    pytest.importorskip("pillow_jxl")
    formats._register("JXL", "x")
    data = made.encoded(made.scene(*size), "JXL")
    assert (
        jpeg_xl.read_header(data) == jpeg_xl.Header(size) and decode_picture(data, name="x").pixels.shape[1::-1] == size
    )
    with pytest.raises(UserError, match=r"x is .* pixels, more than the limit of 0\.0005"):
        decode_picture(data, name="x", max_pixels=500)
