"""`palgan data inspect`: its numbers against those of Pillow and NumPy, and its sheet."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.cli import main
from palgan_jax.color import colorfulness
from palgan_jax.data.inspect import draw_sheet, inspect
from palgan_jax.data.source import open_source
from palgan_jax.errors import UserError
from palgan_jax.pages.grid import Section, draw_grid
from tests.support.places import GOLDEN

GOLDEN_TFDS = GOLDEN / "tfds"


@pytest.fixture
def folder(samples, tmp_path, monkeypatch) -> Path:
    """12 of the bundled photographs, a gray one and 22 files that cannot be read."""
    monkeypatch.setenv("PALGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "pictures"
    root.mkdir()
    for path in sorted(samples.glob("*.jpg"))[:12]:
        shutil.copyfile(path, root / path.name)
    Image.new("L", (60, 50), 90).save(root / "gray.png")
    for number in range(22):
        (root / f"broken{number:02}.jpg").touch()
    return root


def test_numbers_of_a_folder(folder, capsys):
    assert main(["data", "inspect", f"folder:{folder}", "--output", "out"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    paths = sorted(path for path in folder.glob("*.jpg") if path.stat().st_size)
    sizes = []
    for path in paths:
        with Image.open(path) as picture:
            sizes.append(picture.size)
    sizes.sort(key=lambda size: size[0] * size[1])
    total = sum(path.stat().st_size for path in paths)
    small = sum(min(size) < 256 for size in sizes)
    assert lines[0] == f"folder:{folder}: 12 pictures (35 found, 1 next to gray, 22 unreadable)"
    assert lines[1] == "35 found, 12 used, 1 next to gray, 22 unreadable"
    names = [f"{width} x {height}" for width, height in sizes]
    assert f"smallest {names[0]}, median {names[6]}, largest {names[-1]}" in lines[2]
    assert f"{small} ({small / 12:.1%}) with a side under 256" in lines[2]
    assert lines[3] == f"files: {total / 1e3:.1f} kB, {total / 12e3:.1f} kB a picture"
    assert lines[5] == f"identity: {open_source(str(folder), near_gray=5).identity()}"
    assert lines[6] == f"index: {folder / '.palgan-index.npz'}"
    assert lines[7] == "sheet: out/pictures-sheet.jpg"
    assert lines[9] == "  broken00.jpg: is empty (0 bytes): get the file again"
    assert lines[29] == "  and 2 more"
    (report,) = (folder.parent / "cache" / "data").glob("pictures-*.unreadable.txt")
    assert lines[30] == f"  all of them: {report}" and len(report.read_text().splitlines()) == 23


def test_colorfulness_of_thumbnails_is_near_that_of_the_pictures(folder):
    line = next(line for line in inspect(str(folder)).lines if line.startswith("colorfulness"))
    quantiles = [float(number) for number in re.findall(r"\d+\.\d", line)]
    source = open_source(str(folder), near_gray=5)
    expected = [colorfulness(source.read(i)[None].astype(np.float32))[0] for i in range(12)]
    np.testing.assert_allclose(quantiles, np.quantile(expected, (0, 1, 0.25, 0.5, 0.75)), rtol=0.15)


def test_the_sheet_takes_the_place_of_an_older_one_but_of_no_other_picture(folder):
    sheet = inspect(str(folder)).sheet
    assert sheet == Path("pictures-sheet.jpg")
    with Image.open(sheet) as picture:
        assert picture.format == "JPEG" and picture.width > 1000
    assert inspect(str(folder)).sheet == sheet
    for other in (lambda: Image.new("RGB", (20, 20)).save(sheet), lambda: sheet.write_text("mine")):
        other()
        before = sheet.read_bytes()
        with pytest.raises(UserError, match=r"is there already and is no sheet of a set: name another folder"):
            inspect(str(folder))
        assert sheet.read_bytes() == before


def test_the_sheet_shows_the_least_and_the_most_colorful_pictures(tmp_path):
    for number in range(30):
        color = (128 + 4 * number, 128, 128 - 4 * number)
        picture = np.full((40, 40, 3), color, np.uint8)
        picture[:20] = 128
        Image.fromarray(picture).save(tmp_path / f"{number:02}.png")
    source = open_source(str(tmp_path), near_gray=0)
    sheet = draw_sheet(source, []).astype(int)

    def at(row: int, column: int) -> tuple[int, ...]:
        """The color in the lower half of a picture: three rows evenly, then headings and one row each."""
        top = 74 + 30 * (1 + (row >= 3) + (row >= 4)) + row * 156
        return tuple(sheet[top + 100, 24 + column * 136 + 64])

    def color_of(number: int) -> tuple[int, ...]:
        return (128 + 4 * number, 128, 128 - 4 * number)

    assert [at(0, 0), at(1, 0), at(2, 5)] == [color_of(0), color_of(12), color_of(29)]
    assert [at(3, 0), at(3, 11)] == [color_of(0), color_of(11)]
    assert [at(4, 0), at(4, 11)] == [color_of(29), color_of(18)]


def test_a_grid_holds_every_picture_and_cuts_long_names():
    red, blue = (np.full((10, 20, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255)))
    sections = [Section("red", [("a" * 60, red)] * 5), Section("none", []), Section("blue", [("b", blue)])]
    sheet = draw_grid(sections, "title", ["a note", "another"], cell=40, columns=3)
    for color, count in (((255, 0, 0), 5), ((0, 0, 255), 1)):
        assert (sheet == color).all(axis=2).sum() == count * 40 * 20
    assert sheet.shape[1] == 2 * 24 + 3 * 40 + 2 * 8


def test_mixtures_prepared_sets_and_synthetic_pictures(folder, capsys):
    sets = shutil.copytree(GOLDEN_TFDS, folder.parent / "sets")
    spec = f"1 tfds:mini_coco/2017 + 3 folder:{folder}"
    assert main(["data", "inspect", spec, "--data-dir", str(sets)]) == 0
    out = capsys.readouterr().out
    assert "15 pictures: 25.0% tfds:mini_coco/2017@train: 3 pictures + 75.0% folder:" in out
    assert "38 found, 15 used, 1 next to gray, 22 unreadable" in out
    assert f"index: {sets}/mini_coco/2017/1.1.0/palgan-index-train.npz\nindex: {folder}/.palgan-index.npz" in out
    assert "sheet: mini_coco-2017-1.1.0-train-pictures-sheet.jpg" in out
    lines = inspect("synthetic:5").lines
    assert lines[0] == "synthetic:5: 5 pictures made from their numbers" and lines[-1] == "sheet: synthetic-sheet.jpg"
    assert not [line for line in lines if line.startswith(("colorfulness", "index"))]


def test_a_bad_source_is_one_sentence(tmp_path, capsys):
    assert main(["data", "inspect", f"folder:{tmp_path / 'missing'}"]) == 2
    assert capsys.readouterr().err == f"palgan: error: there is no folder {tmp_path / 'missing'}: check the path.\n"
    assert main(["data", "inspect", "web:photos"]) == 2
    assert "is not a known source" in capsys.readouterr().err
