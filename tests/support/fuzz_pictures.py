"""Damages picture files in many ways, and looks that each is a picture or one sentence, in bounded time and memory.

    python -m tests.support.fuzz_pictures --first 0 --count 5000

A mutant is made from its number alone. A process of its own reads them: its limits may end it, or a crash, and then the
next one goes on after the mutant that did it.
"""

import argparse
import io
import random
import resource
import signal
import subprocess
import sys
import warnings

import numpy as np
from PIL import Image

from palgan_jax.data.decode import decode_picture, decode_rgb, picture_size_of
from palgan_jax.errors import UserError
from tests.support import picture_files as made
from tests.support.picture_files import ALPHA16, GRAY, GRAY16, RGB, RGB16
from tests.support.places import ROOT

MEMORY = 8_000_000_000  # bytes of address space, of which JAX and its libraries take some
SECONDS = 20
PIXELS = 30_000_000
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def sound_files() -> dict[str, bytes]:
    """Small sound files of every kind that is read."""
    import tifffile

    def tiff(array, photometric="minisblack", **options):
        content = io.BytesIO()
        tifffile.imwrite(content, array, photometric=photometric, metadata=None, **options)
        return content.getvalue()

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
        except UserError:
            continue
    return files


def mutant(number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Makes a mutant from its number: the name of the sound file, and the bytes."""
    chance = random.Random(number)
    name = chance.choice(sorted(files))
    data = bytearray(files[name])
    for _ in range(chance.choice((1, 1, 1, 2, 4, 12))):
        kind = chance.choice(["flips", "flip", "number", "number", "cut", "out", "twice", "zeros", "other"])
        # Headers say how the rest is read.
        at = chance.randrange(max(1, len(data) if chance.random() < 0.5 else min(len(data), 256)))
        length = chance.choice((1, 4, 16, 64, 400))
        if kind == "flips":
            for place in range(at, min(at + length, len(data))):
                data[place] = chance.randrange(256)
        elif kind == "flip" and data:
            data[min(at, len(data) - 1)] ^= 1 << chance.randrange(8)
        elif kind == "number":
            size = chance.choice((1, 2, 4))
            value = (chance.choice(_NUMBERS) & ((1 << 8 * size) - 1)).to_bytes(size, chance.choice(("big", "little")))
            data[at : at + size] = value
        elif kind == "cut" and chance.random() < 0.4:
            del data[at:]
        elif kind == "out":
            del data[at : at + length]
        elif kind == "twice":
            data[at:at] = data[at : at + length]
        elif kind == "zeros":
            data[at : at + length] = bytes(length)
        elif kind == "other":
            other = files[chance.choice(sorted(files))]
            start = chance.randrange(len(other))
            data[at : at + length] = other[start : start + length]
    return name, bytes(data)


def problem_of(data: bytes) -> str:
    """Reads a file as the commands do. Returns what is wrong with the outcome, "" where it is as it should be."""
    try:
        picture = decode_picture(data, name="x", max_pixels=PIXELS)
        rgb = picture.on_white()
        size = picture_size_of(data, name="x", max_pixels=PIXELS)
        small = decode_rgb(data, name="x", at_least=16, max_pixels=PIXELS)
    except UserError as error:
        sentence = str(error)
        return "" if sentence.endswith(".") and "\n" not in sentence and "x" in sentence else f"says {sentence!r}"
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


def read_mutants(first: int, count: int) -> None:
    """Prints a line for each mutant with its number, and what is wrong with it."""
    warnings.simplefilter("error")
    files = sound_files()
    for name, data in files.items():
        assert not problem_of(data) and decode_picture(data, name=name) is not None
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, first + count):
        name, data = mutant(number, files)
        print(number, name, end=" ", flush=True)
        signal.alarm(SECONDS)
        # As errors they would be taken for damage.
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                problem = problem_of(data)
            except BaseException as error:
                problem = f"{type(error).__name__}: {error}"
        signal.alarm(0)
        problem += "".join(f" warns: {warning.message}" for warning in warned)
        print(" ".join(problem.split()), flush=True)


def fuzz(first: int, count: int) -> list[str]:
    """Reads mutants in processes of their own. Returns a line for each that went wrong."""
    wrong, last = [], first + count
    while first < last:
        command = [sys.executable, "-m", "tests.support.fuzz_pictures", "--read", "--first", str(first)]
        done = subprocess.run(
            [*command, "--count", str(last - first)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        lines = done.stdout.splitlines()
        wrong += [line for line in lines if len(line.split()) > 2]
        if done.stderr.strip():
            wrong.append(f"on standard error, from {first} on: {done.stderr.strip()[-500:]}")
        if done.returncode == 0:
            break
        if not lines:
            return [*wrong, f"ended with {done.returncode} before the first mutant"]
        wrong.append(f"{lines[-1]}: ended with {done.returncode}")
        first = int(lines[-1].split()[0]) + 1
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--read", action="store_true", help="in this process, a line for each")
    arguments = parser.parse_args()
    if arguments.read:
        read_mutants(arguments.first, arguments.count)
    else:
        bad = fuzz(arguments.first, arguments.count)
        print(*bad, f"{arguments.count} mutants, {len(bad)} went wrong", sep="\n")
        sys.exit(bool(bad))
