import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palgan_jax.data.spec import (
    MOST_SYNTHETIC,
    FolderSpec,
    ListSpec,
    MixtureSpec,
    SyntheticSpec,
    TfdsFolderSpec,
    TfdsSpec,
    parse,
)
from palgan_jax.errors import UserError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("folder:photos", FolderSpec("photos")),
        ("folder:C:/my photos", FolderSpec("C:/my photos")),
        ("folder:salt + pepper", FolderSpec("salt + pepper")),
        ("folder:1 + 2 folders", FolderSpec("1 + 2 folders")),
        ("photos", FolderSpec("photos")),
        ("salt + pepper", FolderSpec("salt + pepper")),
        ("list:train.txt", ListSpec("train.txt")),
        ("tfds:imagenet2012", TfdsSpec("imagenet2012")),
        ("tfds:imagenet2012@validation", TfdsSpec("imagenet2012", split="validation")),
        ("tfds:coco/2017@test", TfdsSpec("coco", "2017", split="test")),
        ("tfds:coco/2017:1.1.0", TfdsSpec("coco", "2017", "1.1.0")),
        ("tfds:coco:1.1.0@train", TfdsSpec("coco", version="1.1.0")),
        ("tfds:/data/coco/2017/1.1.0", TfdsFolderSpec("/data/coco/2017/1.1.0")),
        ("tfds:~/a@b/1.0.0@train", TfdsFolderSpec("~/a@b/1.0.0")),
        ("tfds:/data/a@b/1.0.0", TfdsFolderSpec("/data/a@b/1.0.0")),
        ("tfds:gs://bucket/coco/2017/1.1.0@validation", TfdsFolderSpec("gs://bucket/coco/2017/1.1.0", "validation")),
        ("synthetic", SyntheticSpec(10_000)),
        ("synthetic:7", SyntheticSpec(7)),
        ("synthetic:10000000", SyntheticSpec(10_000_000)),
        (
            "0.7 folder:photos + .3 tfds:coco/2017",
            MixtureSpec(((0.7, FolderSpec("photos")), (0.3, TfdsSpec("coco", "2017")))),
        ),
        (
            "2 folder:salt + pepper + 1e-3 synthetic + 1 list:x",
            MixtureSpec(((2.0, FolderSpec("salt + pepper")), (1e-3, SyntheticSpec()), (1.0, ListSpec("x")))),
        ),
    ],
)
def test_what_a_string_means(text, spec):
    assert parse(text) == spec
    assert parse(str(spec)) == spec


def test_an_existing_folder_may_have_a_name_with_a_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").mkdir()
    assert parse("a:b") == FolderSpec("a:b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a known source of pictures: write folder:PATH, list:FILE, tfds:NAME or synthetic."),
        ("web:photos", "is not a known source"),
        ("folder:", "needs the path of a folder behind the colon"),
        ("list:", "needs the path of a text file behind the colon"),
        ("tfds:", "does not name a prepared set"),
        ("tfds:coco/2017/1.1.0", "does not name a prepared set"),
        ("tfds:coco:latest", "does not name a prepared set"),
        ("tfds:coco@", "names no split behind the @"),
        ("tfds:coco@train[:10%]", "names no split"),
        ("tfds:/data/coco@a b", "names no split"),
        ("synthetic:", "needs a number of pictures"),
        ("synthetic:0", "needs a number of pictures"),
        ("synthetic:many", "needs a number of pictures"),
        ("synthetic:10000001", "needs a number of pictures behind the colon, from 1 to 10000000"),
        pytest.param(f"synthetic:{'9' * 5000}", "needs a number of pictures", id="more digits than int() takes"),
        ("0.5 folder:a", "gives a weight to a single source"),
        ("0 folder:a + 1 folder:b", "has a weight that is not a number above 0"),
        ("1e999 folder:a + 1 folder:b", "has a weight that is not a number above 0"),
        ("folder:a + folder:b", "mixes sources without weights"),
        ("1 folder:a + synthetic", "mixes sources without weights"),
        ("1 folder:a + 1 web:b", "gives a weight to a single source"),
    ],
)
def test_what_means_nothing_is_refused(text, message):
    with pytest.raises(UserError) as error:
        parse(text)
    assert message in str(error.value)


# Paths that contain the words of another source are beyond a string; all others come back.
paths = st.text(min_size=1).filter(lambda text: text == text.strip() and ":" not in text and "synthetic" not in text)
identifiers = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
versions = st.from_regex(r"[0-9]\.[0-9]{1,2}\.0", fullmatch=True)
singles = st.one_of(
    st.builds(FolderSpec, paths),
    st.builds(ListSpec, paths),
    st.builds(SyntheticSpec, st.integers(1, MOST_SYNTHETIC)),
    st.builds(TfdsSpec, identifiers, st.just("") | identifiers, st.just("") | versions, identifiers),
    st.builds(TfdsFolderSpec, paths.map(lambda path: f"/{path}"), identifiers),
)
weights = st.floats(1e-300, 1e300).filter(math.isfinite)
mixtures = st.lists(st.tuples(weights, singles), min_size=2, max_size=4).map(lambda parts: MixtureSpec(tuple(parts)))


@given(singles | mixtures)
def test_a_spec_is_what_its_string_means(spec):
    assert parse(str(spec)) == spec


@given(st.text())
def test_any_string_is_a_spec_or_refused_with_a_sentence(text):
    try:
        parse(text)
    except UserError as error:
        assert str(error).endswith(".")
