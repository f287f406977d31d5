"""The page of an evaluation: whole, safe, readable without eyes, and showing the pictures that it says it shows."""

import base64
import io
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from palgan_jax.evaluation.record import summarize
from palgan_jax.evaluation.report import report, select_examples
from tests.support.small_evaluation import NASTY, evaluation, example

VOID = {"meta", "img", "line", "rect"}


class Reader(HTMLParser):
    """Elements with their attributes and text; `stack` is empty at the end of a page whose elements are closed."""

    def __init__(self):
        super().__init__()
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append((self.stack[-1] if self.stack else "", data))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def texts(self, tag):
        return [text for name, text in self.text if name == tag]


def read(results):
    page = report(results, summarize(results), example)
    page.encode()  # no lone surrogates
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.stack == []
    return page, reader


@pytest.fixture(scope="module")
def nasty():
    names = [NASTY, *(f"{i}.jpg" for i in range(14))]
    values = {"psnr": np.linspace(30, 20, 15), "ciede2000": np.linspace(1, 9, 15)}
    return read(evaluation(15, system=NASTY, protocol="coco-val2017", names=names, values=values))


def test_the_page_fetches_and_runs_nothing(nasty):
    page, reader = nasty
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in reader.elements}
    for tag, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "xlink:href"):
            assert (attributes.get(name) or "data:image/").startswith("data:image/")
    styles = "".join(reader.texts("style"))
    assert "url(" not in styles
    assert "@import" not in styles
    assert "prefers-color-scheme: dark" in styles
    assert "\u202e" not in page


def test_names_are_shown_as_they_are(nasty):
    _, reader = nasty
    as_seen = NASTY.replace("\u202e", "\ufffd").replace("\udcff", "\ufffd")
    assert as_seen in reader.texts("h3")
    assert reader.texts("title") == reader.texts("h1") == [f"{as_seen} on coco-val2017"]
    assert any(attributes["alt"] == f"{as_seen}, as colorized" for attributes in reader.all("img"))


def test_all_that_is_seen_is_also_said(nasty):
    _, reader = nasty
    assert all(attributes["alt"] for attributes in reader.all("img"))
    charts = [attributes for attributes in reader.all("svg") if attributes["role"] == "img"]
    assert [attributes["aria-label"].partition(":")[0] for attributes in charts] == [
        "histogram of PSNR",
        "histogram of CIEDE2000",
    ]
    assert "mean 25, median 25, from 20 to 30" in charts[0]["aria-label"]
    assert all(attributes.get("scope") in ("row", "col") for attributes in reader.all("th"))
    assert len(reader.all("caption")) == len(reader.all("table")) == 4
    assert reader.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_best_the_middle_and_the_worst_are_shown_with_palettes(nasty):
    _, reader = nasty
    headings = [text for text in reader.texts("h3") if text.endswith(".jpg")]
    assert [name[:-4] for name in headings[1:]] == ["0", "1", "2", "4", "5", "6", "7", "13", "12", "11", "10"]
    pictures = [attributes["src"] for attributes in reader.all("img")]
    assert len(pictures) == 12 * 5
    decoded = Image.open(io.BytesIO(base64.b64decode(pictures[2].partition(",")[2])))
    error = np.abs(np.asarray(decoded.convert("RGB"), float) - example(0).truth).mean()
    assert decoded.format == "JPEG"
    assert error < 4
    labels = reader.texts("span")
    assert labels.count("true colors") == 12
    assert {"palette", "its colors"} <= set(labels)  # of systems with a palette, and without


def test_the_tables_hold_the_numbers(nasty):
    _, reader = nasty
    cells = reader.texts("td")
    for number in ("25.00", "5.00", "12.25", "24.56", "its weights are not there."):
        assert number in cells
    assert "Left out" in reader.texts("h2")


def test_other_pictures_do_not_carry_the_protocols_name():
    facts = {"difference from the list": "1 missing (x.jpg)", "unreadable": ["y.jpg", "z.jpg"]}
    page, reader = read(evaluation(protocol="coco-val2017", protocol_exact=False, facts=facts))
    assert reader.texts("h1") == ["ours on no protocol (the 12 pictures measured are not those of coco-val2017)"]
    (warning,) = (text for text in reader.texts("p") if "coco-val2017" in text)
    assert warning == "The pictures measured are not those of coco-val2017: 1 missing (x.jpg). The name is refused."
    assert {"1 missing (x.jpg)", "y.jpg, z.jpg"} <= set(reader.texts("td"))
    assert "ECCV" not in page


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_pictures_are_shown_once_each(count):
    _, reader = read(evaluation(count, values={"lpips_vgg16": np.full(count, 0.25)}, whole={}, absent={}, facts={}))
    headings = [text for text in reader.texts("h3") if text.endswith(".jpg")]
    assert sorted(headings) == [f"{i:03d}.jpg" for i in range(count)]


def test_an_evaluation_of_whole_sets_alone_has_a_page():
    _, reader = read(evaluation(values={}))
    assert "12.25" in reader.texts("td")
    assert not reader.all("img")


def test_bars_count_all_pictures():
    """Heights are proportional to counts, and all pictures are in one of the bars, those far out too."""
    values = np.concatenate([np.linspace(20, 30, 2000), [-500.0, 500.0]])
    _, reader = read(evaluation(2002, values={"psnr": values}))
    heights = [float(bar["height"] or 0) for bar in reader.all("rect")]
    assert len(heights) == 40
    assert max(heights) < 1.5 * np.median(heights)  # the two far ones do not squeeze the others into one bar
    assert {"≤ 20", "≥ 30"} <= {text.strip() for text in reader.texts("text")}


@pytest.mark.parametrize("higher", [True, False])
def test_the_extremes_come_first_and_nothing_comes_twice(higher):
    values = np.random.default_rng(0).permutation(100).astype(float)
    numbers = select_examples(values, higher_is_better=higher)
    ranked = sorted(range(100), key=lambda i: values[i], reverse=higher)
    assert numbers == {"best": ranked[:4], "median": ranked[48:52], "worst": ranked[::-1][:4]}
