"""What `palgan colorize` says of the files that it reads: notes, limits, pipes."""

import io
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from palgan_jax.colorize import files
from palgan_jax.colorize.join import luminance
from palgan_jax.data import decode as decode_module
from palgan_jax.data import time_limit
from palgan_jax.data.decode import read_rgb
from tests.support import picture_files as made
from tests.support.places import ROOT

PAGES = {"save_all": True, "append_images": [Image.fromarray(made.GRAY[::-1]), Image.fromarray(made.GRAY[:, ::-1])]}


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG"])
def test_pages_that_are_left_out_are_told(palgan, tmp_path, kind):
    source = tmp_path / f"x.{kind.lower()}"
    source.write_bytes(made.encoded(Image.fromarray(made.GRAY), kind, **PAGES))
    code, _, errors = palgan(source)
    assert code == 0
    assert errors == [f"palgan: note: {source} holds 3 pictures: the first is taken, 2 left out."]
    assert np.abs(luminance(read_rgb(tmp_path / "out" / "x.png")) - luminance(read_rgb(source))).max() < 1


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "MPO"])
def test_each_page_becomes_a_result(palgan, tmp_path, kind):
    ending = "jpg" if kind == "MPO" else kind.lower()
    source = tmp_path / f"x.{ending}"
    source.write_bytes(made.encoded(Image.fromarray(made.RGB), kind, **PAGES))
    report = tmp_path / "report.json"
    code, out, errors = palgan(source, options=["--pages=all", f"--report={report}"])
    assert code == 0 and errors == [] and f"{source} (page 2) -> " in out
    pages = [made.RGB, made.GRAY[::-1], made.GRAY[:, ::-1]]
    for number, page in enumerate(pages, 1):
        result, exact = luminance(read_rgb(tmp_path / "out" / f"x-page{number}.png")), luminance(page)
        # Frames of animations have palettes, and JPEGs lose some.
        assert np.abs(result - exact).mean() < (0.3 if kind in ("TIFF", "PNG") else 4)
        assert np.abs(result - luminance(pages[number % 3])).mean() > 8
    assert {row["page"] for row in json.loads(report.read_text())["pictures"]} == {0, 1, 2}
    repeat = palgan(source, options=["--pages=all"])[1]
    assert repeat.count("is done already") == 3
    palgan(source, options=["--pages=all", "--overwrite", "--format=jpeg"])
    assert sorted(file.name for file in (tmp_path / "out").glob("*.jpg")) == [f"x-page{i}.jpg" for i in (1, 2, 3)]
    code, _, errors = palgan(source, output=tmp_path / "one.png", options=["--pages=all"])
    assert code == 2 and "one.png is the name of one picture, and there are 3 pages" in errors[0]


def test_one_damaged_page_costs_itself_alone(palgan, tmp_path):
    source = tmp_path / "x.tif"
    small = Image.fromarray(made.GRAY[:8])
    source.write_bytes(made.encoded(Image.fromarray(made.GRAY), "TIFF", save_all=True, append_images=[small]))
    code, _, errors = palgan(source, options=["--pages=all"])
    assert code == 2 and (tmp_path / "out" / "x-page1.png").exists()
    assert errors == [f"palgan: error: {source} (page 2) is 48 x 8 pixels: each side must be at least 16."]


def test_a_picture_that_takes_too_long_costs_itself_alone(palgan, tmp_path, monkeypatch):
    decode = decode_module.decode_picture
    ended = threading.Event()

    def slow(data, *, name, **options):
        if name.endswith("slow.png"):
            ended.wait(600)
        return decode(data, name=name, **options)

    monkeypatch.setattr(files, "decode_picture", slow)
    monkeypatch.setattr(time_limit, "SECONDS", 3)
    for name in ("a.png", "slow.png", "z.png"):
        (tmp_path / name).write_bytes(made.encoded(made.RGB, "PNG"))
    code, _, errors = palgan(*(tmp_path / name for name in ("a.png", "slow.png", "z.png")))
    ended.set()
    assert code == 2 and sorted(x.name for x in (tmp_path / "out").glob("*.png")) == ["a.png", "z.png"]
    assert errors == [f"palgan: error: {tmp_path / 'slow.png'} takes more than 3 s to read: save it anew."]


def test_a_broken_profile_is_told(palgan, tmp_path):
    source = tmp_path / "x.png"
    source.write_bytes(made.png(made.GRAY, 8, 0, [made.icc_chunk(b"x" * 200)]))
    code, _, errors = palgan(source)
    assert code == 0
    assert errors == [f"palgan: note: the color profile of {source} is left aside, since it is broken."]


def test_the_limit_of_pixels_can_be_set(palgan, tmp_path, capsys):
    source = tmp_path / "x.png"
    source.write_bytes(made.encoded(made.RGB, "PNG"))
    code, _, errors = palgan(source, options=["--max-megapixels", "0.0015"])
    assert code == 2
    assert errors == [
        f"palgan: error: {source} is 48 x 40 pixels, more than the limit of 0.0015 megapixels: "
        "make it smaller or raise the limit."
    ]
    assert palgan(source, options=["--max-megapixels", "0.002"])[0] == 0
    for text in ("0", "-3", "many", "nan", "inf"):
        with pytest.raises(SystemExit):
            palgan(source, options=[f"--max-megapixels={text}"])
        assert f"{text} is no number of megapixels" in capsys.readouterr().err


def test_a_program_in_the_place_of_a_picture_is_refused_and_the_others_are_done(palgan, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n{ } loop\n")
    (tmp_path / "b.jpg").write_bytes(made.encoded(made.RGB, "JPEG"))
    code, _, errors = palgan(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert code == 2 and (tmp_path / "out" / "b.png").is_file()
    assert len(errors) >= 1 and "a.jpg is a PostScript program, which is not read" in errors[0]


@pytest.mark.skipif(sys.platform == "win32", reason="the pipes of Unix")
@pytest.mark.parametrize("word", ["-", "/dev/stdin"])
def test_a_picture_comes_through_a_pipe(checkpoint, tmp_path, word):
    command = [sys.executable, "-m", "palgan_jax.cli", "colorize", word, "--output", str(tmp_path / "out")]
    data = made.encoded(made.RGB, "PNG")
    process = subprocess.run([*command, "--checkpoint", str(checkpoint)], cwd=ROOT, input=data, capture_output=True)
    assert process.returncode == 0, process.stderr
    (result,) = (tmp_path / "out").glob("*.png")
    (tmp_path / "x.png").write_bytes(data)
    assert np.abs(luminance(read_rgb(result)) - luminance(read_rgb(tmp_path / "x.png"))).max() < 1
    assert Image.open(io.BytesIO(result.read_bytes())).size == (48, 40)
