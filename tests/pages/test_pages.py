"""Contact sheets: what is drawn where, and a page that needs nothing but itself."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.errors import UserError
from palgan_jax.pages import Curve, Row, draw_sheet, page, read_credits, write_sheet
from palgan_jax.palette.palette import Palette


def _row(name: str = "a boat", size: tuple[int, int] = (48, 64), truth: bool = True, **more) -> Row:
    height, width = size
    flat = {
        color: np.full((height, width, 3), color, np.uint8) for color in ((99, 99, 99), (200, 30, 40), (20, 160, 60))
    }
    gray, colorized, true = flat.values()
    palette = np.zeros(256, np.float32)
    palette[16 * 12 + 11] = 1
    return Row(name, gray[..., 0], {"ours": colorized}, true if truth else None, Palette(palette), **more)


def _where(picture: np.ndarray, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what has exactly that color."""
    rows, columns = np.nonzero((picture == color).all(-1))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


class _Reader(HTMLParser):
    """Collects the images and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def test_the_pictures_stand_in_a_row_gray_ours_truth_palette():
    sheet = draw_sheet([_row(caption="PSNR 24.0 dB")], "Title", ["a note"], cell=96)
    gray, colorized, truth = (_where(sheet, c) for c in ((99, 99, 99), (200, 30, 40), (20, 160, 60)))
    assert gray[0] < gray[2] <= colorized[0] < colorized[2] <= truth[0] < truth[2] < sheet.shape[1]
    assert gray[1] == colorized[1] == truth[1]
    assert (colorized[2] - colorized[0], colorized[3] - colorized[1]) == (96, 72)  # 64 x 48 fitted into 96
    # The palette is to the right of the truth: its one bin is lit, and so is the bar of its swatches below.
    color = sheet[truth[1] + 4 * 4 + 1, truth[2] + 8 + 12 * 4 + 1]
    assert color[0] > color[2] + 50
    palette = sheet[truth[1] :, truth[2] + 8 :]
    bar = palette[72 + 2, 30]
    assert (palette[:64] == color).all(-1).sum() == 16 and (palette == bar).all(-1).sum() == 64 * 10
    assert bar[0] > bar[2] + 50


def test_a_sheet_without_truth_and_palette_is_narrower():
    row = _row(truth=False)
    row = Row(row.name, row.gray, row.painted)
    assert draw_sheet([row], cell=96).shape[1] < draw_sheet([_row()], cell=96).shape[1] - 96


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 13])
def test_every_row_is_drawn_whatever_their_number_and_shape(count):
    shapes = [(64, 64), (20, 300), (300, 20)]
    rows = []
    for i in range(count):
        row = _row(f"row {i}", shapes[i % 3])
        rows.append(replace(row, painted={"ours": np.full_like(row.painted["ours"], (200, 10 * i, 77))}))
    sheet = draw_sheet(rows, cell=64)
    for i in range(count):
        left, top, right, bottom = _where(sheet, (200, 10 * i, 77))
        assert max(right - left, bottom - top) == 64


def test_long_text_is_shortened_not_run_over_the_edge():
    sheet = draw_sheet([_row("n" * 500, caption="c" * 500)], "t" * 500, ["m" * 500], cell=64)
    assert (sheet[:, :20] == sheet[0, 0]).all()
    assert (sheet[:, -20:] == sheet[0, 0]).all()


def test_each_system_has_a_column_under_its_name(tmp_path):
    row = _row()
    paintings = {"one <b>": np.full_like(row.painted["ours"], 7), "another": np.full_like(row.painted["ours"], 9)}
    sheet = draw_sheet([replace(row, painted=paintings)], cell=96)
    assert sheet.shape[1] == draw_sheet([row], cell=96).shape[1] + 96 + 8
    assert _where(sheet, (7, 7, 7))[2] <= _where(sheet, (9, 9, 9))[0]
    text = page([replace(row, painted=paintings)], "t")
    _read(text)
    assert "<span>one &lt;b&gt;</span>" in text and "<span>another</span>" in text


def test_the_page_holds_every_picture_with_alt_text_and_fetches_nothing():
    text = page([_row('<b>boat</b> & "sea"', caption="1 < 2"), _row("two", truth=False)], "A & B", ["note <x>"])
    reader = _read(text)
    assert len(reader.images) == 4 + 3
    for image in reader.images:
        assert image["alt"]
        kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", str(image["src"])).groups()
        decoded = Image.open(io.BytesIO(base64.b64decode(data)))
        assert decoded.format.lower() == kind
        assert decoded.size == (int(image["width"]), int(image["height"]))
    assert "<b>boat" not in text and "note &lt;x&gt;" in text and "A &amp; B" in text
    assert not re.search(r"https?://|<script|<link|url\(", text)


def test_the_palette_is_described_in_words():
    text = page([_row()], "t")
    assert "leaning toward red, entropy 0.00 nats" in text


def test_curves_are_drawn_with_their_range_and_without_what_is_not_finite():
    curves = [
        Curve("loss", [0, 10, 20, 30], [4.0, float("nan"), 2.0, 1.0]),
        Curve("one point", [5], [1.0]),
        Curve("level", [0, 1], [3.0, 3.0]),
        Curve("nothing", [1, 2], [float("nan"), float("inf")]),
        Curve("judged", [0, 1], [19.8, 19.9], [("gray", 20.14)]),
    ]
    text = page([_row()], "t", curves=curves)
    _read(text)
    assert 'aria-label="loss: from 4 at step 0 to 1 at step 30"' in text
    assert ">gray</text>" in text and ">20.2</text>" in text, "the axis reaches over the level"
    assert text.count("<polyline") == 4 and "nan" not in text and "inf<" not in text


def test_write_sheet_leaves_two_readable_files_and_no_rubbish(tmp_path):
    png = write_sheet([_row()], tmp_path / "a" / "b", "Title", ["note"])
    assert sorted(p.name for p in png.parent.iterdir()) == ["index.html", "sheet.png"]
    with Image.open(png) as picture:
        picture.load()
        assert picture.mode == "RGB"
    write_sheet([_row()], png.parent, "Title", name="step-10.png", html=False)
    assert sorted(p.name for p in png.parent.iterdir()) == ["index.html", "sheet.png", "step-10.png"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="name another for the output"):
        write_sheet([_row()], tmp_path / "file" / "sheet", "t")
    (tmp_path / "sheet.png").mkdir()
    with pytest.raises(UserError, match="choose another place"):
        write_sheet([_row()], tmp_path, "t")
    assert not list(tmp_path.glob(".*"))


def test_credits_come_from_the_table_of_the_samples(samples: Path, tmp_path):
    credits = read_credits(samples / "ATTRIBUTION.md")
    assert set(credits) == {p.name for p in samples.glob("*.jpg")}
    assert credits["china.jpg"] == "danielbuechele, CC-BY-2.0"
    assert read_credits(tmp_path / "none.md") == {}
    (tmp_path / "other.md").write_text("# no table\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert read_credits(tmp_path / "other.md") == {}
