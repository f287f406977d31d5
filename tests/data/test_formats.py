"""Which files are opened: by their first bytes, never by their names, and none that would be run."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

import palgan_jax
from palgan_jax.cli import main
from palgan_jax.data import formats
from palgan_jax.data.decode import decode_rgb, picture_size, picture_size_of, read_rgb
from palgan_jax.data.source import open_source
from palgan_jax.errors import UserError
from tests.support import picture_files as made


def encoded(kind: str, mode: str = "RGB", **options) -> bytes:
    ramp = np.arange(32 * 24 * 3, dtype=np.uint32).reshape(24, 32, 3) // 10
    content = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).convert(mode).save(content, kind, **options)
    return content.getvalue()


READ = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "GIF": {},
    "JPEG2000": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "PPM": {},
}


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("ending", ["jpg", "ps", "pdf", "raw"])
def test_a_picture_is_read_whatever_its_name(tmp_path, kind, ending):
    data = encoded(kind, "L", **READ[kind])
    path = tmp_path / f"a.{ending}"
    path.write_bytes(data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(read_rgb(path).astype(int) - expected).max() <= 2
    assert picture_size(path) == (32, 24)


@pytest.mark.parametrize(("kind", "module"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl")])
def test_formats_of_plugins(kind, module, monkeypatch):
    pytest.importorskip(module)
    formats._register(kind, "x")
    data = encoded(kind, **({"lossless": True} if kind == "JXL" else {"quality": -1}))
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(decode_rgb(data, name="x").astype(int) - expected).max() <= 2

    monkeypatch.setitem(sys.modules, module, None)
    formats._import_plugin.cache_clear()
    with pytest.raises(UserError, match=rf"x is a .* picture: this needs {module}.*formats"):
        decode_rgb(data, name="x")
    monkeypatch.undo()
    formats._import_plugin.cache_clear()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (POSTSCRIPT + b"0 setgray showpage\n", "a PostScript program"),
        (POSTSCRIPT + b"{ } loop\n", "a PostScript program"),
        (b"\n\n" + POSTSCRIPT, "a PostScript program"),
        (b"\xc5\xd0\xd3\xc6" + bytes(28) + POSTSCRIPT, "a PostScript program"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"8BPS\0\1" + bytes(80), "a Photoshop document"),
        (bytes(3) + b"\x18ftypisom\0\0\0\1isommp41", "a film"),
        (b"\xef\xbb\xbf<!DOCTYPE HTML><title>404", "a web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"PK\3\4" + bytes(40), "a ZIP archive"),
        (b"\0\0\1\0" + bytes(40), "an icon"),
    ],
)
def test_everything_else_is_refused_by_name_and_nothing_is_run(tmp_path, monkeypatch, data, what):
    for name in ("system", "popen", "posix_spawn", "fork"):
        monkeypatch.setattr(os, name, lambda *_, **__: pytest.fail("a program was run"))
    monkeypatch.setattr("subprocess.Popen.__init__", lambda *_, **__: pytest.fail("a program was run"))
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for read in (read_rgb, picture_size):
        with pytest.raises(UserError, match=f"^{path} is {what}.*, which is not read: give a JPEG"):
            read(path)


@pytest.mark.parametrize("kind", ["TGA", "PCX", "SGI", "ICNS", "DDS", "XBM", "MSP", "SPIDER"])
def test_what_only_pillow_reads_is_no_picture_here(kind):
    data = encoded(kind, {"XBM": "1", "MSP": "1", "SPIDER": "F"}.get(kind, "RGB"))
    with pytest.raises(UserError, match="is not"):
        decode_rgb(data, name="x")


class Panic(BaseException):
    pass


@pytest.mark.parametrize("error", [Panic("rust"), RuntimeError(), AssertionError("x"), RecursionError(), NameError()])
def test_whatever_a_decoder_raises_is_one_sentence(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    for read in (decode_rgb, picture_size_of):
        with pytest.raises(UserError, match="x is cut short or damaged"):
            read(encoded("PNG"), name="x")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_end_the_program_is_no_damage(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(error):
        decode_rgb(encoded("PNG"), name="x")


def test_open_picture_of_the_package_reads_as_the_command_does(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = (np.arange(24 * 32, dtype=np.uint16) * 80).reshape(24, 32)
    Image.fromarray(ramp).save(tmp_path / "a.png", exif=exif)
    upright = np.rint(np.rot90(ramp, -1) / 257).astype(np.uint8)
    assert np.array_equal(palgan_jax.open_picture(tmp_path / "a.png"), np.dstack([upright] * 3))
    with pytest.raises(UserError, match="make it smaller or raise the limit"):
        palgan_jax.open_picture(tmp_path / "a.png", max_pixels=700)
    with pytest.raises(UserError, match="there is no file"):
        palgan_jax.open_picture(str(tmp_path / "b.png"))


def test_a_program_in_a_folder_is_one_unreadable_picture(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(encoded("JPEG"))
    (tmp_path / "a\n\x1b[31m.jpg").write_bytes(POSTSCRIPT + b"{ } loop\n")
    source = open_source(f"folder:{tmp_path}", near_gray=0)
    assert len(source) == 3
    ((name, reason),) = source.unreadable
    assert name == "a\n\x1b[31m.jpg" and reason.startswith("is a PostScript program, which is not read")


def test_names_are_printed_without_what_a_terminal_obeys(tmp_path, capsys):
    (tmp_path / "0.jpg").write_bytes(made.encoded(made.RGB, "JPEG"))
    (tmp_path / "a\n\x1b[31m.jpg").write_bytes(b"no picture")
    assert main(["data", "inspect", f"folder:{tmp_path}", "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and r"a\n\x1b[31m.jpg" in out
