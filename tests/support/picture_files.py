"""Made-up pictures, and the bytes of files that hold them in layouts that Pillow does not write."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image


def scene(width: int = 48, height: int = 40) -> np.ndarray:
    """Ramps and discs in color, with values from 0 to 255 all over: uint8 (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    rgb = np.dstack([0.9 * x + 0.05, 0.2 + 0.6 * y, 0.9 - 0.7 * x * y])
    for center, radius, color in (((0.3, 0.3), 0.2, (1, 0.9, 0.2)), ((0.7, 0.7), 0.2, (0, 0, 0)), ((0.8, 0.2), 0.1, 1)):
        rgb[(x - center[0]) ** 2 + (y - center[1]) ** 2 < radius**2] = color
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


RGB = scene()
GRAY = np.asarray(Image.fromarray(RGB).convert("L"))
_LOW = np.random.default_rng(0).integers(-120, 121, RGB.shape)
RGB16 = np.clip(RGB.astype(np.int64) * 257 + _LOW, 0, 65535).astype(np.uint16)
GRAY16 = np.clip(GRAY.astype(np.int64) * 257 + _LOW[..., 0], 0, 65535).astype(np.uint16)
ALPHA16 = np.tile(np.linspace(300, 65535, RGB.shape[1]).astype(np.uint16), (RGB.shape[0], 1))


EXIF = b"Exif\0\0II*\0\x08" + bytes(9)
"""A block without any tag."""


def encoded(picture: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    """Writes a picture with Pillow."""
    content = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(content, kind, **options)
    return content.getvalue()


# ------------------------------------------------------------------------------------------------------------ profiles

SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB_PARAMETERS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def to_linear(x: np.ndarray) -> np.ndarray:
    return np.where(x <= 0.04045, x / 12.92, ((np.maximum(x, 0) + 0.055) / 1.055) ** 2.4)


def from_linear(y: np.ndarray) -> np.ndarray:
    y = np.clip(y, 0, 1)
    return np.where(y <= 0.0031308, 12.92 * y, 1.055 * y ** (1 / 2.4) - 0.055)


def dot_gain(share: float):
    """The light that a gray of 0..1 shows when its ink spreads by a share at half tone."""

    def light(x: np.ndarray) -> np.ndarray:
        ink = 1 - np.asarray(x, float)
        return 1 - np.clip(ink + 4 * share * ink * (1 - ink), 0, 1)

    return light


def numbers(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def gamma_curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def table_curve(values: Sequence[float]) -> bytes:
    table = b"".join(struct.pack(">H", round(float(v) * 65535)) for v in values)
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + table


def formula_curve(kind: int, *parameters: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + numbers(*parameters)


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", version: int = 2) -> bytes:
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"p\0" + bytes(78),
        b"cprt": b"text\0\0\0\0CC0\0",
        b"wtpt": b"XYZ \0\0\0\0" + numbers(0.9642, 1, 0.8249),
        **tags,
    }
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4s4B4s4s4s6H4s", start + len(body), b"lcms", version, 0x40, 0, 0, b"mntr", space, connection,
        2020, 1, 1, 0, 0, 0, b"acsp",
    )  # fmt: skip
    head += bytes(28) + numbers(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def described(name: str) -> dict[bytes, bytes]:
    text = name.encode() + b"\0"
    return {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)}


def gray_profile(curve: bytes, connection: bytes = b"XYZ ", **more: bytes) -> bytes:
    return profile(b"GRAY", {b"kTRC": curve, **{k.encode(): v for k, v in more.items()}}, connection)


def rgb_profile(primaries: Sequence[Sequence[float]], curve: bytes, name: str = "p") -> bytes:
    colorants = {
        tag: b"XYZ \0\0\0\0" + numbers(*xyz) for tag, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    }
    return profile(b"RGB ", {**described(name), **colorants, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)})


def srgb_shown(rgb: np.ndarray, primaries: Sequence[Sequence[float]], light) -> np.ndarray:
    """The sRGB, 0..1, that device values 0..1 of a profile show."""
    return from_linear(light(rgb) @ np.array(primaries) @ np.linalg.inv(np.array(SRGB)))


# ----------------------------------------------------------------------------------------------------------------- PNG


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def icc_chunk(content: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"p\0\0" + zlib.compress(content)


def packed(row: np.ndarray, bits: int) -> bytes:
    """Samples without gaps, up to the next whole byte."""
    text = "".join(format(int(v), f"0{bits}b") for v in row)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""


_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png(
    array: np.ndarray, bits: int, color: int, chunks: Sequence[tuple[bytes, bytes]] = (), interlaced=False
) -> bytes:
    """A PNG of (H, W) or (H, W, C)."""
    height, width = array.shape[:2]

    def rows(part: np.ndarray) -> bytes:
        if not part.size:
            return b""
        lines = part.reshape(len(part), -1)
        return b"".join(
            b"\0" + (line.astype(">u2" if bits == 16 else "u1").tobytes() if bits >= 8 else packed(line, bits))
            for line in lines
        )

    parts = [array[y::dy, x::dx] for y, x, dy, dx in _ADAM7] if interlaced else [array]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced)))
    body = chunk(b"IDAT", zlib.compress(b"".join(map(rows, parts))))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*c) for c in chunks) + body + chunk(b"IEND", b"")


# ---------------------------------------------------------------------------------------------------------------- TIFF


def plain_tiff(
    rows: Sequence[bytes], width: int, bits: int, samples: int, photometric: int, order: str = "<", **tags: int
) -> bytes:
    """An uncompressed TIFF of one strip; further tags as t281=4095."""
    data = b"".join(rows)
    data += bytes(len(data) % 2)
    sample_bits = (258, 3, [bits] * samples)
    entries = [
        (256, 4, [width]), (257, 4, [len(rows)]), sample_bits, (259, 3, [1]), (262, 3, [photometric]),
        (273, 4, [8]), (277, 3, [samples]), (278, 4, [len(rows)]), (279, 4, [len(data)]),
        *((int(tag[1:]), 3, [value]) for tag, value in tags.items()),
    ]  # fmt: skip
    entries = sorted({entry[0]: entry for entry in entries}.values())
    start = 8 + len(data)
    ifd, tail = struct.pack(order + "H", len(entries)), b""
    after = start + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        code = "H" if kind == 3 else "I"
        content = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(content) > 4:
            place, tail = after + len(tail), tail + content
            content = struct.pack(order + "I", place)
        ifd += struct.pack(order + "HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, start)
    return head + data + ifd + bytes(4) + tail


def packed_tiff(array: np.ndarray, bits: int, photometric: int, **tags: int) -> bytes:
    """A TIFF of samples (H, W) or (H, W, S) that are packed without gaps."""
    samples = 1 if array.ndim == 2 else array.shape[2]
    rows = [packed(row.reshape(-1), bits) for row in array]
    return plain_tiff(rows, array.shape[1], bits, samples, photometric, **tags)


def tiff(array: np.ndarray, photometric: str = "minisblack", **options) -> bytes:
    """A TIFF as tifffile writes it."""
    import tifffile

    content = io.BytesIO()
    tifffile.imwrite(content, array, photometric=photometric, metadata=None, **options)
    return content.getvalue()


def dng(mosaic: np.ndarray, orientation: int = 1) -> bytes:
    """A camera's raw file: uint16 (H, W) behind a mosaic of red, green, green and blue, whose colors are sRGB."""
    import tifffile

    matrix = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)
    fractions = tuple(value for x in matrix for value in (round(x * 10000), 10000))
    tags = [
        (271, "s", 0, "Test", True), (272, "s", 0, "Test", True), (274, "H", 1, orientation, True),
        (33421, "H", 2, (2, 2), True), (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True), (50707, "B", 4, bytes([1, 1, 0, 0]), True),
        (50708, "s", 0, "Test", True), (50714, "H", 1, 0, True), (50717, "H", 1, 65535, True),
        (50721, "2i", 9, fractions, True), (50728, "2I", 3, (1, 1) * 3, True), (50778, "H", 1, 21, True),
    ]  # fmt: skip
    content = io.BytesIO()
    tifffile.imwrite(content, mosaic, photometric=32803, metadata=None, extratags=tags)
    return content.getvalue()


# ------------------------------------------------------------------------------------------------ more than 8 bits


def opencv(suffix: str, array: np.ndarray, bits: int, *options: int) -> bytes:
    """A picture of 16 bits with `bits`, as OpenCV writes it."""
    import cv2

    order = array if array.ndim == 2 else array[..., [2, 1, 0, 3][: array.shape[2]]]
    success, content = cv2.imencode(suffix, np.ascontiguousarray(order >> (16 - bits)), list(options))
    assert success
    return content.tobytes()


def heic(array: np.ndarray) -> bytes:
    """A HEIC of 10 bits."""
    import pillow_heif

    mode = {2: "L"}.get(array.ndim) or ("RGB", "RGBA")[array.shape[2] - 3]
    size, content = array.shape[1::-1], io.BytesIO()
    file = pillow_heif.from_bytes(f"{mode};10", size, (array >> 6).astype("<u2").tobytes())
    file.save(content, quality=-1, chroma=444)
    return content.getvalue()
