"""`palgan colorize` with a tiny model, for all tests of this folder."""

from pathlib import Path

import pytest

from palgan_jax.checkpoint.weights_file import save_weights
from palgan_jax.cli import main
from tests.support.colorize_model import tiny_weights


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, tiny_weights())
    return path


@pytest.fixture
def palgan(checkpoint, tmp_path, capsys):
    """Runs `palgan colorize` on pictures into tmp_path/out; returns exit code, standard output, lines of errors."""

    def run(*pictures, options=(), output=tmp_path / "out", checkpoint=checkpoint):
        chosen = ["--checkpoint", str(checkpoint)] if checkpoint else []
        code = main(["colorize", *map(str, pictures), "--output", str(output), *chosen, *map(str, options)])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run
