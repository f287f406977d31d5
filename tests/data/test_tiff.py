"""Layouts of TIFF: depths, number types, orders, planes, tiles, compressions, extra samples, and pages."""

import contextlib
import io
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import lab2rgb

from palgan_jax.data import tiff_samples
from palgan_jax.data.decode import decode_picture, decode_rgb, picture_size_of
from palgan_jax.data.picture import Picture
from palgan_jax.errors import UserError
from tests.support import picture_files as made
from tests.support.picture_files import ALPHA16, GRAY, GRAY16, RGB, RGB16, tiff

ALPHA = (ALPHA16 >> 8).astype(np.uint8)


def read(data: bytes) -> Picture:
    return decode_picture(data, name="x")


def recompressed(data: bytes, compression: str) -> bytes:
    """The same pixels, packed by libtiff through Pillow."""
    with Image.open(io.BytesIO(data)) as picture:
        return made.encoded(picture, "TIFF", compression=compression)


def is_shown(picture: Picture, expected: np.ndarray) -> bool:
    """Compares with what should be shown, in 0..65535, to half a level of its type."""
    step = 65535 / np.iinfo(picture.pixels.dtype).max
    return picture.pixels.shape == expected.shape and bool(
        np.abs(picture.pixels * step - expected).max() <= step * 0.51
    )


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}, {"compression": "zlib"},
    {"compression": "zlib", "predictor": True, "rowsperstrip": 9}, {"compression": "zlib", "tile": (32, 16)},
    {"bigtiff": True}])  # fmt: skip
def test_16_bits_in_every_order_and_arrangement(order, options):
    for array, photometric in ((GRAY16, "minisblack"), (RGB16, "rgb")):
        picture = read(tiff(array, photometric, byteorder=order, **options))
        assert picture.pixels.dtype == np.uint16 and np.array_equal(picture.pixels, array)
    inverted = read(tiff(65535 - GRAY16, "miniswhite", byteorder=order, **options))
    assert np.array_equal(inverted.pixels, GRAY16)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("array", [RGB, RGB16, (RGB / 255).astype(np.float32)], ids=["8", "16", "float"])
@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}, {"compression": "zlib"}])
def test_planes_are_put_together(array, order, options):
    data = tiff(np.moveaxis(array, -1, 0), "rgb", planarconfig="separate", byteorder=order, **options)
    assert is_shown(read(data), array * (65535 / {"u": np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1}.get(
        array.dtype.kind, 1)))  # fmt: skip


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd"])
def test_compressions_of_16_bits(compression):
    data = recompressed(made.encoded(GRAY16, "TIFF"), compression)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages[0].compression != 1 and file.pages[0].bitspersample == 16
    assert np.array_equal(read(data).pixels, GRAY16)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16])
def test_packed_bits(bits, invert):
    top = (1 << bits) - 1
    for array, channels in ((GRAY16, 1), (RGB16, 3)):
        values = np.rint(array / 65535 * top).astype(np.int64)
        stored = top - values if invert and channels == 1 else values
        data = made.packed_tiff(stored, bits, 2 if channels == 3 else int(not invert))
        if bits == 16:
            rows = [row.astype("<u2").tobytes() for row in stored]
            data = made.plain_tiff(rows, stored.shape[1], 16, channels, 2 if channels == 3 else int(not invert))
        assert is_shown(read(data), values * (65535 / top)), channels


def test_reversed_bits():
    table = np.array([int(f"{v:08b}"[::-1], 2) for v in range(256)], np.uint8)
    rows = [table[row] for row in GRAY]
    assert np.array_equal(read(made.plain_tiff([r.tobytes() for r in rows], 48, 8, 1, 1, t266=2)).pixels, GRAY)
    rows = [table[np.frombuffer(row.astype("<u2").tobytes(), np.uint8)].tobytes() for row in GRAY16]
    assert np.array_equal(read(made.plain_tiff(rows, 48, 16, 1, 1, t266=2)).pixels, GRAY16)


@pytest.mark.parametrize("top", [1023, 4095, 16383])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_the_largest_sample_is_stated(top, dtype):
    values = (GRAY16.astype(np.uint32) * top // 65535).astype(dtype)
    for photometric, stored in (("minisblack", values), ("miniswhite", (top - values).astype(dtype))):
        data = tiff(stored, photometric, extratags=[(281, "H", 1, top, True)])
        assert is_shown(read(data), values * (65535 / top))
    rgb = (RGB16.astype(np.uint32) * top // 65535).astype(dtype)
    data = tiff(rgb, "rgb", extratags=[(281, "H", 3, (top,) * 3, True)])
    assert is_shown(read(data), rgb * (65535 / top))


def test_the_largest_sample_of_a_dark_picture_is_no_range():
    dark = GRAY16 // 3
    assert np.array_equal(read(tiff(dark, extratags=[(281, "H", 1, int(dark.max()), True)])).pixels, dark)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "values",
    [
        GRAY.astype(np.uint32), GRAY16.astype(np.uint32), GRAY16.astype(np.uint32) * 65537,
        GRAY.astype(np.int16), (GRAY16 // 2).astype(np.int16), (GRAY16.astype(np.int32) - 32768).astype(np.int16),
        GRAY.astype(np.int32), GRAY16.astype(np.int32), (GRAY16.astype(np.int64) - 32768).astype(np.int32) * 65536,
        (GRAY // 2).astype(np.int8), (GRAY.astype(np.int16) - 128).astype(np.int8), GRAY16.astype(np.uint64),
    ],
    ids=lambda v: f"{v.dtype}-{v.max()}",
)  # fmt: skip
def test_wide_and_signed_integers(values, order):
    picture = read(tiff(values, byteorder=order))
    assert is_shown(picture, GRAY16.astype(float)) or np.abs(picture.on_white()[..., 0] - GRAY.astype(int)).max() <= 2


OVERSHOOTS = {
    "none": lambda v, _: v,
    "one bright": lambda v, top: np.where(np.arange(v.size).reshape(v.shape) == 7, top * 1.02, v),
    "one very bright": lambda v, top: np.where(np.arange(v.size).reshape(v.shape) == 7, top * 40, v),
    "glare": lambda v, top: np.where(np.arange(v.size).reshape(v.shape) % 50 == 7, top * 1.6, v),
    "both ways": lambda v, top: np.where(np.arange(v.size).reshape(v.shape) % 97 == 7, top * 1.05, v) - 0.02 * top,
    "infinite": lambda v, _: np.where(np.arange(v.size).reshape(v.shape) == 7, np.inf, v),
    "no numbers": lambda v, _: np.where(np.arange(v.size).reshape(v.shape) % 50 == 7, np.nan, v),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("top", [1, 255, 65535])
@pytest.mark.parametrize("kind", OVERSHOOTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_floats(dtype, top, kind, channels):
    if dtype == np.float16 and top == 65535:
        pytest.skip("beyond this type")
    plain = (GRAY16 if channels == 1 else RGB16) / 65535 * top
    values = OVERSHOOTS[kind](plain, top).astype(dtype)
    picture = read(tiff(values, "minisblack" if channels == 1 else "rgb"))
    expected = np.clip(np.nan_to_num(values.astype(float), nan=0, posinf=top, neginf=0) / top, 0, 1) * 255
    levels = picture.pixels / 257
    assert np.abs(levels - expected).max() <= 0.6 and levels.mean() > 50


def test_floats_of_no_usual_range_are_neither_black_nor_white():
    for values in (GRAY / 255 * 7, GRAY * 3.0 + 20, GRAY / 127.5 - 1):
        picture = read(tiff(values.astype(np.float32)))
        assert np.corrcoef(picture.pixels.ravel(), GRAY.ravel())[0, 1] > 0.99
        assert np.ptp(picture.on_white()) > 80 and 30 < picture.on_white().mean() < 225
    assert (read(tiff(np.full((20, 20), np.nan, np.float32))).pixels == 0).all()


@pytest.mark.parametrize("predictor", [False, True])
def test_the_predictor_of_floats(predictor):
    """libtiff's third one: differences of the bytes, the highest of all numbers first. Written by hand."""
    values = (RGB16 / 65535).astype(">f4")
    height, width, channels = values.shape
    raw = values.view(np.uint8).reshape(height, width * channels, 4)
    rows = np.ascontiguousarray(raw.swapaxes(1, 2)).reshape(height, -1)
    differences = rows.copy()
    differences[:, channels:] -= rows[:, :-channels]
    stored = differences if predictor else values.astype("<f4").view(np.uint8).reshape(height, -1)
    data = made.plain_tiff([row.tobytes() for row in stored], width, 32, 3, 2, t339=3, t317=3 if predictor else 1)
    assert is_shown(read(data), RGB16.astype(float))


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("more", [0, 1, 2])
def test_alpha_and_extra_samples(kind, bits, planar, more):
    alpha = ALPHA if bits == 8 else ALPHA16
    full = np.iinfo(alpha.dtype).max
    for colors, photometric in (((GRAY, GRAY16)[bits > 8][..., None], "minisblack"), ((RGB, RGB16)[bits > 8], "rgb")):
        weight = alpha[..., None] / full if kind == "assocalpha" else 1
        stored = np.dstack([np.rint(colors * weight).astype(alpha.dtype), alpha, *[alpha[::-1]] * more])
        stored = np.moveaxis(stored, -1, 0) if planar == "separate" else stored
        extras = [kind, *["unspecified"] * more]
        data = tiff(np.ascontiguousarray(stored), photometric, planarconfig=planar, extrasamples=extras)
        picture = read(data)
        assert picture.alpha is not None and np.array_equal(picture.alpha, alpha)
        opaque = alpha > full // 4
        error = np.abs(picture.pixels.reshape(colors.shape).astype(int) - colors)[opaque].max()
        assert error <= (0 if kind == "unassalpha" else 3 * (full // 255))


def test_extra_samples_without_a_meaning_are_left_out():
    for bits, array in ((8, RGB), (16, RGB16)):
        data = tiff(np.dstack([array, array[..., :1]]), "rgb", extrasamples=["unspecified"])
        picture = read(data)
        assert picture.alpha is None and np.array_equal(picture.pixels, array), bits
    five = tiff(np.dstack([GRAY16] * 5), "minisblack", planarconfig="contig", extrasamples=["unspecified"] * 4)
    assert np.array_equal(read(five).pixels, GRAY16)


@pytest.mark.parametrize("bits", [8, 16])
def test_lab(bits):
    lightness = np.linspace(5, 95, 48 * 40).reshape(40, 48)
    a, b = np.full_like(lightness, 20.0), np.full_like(lightness, -30.0)
    if bits == 8:
        stored = np.dstack([np.rint(lightness * 2.55), np.rint(a), np.rint(b)]).astype(np.int16).astype(np.uint8)
    else:
        scaled = np.dstack([np.rint(lightness * 655.35), np.rint(a * 256), np.rint(b * 256)])
        stored = scaled.astype(np.int32).astype(np.uint16)
    result = decode_rgb(tiff(stored, "cielab"), name="x")
    # Of the white that a Lab of D50 is relative to, sRGB's own is made.
    expected = lab2rgb(np.dstack([lightness, a, b]), illuminant="D65") * 255
    inside = slice(15, 32)  # where these colors are in the gamut of sRGB
    error = np.abs(result.astype(float) - expected)[inside]
    assert error.mean() < 4 and error.max() < 12


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_cmyk(bits, planar):
    cmyk = np.asarray(Image.fromarray(RGB).convert("CMYK"))
    stored = cmyk if bits == 8 else cmyk.astype(np.uint16) * 257
    stored = np.ascontiguousarray(np.moveaxis(stored, -1, 0)) if planar == "separate" else stored
    result = decode_rgb(tiff(stored, "separated", planarconfig=planar), name="x")
    assert np.array_equal(result, np.asarray(Image.fromarray(cmyk, "CMYK").convert("RGB")))


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes(bits):
    indices = (GRAY16 % 1024 if bits == 16 else GRAY).astype(f"u{bits // 8}")
    table = np.random.default_rng(0).integers(0, 256, (3, 1 << bits)).astype(np.uint16) * 257
    data = tiff(indices, "palette", colormap=table)
    assert np.array_equal(decode_rgb(data, name="x"), (table.T[indices] // 257).astype(np.uint8))


@settings(max_examples=80)
@given(
    width=st.integers(16, 60), height=st.integers(16, 60), seed=st.integers(0, 9), channels=st.integers(1, 4),
    dtype=st.sampled_from(["u1", "u2", "f4"]), order=st.sampled_from("<>"), planar=st.booleans(),
    compression=st.sampled_from([None, "zlib"]), predictor=st.booleans(), tiled=st.booleans(),
    rows=st.integers(1, 70), orientation=st.integers(1, 8),
)  # fmt: skip
def test_any_arrangement_is_read_as_tifffile_reads_it(
    width, height, seed, channels, dtype, order, planar, compression, predictor, tiled, rows, orientation
):
    random = np.random.default_rng(seed)
    array = random.random((height, width, channels)).astype("f4")
    array[0, 0], array[0, 1] = 0, 1
    array = array if dtype == "f4" else np.rint(array * np.iinfo(dtype).max).astype(dtype)
    planar = planar and channels > 1
    options = {
        "byteorder": order, "compression": compression,
        "predictor": predictor and compression is not None and dtype != "f4",
        "tile": (16, 16) if tiled else None, "rowsperstrip": None if tiled else rows,
        "planarconfig": ("separate" if planar else "contig") if channels > 1 else None,
        "extrasamples": ["unassalpha"] if channels in (2, 4) else None,
        "extratags": [(274, "H", 1, orientation, True)],
    }  # fmt: skip
    stored = np.ascontiguousarray(np.moveaxis(array, -1, 0)) if planar else array if channels > 1 else array[..., 0]
    data = tiff(stored, "rgb" if channels > 2 else "minisblack", **options)
    picture = read(data)
    result = np.dstack([picture.pixels, *([] if picture.alpha is None else [picture.alpha])])
    full = 65535 if dtype != "u1" else 255
    expected = np.rint(array.astype(float) * (65535 if dtype == "f4" else 1))
    upright = {1: lambda v: v, 2: np.fliplr, 3: lambda v: np.rot90(v, 2), 4: np.flipud, 5: lambda v: v.swapaxes(0, 1),
               6: lambda v: np.rot90(v, -1), 7: lambda v: np.rot90(v, 2).swapaxes(0, 1), 8: np.rot90}  # fmt: skip
    assert np.abs(result - upright[orientation](expected)).max() <= full // 255
    assert picture_size_of(data, name="x") == result.shape[1::-1]


# --------------------------------------------------------------------------------------------------------------- pages


def pages(*parts: tuple[np.ndarray, dict]) -> bytes:
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        for array, options in parts:
            file.write(array, photometric="rgb" if array.ndim == 3 else "minisblack", metadata=None, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    "full", [GRAY, GRAY16, RGB, RGB16, (GRAY / 255).astype(np.float32)], ids=lambda a: str(a.dtype)
)
@pytest.mark.parametrize("small", [GRAY[::2, ::2], RGB[::2, ::2], GRAY16[::2, ::2]], ids=lambda a: str(a.shape))
def test_reduced_copies_are_never_taken(full, small):
    reduced = {"subfiletype": 1}
    for parts in (
        [(small, reduced), (full, {})],
        [(full, {}), (small, reduced)],
        [(small, reduced), (small, reduced), (full, {}), (small, reduced)],
        [(GRAY > 99, {"subfiletype": 4}), (full, {})],
    ):
        data = pages(*parts)
        picture = read(data)
        assert picture.pixels.shape == full.shape and picture.notes == ()
        assert np.array_equal(picture.on_white(), read(pages((full, {}))).on_white())
        assert picture_size_of(data, name="x") == (48, 40)


def test_the_old_mark_of_a_reduced_copy():
    data = pages((GRAY[::2, ::2], {"extratags": [(255, "H", 1, 2, True)]}), (GRAY, {}))
    assert np.array_equal(read(data).pixels, GRAY)


def test_where_all_are_reduced_the_largest_is_taken():
    data = pages((GRAY[::2, ::2], {"subfiletype": 1}), (GRAY, {"subfiletype": 1}))
    assert np.array_equal(read(data).pixels, GRAY)


@pytest.mark.parametrize("count", [2, 3, 40])
def test_of_several_pages_the_first_is_taken_and_the_others_are_counted(count):
    data = pages((GRAY, {}), *[(GRAY[::-1], {})] * (count - 1), (GRAY[::2, ::2], {"subfiletype": 1}))
    picture = read(data)
    assert np.array_equal(picture.pixels, GRAY)
    assert picture.notes == (f"x holds {count} pictures: the first is taken, {count - 1} left out.",)


def test_a_page_in_sub_directories_of_a_reduced_one_is_taken():
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        file.write(GRAY[::2, ::2], photometric="minisblack", subfiletype=1, subifds=1, metadata=None)
        file.write(GRAY16, photometric="minisblack", subfiletype=0, metadata=None)
    assert np.array_equal(read(content.getvalue()).pixels, GRAY16)


def test_circles_of_pages_end():
    data = bytearray(pages((GRAY, {}), (GRAY, {})))
    first = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[first : first + 2])[0]
    second = struct.unpack("<I", data[first + 2 + 12 * count :][:4])[0]
    entries = struct.unpack("<H", data[second : second + 2])[0]
    data[second + 2 + 12 * entries :][:4] = struct.pack("<I", first)
    data[second + 2 + 12 * entries : second + 6 + 12 * entries] = struct.pack("<I", first)
    assert np.array_equal(read(bytes(data)).pixels, GRAY)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (lambda: tiff((GRAY16 / 9).astype(np.complex64)), "complex numbers"),
        (
            lambda: tiff(np.dstack([GRAY16] * 20), planarconfig="contig", extrasamples=["unspecified"] * 19),
            "20 samples",
        ),
        (lambda: made.plain_tiff([bytes(48 * 2)] * 40, 48, 16, 1, 32844), "color space 32844"),
        (lambda: made.plain_tiff([bytes(48 * 4)] * 40, 48, 32, 1, 1, t259=34887), "32-bit samples in LERC"),
        (lambda: made.plain_tiff([bytes(48 * 6)] * 40, 48, 16, 3, 2, t259=33004), "16-bit samples in JPEG 2000"),
        (lambda: made.plain_tiff([bytes(48 * 6)] * 40, 48, 16, 3, 2, t259=4711), "16-bit samples in compression 4711"),
        (lambda: made.plain_tiff([bytes(48 * 8)] * 40, 48, 16, 4, 5, t332=2), "inks other than CMYK"),
    ],
    ids=["complex", "samples", "space", "LERC", "JPEG 2000", "compression", "inks"],
)
def test_what_is_not_supported_is_named(data, what):
    other = "without compression, or with LZW or deflate" if " in " in what else "with 8 or 16 bits"
    with pytest.raises(UserError, match=f"^x is a TIFF of (the )?{what}.*, which is not supported: save it {other}.$"):
        decode_rgb(data(), name="x")


def test_a_codec_that_libtiff_may_lack_is_named_or_works():
    rgb, file = made.scene(48, 40), io.BytesIO()
    Image.fromarray(rgb).save(file, "WEBP", lossless=True, exact=True)
    data = made.plain_tiff([file.getvalue()], 48, 8, 3, 2, t259=50001, t257=40, t278=40)
    if tiff_samples._pillow_packs("webp"):
        assert np.array_equal(decode_rgb(data, name="x"), rgb)
    else:
        with pytest.raises(UserError, match=r"a TIFF of 8-bit samples in WebP, .* without compression, or with LZW"):
            decode_rgb(data, name="x")


def test_what_a_tiff_unpacks_to_is_limited():
    data = made.plain_tiff([bytes(8)] * 4000, 3000, 64, 16, 1, t259=5)
    with pytest.raises(UserError, match=r"x unpacks to 1\.54 GB, more than the limit of 12 megapixels allows"):
        decode_rgb(data, name="x", max_pixels=12_000_000)


def test_libtiff_writes_nothing(capfd):
    data = made.encoded(Image.fromarray(RGB), "TIFF", compression="tiff_lzw")
    for at in range(0, len(data), 5):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        with contextlib.suppress(UserError):
            decode_rgb(bytes(damaged), name="x")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "array", [made.GRAY, made.RGB, np.dstack([made.RGB, made.GRAY])], ids=["gray", "color", "opacity"]
)
@pytest.mark.parametrize(
    "options", [{}, {"tile": (16, 32), "compression": "zlib", "predictor": True}], ids=["strips", "tiles"]
)
@pytest.mark.parametrize("order", "<>")
def test_big_tiffs_of_8_bits(array, options, order):
    extra = {"extrasamples": [2]} if array.shape[2:] == (4,) else {}
    photometric = "minisblack" if array.ndim == 2 else "rgb"
    data = made.tiff(array, photometric, bigtiff=True, byteorder=order, **options, **extra)
    picture = decode_picture(data, name="x")
    assert np.array_equal(picture.pixels, array[..., :3] if extra else array)
    assert not extra or np.array_equal(picture.alpha, array[..., 3])
