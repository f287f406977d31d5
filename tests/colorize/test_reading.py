"""What `palgan colorize` says of the files that it reads: notes, limits, pipes."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from palgan_jax.colorize.join import luminance
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
    for wrong in ("0", "-3", "many", "nan", "inf"):
        with pytest.raises(SystemExit):
            palgan(source, options=[f"--max-megapixels={wrong}"])
        assert f"{wrong} is no number of megapixels" in capsys.readouterr().err


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
    done = subprocess.run([*command, "--checkpoint", str(checkpoint)], cwd=ROOT, input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "out").glob("*.png")
    (tmp_path / "x.png").write_bytes(data)
    assert np.abs(luminance(read_rgb(result)) - luminance(read_rgb(tmp_path / "x.png"))).max() < 1
    assert Image.open(io.BytesIO(result.read_bytes())).size == (48, 40)
