"""Color profiles and color chunks: gray in every container and depth, color, CMYK, and what is broken."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from palgan_jax.data import formats
from palgan_jax.data.decode import decode_picture, decode_rgb
from tests.data.test_tiff import tiff
from tests.support import picture_files as made
from tests.support.picture_files import ADOBE, GRAY, GRAY16, P3, RGB, RGB16, SRGB, dot_gain, from_linear, to_linear

_LAB_OF_LIGHT = lambda y: np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27) / 100  # noqa: E731
GRAY_PROFILES = {
    "gamma 1.8": (made.gray_profile(made.gamma_curve(1.8)), lambda x: x ** (461 / 256)),
    "gamma 2.2": (made.gray_profile(made.gamma_curve(2.2)), lambda x: x ** (563 / 256)),
    "linear": (made.gray_profile(made.gamma_curve(1)), lambda x: x),
    "linear, no number": (made.gray_profile(b"curv" + bytes(8)), lambda x: x),
    "dot gain 20 %": (made.gray_profile(made.table_curve(dot_gain(0.2)(np.linspace(0, 1, 256)))), dot_gain(0.2)),
    "dot gain 15 %": (made.gray_profile(made.table_curve(dot_gain(0.15)(np.linspace(0, 1, 1024)))), dot_gain(0.15)),
    "formula of gamma": (made.gray_profile(made.formula_curve(0, 2.6)), lambda x: x**2.6),
    "formula of sRGB": (made.gray_profile(made.formula_curve(3, *made.SRGB_PARAMETERS)), to_linear),
    "relative to Lab": (
        made.gray_profile(made.table_curve(_LAB_OF_LIGHT(np.linspace(0, 1, 4096) ** 1.5)), b"Lab "),
        lambda x: x**1.5,
    ),
}

GRAY_FILES = {
    "JPEG": lambda p: made.encoded(GRAY, "JPEG", quality=100, icc_profile=p),
    "progressive JPEG": lambda p: made.encoded(GRAY, "JPEG", quality=100, icc_profile=p, progressive=True),
    "JPEG with EXIF": lambda p: made.encoded(GRAY, "JPEG", quality=100, icc_profile=p, exif=made.EXIF),
    "PNG of 8 bits": lambda p: made.png(GRAY, 8, 0, [made.icc_chunk(p)]),
    "PNG of 4 bits": lambda p: made.png(GRAY // 17, 4, 0, [made.icc_chunk(p)]),
    "PNG of 2 bits": lambda p: made.png(GRAY // 85, 2, 0, [made.icc_chunk(p)]),
    "PNG of 16 bits": lambda p: made.png(GRAY16, 16, 0, [made.icc_chunk(p)]),
    "PNG with alpha": lambda p: made.png(np.dstack([GRAY, np.full_like(GRAY, 255)]), 8, 4, [made.icc_chunk(p)]),
    "PNG of 16 bits with alpha": lambda p: made.png(np.dstack([GRAY16, GRAY16 | 65535]), 16, 4, [made.icc_chunk(p)]),
    "indexed PNG": lambda p: made.encoded(
        Image.fromarray(GRAY).convert("RGB").quantize(256), "PNG", icc_profile=p
    ),
    "TIFF of 8 bits": lambda p: tiff(GRAY, iccprofile=p),
    "inverted TIFF of 8 bits": lambda p: tiff(255 - GRAY, "miniswhite", iccprofile=p),
    "TIFF of 16 bits": lambda p: tiff(GRAY16, iccprofile=p),
    "inverted TIFF of 16 bits": lambda p: tiff(65535 - GRAY16, "miniswhite", iccprofile=p, byteorder=">"),
    "TIFF of floats": lambda p: tiff((GRAY16 / 65535).astype(np.float32), iccprofile=p),
    "TIFF with alpha": lambda p: tiff(
        np.dstack([GRAY16, GRAY16 | 65535]), extrasamples=["unassalpha"], planarconfig="contig", iccprofile=p
    ),
    "WebP": lambda p: made.encoded(GRAY, "WEBP", lossless=True, icc_profile=p),
    "lossy WebP": lambda p: made.encoded(GRAY, "WEBP", quality=100, icc_profile=p),
    "AVIF": lambda p: made.encoded(GRAY, "AVIF", quality=100, icc_profile=p),
}  # fmt: skip


def jpeg_2000(profile: bytes | None) -> bytes:
    data = made.encoded(GRAY, "JPEG2000")
    if profile is None:
        return data
    start = data.index(b"jp2h") - 4
    length = struct.unpack_from(">I", data, start)[0]
    size = data[start + 8 : start + 8 + 22]  # the box of the size; the next one says the colors
    colors = struct.pack(">I4s3B", 11 + len(profile), b"colr", 2, 0, 0) + profile
    return (
        data[:start]
        + struct.pack(">I4s", 8 + len(size) + len(colors), b"jp2h")
        + size
        + colors
        + data[start + length :]
    )


def bmp(profile: bytes | None) -> bytes:
    data = made.encoded(GRAY, "BMP")
    if profile is None:
        return data
    old = struct.unpack_from("<I", data, 10)[0]  # where the pixels begin
    head, palette, pixels = data[14:54], data[54:old], data[old:]
    fields = head[4:] + bytes(16) + b"DEBM" + bytes(48) + struct.pack("<I", 4)
    place = 124 + len(palette) + len(pixels)
    header = struct.pack("<I", 124) + fields + struct.pack("<III", place, len(profile), 0)
    start = 14 + 124 + len(palette)
    size = start + len(pixels) + len(profile)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, start) + header + palette + pixels + profile


def gif(profile: bytes | None) -> bytes:
    data = made.encoded(GRAY, "GIF")
    if profile is None:
        return data
    start = 13 + 3 * 256  # behind the palette
    pieces = b"".join(bytes([len(profile[i : i + 255])]) + profile[i : i + 255] for i in range(0, len(profile), 255))
    return data[:start] + b"\x21\xff\x0bICCRGBG1012" + pieces + b"\0" + data[start:]


GRAY_FILES |= {"JPEG 2000": jpeg_2000, "BMP": bmp, "GIF": gif}


def stored_gray(data: bytes) -> np.ndarray:
    """The gray of the same file without its profile, 0..1."""
    picture = decode_picture(data, name="x")
    values = picture.pixels if picture.pixels.ndim == 2 else picture.pixels[..., 1]
    return values / np.iinfo(values.dtype).max


@pytest.mark.parametrize("name", GRAY_PROFILES)
@pytest.mark.parametrize("file", GRAY_FILES)
def test_gray_profiles_are_used(name, file):
    profile, light = GRAY_PROFILES[name]
    write = GRAY_FILES[file]
    plain = stored_gray(write(None) if "PNG of" not in file and "PNG with" not in file else write(b"no profile"))
    picture = decode_picture(write(profile), name="x")
    assert picture.notes == ()
    expected = 255 * from_linear(light(plain))
    result = picture.on_white()
    assert np.ptp(result, axis=-1).max() == 0
    assert np.abs(result[..., 0] - expected).max() <= (3 if "lossy" in file or file == "AVIF" else 1)


def test_gray_of_16_bits_keeps_its_precision():
    for name, (profile, light) in GRAY_PROFILES.items():
        result = decode_picture(made.png(GRAY16, 16, 0, [made.icc_chunk(profile)]), name="x").pixels
        expected = 65535 * from_linear(light(GRAY16 / 65535))
        assert result.dtype == np.uint16 and np.abs(result - expected).max() <= (
            6 if "sRGB" not in name else 2 * 257
        ), name


def test_gray_through_littlecms():
    """The same conversion by another program, which is coarse in the shadows where it is given 8 bits."""
    for name, (profile, _) in GRAY_PROFILES.items():
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "L", "RGB")
        ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None], 16, axis=0))
        expected = np.asarray(ImageCms.applyTransform(ramp, transform))
        result = decode_rgb(made.png(np.asarray(ramp), 8, 0, [made.icc_chunk(profile)]), name="x")
        error = np.abs(result.astype(int) - expected)
        assert error[:, 24:].max() <= 2 and error.max() <= 10, name


@pytest.mark.parametrize("curve", [made.gamma_curve(2.19921875), made.formula_curve(0, 2.19921875)])
@pytest.mark.parametrize("primaries", [ADOBE, P3], ids=["Adobe RGB", "P3"])
@pytest.mark.parametrize("named", ["p", "sRGB IEC61966-2.1"])
def test_color_profiles_are_used_whatever_their_name(curve, primaries, named):
    profile = made.rgb_profile(primaries, curve, named)
    files = {
        "PNG": (RGB, made.png(RGB, 8, 2, [made.icc_chunk(profile)])),
        "PNG of 16 bits": (RGB16, made.png(RGB16, 16, 2, [made.icc_chunk(profile)])),
        "TIFF": (RGB, tiff(RGB, "rgb", iccprofile=profile)),
        "TIFF of 16 bits": (RGB16, tiff(RGB16, "rgb", iccprofile=profile)),
        "WebP": (RGB, made.encoded(RGB, "WEBP", lossless=True, icc_profile=profile)),
    }
    for file, (array, data) in files.items():
        full = np.iinfo(array.dtype).max
        result = decode_picture(data, name="x").pixels / full
        expected = made.srgb_shown(array / full, primaries, lambda x: x**2.19921875)
        assert np.abs(result - expected).max() <= 2.1 / 255 and np.abs(result - expected).mean() < 0.5 / 255, file
        assert np.abs(result - array / full).max() > 0.05, file


@pytest.mark.parametrize("name", ["sRGB IEC61966-2.1", "a camera's own", "Display"])
def test_a_profile_that_is_srgb_by_its_numbers_changes_nothing(name):
    table = made.table_curve(to_linear(np.linspace(0, 1, 1024)))
    for curve in (made.formula_curve(3, *made.SRGB_PARAMETERS), table):
        profile = made.rgb_profile(SRGB, curve, name)
        for array, bits in ((RGB, 8), (RGB16, 16)):
            result = decode_picture(made.png(array, bits, 2, [made.icc_chunk(profile)]), name="x")
            assert np.array_equal(result.pixels, array) and not result.notes


def test_gray_with_a_profile_of_color_goes_through_its_curves():
    profile = made.rgb_profile(ADOBE, made.gamma_curve(1.8))
    for data, gray in (
        (made.encoded(GRAY, "JPEG", quality=100, icc_profile=profile), None),
        (tiff(GRAY16, iccprofile=profile), GRAY16 / 65535),
        (made.png(GRAY, 8, 0, [made.icc_chunk(profile)]), GRAY / 255),
    ):
        gray = stored_gray(made.encoded(GRAY, "JPEG", quality=100)) if gray is None else gray
        result = decode_rgb(data, name="x")
        assert np.ptp(result, axis=-1).max() == 0
        assert np.abs(result[..., 0] - 255 * from_linear(gray ** (461 / 256))).max() <= 2


# ------------------------------------------------------------------------------------------------------- color chunks


def _gamma(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100000))


def _chromaticities(*values: float) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(v * 100000) for v in values))


ADOBE_XY = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SRGB_XY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.6])
def test_gamma_of_png(bits, gamma):
    gray, rgb = (GRAY, RGB) if bits == 8 else (GRAY16, RGB16)
    alpha = np.full_like(gray, np.iinfo(gray.dtype).max)
    for array, color in ((gray, 0), (rgb, 2), (np.dstack([gray, alpha]), 4), (np.dstack([rgb, alpha]), 6)):
        full = np.iinfo(array.dtype).max
        result = decode_rgb(made.png(array, bits, color, [_gamma(gamma)]), name="x")
        colors = array if color in (0, 2) else array[..., :-1]
        expected = 255 * from_linear((colors / full) ** (1 / gamma)).reshape(*gray.shape, -1)
        assert np.abs(result - expected).max() <= 1.5


def test_chromaticities_of_png():
    expected = 255 * made.srgb_shown(RGB / 255, ADOBE, lambda x: x**2.19921875)
    chunks = [_gamma(1 / 1.8), _chromaticities(*ADOBE_XY)]
    result = decode_rgb(made.png(RGB, 8, 2, chunks), name="x")
    assert np.abs(result - 255 * made.srgb_shown(RGB / 255, ADOBE, lambda x: x**1.8)).max() <= 2
    srgb_curve = decode_rgb(made.png(RGB, 8, 2, [_gamma(1 / 2.2), _chromaticities(*ADOBE_XY)]), name="x")
    assert np.abs(srgb_curve - expected).mean() < 2


@pytest.mark.parametrize(
    "chunks",
    [
        [_gamma(0.45455)],
        [_gamma(0.45455), _chromaticities(*SRGB_XY)],
        [_chromaticities(*SRGB_XY)],
        [_gamma(1.0), (b"sRGB", b"\0")],
        [_gamma(0)],
        [_gamma(0.45455), _chromaticities(0.3127, 0, 0.64, 0.33, 0.3, 0.6, 0.15, 0)],
        [_gamma(0.45455), _chromaticities(0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3)],
    ],
)
def test_chunks_of_srgb_and_such_without_sense_change_nothing(chunks):
    assert np.array_equal(decode_rgb(made.png(RGB, 8, 2, chunks), name="x"), RGB)


def test_a_profile_has_precedence_over_chunks():
    profile = made.gray_profile(made.gamma_curve(1.8))
    data = made.png(GRAY, 8, 0, [made.icc_chunk(profile), _gamma(1.0)])
    assert np.array_equal(
        decode_rgb(data, name="x"), decode_rgb(made.png(GRAY, 8, 0, [made.icc_chunk(profile)]), name="x")
    )


# -------------------------------------------------------------------------------------------------------------- CMYK


def _cmyk_profile() -> bytes:
    """CMYK whose inks are filters of red, green, blue and black, as a table of 2 points a side: lut8."""
    corners = []
    for c, m, y, k in np.ndindex(2, 2, 2, 2):
        rgb = np.array([1 - c, 1 - m, 1 - y], float) * (1 - k)
        xyz = rgb @ np.array(SRGB)
        f = np.cbrt(xyz / np.array([0.9642, 1, 0.8249]))
        corners.append([116 * f[1] - 16, 500 * (f[0] - f[1]) + 128, 200 * (f[1] - f[2]) + 128])
    lab = np.array(corners)
    lab[:, 0] *= 2.55
    table = np.clip(np.rint(lab), 0, 255).astype(np.uint8).tobytes()
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + made.numbers(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + table + ramp * 3
    return made.profile(b"CMYK", {b"A2B0": lut, b"A2B1": lut}, b"Lab ")


@pytest.mark.parametrize("file", ["JPEG", "TIFF", "TIFF of 16 bits", "planar TIFF"])
def test_cmyk_goes_through_its_profile(file):
    inks = np.zeros((*GRAY.shape, 4), np.uint8)
    inks[:20, :, 0], inks[20:, :, 1], inks[:, :24, 3] = 255, 255, 128
    profile = _cmyk_profile()
    if file == "JPEG":
        data = made.encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0, icc_profile=profile)
    else:
        stored = inks.astype(np.uint16) * 257 if "16" in file else inks
        stored = np.ascontiguousarray(np.moveaxis(stored, -1, 0)) if "planar" in file else stored
        planar = "separate" if "planar" in file else "contig"
        data = tiff(stored, "separated", planarconfig=planar, iccprofile=profile)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(
        source, ImageCms.createProfile("sRGB"), "CMYK", "RGB", renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    expected = np.asarray(ImageCms.applyTransform(Image.fromarray(inks, "CMYK"), transform))
    picture = decode_picture(data, name="x")
    assert not picture.notes and np.abs(picture.pixels.astype(int) - expected).max() <= 3
    assert np.abs(picture.pixels.astype(int) - np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))).max() > 20


# ------------------------------------------------------------------------------------------------------------- broken


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (b"x" * 200, "it is broken"),
        (made.gray_profile(made.gamma_curve(1.8))[:150], "it is broken"),
        (made.gray_profile(b"????" + bytes(8)), "it is broken"),
        (made.gray_profile(made.table_curve([0, 0.5, 1])[:14]), "it is broken"),
        (made.rgb_profile(ADOBE, made.gamma_curve(1.8))[:300], "it is broken"),
        (_cmyk_profile(), "it describes CMYK colors and not"),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(), "it describes XYZ colors and not"),
    ],
)
@pytest.mark.parametrize("array", [GRAY, RGB, GRAY16, RGB16], ids=lambda a: f"{a.dtype}-{a.ndim}")
def test_an_unusable_profile_is_named_and_left_aside(profile, why, array):
    bits, color = 8 * array.dtype.itemsize, 0 if array.ndim == 2 else 2
    gray = ("minisblack", "rgb")[array.ndim == 3]
    for data in (made.png(array, bits, color, [made.icc_chunk(profile)]), tiff(array, gray, iccprofile=profile)):
        picture = decode_picture(data, name="x")
        (note,) = picture.notes
        assert note.startswith("the color profile of x is left aside, since it ") and note.endswith(".")
        assert np.array_equal(picture.pixels, array)
        assert why in note or "describes" in note


@pytest.mark.parametrize("chunk", [b"p\0\0no deflate", b"p\0\0", b"", b"p" * 99])
def test_a_profile_that_cannot_be_unpacked_is_left_aside(chunk):
    picture = decode_picture(made.png(GRAY, 8, 0, [(b"iCCP", chunk)]), name="x")
    assert np.array_equal(picture.pixels, GRAY) and "it is broken" in picture.notes[0]


def test_a_large_profile_is_no_damage():
    """A table in place of a curve, of 3 MB."""
    curve = made.gray_profile(made.gamma_curve(1.8), tail=bytes(3_000_000))
    data = made.png(GRAY, 8, 0, [made.icc_chunk(curve)])
    assert np.array_equal(
        decode_rgb(data, name="x"),
        decode_rgb(made.png(GRAY, 8, 0, [made.icc_chunk(made.gray_profile(made.gamma_curve(1.8)))]), name="x"),
    )


def test_a_gray_profile_of_heic():
    pytest.importorskip("pillow_heif")  # pillow_jxl writes other profiles than it is given
    formats._register("HEIF", "x")
    profile = made.gray_profile(made.gamma_curve(1.8))
    result = decode_rgb(made.encoded(GRAY, "HEIF", icc_profile=profile, quality=-1), name="x").astype(int)
    assert np.abs(result - (255 * from_linear((GRAY / 255) ** (461 / 256)))[..., None]).max() <= 4


@pytest.mark.parametrize("parameters", [(900.0, 30000.0, 0, 0, 0), (-30000.0, 1, 0, 0, 0), (0.5, 1, -1, 0, 0)])
@pytest.mark.parametrize("array", [GRAY, RGB16], ids=["gray", "color"])
def test_a_curve_without_sense_warns_of_nothing(parameters, array):
    curve = made.formula_curve(3, *parameters)
    profile = made.gray_profile(curve) if array.ndim == 2 else made.rgb_profile(ADOBE, curve)
    picture = decode_picture(
        made.png(array, 8 * array.itemsize, 2 if array.ndim == 3 else 0, [made.icc_chunk(profile)]), name="x"
    )
    assert picture.pixels.shape == array.shape
