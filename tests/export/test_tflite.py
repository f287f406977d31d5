"""docs/export.md: the recipe of TFLite, followed by a process with TensorFlow."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest

from palgan_jax.checkpoint.weights_file import save_weights
from tests.support.export_networks import flax, palettes, pictures, weights_of
from tests.support.places import ROOT

SMALL = """
from pathlib import Path

from palgan_jax.checkpoint import find

find.BUNDLED = Path()
"""
RUN = """
import numpy as np

run = tf.lite.Interpreter("model.tflite").get_signature_runner()
arrays = np.load("in.npz")
(ab,) = run(lightness=arrays["lightness"], palette=arrays["palette"]).values()
(predicted,) = run(lightness=arrays["lightness"], palette=0 * arrays["palette"]).values()
np.savez("out.npz", ab=ab, predicted=predicted)
"""


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="the extra prepare brings TensorFlow")
def test_the_recipe_gives_a_model_that_paints_as_flax_does(tmp_path):
    weights = weights_of({})
    save_weights(tmp_path / "small.safetensors", weights)
    lightness, h = pictures(1, 64, 64), palettes(1, 256)
    np.savez(tmp_path / "in.npz", lightness=lightness, palette=h)
    (recipe,) = re.findall(r"^```python\n([^`]*jax2tf.*?)^```", (ROOT / "docs" / "export.md").read_text(), re.M | re.S)
    process = subprocess.run(
        [sys.executable, "-c", SMALL + recipe + RUN], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    out = np.load(tmp_path / "out.npz")
    predicted, ab = flax(weights, lightness, h)
    assert np.ptp(ab) > 20
    np.testing.assert_allclose(out["ab"] / 110, np.moveaxis(ab, 1, -1) / 110, atol=1e-5)
    _, ab = flax(weights, lightness, predicted)
    np.testing.assert_allclose(out["predicted"] / 110, np.moveaxis(ab, 1, -1) / 110, atol=1e-5)
