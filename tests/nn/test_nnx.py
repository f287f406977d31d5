"""docs/nnx.md: the code on the page gives the same model as Linen."""

import re

import jax
import numpy as np

from palgan_jax.checkpoint import find
from palgan_jax.checkpoint.weights_file import save_weights
from tests.support.colorize_model import tiny_weights
from tests.support.places import ROOT


def test_the_model_in_nnx_paints_as_that_in_linen(tmp_path, monkeypatch):
    save_weights(tmp_path / "tiny.safetensors", tiny_weights())
    monkeypatch.setattr(find, "BUNDLED", tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "nnx.md").read_text(), re.DOTALL)
    page: dict = {}
    exec(code, page)
    assert page["ab"].shape == (1, 64, 64, 2)
    l = jax.random.uniform(jax.random.key(0), page["l"].shape, minval=-0.5, maxval=0.5)
    painted = page["nnx"].jit(lambda model, l: model(l))(page["model"], l)
    expected = jax.jit(page["linen"].apply)(page["weights"].variables, l)
    for result, target in zip(painted, expected, strict=True):
        np.testing.assert_allclose(result, target, atol=2e-5)
    assert np.ptp(painted[1]) > 0
