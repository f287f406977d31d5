"""Small picture files of every kind that is read, to be damaged (tests/support/fuzz.py)."""

import random
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from PIL import Image

from palgan_jax.data.decode import decode_picture, decode_rgb, picture_size_of
from palgan_jax.errors import UserError
from tests.support import picture_files as made
from tests.support.fuzz import Reader, damaged, problem_of_sentence
from tests.support.picture_files import ALPHA16, GRAY, GRAY16, RGB, RGB16, tiff

PIXELS = 30_000_000


def sound_files() -> dict[str, bytes]:
    """Small sound files of every kind that is read."""
    profile = made.gray_profile(made.table_curve(np.linspace(0, 1, 64) ** 1.8))
    color_profile = made.rgb_profile(made.ADOBE, made.formula_curve(3, *made.SRGB_PARAMETERS))
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba16 = np.dstack([RGB16, ALPHA16])
    picture = Image.fromarray(RGB)
    frames = {"save_all": True, "append_images": [picture.rotate(180)]}
    files = {
        "jpeg": made.encoded(RGB, "JPEG"),
        "jpeg-progressive-plain": made.encoded(RGB, "JPEG", progressive=True),
        "jpeg-progressive": made.encoded(RGB, "JPEG", progressive=True, exif=exif),
        "jpeg-gray-profile": made.encoded(GRAY, "JPEG", icc_profile=profile),
        "jpeg-cmyk": made.encoded(picture.convert("CMYK"), "JPEG"),
        "mpo": made.encoded(picture, "MPO", **frames),
        "png": made.encoded(RGB, "PNG", exif=exif),
        "png-16-profile": made.png(rgba16, 16, 6, [made.icc_chunk(color_profile)]),
        "png-gray-16": made.png(GRAY16, 16, 0, [made.icc_chunk(profile), (b"tRNS", b"\x10\x10")]),
        "png-interlaced": made.png(RGB16, 16, 2, [(b"gAMA", b"\0\0\xff\xff")], interlaced=True),
        "png-indexed": made.encoded(picture.quantize(16), "PNG", transparency=3),
        "apng": made.encoded(picture, "PNG", **frames),
        "gif": made.encoded(picture, "GIF", **frames),
        "webp": made.encoded(RGB, "WEBP", lossless=True, icc_profile=color_profile),
        "webp-lossy": made.encoded(picture, "WEBP", **frames),
        "bmp": made.encoded(RGB, "BMP"),
        "bmp-indexed": made.encoded(picture.quantize(16), "BMP"),
        "jpeg2000": made.encoded(RGB, "JPEG2000"),
        "jpeg2000-16": made.encoded(GRAY16, "JPEG2000"),
        "pfm": b"Pf\n48 40\n-1.0\n" + (GRAY16 / 65535).astype("<f4").tobytes(),
        "pbm": made.encoded(Image.fromarray(GRAY > 99), "PPM"),
        "avif": made.encoded(RGB, "AVIF"),
        "avif-10": made.opencv(".avif", RGB16, 10, cv2.IMWRITE_AVIF_DEPTH, 10),
        "jpeg2000-16-color": made.opencv(".jp2", RGB16, 16),
        "ppm-16": b"P6\n48 40\n65535\n" + RGB16.astype(">u2").tobytes(),
        "ppm-16-text": b"P3\n# words\n48 40\n1000\n" + b" ".join(b"%d" % v for v in RGB.ravel()),
        "pam": b"P7\nWIDTH 48\nHEIGHT 40\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + RGB.tobytes(),
        "pfm-color": b"PF\n48 40\n-1.0\n" + (RGB16 / 65535).astype("<f4").tobytes(),
        "png-codes": made.png(RGB16, 16, 2, [(b"cICP", bytes([9, 16, 0, 1]))]),
        "ppm": made.encoded(RGB, "PPM"),
        "pgm-text": b"P2\n# words\n48 40 1000\n" + b" ".join(b"%d" % v for v in GRAY.ravel()),
        "tiff": made.encoded(RGB, "TIFF", exif=exif),
        "tiff-lzw": made.encoded(GRAY16, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": made.encoded(RGB, "TIFF", compression="jpeg"),
        "tiff-group4": made.encoded(Image.fromarray(GRAY > 99), "TIFF", compression="group4"),
        "tiff-16-tiles": tiff(rgba16, "rgb", tile=(16, 16), compression="zlib", predictor=True, extrasamples=[2]),
        "tiff-float": tiff((RGB / 255).astype(np.float32), "rgb", rowsperstrip=7, iccprofile=color_profile),
        "tiff-planes": tiff(np.ascontiguousarray(np.moveaxis(RGB16, -1, 0)), "rgb", planarconfig="separate"),
        "tiff-big": tiff(GRAY16, "miniswhite", bigtiff=True, byteorder=">"),
        "tiff-packed": made.packed_tiff(GRAY16 >> 4, 12, 0),
        "tiff-lab": tiff(RGB, "cielab"),
        "tiff-cmyk-16": tiff(rgba16, "separated"),
    }
    for kind, module in (("HEIF", "pillow_heif"), ("JXL", "pillow_jxl")):
        try:
            from palgan_jax.data import formats

            formats._register(kind, "x")
            files[module] = made.encoded(RGB, kind)
            if kind == "HEIF":
                files["heic-10"] = made.heic(RGB16)
        except UserError:
            continue
    return files  # without cameras' raw files, of whose damage LibRaw writes lines of its own


def problem_of(data: bytes) -> str:
    """Reads a file as the commands do. Returns what is wrong with the outcome, "" where it is as it should be."""
    try:
        picture = decode_picture(data, name="x", max_pixels=PIXELS)
        rgb = picture.on_white()
        size = picture_size_of(data, name="x", max_pixels=PIXELS)
        small = decode_rgb(data, name="x", at_least=16, max_pixels=PIXELS)
    except UserError as error:
        return problem_of_sentence(error, "x")
    if picture.pixels.dtype not in (np.uint8, np.uint16) or picture.pixels.ndim not in (2, 3):
        return f"pixels {picture.pixels.dtype} {picture.pixels.shape}"
    if picture.alpha is not None and (picture.alpha.dtype, picture.alpha.shape) != (
        picture.pixels.dtype, picture.pixels.shape[:2],
    ):  # fmt: skip
        return f"alpha {picture.alpha.dtype} {picture.alpha.shape}"
    if rgb.dtype != np.uint8 or rgb.shape != (size[1], size[0], 3):
        return f"size {rgb.shape} and {size}"
    if small.ndim != 3 or min(small.shape[:2]) < 16:
        return f"reduced to {small.shape}"
    return ""


def reader() -> Reader:
    """Makes the sound files, and looks that they are read."""
    files = sound_files()
    for data in files.values():
        assert not problem_of(data) and decode_picture(data, name="x") is not None

    def read(number: int) -> tuple[str, Callable[[], str]]:
        chance = random.Random(number)
        name = chance.choice(sorted(files))
        data = damaged(files[name], [files[other] for other in sorted(files)], chance)
        return name, partial(problem_of, data)

    return read
