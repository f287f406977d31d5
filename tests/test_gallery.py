"""The gallery of docs/, and the parts of the script that draws it."""

import importlib.util
import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.support.places import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def gallery():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "examples" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gallery_shows_all_samples_and_is_small(gallery):
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    picture_names = re.findall(r"!\[.*?\]\(gallery/(.+?)\)", text)
    assert set(picture_names) == {path.name for path in (DOCS / "gallery").iterdir()}
    pictures = [path.name for name in ("samples", "old") for path in (ROOT / "examples" / name).glob("*.jpg")]
    assert sorted([*pictures, "references.jpg"]) == sorted(picture_names)
    assert sum(path.stat().st_size for path in (DOCS / "gallery").iterdir()) <= gallery.MOST_BYTES
    gains, failures = text.split("## Failures")
    assert all(float(gain) > 0 for gain in re.findall(r"gain ([+-][\d.]+)", gains))
    assert all(float(gain) <= 0 for gain in re.findall(r"gain ([+-][\d.]+)", failures))


def test_failures_are_called_so_the_worst_first(gallery):
    figures = {"good": (25.0, 20.0), "bad": (18.0, 20.0), "worst": (14.0, 20.0), "same": (20.0, 20.0)}
    entries = [gallery.Entry(name, "Nobody, CC0", b"", *psnr, row=None) for name, psnr in figures.items()]
    entries.sort(key=lambda entry: -entry.gain)
    text = gallery.page(entries, "leaves", "step 1")
    gains, failures = text.split("## Failures, no better than gray: 3")
    assert "## Better than gray: 1" in gains and "good.jpg" in gains and "bad.jpg" not in gains
    assert re.findall(r"gallery/(\w+)\.jpg", failures) == ["worst", "bad", "same"]
    assert "**worst** (Nobody, CC0): PSNR 14.00 dB, gain -6.00" in failures


def test_pictures_stand_in_a_row_at_one_size(gallery):
    pictures = [np.full((300, 600, 3), 40, np.uint8), np.full((600, 300, 3), 200, np.uint8)]
    row = np.asarray(Image.open(io.BytesIO(gallery.in_a_row(pictures))))
    assert row.shape == (gallery.TILE, 2 * gallery.TILE + gallery.GAP, 3)
    assert abs(int(row[10, 10].mean()) - 40) < 4 and abs(int(row[10, -gallery.TILE // 2].mean()) - 200) < 4
    assert gallery.decibels(pictures[0], pictures[0]) == pytest.approx(100, abs=0.01)
