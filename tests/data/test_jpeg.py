"""JPEGs of many scans, of CMYK, and gray ones."""

import io

import numpy as np
import pytest
from PIL import Image

from palgan_jax.data import jpeg
from palgan_jax.data.decode import decode_picture, decode_rgb, picture_size
from palgan_jax.errors import UserError
from tests.data.test_tiff import tiff
from tests.support import picture_files as made
from tests.support.picture_files import GRAY, RGB


def of_scans(size: tuple[int, int], scans: int, mode: str = "RGB", **options) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = made.encoded(Image.new(mode, size, 90), "JPEG", progressive=True, quality=50, **options)
    start, count = data.rindex(b"\xff\xda"), data.count(b"\xff\xda")
    return data[:start] + data[start:-2] * (scans - count + 1) + b"\xff\xd9"


@pytest.mark.parametrize("options", [{}, {"exif": made.EXIF}], ids=["plain", "EXIF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_too_many_scans_are_refused(mode, options):
    for size, scans in (((400, 300), 501), ((6000, 5000), 34), ((9000, 8000), 300)):
        with pytest.raises(UserError, match="x is a JPEG of too many scans, which would take minutes: save it anew"):
            decode_rgb(of_scans(size, scans, mode, **options), name="x", at_least=64)
    assert decode_rgb(of_scans((400, 300), 40, mode, **options), name="x").shape == (300, 400, 3)


def test_scans_of_programs_are_few():
    largest = (12000, 10000)
    for mode in ("L", "RGB", "CMYK"):
        data = made.encoded(Image.fromarray(RGB).convert(mode), "JPEG", progressive=True)
        assert data.count(b"\xff\xda") > 3 and jpeg.are_few_scans(data, largest)


def test_scans_in_a_tiff_are_counted():
    data = made.encoded(Image.new("L", (6000, 5000)), "TIFF", compression="jpeg")
    assert decode_rgb(data, name="x").shape == (5000, 6000, 3)
    with Image.open(io.BytesIO(data)) as picture:
        strips = len(picture.tag_v2[273])
    with pytest.raises(UserError, match="too many scans"):
        decode_rgb(data + b"\xff\xda" * (40 * strips), name="x")


def test_cmyk_is_no_negative():
    """Programs of Adobe store the inks inverted, and so does every other that writes CMYK."""
    inks = Image.fromarray(RGB).convert("CMYK")
    data = made.encoded(inks, "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in data
    assert np.abs(decode_rgb(data, name="x").astype(int) - RGB).mean() < 3


def test_gray_stays_gray():
    for options in ({}, {"exif": made.EXIF}, {"progressive": True, "exif": made.EXIF}):
        picture = decode_picture(made.encoded(GRAY, "JPEG", quality=100, **options), name="x")
        assert picture.pixels.shape == GRAY.shape
        assert np.abs(picture.pixels.astype(int) - GRAY).max() <= 2


def test_jpeg_in_tiff():
    for array, kind in ((GRAY, "L"), (RGB, "RGB")):
        data = made.encoded(Image.fromarray(array), "TIFF", compression="jpeg", quality=100)
        result = decode_rgb(data, name="x").astype(int)
        assert np.abs(result - (array if kind == "RGB" else array[..., None])).mean() < 4
    assert np.array_equal(decode_rgb(tiff(GRAY), name="x")[..., 0], GRAY)


def test_a_progressive_jpeg_without_height_is_refused():
    data = bytearray(made.encoded(RGB, "JPEG", progressive=True))
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 7] = b"\0\0"
    with pytest.raises(UserError, match="x is"):
        decode_rgb(bytes(data), name="x")


@pytest.mark.parametrize(("marker", "bits", "kind"), [(0xC1, 12, "a JPEG of 12 bits"), (0xF7, 8, "a JPEG-LS picture")])
def test_jpegs_that_no_decoder_reads_are_named(tmp_path, marker, bits, kind):
    data = bytearray(made.encoded(RGB, "JPEG", exif=made.EXIF))
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4] = marker, bits
    (tmp_path / "x.jpg").write_bytes(data)
    for call in (lambda: decode_rgb(bytes(data), name="x"), lambda: picture_size(tmp_path / "x.jpg")):
        with pytest.raises(UserError, match=f"x.* is {kind}, which is not supported: save it as a JPEG of 8 bits"):
            call()


def test_a_bmp_of_an_unknown_compression_is_no_damage():
    data = bytearray(made.encoded(RGB, "BMP"))
    data[30] = 5  # a PNG inside
    with pytest.raises(UserError, match=r"^x is of a kind that is not read \(Unsupported BMP compression \(5\)\)"):
        decode_rgb(bytes(data), name="x")
