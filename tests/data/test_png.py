"""PNGs: 16-bit color, texts and profiles of any size, transparency."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.data import png
from palgan_jax.data.decode import decode_picture, decode_rgb, picture_size, picture_size_of
from tests.support import picture_files as made
from tests.support.picture_files import ALPHA16, GRAY, GRAY16, RGB, RGB16


@settings(max_examples=40)
@given(
    width=st.integers(16, 40),
    height=st.integers(16, 40),
    color=st.sampled_from([0, 2, 4, 6]),
    bits=st.sampled_from([8, 16]),
    interlaced=st.booleans(),
    seed=st.integers(0, 5),
)
def test_every_value_of_8_and_16_bits_is_kept(width, height, color, bits, interlaced, seed):
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    dtype = np.uint8 if bits == 8 else np.uint16
    array = np.random.default_rng(seed).integers(0, 1 << bits, (height, width, channels)).astype(dtype)
    picture = decode_picture(made.png(array, bits, color, interlaced=interlaced), name="x")
    colors = array[..., 0] if channels < 3 else array[..., :3]
    assert picture.pixels.dtype == dtype and np.array_equal(picture.pixels, colors)
    if channels in (2, 4):
        assert np.array_equal(picture.alpha, array[..., -1])
    else:
        assert picture.alpha is None


def test_filters_of_16_bit_color():
    """What other programs write: rows are stored as differences, which reach over six bytes."""
    rows = []
    for y, row in enumerate(RGB16.astype(">u2")):
        line = np.frombuffer(row.tobytes(), np.uint8)
        if y % 2:
            shifted = np.concatenate([np.zeros(6, np.uint8), line[:-6]])
            rows.append(b"\1" + (line - shifted).tobytes())
        else:
            rows.append(b"\0" + line.tobytes())
    head = struct.pack(">IIBBBBB", RGB16.shape[1], RGB16.shape[0], 16, 2, 0, 0, 0)
    data = png.SIGNATURE + made.chunk(b"IHDR", head)
    data += made.chunk(b"IDAT", zlib.compress(b"".join(rows))) + made.chunk(b"IEND", b"")
    assert np.array_equal(decode_picture(data, name="x").pixels, RGB16)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_one_color_without_opacity(bits):
    gray = (GRAY16 >> (16 - bits)).astype(np.uint16)
    clear = int(gray[3, 3])
    picture = decode_picture(made.png(gray, bits, 0, [(b"tRNS", struct.pack(">H", clear))]), name="x")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, gray == clear)
    if bits == 16:
        color = RGB16[5, 5]
        picture = decode_picture(made.png(RGB16, 16, 2, [(b"tRNS", color.astype(">u2").tobytes())]), name="x")
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha == 0, (color == RGB16).all(axis=-1))


def test_faint_colors_and_opacity_of_16_bits_are_kept():
    array = np.dstack([RGB16, ALPHA16 // 50])
    picture = decode_picture(made.png(array, 16, 6), name="x")
    assert np.array_equal(picture.pixels, RGB16) and np.array_equal(picture.alpha, ALPHA16 // 50)


_LONG = b"x" * 3_000_000


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    "text",
    [
        (b"zTXt", b"workflow\0\0" + zlib.compress(_LONG)),
        (b"tEXt", b"prompt\0" + _LONG),
        (b"iTXt", b"notes\0\1\0\0\0" + zlib.compress(_LONG)),
        (b"zTXt", b"bomb\0\0" + zlib.compress(bytes(200_000_000))),
        (b"zTXt", b"broken\0\0no deflate"),
        (b"iTXt", b"broken"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x>" + _LONG)),
        (b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(_LONG)),
    ],
    ids=lambda c: c[1][:20].split(b"\0")[0].decode(),
)
def test_long_and_broken_texts_are_no_damage(tmp_path, text, place):
    data = made.png(GRAY, 8, 0, [text])
    if place == "after":
        plain = made.png(GRAY, 8, 0)
        data = plain[:-12] + made.chunk(*text) + plain[-12:]
    assert np.array_equal(decode_rgb(data, name="x")[..., 0], GRAY)
    (tmp_path / "a.png").write_bytes(data)
    assert picture_size(tmp_path / "a.png") == picture_size_of(data, name="x") == GRAY.shape[::-1]


def test_orientation_in_texts_is_still_read():
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    texts = [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp), (b"zTXt", b"long\0\0" + zlib.compress(_LONG))]
    assert decode_rgb(made.png(GRAY, 8, 0, texts), name="x").shape[:2] == GRAY.shape[::-1]
    assert picture_size_of(made.png(GRAY, 8, 0, texts), name="x") == GRAY.shape


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF", "MPO", "TIFF"])
@pytest.mark.parametrize("count", [2, 5])
def test_of_several_frames_the_first_is_taken_and_the_others_are_counted(kind, count):
    frames = [Image.fromarray(np.roll(RGB, 9 * i, axis=1)) for i in range(count)]
    lossless = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}, "MPO": {"quality": 100}}.get(kind, {})
    data = made.encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    picture = decode_picture(data, name="x")
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(picture.on_white() - expected).max() <= 2
    assert picture.notes == (f"x holds {count} pictures: the first is taken, {count - 1} left out.",)
    assert decode_picture(made.encoded(frames[0], kind, **lossless), name="x").notes == ()


def test_all_frames_have_the_tones_that_the_file_states():
    frames = [Image.fromarray(np.roll(RGB, 9 * i, axis=1)) for i in range(3)]
    gamma = made.chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    alone = [made.encoded(frame, "PNG") for frame in frames]
    data = made.encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    for page, single in enumerate(alone):
        expected = decode_picture(single[:33] + gamma + single[33:], name="x")
        assert expected.pixels.mean() > RGB.mean() + 10
        of_frame = decode_picture(data[:33] + gamma + data[33:], name="x", page=page)
        assert np.array_equal(of_frame.pixels, expected.pixels)
