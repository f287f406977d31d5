import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from palgan_jax.data import jpeg
from palgan_jax.data.decode import MAX_PIXELS, decode_rgb, picture_size, picture_size_of, read_rgb
from palgan_jax.errors import UserError
from tests.support.places import ROOT


def encode(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes, **options) -> np.ndarray:
    return decode_rgb(data, name="picture", **options)


def smooth(width: int, height: int, seed: int = 0) -> Image.Image:
    """A colorful picture that JPEG hardly changes."""
    cells = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def china(samples) -> Image.Image:
    with Image.open(samples / "china.jpg") as picture:
        picture.load()
    return picture


def test_samples_agree_with_pillow(samples):
    for path in sorted(samples.glob("*.jpg")):
        with Image.open(path) as picture:
            expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        result = read_rgb(path)
        assert result.dtype == np.uint8 and result.flags.c_contiguous and result.flags.writeable
        assert np.abs(result.astype(int) - expected).max() <= 2, path


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 95, "progressive": True}),
        ("JPEG", "L", {"quality": 95}),
        ("JPEG", "CMYK", {"quality": 95}),
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("PNG", "P", {}),
        ("PNG", "1", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("TIFF", "RGB", {}),
        ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
        ("TIFF", "L", {}),
        ("BMP", "RGB", {}),
        ("BMP", "P", {}),
    ],
)
def test_formats(china, kind, mode, options):
    data = encode(china.convert(mode), kind, **options)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == mode
        expected = np.asarray(picture.convert("RGB"))
    result = decode(data)
    assert result.shape == (china.height, china.width, 3)
    assert np.abs(result.astype(int) - expected).max() <= 2
    # The colors are still those of the picture, not their negative: the modes with color stay near it.
    if mode in ("RGB", "CMYK"):
        assert np.abs(result.astype(int) - np.asarray(china)).mean() < 6


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_transparency_lies_over_white(china, kind, alpha):
    picture = china.copy()
    picture.putalpha(alpha)
    result = decode(encode(picture, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
    expected = np.asarray(china) * (alpha / 255) + 255 * (1 - alpha / 255)
    assert np.abs(result - expected).max() <= 1


def test_transparent_palette_color_and_gray_with_alpha(china):
    indexed = china.quantize(16)
    pixels = np.asarray(indexed)
    result = decode(encode(indexed, "PNG", transparency=3))
    opaque = np.asarray(indexed.convert("RGB"))
    assert (result[pixels == 3] == 255).all()
    assert (result[pixels != 3] == opaque[pixels != 3]).all()

    gray = china.convert("LA")
    gray.putalpha(0)
    assert (decode(encode(gray, "PNG")) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray(kind):
    wide = np.linspace(0, 65535, 64 * 32).reshape(32, 64).astype(np.uint16)
    result = decode(encode(Image.fromarray(wide), kind))
    assert (result == np.rint(wide / 257).astype(np.uint8)[..., None]).all()


def test_16_bit_color_png():
    wide = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 30, 20, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.abs(decode(data) - wide / 257).max() <= 1


@pytest.mark.parametrize("top", [1, 255, 65535])
def test_float_tiff(top):
    values = np.linspace(0, top, 32 * 32, dtype=np.float32).reshape(32, 32)
    result = decode(encode(Image.fromarray(values), "TIFF"))
    assert np.abs(result[..., 0] - values * (255 / top)).max() <= 0.51
    values[3, 3] = np.nan
    assert decode(encode(Image.fromarray(values), "TIFF"))[3, 3, 0] == 0


def test_lab_tiff(china):
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    result = decode(encode(ImageCms.applyTransform(china, to_lab), "TIFF"))
    assert np.abs(result.astype(int) - np.asarray(china)).mean() < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(smooth(40, 24), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    assert expected.shape[:2] == ((24, 40) if orientation < 5 else (40, 24))
    assert np.array_equal(decode(data), expected)
    assert picture_size_of(data, name="picture") == expected.shape[1::-1]


@settings(max_examples=60)
@given(
    width=st.integers(16, 90),
    height=st.integers(16, 90),
    orientation=st.integers(0, 9),
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF"]),
    at_least=st.none() | st.integers(10, 100),
)
def test_size_orientation_and_reduction(width, height, orientation, kind, at_least):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(smooth(width, height), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    assert picture_size_of(data, name="picture") == upright.size
    full = decode(data)
    assert np.array_equal(full, np.asarray(upright))

    result = decode(data, at_least=at_least)
    short, full_short = min(result.shape[:2]), min(full.shape[:2])
    assert short >= min(at_least or full_short, full_short)
    if kind == "JPEG":
        assert result.shape[1::-1] == jpeg.decoded_size(upright.size, at_least)
    if at_least is not None and full_short // at_least >= 4:
        assert short <= full_short // 4 + 1  # it really was reduced
    # The same picture the same way up. Not closer, since a last block may be cut; any other way up gives 60 or more.
    small = upright.resize(result.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(result.astype(int) - np.asarray(small)).mean() < 25


def test_broken_exif_is_taken_for_upright(china):
    data = encode(china, "JPEG", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff" + b"\x01\x12" * 9)
    assert decode(data).shape == (china.height, china.width, 3)


def icc_profile(red: tuple, green: tuple, blue: tuple) -> bytes:
    """A version 2 display profile with gamma 2.2 and the colorants (XYZ, D50) given."""

    def xyz(values: tuple) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    text = b"swapped"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + b"\0" * 78
    tags = [
        (b"desc", description),
        (b"cprt", b"text\0\0\0\0none\0"),
        (b"wtpt", xyz((0.9642, 1.0, 0.8249))),
        (b"rXYZ", xyz(red)),
        (b"gXYZ", xyz(green)),
        (b"bXYZ", xyz(blue)),
        *((name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    table, body, offset = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags:
        content += b"\0" * (-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_embedded_profile_is_converted(kind):
    # sRGB's colorants with red and blue exchanged: what such a file calls red is blue.
    profile = icc_profile((0.1431, 0.0606, 0.7141), (0.3851, 0.7169, 0.0971), (0.4360, 0.2225, 0.0139))
    plain = smooth(64, 48)
    lossless = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    result = decode(encode(plain, kind, icc_profile=profile, **lossless)).astype(int)
    expected = np.asarray(plain)[..., ::-1].astype(int)
    assert np.abs(result - expected).mean() < 5
    assert np.abs(result - np.asarray(plain)).mean() > 20

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(
        decode(encode(plain, kind, icc_profile=srgb, **lossless)), decode(encode(plain, kind, **lossless))
    )


@pytest.mark.parametrize("profile", [b"x" * 200, ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_unusable_profile_is_ignored(china, profile, mode):
    picture = china.convert(mode)
    assert np.array_equal(decode(encode(picture, "JPEG", icc_profile=profile)), decode(encode(picture, "JPEG")))


def complaint(call, *args, **options) -> str:
    with pytest.raises(UserError) as error:
        call(*args, **options)
    sentence = str(error.value)
    assert "\n" not in sentence and len(sentence) < 500
    return sentence


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_truncated(china, tmp_path, kind, share):
    data = encode(china, kind)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(share * len(data))])
    assert f"{path} is cut short or damaged" in complaint(read_rgb, path)
    assert str(path) in complaint(read_rgb, path, at_least=64)


@settings(max_examples=150)
@given(data=st.data(), kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP"]))
def test_damage_is_a_sentence_or_a_picture(data, kind):
    damaged = bytearray(encode(smooth(40, 30), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        result = decode(bytes(damaged))
    except UserError:
        return
    assert result.dtype == np.uint8 and result.ndim == 3 and result.shape[2] == 3


def test_other_bad_files(tmp_path):
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.png"
    empty.write_bytes(b"")
    text.write_text("no picture at all\n" * 9)
    for read in (read_rgb, picture_size):
        assert f"there is no file {tmp_path / 'missing.jpg'}" in complaint(read, tmp_path / "missing.jpg")
        assert f"{tmp_path} is a directory" in complaint(read, tmp_path)
        assert "is empty (0 bytes)" in complaint(read, empty)
        assert "is not a picture" in complaint(read, text)
        assert "cannot be read" in complaint(read, "long" * 80)
        assert "cannot be read" in complaint(read, "nul\0byte")


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 5000), (5000, 15), (20_000, 20_000), (12_001, 10_000), (10_000, 9_000_000)]
)
def test_absurd_sizes_are_refused_from_the_header(size):
    # A header alone is enough to refuse, so nothing of the announced size is ever allocated.
    data = bytearray(encode(Image.new("L", (20, 20)), "PNG"))
    data[16:24] = struct.pack(">II", *size)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    sentence = complaint(decode, bytes(data))
    assert "at least 16" in sentence if min(size) < 16 else f"{MAX_PIXELS // 1_000_000} megapixels" in sentence


def test_smallest_and_large_allowed():
    assert decode(encode(Image.new("RGB", (16, 16), "red"), "PNG")).tolist() == [[[255, 0, 0]] * 16] * 16
    # Over the size from which Pillow warns, and under our limit.
    assert picture_size_of(encode(Image.new("1", (10_000, 11_000)), "PNG"), name="picture") == (10_000, 11_000)


def test_paths_may_be_strings_with_any_name(tmp_path, china):
    path = tmp_path / "späße & 写真 #1.JPG"
    path.write_bytes(encode(china, "JPEG"))
    assert np.array_equal(read_rgb(str(path)), read_rgb(Path(path)))
    assert picture_size(str(path)) == china.size


# ---------------------------------------------------------------- headers of plain JPEGs


@pytest.mark.parametrize(
    ("mode", "options", "plain"),
    [
        ("RGB", {}, True),
        ("RGB", {"progressive": True, "comment": b"a comment", "dpi": (300, 300)}, True),
        ("RGB", {"subsampling": 0, "restart_marker_rows": 1}, True),
        ("L", {}, True),
        ("CMYK", {}, False),
        ("RGB", {"exif": b"Exif\0\0MM\0\x2a\0\0\0\x08\0\0\0\0\0\0"}, False),
        ("RGB", {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}, False),
    ],
)
def test_only_headers_without_a_say_in_the_pixels_are_read_without_pillow(china, mode, options, plain):
    data = encode(china.convert(mode), "JPEG", **options)
    assert jpeg.plain_size(data) == (china.size if plain else None)
    for end in range(0, 700, 7):  # a header that is cut short is left to Pillow, too
        assert jpeg.plain_size(data[:end]) in (None, china.size)


def test_exif_behind_the_frame_header_counts_as_well():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(smooth(40, 24), "JPEG", exif=exif)
    start = data.index(b"\xff\xe1")
    stop = start + 2 + struct.unpack(">H", data[start + 2 : start + 4])[0]
    segment, rest = data[start:stop], data[:start] + data[stop:]
    scan = rest.index(b"\xff\xda")
    late_segment = rest[:scan] + segment + rest[scan:]
    assert np.array_equal(decode(late_segment), decode(data)) and decode(late_segment).shape == (40, 24, 3)


def test_a_cheaper_picture_is_nearly_the_same(china):
    data = encode(china, "JPEG", quality=90)
    exact, quick = decode(data), decode(data, at_least=min(china.size))
    assert exact.shape == quick.shape
    small = [np.asarray(Image.fromarray(rgb).resize((256, 256), Image.Resampling.BILINEAR)) for rgb in (exact, quick)]
    error = np.square(np.subtract(*small, dtype=float)).mean()
    assert 10 * np.log10(255**2 / error) > 41


def test_warnings_and_threads_of_the_process_stay_as_they_are():
    """Of a program that imports the library, and decodes, draws batches and ends them."""
    program = """
import io, warnings
import cv2
from PIL import Image
cv2.setNumThreads(2)
filters = list(warnings.filters)
from palgan_jax.data import decode, source, train_batches
assert warnings.filters == filters and cv2.getNumThreads() == 2, "by importing"
content = io.BytesIO()
Image.new("RGB", (32, 32)).save(content, "PNG", exif=b"Exif" + bytes(2) + b"broken")
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    inside = list(warnings.filters)
    decode.decode_rgb(content.getvalue(), name="broken")
    assert warnings.filters == inside and not heard, heard
pictures = source.open_source("synthetic:8")
with train_batches.train_batches(pictures, resolution=32, batch_size=4, seed=0, workers=0) as batches:
    next(batches)
    assert cv2.getNumThreads() == 1
assert warnings.filters == filters and cv2.getNumThreads() == 2, "by use"
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert process.returncode == 0, process.stderr
