"""What the words of `palgan colorize` mean: folders, patterns, lists, and outputs that are files."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.colorize.inputs import find_sources
from palgan_jax.colorize.record import RECORD_FILE


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder with subfolders, in the current one."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(["a.jpg", "sub/a.jpg", "sub/deep/b.png", "other/c.webp"]):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    (tmp_path / "album" / "notes.txt").write_text("x")
    (tmp_path / "album" / ".hidden.jpg").write_text("x")
    return Path("album")


def places(*words) -> list[str]:
    sources, errors = find_sources([str(word) for word in words])
    assert not errors
    return [source.place.as_posix() for source in sources]


def test_a_folder_keeps_its_structure(album, palgan):
    code, _, err = palgan(album, output="out")
    assert (code, err) == (0, [])
    results = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*.png"))
    assert results == ["a.png", "other/c.png", "sub/a.png", "sub/deep/b.png"]
    assert palgan(album, output="out")[0] == 0
    assert len(list(Path("out").rglob("*.png"))) == 4


def test_several_folders_keep_their_names(album):
    assert places("album/sub", "album/other") == ["sub/a.jpg", "sub/deep/b.png", "other/c.webp"]
    assert places("album/sub", "album/sub/") == ["a.jpg", "deep/b.png"]
    os.chdir("album")
    assert places(".") == ["a.jpg", "other/c.webp", "sub/a.jpg", "sub/deep/b.png"]


def test_patterns_that_the_shell_left_alone(album):
    assert places("album/*.jpg") == ["a.jpg"]
    assert sorted(places("album/*")) == ["a.jpg", "other/c.webp", "sub/a.jpg", "sub/deep/b.png"]
    assert sorted(places("album/**")) == ["a.jpg", "a.jpg", "b.png", "c.webp"]
    assert places("album/**/*.png") == ["b.png"]
    (album / "[1].jpg").write_bytes((album / "a.jpg").read_bytes())
    assert places("album/[1].jpg") == ["[1].jpg"], "a file that is called like a pattern"
    sources, errors = find_sources(["album/*.gif", "album/a.jpg"])
    assert len(sources) == 1 and [str(error) for error in errors] == ["nothing matches album/*.gif: check the pattern."]


def test_lists_name_pictures_folders_and_patterns(album, tmp_path):
    (album / "list.txt").write_text("# two\r\na.jpg\n\nsub\nalbum/other/c.webp\n*.png.gone\n")
    sources, errors = find_sources(["@album/list.txt"])
    assert len(sources) == 4 and [str(error) for error in errors] == ["nothing matches *.png.gone: check the pattern."]
    (album / "list.txt").write_text("sub/*.jpg\nother/*\n")
    assert places("@album/list.txt") == ["a.jpg", "c.webp"]
    (album / "list.txt").write_text("# two\r\na.jpg\n\nsub\nalbum/other/c.webp\nabsent.jpg\n")
    assert places("@album/list.txt") == ["a.jpg", "a.jpg", "deep/b.png", "c.webp", "absent.jpg"]
    Path("@me.jpg").write_bytes((album / "a.jpg").read_bytes())
    assert places("@me.jpg") == ["@me.jpg"]
    for words in (["@absent.txt"], ["@album"], ["@album/a.jpg"]):
        assert "the list" in str(find_sources(words)[1][0])
    Path("list.txt").write_text("@list.txt\n")
    assert find_sources(["@list.txt"])[0][0].path == Path("@list.txt"), "lists name no lists"


def test_names_are_never_a_reason_to_fail(album):
    for word in ("x" * 5000, "a\0b", "~absent/x", "", "[", "@", "**"):
        find_sources([word])


def test_an_empty_name_is_not_the_current_folder(album):
    sources, errors = find_sources([""])
    assert not sources and "empty name" in str(errors[0])


def test_a_picture_is_done_once_however_it_is_named(album):
    assert places("album/a.jpg", "album", "album/./a.jpg") == ["a.jpg", "other/c.webp", "sub/a.jpg", "sub/deep/b.png"]


# ---------------------------------------------------------------------------------------------- outputs that are files


@pytest.mark.parametrize(
    ("name", "format_"),
    [("boat-color.jpg", "JPEG"), ("x.PNG", "PNG"), ("new/x.tif", "TIFF"), ("x.webp", "WEBP"), ("x.avif", "AVIF")],
)
def test_the_output_may_be_a_file_of_any_format(album, palgan, name, format_):
    code, out, err = palgan("album/a.jpg", output=name)
    assert (code, err) == (0, []) and f"album/a.jpg -> {name}" in out
    with Image.open(name) as picture:
        assert picture.format == format_ and picture.size == (30, 20)


def test_a_named_output_that_exists_is_refused(album, palgan):
    palgan("album/a.jpg", output="x.png")
    before = Path("x.png").read_bytes()
    code, out, err = palgan("album/a.jpg", output="x.png")  # the same again
    assert (code, err) == (0, []) and "done already" in out
    code, _, err = palgan("album/sub/a.jpg", output="x.png")
    assert code == 2 and len(err) == 1 and "x.png exists already" in err[0] and "--overwrite" in err[0]
    assert Path("x.png").read_bytes() == before
    assert palgan("album/sub/a.jpg", output="x.png", options=["--overwrite"])[0] == 0
    assert Path("x.png").read_bytes() != before
    code, _, err = palgan("album/a.jpg", output="album/a.jpg", options=["--overwrite"])
    assert code == 2 and len(err) == 1 and "album/a.jpg is a picture that was named itself" in err[0]


@pytest.mark.parametrize(
    ("words", "output", "options", "part"),
    [
        (["album"], "x.png", [], "name a folder"),
        (["album/other"], "x.png", [], "x.png is the name of one picture, and those of a folder are"),
        (["album/a.jpg"], "-", [], "not written to a pipe: name a file"),
        (["album/a.jpg", "album/sub/a.jpg"], "x.png", [], "there are 2"),
        (["album/a.jpg"], "x.bmp", [], "not written"),
        (["album/a.jpg"], "x.png", ["--format=jpeg"], "is no name of a jpeg file"),
        (["album/a.jpg"], "out", ["--quality=90"], "leave --quality out"),
        (["album/a.jpg"], "out", ["--quality=0", "--format=jpeg"], "--quality is 1 to 100"),
        (["album/*.gif"], "out", [], "nothing matches"),
    ],
)
def test_outputs_and_options_that_contradict_each_other(album, palgan, words, output, options, part):
    code, out, err = palgan(*words, output=output, options=options)
    assert code == 2 and len(err) == 1 and part in err[0]
    assert "Loaded" not in out and not Path(output).exists()


def test_a_folder_may_be_called_like_a_file(album, palgan):
    Path("x.png").mkdir()
    assert palgan("album/a.jpg", output="x.png")[0] == 0
    assert sorted(path.name for path in Path("x.png").iterdir()) == [RECORD_FILE, "a.png"]
    assert palgan("album/a.jpg", output="v1.2")[0] == 0 and Path("v1.2/a.png").is_file()


@pytest.mark.parametrize("format_", ["jpeg", "webp", "tiff", "avif", "same"])
def test_the_format_is_asked_for(album, palgan, format_):
    code, _, err = palgan(album, output="out", options=[f"--format={format_}"])
    assert (code, err) == (0, [])
    names = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*.*") if path.name != RECORD_FILE)
    suffix = {"jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "avif": ".avif"}.get(format_)
    expected = ["a.jpg", "other/c.webp", "sub/a.jpg", "sub/deep/b.png"]
    assert names == (expected if suffix is None else [str(Path(name).with_suffix(suffix)) for name in expected])
    for name in names:
        with Image.open(Path("out") / name) as picture:
            assert Image.registered_extensions()[Path(name).suffix] == picture.format and picture.size == (30, 20)
    palgan("out", output="again")
    assert not Path("again").exists(), "results of every format are marked"
