"""TIFFs that are colorized in bands: the same results as at once, and bounded memory."""

import base64
import io
import re
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from palgan_jax.colorize import batch, deep_formats, large
from palgan_jax.colorize.join import luminance
from palgan_jax.colorize.large import Blocks
from palgan_jax.data import tiff_bands
from palgan_jax.data.decode import decode_picture
from palgan_jax.data.levels import to_bytes
from tests.support import picture_files as made
from tests.support.picture_files import tiff

RGB16 = made.scene(200, 150).astype(np.uint16) * 257 + 13
GRAY16 = RGB16[..., 1]
ALPHA16 = np.linspace(0, 65535, 150 * 200).reshape(150, 200).astype(np.uint16)
PROFILE = made.rgb_profile(made.ADOBE, made.formula_curve(3, *made.SRGB_PARAMETERS))
PRINT = np.full((400, 300), 62000, np.uint16)  # paper around a photograph
PRINT[40:-40, 30:-30] = np.tile(np.linspace(2000, 45000, 240).astype(np.uint16), (320, 1))

KINDS = {
    "gray-16": tiff(GRAY16),
    "gray-16-lzw": made.encoded(GRAY16, "TIFF", compression="tiff_lzw", strip_size=8000),
    "white-is-0": tiff(GRAY16, "miniswhite", rowsperstrip=7, compression="zlib"),
    "rgb-16": tiff(RGB16, "rgb", rowsperstrip=11, compression="zlib", predictor=True),
    "rgb-16-profile": tiff(RGB16, "rgb", iccprofile=PROFILE, byteorder=">"),
    "rgba-16": tiff(np.dstack([RGB16, ALPHA16]), "rgb", extrasamples=[2], rowsperstrip=40),
    "tiles": tiff(RGB16, "rgb", tile=(16, 32), compression="zlib", predictor=True),
    "tiles-of-gray": tiff(GRAY16, tile=(64, 256), byteorder=">"),
    "tiles-with-opacity": tiff(np.dstack([RGB16, ALPHA16]), "rgb", extrasamples=[2], tile=(32, 16)),
    "print": tiff(PRINT, rowsperstrip=9),
    "faded-print": tiff(20000 + PRINT // 2, rowsperstrip=9),
    "faded-with-opacity": tiff(np.dstack([20000 + RGB16 // 3, ALPHA16]), "rgb", extrasamples=[2], rowsperstrip=40),
    "rgb-8": tiff((RGB16 >> 8).astype(np.uint8), "rgb", iccprofile=PROFILE, bigtiff=True, rowsperstrip=1),
}


@pytest.fixture
def in_bands(monkeypatch):
    """Reads every picture in small bands; returns the sizes of the bands that were read."""
    sizes = []
    read = tiff_bands.TiffBands._samples

    def counted(self):
        for samples in read(self):
            sizes.append(len(samples))
            yield samples

    monkeypatch.setattr(large, "LARGE", 0)
    monkeypatch.setattr(tiff_bands, "_BAND", 4000)
    monkeypatch.setattr(tiff_bands.TiffBands, "_samples", counted)
    return sizes


@pytest.mark.parametrize("kind", KINDS)
def test_bands_give_what_the_whole_gives(palgan, tmp_path, in_bands, monkeypatch, kind):
    (tmp_path / "x.tif").write_bytes(KINDS[kind])
    options = ["--restore-contrast"] if "faded" in kind else []
    assert palgan(tmp_path / "x.tif", options=options)[0] == 0
    height = 400 if "print" in kind else 150
    assert len(in_bands) >= 4 and sum(in_bands) == 2 * height  # twice through the file
    monkeypatch.setattr(large, "LARGE", 10**9)
    assert palgan(tmp_path / "x.tif", options=options, output=tmp_path / "whole")[0] == 0
    by_bands, at_once = (
        decode_picture((tmp_path / folder / "x.png").read_bytes(), name="x") for folder in ("out", "whole")
    )
    assert by_bands.pixels.dtype == at_once.pixels.dtype and by_bands.pixels.shape == at_once.pixels.shape
    assert (by_bands.alpha is None) == (at_once.alpha is None) and np.array_equal(by_bands.alpha, at_once.alpha)
    # The network's picture is another reduction, so that colors may differ a little, and L by rounding.
    assert np.abs(luminance(by_bands.pixels) - luminance(at_once.pixels)).max() < 0.5
    difference = np.abs(
        by_bands.pixels / np.iinfo(by_bands.pixels.dtype).max - at_once.pixels / np.iinfo(at_once.pixels.dtype).max
    )
    assert difference.mean() < 0.01
    if "faded" in kind:
        assert np.ptp(luminance(by_bands.pixels)) > 1.5 * np.ptp(
            luminance(decode_picture(KINDS[kind], name="x").pixels)
        )
    if "print" in kind:
        paper, photograph = (
            np.ptp(part.astype(int), axis=-1) / 65535 for part in (by_bands.pixels[:20], by_bands.pixels[60:-60])
        )
        assert paper.max() < 0.002 and photograph[:, 60:-60].mean() > 0.02


@pytest.mark.parametrize("kind", ["rgb-16", "rgba-16", "rgb-8"])
@pytest.mark.parametrize("form", ["tiff", "jpeg", "webp", "avif"])
def test_each_format_takes_bands(palgan, tmp_path, in_bands, monkeypatch, form, kind):
    (tmp_path / "x.tif").write_bytes(KINDS[kind])
    monkeypatch.setattr(deep_formats, "_IN_MEMORY", 1000)
    monkeypatch.setattr(deep_formats, "_BAND", 3500)
    process = palgan(tmp_path / "x.tif", options=["--format", form])
    assert process[0] == 0 and sum(in_bands) == 2 * 150
    assert ("it lies on white" in "".join(process[2])) == (form == "jpeg" and kind == "rgba-16")
    monkeypatch.setattr(large, "LARGE", 10**9)
    assert palgan(tmp_path / "x.tif", options=["--format", form], output=tmp_path / "whole")[0] == 0
    paths = [next((tmp_path / folder).glob("x.*")) for folder in ("out", "whole")]
    by_bands, at_once = (decode_picture(path.read_bytes(), name="x") for path in paths)
    assert (
        by_bands.pixels.dtype == at_once.pixels.dtype == (np.uint16 if form == "tiff" and kind != "rgb-8" else np.uint8)
    )
    assert (by_bands.alpha is None) == (at_once.alpha is None)
    if by_bands.alpha is not None:
        assert np.abs(by_bands.alpha.astype(int) - at_once.alpha).max() <= (0 if form in ("tiff", "webp") else 2)
    on_paper = [to_bytes(picture.on_white()).astype(int) for picture in (by_bands, at_once)]
    assert np.abs(on_paper[0] - on_paper[1]).mean() < 3
    if form == "tiff":
        assert tifffile.imread(paths[0]).shape == (150, 200, 4 if kind == "rgba-16" else 3)


def test_a_second_run_finds_the_result_and_damage_is_told(palgan, tmp_path, in_bands):
    (tmp_path / "x.tif").write_bytes(KINDS["rgb-16"])
    palgan(tmp_path / "x.tif")
    assert "is done already" in palgan(tmp_path / "x.tif")[1]
    (tmp_path / "y.tif").write_bytes(KINDS["gray-16"][:-10_000])
    (tmp_path / "z.tif").write_bytes(KINDS["rgb-16"][:-1000] + bytes(1000))
    code, _, errors = palgan(tmp_path / "y.tif", tmp_path / "z.tif")
    assert code == 2 and len(errors) == 2 and all("cut short or damaged" in error for error in errors)
    assert [file.name for file in (tmp_path / "out").iterdir() if file.suffix == ".png"] == ["x.png"]


def test_other_layouts_are_read_at_once(palgan, tmp_path, in_bands):
    (tmp_path / "x.tif").write_bytes(tiff((RGB16 / 65535).astype(np.float32), "rgb"))
    assert palgan(tmp_path / "x.tif")[0] == 0 and not in_bands


@pytest.mark.parametrize("size", [(150, 200), (64, 64), (333, 97)])
def test_blocks_count_by_their_area(size):
    picture = np.random.default_rng(0).random(size).astype(np.float32)
    blocks = Blocks(*size, side=40)
    for top in range(0, size[0], 17):
        blocks.add(picture[top : top + 17])
    reduced = blocks.resized(16, 16)
    assert abs(reduced.mean() - picture.mean()) < 0.01
    exact = np.asarray(Image.fromarray(picture).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.abs(reduced - exact).max() < 0.15 and np.corrcoef(reduced.ravel(), exact.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("form", "more"), [("png", ["--lock"]), ("tiff", []), ("tiff", ["--lock", "--report", "{folder}/r.json"])]
)
def test_memory_does_not_grow_with_the_picture(palgan, tmp_path, in_bands, monkeypatch, form, more):
    monkeypatch.setattr(tiff_bands, "_BAND", 1 << 17)  # four of them hold a strip of a result
    monkeypatch.setattr(deep_formats, "_IN_MEMORY", 1)
    peaks = {}
    for height in (1100, 2200):
        rows = np.linspace(0, 65535, height).astype(np.uint16)[:, None, None]
        (tmp_path / f"{height}.tif").write_bytes(tiff(np.tile(rows, (1, 1100, 3)), "rgb", rowsperstrip=32))
        tracemalloc.start()
        options = ["--format", form, *(word.format(folder=tmp_path) for word in more)]
        assert palgan(tmp_path / f"{height}.tif", options=options)[0] == 0
        peaks[height] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[2200] < peaks[1100] + 2_000_000  # where the picture grew by 7.3 MB, and its L by 4.8 MB


@pytest.mark.parametrize("form", ["png", "tiff", "jpeg"])
def test_a_stop_is_answered_before_the_next_band(palgan, tmp_path, in_bands, monkeypatch, form):
    (tmp_path / "x.tif").write_bytes(KINDS["rgb-16"])
    calls = []

    def go_on(self):
        calls.append(len(in_bands))
        if len(calls) == 6:
            raise batch.Stopped

    monkeypatch.setattr(batch.Worker, "_go_on", go_on)
    palgan(tmp_path / "x.tif", options=["--format", form])
    assert len(calls) == 6 and calls[-1] == len(in_bands) < 2 * 150 / 11
    assert not [path for path in (tmp_path / "out").glob("*") if path.name.startswith("x")]


def test_a_temporary_folder_that_cannot_be_used_is_one_sentence(palgan, tmp_path, in_bands, monkeypatch):
    (tmp_path / "x.tif").write_bytes(KINDS["rgb-16"])
    monkeypatch.setattr(deep_formats, "_IN_MEMORY", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    code, _, errors = palgan(tmp_path / "x.tif", options=["--format=tiff"])
    assert code == 2 and len(errors) == 1
    assert re.search(
        r"large TIFF needs room for temporary files \(No such file.*\): make some, or name another", errors[0]
    )


@pytest.mark.parametrize("from_pixels", [0, 10**9])
def test_a_result_that_the_format_does_not_take_is_one_sentence_soon(
    palgan, tmp_path, in_bands, monkeypatch, from_pixels
):
    (tmp_path / "x.tif").write_bytes(KINDS["rgb-16"])
    monkeypatch.setattr(large, "LARGE", from_pixels)
    monkeypatch.setattr(deep_formats, "_LARGEST_TIFF", 1000)
    compress, strips = deep_formats._strip, []
    monkeypatch.setattr(deep_formats, "_strip", lambda rows: strips.append(len(rows)) or compress(rows))
    code, _, errors = palgan(tmp_path / "x.tif", options=["--format=tiff"])
    assert code == 2 and len(errors) == 1
    assert "cannot be written as TIFF (more than 4 GB): choose another --format." in errors[0]
    assert not list((tmp_path / "out").glob("x*"))
    assert strips.count(150) == 1  # all of it, once


def test_tones_and_borders_are_looked_for_where_they_count(palgan, tmp_path, in_bands, monkeypatch):
    (tmp_path / "x.tif").write_bytes(KINDS["faded-print"])
    options = ["--paint-border", "--restore-contrast"]
    assert palgan(tmp_path / "x.tif", options=options)[0] == 0
    monkeypatch.setattr(large, "LARGE", 10**9)
    assert palgan(tmp_path / "x.tif", options=options, output=tmp_path / "whole")[0] == 0
    by_bands, at_once = (
        decode_picture((tmp_path / folder / "x.png").read_bytes(), name="x") for folder in ("out", "whole")
    )
    assert np.abs(luminance(by_bands.pixels) - luminance(at_once.pixels)).max() < 0.5
    monkeypatch.setattr(large, "LARGE", 0)
    monkeypatch.setattr(large, "Tones", None)
    assert palgan(tmp_path / "x.tif")[0] == 0
    monkeypatch.setattr(large, "find_border", None)
    assert palgan(tmp_path / "x.tif", options=["--paint-border"])[0] == 0


def test_a_series_has_one_palette_in_bands_or_not_and_the_report_shows_it(palgan, tmp_path, in_bands, monkeypatch):
    names = [tmp_path / "print.tif", tmp_path / "faded-print.tif"]
    for path in names:
        path.write_bytes(KINDS[path.stem])
    shown = []
    for folder, from_pixels in ((tmp_path / "bands", 0), (tmp_path / "whole", 10**9)):
        monkeypatch.setattr(large, "LARGE", from_pixels)
        options = ["--lock", "--restore-contrast", "--report", folder / "r.json"]
        assert palgan(*names, options=options, output=folder)[0] == 0
        pictures = re.findall(r'base64,([^"]+)"[^>]* alt="([^"]+)"', (folder / "r.html").read_text())
        opened = {name: Image.open(io.BytesIO(base64.b64decode(data))) for data, name in pictures}
        shown.append({name: np.array(one.convert("RGB").resize((60, 80)), float) for name, one in opened.items()})
    assert shown[0].keys() == shown[1].keys() == {f"{path}, {label}" for path in names for label in ("before", "after")}
    assert max(np.abs(picture - shown[1][name]).mean() for name, picture in shown[0].items()) < 3


def test_a_large_picture_that_has_gone_meanwhile_costs_itself_alone(palgan, tmp_path, in_bands, monkeypatch):
    gone, other = tmp_path / "a.tif", tmp_path / "b.tif"
    for path in (gone, other):
        path.write_bytes(KINDS["rgb-8"])
    check = batch.Worker.__init__

    def remove_one(*args):
        gone.unlink()
        check(*args)

    monkeypatch.setattr(batch.Worker, "__init__", remove_one)
    code, out, errors = palgan(gone, other, options=["--report", tmp_path / "r.json"])
    assert code == 2 and len(errors) == 1 and f"there is no file {gone}" in errors[0]
    assert f"{other} -> " in out
