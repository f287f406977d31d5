"""The start of `palgan colorize` in a new process: what it imports, and what it reads."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.data.decode import picture_size
from tests.support.colorize_model import tiny_weights
from tests.support.places import COMPILATION_CACHE, ROOT

OF_TRAINING = {
    "orbax", "grain", "optax", "tensorstore", "tensorflow", "tensorflow_datasets", "array_record", "clu", "cv2", "scipy"
}  # fmt: skip
OF_JAX = {"jax", "jaxlib", "flax"}
OWN = {
    "cli", "choices", "errors", "color", "palette", "config", "util", "nn", "colorize", "checkpoint",
    "checkpoint.weights", "checkpoint.weights_file", "checkpoint.find", "checkpoint.command", "data", "data.decode",
    "data.folder", "data.formats", "data.file_bytes", "data.picture", "data.color_profile", "data.levels",
    "data.jpeg", "data.png", "data.tiff_pages", "data.tiff_samples", "data.libtiff", "data.embedded_profile",
    "data.stored_pixels", "data.time_limit", "data.raw", "data.tiff_bands", "data.in_memory",
    "checkpoint.soundness", "export", "export.command", "export.refusals", "export.graph", "export.layers",
    "export.palette_generators", "export.assignment_generator", "export.onnx_model", "export.onnx_session", "hub",
    "data.boxes", "data.coded_colors", "data.deep_samples", "data.jpeg_xl", "data.limits", "data.pnm",
    "data.tiff_picture", "completion",
}  # fmt: skip
"""Modules, and folders of which all may be imported but for those of `checkpoint`, `data` and `export`."""


@pytest.mark.parametrize(
    ("engine", "blocked"),
    [("jax", ()), ("onnx", ()), ("auto", ("jax", "jaxlib", "flax"))],
    ids=["jax", "onnx", "light"],
)
def test_colorizing_info_and_export_import_nothing_of_training(tmp_path, samples, engine, blocked):
    """With ONNX Runtime nothing of JAX either, which need not be there."""
    path = str(tmp_path / "w.safetensors")
    save_weights(path, tiny_weights())
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked})); from palgan_jax.cli import main\n"
        f"code = main(sys.argv[1:]) or main(['info', '{path}']) or main(['export', '{path}', '{path}'])\n"
        "print(code); print(*(name for name, module in sys.modules.items() if module))"
    )
    command = ["colorize", str(samples / "dog.jpg"), "--output", str(tmp_path), "--checkpoint", path]
    command += ["--engine", engine, "--reference", str(samples / "fish.jpg"), "--resolution", "128"]
    process = subprocess.run(
        [sys.executable, "-c", code, *command],
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(COMPILATION_CACHE)}, cwd=ROOT, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    *_, code, modules = process.stdout.splitlines()
    assert code == "0" and (tmp_path / "dog.png").is_file()
    foreign = {name.partition(".")[0] for name in modules.split()}
    assert not foreign & (OF_TRAINING if engine == "jax" else OF_TRAINING | OF_JAX)
    modules_of_package = {
        name.removeprefix("palgan_jax.") for name in modules.split() if name.startswith("palgan_jax.")
    }
    wide = OWN - {"checkpoint", "data", "export"}
    assert {name for name in modules_of_package if name not in OWN and name.partition(".")[0] not in wide} == set()


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux counts what a process reads")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_a_picture_is_checked_by_its_header(tmp_path, suffix):
    path = tmp_path / f"large{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).save(path)
    assert path.stat().st_size > 1_000_000

    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    picture_size(path)  # Pillow imports its plugins at first use
    before = bytes_read()
    picture_size(path)
    assert bytes_read() - before < 100_000
