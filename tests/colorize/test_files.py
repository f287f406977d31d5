"""`palgan colorize` on files: what the PNG keeps, where it goes, and one sentence for whatever is wrong."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from safetensors.numpy import save_file

from palgan_jax.checkpoint import find
from palgan_jax.colorize.encode import encode
from palgan_jax.colorize.join import luminance
from palgan_jax.colorize.metadata import Metadata
from palgan_jax.colorize.record import RECORD_FILE
from palgan_jax.data.decode import read_rgb
from tests.support.places import ROOT

ORIENTATION, MAKER = 0x0112, 0x010F


@pytest.fixture(scope="module")
def photo(samples) -> np.ndarray:
    return read_rgb(samples / "china.jpg")[:96, :160]


def _open(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
    return picture


def _png(path: Path, picture: np.ndarray | Image.Image, **options) -> Path:
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(path, **options)
    return path


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _keeps_luminance(result: Path, source: Path) -> bool:
    return bool(np.abs(luminance(read_rgb(result)) - luminance(read_rgb(source))).max() < 1)


def _is_colorful(path: Path) -> bool:
    return bool(np.ptp(read_rgb(path).astype(int), axis=-1).mean() > 20)


# ------------------------------------------------------------------------------------------------- what the PNG keeps


def test_a_photograph_becomes_a_png_and_the_checkpoint_is_told(palgan, samples, tmp_path):
    code, out, err = palgan(samples / "parrot.jpg")
    assert (code, err) == (0, [])
    assert "step 1234" in out and "tiny.safetensors" in out
    result = tmp_path / "out" / "parrot.png"
    assert f"{samples / 'parrot.jpg'} -> {result}" in out
    assert _open(result).format == "PNG" and _open(result).size == (512, 512)
    assert _keeps_luminance(result, samples / "parrot.jpg") and _is_colorful(result)
    assert _names(result.parent) == [RECORD_FILE, "parrot.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_the_result_is_upright_and_says_so(palgan, photo, tmp_path, orientation, ending):
    turn_back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.fromarray(photo)
    stored = upright.transpose(turn_back[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = orientation, "a camera"
    source = _png(tmp_path / f"turned.{ending}", stored, exif=exif, **({"quality": 95} if ending == "jpg" else {}))
    plain = _png(tmp_path / "plain.png", read_rgb(source))
    assert palgan(source, plain)[0] == 0
    result, expected = _open(tmp_path / "out" / "turned.png"), _open(tmp_path / "out" / "plain.png")
    assert result.size == expected.size == upright.size
    assert result.getexif()[ORIENTATION] == 1 and result.getexif()[MAKER] == "a camera"
    assert np.array_equal(result, expected)


def test_an_orientation_that_only_xmp_tells_is_applied_and_reset(palgan, photo, tmp_path):
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    source = _png(tmp_path / "x.jpg", photo, xmp=xmp)
    assert palgan(source)[0] == 0
    result = _open(tmp_path / "out" / "x.png")
    assert result.size == (96, 160) and result.getexif()[ORIENTATION] == 1
    assert b'tiff:Orientation="1"' in result.info["xmp"]
    assert _keeps_luminance(tmp_path / "out" / "x.png", source)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_stop_a_picture(palgan, photo, tmp_path):
    source = _png(tmp_path / "x.jpg", photo, exif=b"Exif\0\0II*\0\xff\xff\xff\xff\xff\xff garbage")
    code, _, err = palgan(source)
    assert (code, err) == (0, [])
    assert _keeps_luminance(tmp_path / "out" / "x.png", source)


def _variants(photo: np.ndarray) -> dict[str, tuple[Image.Image, dict]]:
    picture = Image.fromarray(photo)
    gray = picture.convert("L")
    wide = np.asarray(gray).astype(np.uint16) * 257
    return {
        "gray.png": (gray, {}),
        "gray.jpg": (gray, {}),
        "gray16.png": (Image.fromarray(wide), {}),
        "gray16.tif": (Image.fromarray(wide), {}),
        "bits.png": (picture.convert("1"), {}),
        "cmyk.jpg": (picture.convert("CMYK"), {}),
        "cmyk.tif": (picture.convert("CMYK"), {}),
        "few.png": (picture.quantize(32), {}),
        "x.webp": (picture, {"lossless": True}),
        "x.bmp": (picture, {}),
        "turned.tif": (picture, {"tiffinfo": {ORIENTATION: 6}}),
    }


@pytest.mark.parametrize("name", _variants(np.zeros((16, 16, 3), np.uint8)))
def test_every_kind_of_picture(palgan, photo, tmp_path, name):
    picture, options = _variants(photo)[name]
    source = _png(tmp_path / name, picture, **options)
    code, _, err = palgan(source)
    assert (code, err) == (0, [])
    result = tmp_path / "out" / f"{source.stem}.png"
    assert _open(result).mode == "RGB"
    assert read_rgb(result).shape == read_rgb(source).shape
    assert _keeps_luminance(result, source) and (_is_colorful(result) or name == "bits.png")


def test_a_profile_is_used_and_not_copied(palgan, photo, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    source = _png(tmp_path / "x.png", photo, icc_profile=profile)
    assert palgan(source)[0] == 0
    result = tmp_path / "out" / "x.png"
    assert "icc_profile" not in _open(result).info
    assert _keeps_luminance(result, source)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_kept(palgan, photo, tmp_path, mode):
    alpha = np.linspace(0, 255, 96 * 160).reshape(96, 160).astype(np.uint8)
    picture = Image.fromarray(np.dstack([photo, alpha]))
    if mode == "P":
        picture = picture.quantize(200)
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    elif mode == "LA":
        picture = picture.convert("LA")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    source = _png(tmp_path / "x.png", picture, exif=exif)
    assert palgan(source)[0] == 0
    result = _open(tmp_path / "out" / "x.png")
    assert result.mode == "RGBA" and result.size == (96, 160)
    pixels = np.asarray(result.transpose(Image.Transpose.ROTATE_90))
    assert np.array_equal(pixels[..., 3], alpha)
    # Where there is something to see, the colors under the transparency are as light as they were.
    is_opaque = alpha > 128
    before = luminance(np.asarray(picture.convert("RGBA"))[..., :3].copy())
    assert np.abs(luminance(pixels[..., :3].copy()) - before)[is_opaque].max() < 2
    assert np.ptp(pixels[..., :3].astype(int), axis=-1)[is_opaque].mean() > 20


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_faint_transparency_keeps_its_level_and_the_luminance_under_it(palgan, photo, tmp_path, kind):
    alpha = np.tile(np.arange(160).astype(np.uint8) % 8, (96, 1))  # 0 to 7 of 255
    source = _png(tmp_path / "x.png", Image.fromarray(np.dstack([photo, alpha])))
    options = [f"--format={kind}", *(["--quality=100"] if kind == "webp" else [])]
    assert palgan(source, options=options)[0] == 0
    result = np.asarray(_open(next((tmp_path / "out").glob("x.*"))))
    assert np.array_equal(result[..., 3], alpha)
    assert np.abs(luminance(result[..., :3]) - luminance(photo))[alpha > 0].max() < 0.5


def test_what_a_format_without_transparency_shows_is_said(palgan, photo, tmp_path):
    clear = np.dstack([photo, np.full(photo.shape[:2], 0, np.uint8)])
    sources = [_png(tmp_path / "clear.png", clear), _png(tmp_path / "opaque.png", photo)]
    code, _, err = palgan(*sources, options=["--format=jpeg"])
    assert code == 0 and (read_rgb(tmp_path / "out" / "clear.jpg") > 250).all()
    (note,) = err
    assert "clear.png is transparent in part: as JPEG, it lies on white" in note


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bits_are_kept(palgan, photo, tmp_path, kind, channels):
    rng = np.random.default_rng(0)
    deep = np.clip(photo.astype(int) * 257 + rng.integers(-128, 128, photo.shape), 0, 65535).astype(np.uint16)
    alpha = rng.integers(0, 65536, photo.shape[:2]).astype(np.uint16)
    if channels < 3:
        deep = np.repeat(deep[..., 1:2], 3, axis=2)
    pixels = deep if channels in (1, 3) else np.dstack([deep, alpha])
    source = tmp_path / f"x.{kind}"
    source.write_bytes(encode(pixels, Metadata(Image.Exif()), kind, None, "x"))
    assert palgan(source, options=[f"--format={kind}"])[0] == 0
    result = cv2.imread(str(next((tmp_path / "out").glob("x.*"))), cv2.IMREAD_UNCHANGED)
    assert result.dtype == np.uint16
    assert channels in (1, 3) or np.array_equal(result[..., 3], alpha)
    assert np.abs(luminance(result[..., 2::-1]) - luminance(deep)).max() < 0.02
    assert palgan(source, options=["--format=jpeg"])[0] == 0  # which has no 16 bits


def test_an_opaque_alpha_channel_is_left_out(palgan, photo, tmp_path):
    source = _png(tmp_path / "x.png", Image.fromarray(photo).convert("RGBA"))
    assert palgan(source)[0] == 0
    assert _open(tmp_path / "out" / "x.png").mode == "RGB"


def test_a_reference_changes_the_colors_and_not_the_luminance(palgan, samples, tmp_path):
    source = samples / "dog.jpg"
    palgan(source, output=tmp_path / "automatic")
    gray = _png(tmp_path / "gray.png", np.full((50, 40), 128, np.uint8))
    for reference, result in ((samples / "hay-field.jpg", "dog.png"), (gray, "dog-2.png")):
        assert palgan(source, options=["--reference", reference])[0] == 0
        painted_like, automatic = (
            read_rgb(path).astype(int) for path in (tmp_path / "out" / result, tmp_path / "automatic" / "dog.png")
        )
        assert np.abs(painted_like - automatic).mean() > 1
        assert _keeps_luminance(tmp_path / "out" / result, source)


# ------------------------------------------------------------------------------------------------ where the PNGs go


def test_two_pictures_of_one_name_do_not_meet(palgan, photo, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    first, second = _png(folders[0] / "x.jpg", photo), _png(folders[1] / "x.png", photo[:48])
    assert palgan(first, second, first)[0] == 0  # one named twice is done once
    assert _names(tmp_path / "out") == [RECORD_FILE, "x-2.png", "x.png"]
    assert _open(tmp_path / "out" / "x.png").height == 96 and _open(tmp_path / "out" / "x-2.png").height == 48


# ------------------------------------------------------------------------------------------------------- bad input


def _header_only(path: Path, width: int, height: int) -> Path:
    """A PNG that claims a size and has next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def _is_one_sentence(err: list[str], *parts: str) -> bool:
    return len(err) == 1 and err[0].startswith("palgan: error: ") and all(part in err[0] for part in parts)


def _bad_picture(kind: str, folder: Path, photo: np.ndarray) -> Path:
    path = folder / "bad.jpg"
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG")
    content = {"text": b"What a lovely view.\n", "empty": b"", "truncated": buffer.getvalue()[:1500]}
    if kind in content:
        path.write_bytes(content[kind])
    elif kind == "truncated png":
        Image.fromarray(photo).save(buffer := io.BytesIO(), "PNG")
        path.write_bytes(buffer.getvalue()[:5000])
    elif kind == "folder":
        path.mkdir()
    elif "x" in kind:
        _header_only(path, *map(int, kind.split("x")))
    return path


BAD = {
    "missing": "there is no file",
    "text": "is not a picture",
    "empty": "is empty",
    "truncated": "cut short",
    "truncated png": "cut short",
    "folder": "bad.jpg",
    "1x1": "1 x 1",
    "1x5000": "1 x 5000",
    "5000x1": "5000 x 1",
    "20000x20000": "megapixels",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_picture_is_one_sentence_and_the_others_are_done(palgan, photo, tmp_path, kind):
    bad = _bad_picture(kind, tmp_path, photo)
    code, _, err = palgan(bad)
    assert code == 2 and _is_one_sentence(err, str(bad), BAD[kind])
    assert not list(tmp_path.rglob("*.png"))
    (tmp_path / "good").mkdir()
    first, last = _png(tmp_path / "good" / "first.png", photo), _png(tmp_path / "good" / "last.png", photo)
    code, out, err = palgan(first, bad, last)
    assert code == 2 and _is_one_sentence(err, str(bad), BAD[kind])
    assert _names(tmp_path / "out") == [RECORD_FILE, "first.png", "last.png"]
    assert "2 of 3" in out


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_reference_is_one_sentence(palgan, photo, tmp_path, kind):
    good, bad = _png(tmp_path / "good.png", photo), _bad_picture(kind, tmp_path, photo)
    code, out, err = palgan(good, options=["--reference", bad])
    assert code == 2 and _is_one_sentence(err, str(bad), BAD[kind])
    assert not (tmp_path / "out").exists() and "Loaded" not in out


def test_an_absurd_size_takes_no_memory_and_the_process_exits_with_2(tmp_path):
    bad = _header_only(tmp_path / "bad.png", 20_000, 20_000)
    program = (
        "import re, sys; from pathlib import Path; from palgan_jax.cli import main; code = main(sys.argv[1:]); "
        # Not ru_maxrss, which a new process takes over from the one that started it.
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "colorize", str(bad), "--output", str(tmp_path / "out")]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert process.returncode == 2
    assert _is_one_sentence(process.stderr.splitlines(), str(bad), "megapixels")
    assert int(process.stdout) < 900  # MiB; its pixels alone would take 1144


@pytest.mark.parametrize("where", ["file", "file/below", "occupied"])
def test_an_output_that_cannot_be_written_is_one_sentence(palgan, photo, tmp_path, where):
    source = _png(tmp_path / "x.png", photo)
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "occupied" / "x.png").mkdir(parents=True)
    code, out, err = palgan(source, output=tmp_path / where, options=["--overwrite"])
    assert code == 2 and _is_one_sentence(err, str(tmp_path / where))
    assert ("Loaded" in out) == (where == "occupied")  # told before any long work
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_broken_or_foreign_checkpoint_is_one_sentence(palgan, photo, tmp_path):
    source = _png(tmp_path / "x.png", photo)
    text, foreign, folder = tmp_path / "text.safetensors", tmp_path / "foreign.safetensors", tmp_path / "empty"
    text.write_text("weights?")
    save_file({"conv1.weight": np.zeros((3, 3), np.float32)}, foreign)
    folder.mkdir()
    for path in (text, foreign, folder, tmp_path / "missing", tmp_path / "missing.safetensors", source):
        code, out, err = palgan(source, checkpoint=path)
        assert code == 2 and _is_one_sentence(err, path.name), err
        assert not out and not list((tmp_path / "out").iterdir())


def test_a_truncated_checkpoint_is_one_sentence(palgan, checkpoint, photo, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(checkpoint.read_bytes()[:-1000])
    code, _, err = palgan(_png(tmp_path / "x.png", photo), checkpoint=cut)
    assert code == 2 and _is_one_sentence(err, "cut.safetensors")


def test_without_any_checkpoint_it_fails_with_a_sentence(palgan, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(find, "BUNDLED", tmp_path / "nothing")
    code, _, err = palgan(_png(tmp_path / "x.png", photo), checkpoint=None)
    assert code == 2 and _is_one_sentence(err, "palgan train", "--checkpoint")


def test_an_unknown_option_is_one_sentence(palgan, photo, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        palgan(_png(tmp_path / "x.png", photo), options=["--sharpen"])
    assert stop.value.code == 2 and "--sharpen" in capsys.readouterr().err
