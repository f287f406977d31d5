"""The page of runs, read as a browser would, and the runs that it cannot show."""

import html.parser
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.cli import main
from palgan_jax.config import default_config
from palgan_jax.pages.chart import chart, thinned, ticks
from palgan_jax.pages.rows import Curve


def make_run(folder: Path, level: float, **fields) -> Path:
    (folder / "sheets").mkdir(parents=True)
    config = default_config()
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    rows = [{"step": step, "loss/g": level + 1 / step, "images_per_second": 10.0 + step} for step in range(1, 9)]
    rows += [
        {"step": step, "val/psnr": level + step % 7, "val/psnr_gray": 20.14, "val/ab_error": 30.0 - level}
        for step in (4, 6, 8)
    ]
    text = "".join(json.dumps(row) + "\n" for row in sorted(rows, key=lambda row: row["step"]))
    (folder / "metrics.jsonl").write_text(text + '{"step": 9, "loss')  # a line that is being written
    for step in (4, 8):
        Image.fromarray(np.full((40, 60, 3), 10 * step, np.uint8)).save(folder / "sheets" / f"step_{step:08d}.png")
    return folder


class Page(html.parser.HTMLParser):
    """Charts by title with the names of their curves, cells of tables, addresses, and open tags that nobody closed."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses, self.cells, self.charts, self._open = [], [], {}, []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "svg":
            self._title = attributes["aria-label"].partition(". ")[0]
            self.charts[self._title] = 0
        if tag == "polyline":
            self.charts[self._title] += 1
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] in ("td", "th"):
            self.cells.append(data)


def test_runs_are_shown_side_by_side_on_a_page_that_fetches_nothing(tmp_path, capsys):
    first, second = (
        make_run(tmp_path / "first", 16.0),
        make_run(tmp_path / "a&b", 18.0, loss__l1=5.0, best="val/ab_error"),
    )
    output = tmp_path / "pages" / "runs.html"
    assert main(["runs", "show", str(first), str(second), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output} shows 2 runs.\n"
    text = output.read_text()
    page = Page(text)
    assert all(address.startswith("data:image/") for address in page.addresses) and len(page.addresses) == 4
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", text)
    assert page.charts == {
        "PSNR, higher is better": 2, "ab error, lower is better": 2, "images_per_second": 2, "loss/g": 2
    }  # fmt: skip
    assert page.cells[6:11] == ["first", "8", "6", "PSNR 22", "new weights"]
    assert page.cells[12:17] == ["a&b", "8", "8", "ab error 12", "new weights"]
    differ = page.cells[page.cells.index("field") :]
    assert differ == ["field", "first", "a&b", "best", "val/psnr", "val/ab_error", "loss.l1", "10.0", "5.0"]
    assert ">gray</text>" in text and "step 4" in text and "step 8" in text


def test_one_run_has_its_page_in_its_folder(tmp_path):
    folder = make_run(tmp_path / "run", 16.0)
    assert main(["runs", "show", str(folder)]) == 0
    assert "Where their configs differ" not in (folder / "runs.html").read_text()


@pytest.mark.parametrize("missing", ["config.json", "metrics.jsonl"])
def test_what_is_no_run_is_named(tmp_path, capsys, missing):
    folder = make_run(tmp_path / "run", 16.0)
    (folder / missing).unlink()
    assert main(["runs", "show", str(folder)]) == 2
    assert f"palgan: error: {folder} cannot be shown (No such file or directory): name the" in capsys.readouterr().err


@given(st.floats(-1e6, 1e6), st.floats(1e-2, 1e9) | st.just(0.0))
@example(5e-324, 0.0)
def test_the_numbers_of_an_axis_are_round_and_reach_over_the_values(low, span):
    marks = ticks(low, low + span)
    steps = np.diff(marks)
    slack = 1e-6 * steps[0]
    assert marks[0] <= low + slack and marks[-1] >= low + span - slack
    assert 2 <= len(marks) <= 8 and np.allclose(steps, steps[0], rtol=1e-3)
    assert f"{steps[0]:.0e}"[0] in "125"


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=1000))
def test_a_long_curve_is_thinned_to_means_within_its_values(values):
    points = thinned(Curve("x", range(len(values)), values), 50)
    finite = [value for value in values if np.isfinite(value)]
    assert len(points) <= 50 and bool(points) == bool(finite)
    if finite:
        assert points[-1][1] == finite[-1]
        assert min(finite) - 1e-3 <= min(y for _, y in points) and max(y for _, y in points) <= max(finite) + 1e-3
        assert all(a[0] < b[0] for a, b in itertools.pairwise(points))


def test_a_curve_without_values_has_no_chart():
    assert chart("empty", [Curve("x", [1], [float("nan")])]) == ""
