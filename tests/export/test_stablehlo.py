"""Programs of StableHLO, loaded by a process that has JAX alone."""

import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.config import from_dict
from palgan_jax.errors import UserError
from palgan_jax.export.stablehlo import PLATFORMS, save_stablehlo, stablehlo
from palgan_jax.nn.build import build_generator
from tests.support.colorize_model import tiny_weights
from tests.support.places import ROOT

DOCUMENT = ROOT / "docs" / "export.md"
USER = """
import sys
import numpy as np
from jax import export

program, inputs, outputs = sys.argv[1:]
with open(program, "rb") as file:
    colorize = export.deserialize(bytearray(file.read()))
arrays = np.load(inputs)
ab, palette = colorize.call(arrays["lightness"], arrays["palette"])
np.savez(outputs, ab=ab, palette=palette)
print(*colorize.platforms)
print(*sys.modules)
"""


def test_a_process_without_this_package_colorizes(tmp_path):
    weights = tiny_weights()
    save_stablehlo(tmp_path / "model.stablehlo", weights)
    content = (tmp_path / "model.stablehlo").read_bytes()
    assert str(ROOT).encode() not in content and b".py" not in content, "it names files of this machine"
    rng = np.random.default_rng(0)
    lightness = rng.uniform(0, 100, (3, 64, 64)).astype(np.float32)
    palette = rng.dirichlet(np.ones(256), 3).astype(np.float32)
    palette[1] = 0
    np.savez(tmp_path / "in.npz", lightness=lightness, palette=palette)
    (page,) = re.findall(r"^```python\n([^`]*jax import export.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    page = page.replace("256, 256)", "64, 64)") + "assert ab.shape == (1, 64, 64, 2) and palette.shape == (1, 256)\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(
        [sys.executable, "-c", USER + page, "model.stablehlo", "in.npz", "out.npz"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    platforms, modules = process.stdout.splitlines()
    assert platforms.split() == list(PLATFORMS)
    loaded = {name.partition(".")[0] for name in modules.split()}
    assert "jax" in loaded and not loaded & {"palgan_jax", "flax"}
    actual = np.load(tmp_path / "out.npz")

    apply = jax.jit(build_generator(from_dict(weights.config)).apply)
    l = (lightness[..., None] - 50) / 100
    predicted, _ = apply(weights.variables, l, palette)
    palette[1] = predicted[1]
    _, expected = apply(weights.variables, l, palette)
    np.testing.assert_allclose(actual["palette"], palette, atol=1e-6)
    assert np.ptp(expected) > 0.5
    # Its convolutions are XLA's own on CPUs too: what rounds differently grows in a network of random weights.
    np.testing.assert_allclose(actual["ab"] / 110, expected, atol=2e-4)


def test_what_cannot_be_a_program_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match='the kind "vae" paints with no palette'):
        save_stablehlo(tmp_path / "a.stablehlo", tiny_weights("vae"))
    weights = tiny_weights()
    without_statistics = Weights({**weights.variables, "batch_stats": {}}, weights.config, 1, source="x")
    with pytest.raises(UserError, match=r"the weights \(x\) do not fit the network") as error:
        stablehlo(without_statistics)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())
