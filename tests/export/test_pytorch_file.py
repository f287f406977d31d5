"""State dicts and modules for PyTorch: read without it here, and run by it where it is installed (`make test-porting`).

The module that is written is also the one of `porting/`, of which tests/golden holds outputs and gradients.
"""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from palgan_jax.checkpoint.find import find_weights
from palgan_jax.checkpoint.weights import Weights
from palgan_jax.cli import main
from palgan_jax.config import from_dict
from palgan_jax.errors import ExitCode, UserError
from palgan_jax.export.pytorch_file import save_pytorch
from palgan_jax.pretrained.readers import read_weights
from tests.support.colorize_model import tiny_weights
from tests.support.export_networks import NETWORKS, flax, palettes, pictures, weights_of
from tests.support.places import ROOT

PARITY = 1e-4
"""Of normalized ab."""
NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is installed by `make test-porting` alone"
)
USER = """
import sys
import numpy as np, torch
from tiny import OPTIONS, load

network, arrays = load("tiny.pt"), np.load("in.npz")
lightness, palette = (torch.from_numpy(arrays[name]) for name in ("lightness", "palette"))
ab, predicted = network.colorize(lightness)
painted, used = network.colorize(lightness, palette)
large, _ = network.colorize(lightness.repeat(1, 1, 1, 2), palette)
np.savez("out.npz", ab=ab, predicted=predicted, painted=painted, used=used, large=large)
print(*sys.modules)
"""


def save_tiny(folder: Path, name: str) -> Weights:
    weights = weights_of(NETWORKS[name])
    save_pytorch(folder / "tiny.pt", weights)
    return weights


@NEEDS_TORCH
@pytest.mark.parametrize("name", NETWORKS)
def test_a_process_without_this_package_paints_as_flax_does(tmp_path, name):
    weights = save_tiny(tmp_path, name)
    config = from_dict(weights.config)
    lightness, h = pictures(2, config.resolution, config.resolution), palettes(2, config.palette.bins**2)
    np.savez(tmp_path / "in.npz", lightness=lightness[:, None], palette=h)
    process = subprocess.run([sys.executable, "-c", USER], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert not {module.partition(".")[0] for module in process.stdout.split()} & {"palgan_jax", "jax", "flax"}
    out = np.load(tmp_path / "out.npz")
    predicted, painted = flax(weights, lightness, h)
    assert np.ptp(painted) > 20, "the colors of this test are not far from gray"
    np.testing.assert_allclose(out["predicted"], predicted, atol=2e-6)
    np.testing.assert_array_equal(out["used"], h)
    np.testing.assert_allclose(out["painted"] / config.ab_range, painted / config.ab_range, atol=PARITY)
    _, ab = flax(weights, lightness, predicted)
    np.testing.assert_allclose(out["ab"] / config.ab_range, ab / config.ab_range, atol=PARITY)
    assert out["large"].shape == (2, 2, config.resolution, 2 * config.resolution)


@NEEDS_TORCH
def test_the_bundled_model_paints_as_flax_does(tmp_path):
    weights = find_weights()
    save_pytorch(tmp_path / "tiny.pt", weights)
    lightness, h = pictures(1, 256, 256), palettes(1, 256)
    np.savez(tmp_path / "in.npz", lightness=lightness[:, None], palette=h)
    subprocess.run([sys.executable, "-c", USER], cwd=tmp_path, capture_output=True, check=True)
    out = np.load(tmp_path / "out.npz")
    predicted, painted = flax(weights, lightness, h)
    np.testing.assert_allclose(out["predicted"], predicted, atol=2e-6)
    np.testing.assert_allclose(out["painted"] / 110, painted / 110, atol=PARITY)
    (page,) = re.findall(r"```python\n(import torch\n.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    code = f"{page.replace('model', 'tiny')}\nassert ab.shape == (1, 2, 256, 256) and palette.shape == (1, 256)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", ["as the paper has it", "pretrained, half"])
def test_a_state_dict_has_the_weights_in_pytorchs_order_of_axes(tmp_path, name):
    weights = save_tiny(tmp_path, name)
    tensors, params = read_weights(tmp_path / "tiny.pt"), weights.variables["params"]
    kernel = params["assignment_generator"]["block_00"]["conv_0"]["kernel"]
    stored = tensors["assignment_generator.block_00.conv_0.weight"]
    np.testing.assert_array_equal(stored, kernel.transpose(3, 2, 0, 1))
    count = sum(np.size(x) for tree in weights.variables.values() for x in leaves(tree))
    assert sum(x.size for x in tensors.values()) == count
    assert tensors["assignment_generator.stem.u"].ndim == 1
    assert "assignment_generator.block_00.norm_0.norm.mean" in tensors


def leaves(tree):
    return [leaf for branch in tree.values() for leaf in (leaves(branch) if isinstance(branch, dict) else [branch])]


def test_rows_behind_a_picture_are_reordered(tmp_path):
    weights = weights_of({"resolution": 128})
    save_pytorch(tmp_path / "tiny.pt", weights)
    x = np.random.default_rng(0).normal(size=(2, 2, 16)).astype(np.float32)  # (H, W, C), before the last layer
    kernel = weights.variables["params"]["palette_generator"]["head"]["kernel"]
    stored = read_weights(tmp_path / "tiny.pt")["palette_generator.head.weight"]
    np.testing.assert_allclose(x.transpose(2, 0, 1).ravel() @ stored.T, x.ravel() @ kernel, rtol=1e-4, atol=1e-5)


def test_the_module_needs_pytorch_alone_and_has_the_options_of_the_weights(tmp_path):
    save_tiny(tmp_path, "spade, local")
    text = (tmp_path / "tiny.py").read_text()
    tree = ast.parse(text)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"dataclasses", "torch", "torch.nn.functional"}
    (call,) = (n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "OPTIONS")
    options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert options["norm"] == "spade" and options["guided_radius"] == 12 and options["ab_range"] == 128.0
    assert options["resolution"] == 64 and options["bins"] == 256 and options["width"] == 1 / 16
    assert 'load("tiny.pt")' in text and "from tiny import load" in text and '"model.pt"' not in text


def test_equal_weights_are_equal_files_and_half_of_the_size_on_demand(tmp_path):
    weights = weights_of({})
    for name, dtype in (("a", "float32"), ("b", "float32"), ("c", "float16")):
        save_pytorch(tmp_path / f"{name}.pt", weights, dtype)
    full, half = (tmp_path / "a.pt").read_bytes(), (tmp_path / "c.pt").read_bytes()
    assert (tmp_path / "b.pt").read_bytes() == full and len(half) < 0.7 * len(full)
    name = "assignment_generator.stem.weight"
    exact, rounded = (read_weights(tmp_path / f"{name_of_file}.pt")[name] for name_of_file in "ac")
    assert 0 < np.abs(exact - rounded).max() < 1e-2


def test_a_module_that_somebody_wrote_is_kept(tmp_path, capsys):
    (tmp_path / "model.py").write_text("print('mine')\n")
    assert main(["export", "bundled", str(tmp_path / "model.pt")]) == ExitCode.BAD_INPUT
    assert "model.py would be written too, and holds something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]
    for name in ("my-model", "torch", "types", "class"):
        assert main(["export", "bundled", str(tmp_path / f"{name}.pt")]) == ExitCode.BAD_INPUT
        assert f"{name}.py would be written too, and Python cannot import" in capsys.readouterr().err
    assert main(["export", "bundled", str(tmp_path / "ours.pt")]) == ExitCode.FINISHED
    assert main(["export", "bundled", str(tmp_path / "ours.pt")]) == ExitCode.FINISHED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.py", "ours.pt", "ours.py"]


def test_what_pytorch_does_not_take_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match='the kind "vae" paints with no palette'):
        save_pytorch(tmp_path / "a.pt", tiny_weights("vae"))
    weights = tiny_weights()
    without_statistics = Weights({**weights.variables, "batch_stats": {}}, weights.config, 1, source="x")
    with pytest.raises(UserError, match=r"the weights \(x\) do not fit the network"):
        save_pytorch(tmp_path / "a.pt", without_statistics)
    assert not list(tmp_path.iterdir())
