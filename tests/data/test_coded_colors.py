"""Colors that files state by code points (ITU-T H.273)."""

import numpy as np
import pytest

from palgan_jax.data.decode import decode_picture
from tests.support import picture_files as made
from tests.support.picture_files import GRAY, P3, RGB, RGB16, from_linear, to_linear


def png(array: np.ndarray, *codes: int, chunks=()) -> bytes:
    bits = 8 * array.itemsize
    return made.png(array, bits, 2 if array.ndim == 3 else 0, [*chunks, (b"cICP", bytes(codes))])


@pytest.mark.parametrize("array", [RGB, RGB16], ids=["8", "16"])
def test_display_p3(array):
    full = np.iinfo(array.dtype).max
    picture = decode_picture(png(array, 12, 13, 0, 1), name="x")
    expected = made.srgb_shown(array / full, P3, to_linear)
    assert np.abs(picture.pixels / full - expected).max() <= 1.5 / 255 and not picture.notes


@pytest.mark.parametrize("codes", [(1, 13), (2, 2), (1, 1), (1, 6)])
def test_srgb_is_taken_before_a_profile(codes):
    profile = made.icc_chunk(made.gray_profile(made.gamma_curve(1.0)))
    for array in (RGB, GRAY):
        picture = decode_picture(png(array, *codes, 0, 1, chunks=[profile]), name="x")
        assert np.array_equal(picture.pixels, array) and not picture.notes


@pytest.mark.parametrize(("codes", "light"), [((1, 8), lambda x: x), ((1, 4), lambda x: x**2.2)])
def test_curves(codes, light):
    expected = 255 * from_linear(light(GRAY / 255))
    assert np.abs(decode_picture(png(GRAY, *codes, 0, 1), name="x").pixels - expected).max() <= 1


@pytest.mark.parametrize(("transfer", "white"), [(16, 0.5807), (18, 0.75)])
def test_high_dynamic_range_is_cut_at_white_paper(transfer, white):
    """ITU-R BT.2408, table 1: white of 203 cd/m2 is 58 % of PQ and 75 % of HLG."""
    levels = np.repeat(np.array([0, white - 0.01, white + 0.001, 1]), 20)[None].repeat(20, 0)
    picture = decode_picture(png(np.rint(levels * 65535).astype(np.uint16), 9, transfer, 0, 1), name="x")
    black, below, paper, brightest = picture.pixels[0, ::20] / 65535
    assert (black, paper, brightest) == (0, 1, 1) and 0.93 < below < 0.99
    assert picture.notes == ("x has a high dynamic range: what is brighter than white paper is cut.",)


@pytest.mark.parametrize("codes", [(77, 13, 0, 1), (1, 200, 0, 1), (1, 13, 0, 0), (1,)])
def test_unknown_codes_are_named(codes):
    picture = decode_picture(png(RGB, *codes), name="x")
    assert np.array_equal(picture.pixels, RGB)
    assert picture.notes == ("x states colors of an unknown kind: they are taken for sRGB.",)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_codes_in_boxes(kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    lossless = {"quality": 100, "subsampling": "4:4:4"} if kind == "AVIF" else {"quality": -1}
    data = made.encoded(RGB, kind, **lossless)
    at = data.index(b"colrnclx") + 8
    with_codes = data[:at] + bytes([0, 12, 0, 13]) + data[at + 4 :]
    plain = decode_picture(data, name="x").pixels
    pixels = decode_picture(with_codes, name="x").pixels
    assert np.abs(pixels - 255 * made.srgb_shown(plain / 255, P3, to_linear)).max() <= 2
