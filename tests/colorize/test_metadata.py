"""What results say beside their pixels, in every format: captions, dates, names, resolution, profile."""

import io
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from palgan_jax.colorize.deep_formats import Bands, tiff_of_bands
from palgan_jax.colorize.encode import FORMATS, encode, format_of_suffix, result_suffix
from palgan_jax.colorize.files import metadata_of, read_photograph
from palgan_jax.colorize.metadata import Metadata, is_marked, read_metadata
from palgan_jax.data.decode import quiet_pillow
from palgan_jax.errors import UserError

Tag = ExifTags.Base
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation><a b="Z\xc3\xbcrich"/></x:xmpmeta>'
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
PHOTO = Image.fromarray(PIXELS)


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def saved(picture: Image.Image, kind: str, **options) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    with quiet_pillow:
        return Image.open(io.BytesIO(buffer.getvalue()))


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[Tag.ImageDescription] = "Das Müllerhaus".encode()
    exif[Tag.Artist], exif[Tag.Copyright], exif[Tag.DateTime] = "A. Person", "CC0", "1931:05:04 10:00:00"
    exif[Tag.Orientation], exif[Tag.Make] = 6, "a camera"
    exif[ExifTags.IFD.Exif] = {
        Tag.DateTimeOriginal: "1931:05:04 09:00:00", Tag.ExifImageWidth: 40, Tag.ExifImageHeight: 60,
        Tag.ColorSpace: 65535, Tag.LensModel: "a lens",
    }  # fmt: skip
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (47.0, 22.0, 1.5)}
    return exif


@pytest.mark.parametrize("source", ["jpeg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("kind", FORMATS)
def test_captions_dates_and_resolution_are_kept_from_every_format_to_every_format(source, kind):
    options = {"exif": camera_exif(), **({"dpi": (600, 300)} if source in ("jpeg", "png") else {})}
    if source == "avif":
        del options["exif"][Tag.Orientation]  # with one, Pillow's reader writes all tags anew, and loses letters
    if source in ("webp", "avif"):
        options["exif"][Tag.XResolution], options["exif"][Tag.YResolution] = 600.0, 300.0
    if source == "png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    else:
        options["xmp"] = XMP
    if source == "tiff":  # Pillow has no way to write such letters
        data = b"".join(tiff_of_bands(Bands.of(PIXELS), camera_exif(), XMP, b"", (600, 300)))
        metadata = read_metadata(Image.open(io.BytesIO(data)), turned=True)
    else:
        options["exif"] = options["exif"].tobytes()
        metadata = read_metadata(saved(PHOTO, source, **options), turned=True)
    result = opened(encode(PIXELS, metadata, kind, None, "x"))
    assert result.format == {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tiff": "TIFF", "avif": "AVIF"}[kind]
    exif = result.getexif()
    assert exif[Tag.ImageDescription].encode("latin-1").decode() == "Das Müllerhaus"
    assert (exif[Tag.Artist], exif[Tag.Copyright], exif[Tag.DateTime]) == ("A. Person", "CC0", "1931:05:04 10:00:00")
    assert exif[Tag.Make] == "a camera" and exif.get(Tag.Orientation, 1) == 1
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    assert inner[Tag.DateTimeOriginal] == "1931:05:04 09:00:00" and inner[Tag.LensModel] == "a lens"
    assert Tag.ExifImageWidth not in inner and inner[Tag.ColorSpace] == 1
    assert tuple(map(float, exif.get_ifd(ExifTags.IFD.GPSInfo)[2])) == (47.0, 22.0, 1.5)
    assert (float(exif[Tag.XResolution]), float(exif[Tag.YResolution])) == pytest.approx((300, 600), rel=1e-4)
    if kind in ("jpeg", "png", "tiff"):
        assert result.info["dpi"] == pytest.approx((300, 600), rel=1e-4)
    xmp = result.info["xmp"]
    assert (xmp if isinstance(xmp, bytes) else xmp.encode()).strip() == XMP.replace(b"6", b"1")
    assert is_marked(result)


def test_a_png_has_the_texts_that_viewers_look_for():
    data = b"".join(tiff_of_bands(Bands.of(PIXELS), camera_exif(), b"", b"", (600, 600)))
    metadata = read_metadata(Image.open(io.BytesIO(data)), turned=False)
    result = opened(encode(PIXELS, metadata, "png", None, "x"))
    assert result.text == {
        "Description": "Das Müllerhaus", "Author": "A. Person", "Copyright": "CC0",
        "Creation Time": "1931:05:04 10:00:00",
    }  # fmt: skip
    assert result.info["dpi"] == pytest.approx((600, 600), rel=1e-4)


def test_texts_of_a_png_are_kept_and_become_exif_elsewhere():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Description", "a lake")
    texts.add_itxt("Author", "Ж. Person")
    texts.add_text("Anything", "x" * 5000, zip=True)
    texts.add_text("Raw profile type exif", "broken")
    metadata = read_metadata(saved(PHOTO, "png", pnginfo=texts), turned=False)
    result = opened(encode(PIXELS, metadata, "png", None, "x"))
    assert result.text == {"Description": "a lake", "Author": "Ж. Person", "Anything": "x" * 5000}
    exif = opened(encode(PIXELS, metadata, "jpeg", None, "x")).getexif()
    assert exif[Tag.ImageDescription] == "a lake" and exif[Tag.Artist].encode("latin-1").decode() == "Ж. Person"


def test_captions_of_iptc_become_exif_and_text():
    record = b"".join(
        b"\x1c\x02" + bytes([number]) + len(value).to_bytes(2, "big") + value
        for number, value in ((120, b"By the lake"), (80, b"A. Person"), (116, b"CC0"))
    )
    block = b"8BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record + b"\0" * (len(record) % 2)
    body = b"Photoshop 3.0\0" + block
    data = io.BytesIO()
    PHOTO.save(data, "jpeg")
    data = data.getvalue()
    picture = Image.open(io.BytesIO(data[:2] + b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]))
    metadata = read_metadata(picture, turned=False)
    assert metadata.text == {"Description": "By the lake", "Author": "A. Person", "Copyright": "CC0"}
    assert metadata.exif[Tag.ImageDescription] == "By the lake"


def page_of(caption: str, dpi: tuple[float, float], orientation: int, **options) -> dict:
    return {
        "photometric": "minisblack", "description": caption, "metadata": None, "resolution": dpi, "resolutionunit": 2,
        "extratags": [(0x0112, 3, 1, orientation, True)], **options,
    }  # fmt: skip


def test_each_page_of_a_tiff_has_its_own_caption_and_resolution(tmp_path):
    gray = PIXELS[..., 0]
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(gray[::2, ::2], **page_of("a small copy", (72, 72), 1, subfiletype=1))
        file.write(gray, **page_of("a house", (600, 600), 1))
        file.write(gray, **page_of("a letter, lying", (200, 100), 6))
    data = (tmp_path / "x.tif").read_bytes()
    for page, caption, dpi in [(None, "a house", 600), (0, "a house", 600), (1, "a letter, lying", (100, 200))]:
        for metadata in (metadata_of(tmp_path / "x.tif", "x", page), read_photograph(data, "x", page=page).metadata):
            assert metadata.text["Description"] == metadata.exif[Tag.ImageDescription] == caption
            assert metadata.dpi == pytest.approx(np.broadcast_to(dpi, 2))


def test_a_picture_within_a_reduced_one_has_the_captions_of_the_file(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(PIXELS[::2, ::2, 0], **page_of("a house", (72, 72), 1, subfiletype=1, subifds=1))
        file.write(PIXELS[..., 0], photometric="minisblack", metadata=None)
    photograph = read_photograph((tmp_path / "x.tif").read_bytes(), "x")
    assert photograph.picture.pixels.shape == PIXELS.shape[:2]
    assert photograph.metadata.text["Description"] == "a house"


def test_each_picture_of_an_album_has_its_own_caption():
    exif = [camera_exif(), camera_exif()]
    exif[1][Tag.ImageDescription], exif[1][Tag.Orientation] = "the garden", 1
    other = PHOTO.copy()
    other.encoderinfo = {"exif": exif[1].tobytes()}
    buffer = io.BytesIO()
    PHOTO.save(buffer, "MPO", save_all=True, append_images=[other], exif=exif[0])
    for page, caption, shape in [(None, "Das Müllerhaus", (60, 40)), (1, "the garden", (40, 60))]:
        photograph = read_photograph(buffer.getvalue(), "x", page=page)
        assert (photograph.metadata.text["Description"], photograph.picture.pixels.shape[:2]) == (caption, shape)


def test_thumbnails_do_not_survive():
    thumbnail = io.BytesIO()
    PHOTO.resize((30, 20)).save(thumbnail, "jpeg")
    small, entry = thumbnail.getvalue(), struct.Struct("<HHII").pack
    first = struct.pack("<H", 1) + entry(Tag.Make, 2, 2, 0x41) + struct.pack("<I", 26)
    second = struct.pack("<H", 2) + entry(0x0201, 4, 1, 56) + entry(0x0202, 4, 1, len(small)) + struct.pack("<I", 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + first + second + small
    assert saved(PHOTO, "jpeg", exif=exif).getexif().get_ifd(ExifTags.IFD.IFD1)
    xmp = b"<x><xmp:Thumbnails><rdf:Alt>" + b"A" * 100 + b"</rdf:Alt></xmp:Thumbnails></x>"
    metadata = read_metadata(saved(PHOTO, "jpeg", exif=exif, xmp=xmp), turned=False)
    for kind in FORMATS:
        data = encode(PIXELS, metadata, kind, None, "x")
        result = opened(data)
        assert result.getexif()[Tag.Make] == "A" and small not in data
        assert not result.getexif().get_ifd(ExifTags.IFD.IFD1)
        assert b"Thumbnails" not in bytes(result.info["xmp"])


@pytest.mark.parametrize("kind", FORMATS)
def test_results_say_that_they_are_srgb(kind):
    data = encode(PIXELS, read_metadata(saved(PHOTO, "png"), turned=False), kind, None, "x")
    result = opened(data)
    if kind == "png":
        assert b"sRGB\0" in data and result.info["srgb"] == 0
    else:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(result.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert data == encode(PIXELS, read_metadata(saved(PHOTO, "png"), turned=False), kind, None, "x")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0II*\0\xff\xff\xff\xff\xff\xff garbage",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x0e\0\x02\xff\xff\xff\xff\0\0\0\0" * 20,
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0",  # an Exif part that is the whole
        b"",
    ],
)
@pytest.mark.parametrize("kind", FORMATS)
def test_broken_metadata_are_left_out(exif, kind):
    picture = saved(PHOTO, "jpeg", exif=exif) if exif else saved(PHOTO, "bmp")
    picture.info.update(dpi=(float("nan"), 0), comment=b"\xff\0")
    with quiet_pillow:
        metadata = read_metadata(picture, turned=False)
    result = opened(encode(PIXELS, metadata, kind, None, "x"))
    assert is_marked(result) and result.size == PHOTO.size


def test_metadata_that_a_format_does_not_take_cost_themselves_alone():
    metadata = read_metadata(saved(PHOTO, "png"), turned=False)
    metadata.exif[Tag.Make] = "x" * 70_000
    result = opened(encode(PIXELS, metadata, "jpeg", None, "x"))
    assert is_marked(result) and Tag.Make not in result.getexif()


def test_what_a_scientific_program_wrote_about_arrays_is_no_caption():
    picture = saved(PHOTO, "tiff", tiffinfo={270: '{"shape": [40, 60, 3]}'})
    assert Tag.ImageDescription not in read_metadata(picture, turned=False).exif


@pytest.mark.parametrize("kind", [kind for kind, format_ in FORMATS.items() if format_.quality is None] + ["webp"])
def test_formats_without_loss_keep_every_value(kind):
    alpha = np.random.default_rng(1).integers(0, 256, (40, 60), np.uint8)
    metadata = Metadata(camera_exif())
    metadata.exif[Tag.ProcessingSoftware], metadata.exif[Tag.Orientation] = "palgan_jax", 1
    for pixels in (PIXELS, np.dstack([PIXELS, alpha])):
        result = opened(encode(pixels, metadata, kind, 100 if kind == "webp" else None, "x"))
        assert np.array_equal(result, pixels)


def test_a_jpeg_shows_transparency_as_on_paper():
    metadata = read_metadata(saved(PHOTO, "png"), turned=False)
    clear = np.dstack([PIXELS, np.zeros((40, 60), np.uint8)])
    assert np.asarray(opened(encode(clear, metadata, "jpeg", None, "x"))).min() > 250


def test_quality_changes_the_size():
    metadata = read_metadata(saved(PHOTO, "png"), turned=False)
    for kind in ("jpeg", "webp", "avif"):
        sizes = [len(encode(PIXELS, metadata, kind, quality, "x")) for quality in (10, None, 99)]
        assert sizes[0] < sizes[1] < sizes[2]


def test_a_picture_that_a_format_cannot_hold_is_one_sentence():
    metadata = read_metadata(saved(PHOTO, "png"), turned=False)
    with pytest.raises(UserError, match=r"long\.png cannot be written as WebP \(.*\): choose another --format"):
        encode(np.zeros((16, 17_000, 3), np.uint8), metadata, "webp", None, "long.png")


def test_the_format_follows_the_name():
    assert [format_of_suffix(Path(name)) for name in ("a.JPG", "a.tif", "a.bmp", "a")] == ["jpeg", "tiff", None, None]
    assert result_suffix("same", Path("a.JPEG")) == ".JPEG" and result_suffix("same", Path("a.bmp")) == ".png"
    assert result_suffix("tiff", Path("a.JPEG")) == ".tif"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(40, 60), (16, 17), (700, 900)])
def test_16_bits_are_kept_as_other_libraries_read_them(channels, size):
    pixels = np.random.default_rng(2).integers(0, 65536, (*size, channels), np.uint16)
    metadata = read_metadata(saved(PHOTO, "jpeg", exif=camera_exif(), dpi=(600, 600)), turned=False)
    order = [2, 1, 0, 3][:channels]
    for kind in ("png", "tiff"):
        data = encode(pixels, metadata, kind, None, "x")
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert decoded.dtype == np.uint16 and np.array_equal(decoded[..., order], pixels)
        result = opened(data)
        assert np.abs(np.asarray(result).astype(int) - pixels // 256).max() <= 1
        assert result.info["dpi"] == pytest.approx((600, 600), rel=1e-4) and is_marked(result)
        assert result.getexif().get_ifd(ExifTags.IFD.Exif)[Tag.LensModel] == "a lens"
    jpeg = opened(encode(pixels, metadata, "jpeg", None, "x"))
    assert jpeg.size == size[::-1]


@pytest.mark.parametrize(("length", "is_kept"), [(1_500_000, True), (5_000_000, False)])
def test_a_long_text_is_kept_as_far_as_others_can_read_it(length, is_kept):
    metadata = replace(read_metadata(saved(PHOTO, "png"), turned=False), text={"Anything": "x" * length})
    result = opened(encode(PIXELS, metadata, "png", None, "x"))
    assert len(result.text.get("Anything", "")) == (length if is_kept else 0)


@pytest.mark.parametrize("source", FORMATS)
def test_mutated_files_give_a_result_or_one_sentence(source):
    metadata = read_metadata(saved(PHOTO, "jpeg", exif=camera_exif().tobytes(), xmp=XMP, comment="x"), turned=False)
    content = encode(PIXELS[:32, :32], metadata, source, None, "x")
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(content)
        for place in rng.integers(0, min(len(data), 1500), rng.integers(1, 8)):
            data[place] = rng.integers(0, 256) if rng.random() < 0.7 else 255
        try:
            photograph = read_photograph(bytes(data), "x")
        except UserError:
            continue
        for kind in ("png", "jpeg", "tiff"):
            assert opened(encode(PIXELS, photograph.metadata, kind, None, "x")).size == (60, 40)
