"""Colorizes samples in an environment that has a wheel and what it asks for, and no JAX: `make test-light`.

    .venv-light/bin/python -P tests/support/light_install.py examples/samples

It prints how many distributions the environment has, and how large they are.
"""

import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import distributions, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax import Colorizer, Palette
from palgan_jax.errors import ExitCode

OF_PIP = {"pip", "setuptools", "wheel"}
PALGAN = Path(sys.executable).with_name("palgan")


def colorized(samples: Path, *options: str) -> np.ndarray:
    """Runs the command that the install brought on one sample, and returns the picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [PALGAN, "colorize", samples / "dog.jpg", "--output", f"{folder}/dog.png", *options]
        process = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=folder)
        assert process.returncode == 0, process.stderr
        assert "run by ONNX Runtime." in process.stdout
        return np.asarray(Image.open(f"{folder}/dog.png")).astype(int)


def main(samples: Path) -> None:
    packages = Path(sysconfig.get_path("purelib"))
    assert find_spec("jax") is None and find_spec("flax") is None, "this is no light install"
    import palgan_jax

    assert packages in Path(palgan_jax.__file__).parents, "the checkout is imported, and not what was installed"
    output, help_text = (
        subprocess.run([PALGAN, option], capture_output=True, text=True, check=True).stdout
        for option in ("--version", "--help")
    )
    assert output.strip() == version("palgan-jax") == palgan_jax.__version__ and "colorize photographs" in help_text
    automatic = colorized(samples)
    assert np.ptp(automatic, axis=-1).mean() > 10, "the picture is gray"
    reference = str(samples / "hay-field.jpg")
    for options in (["--reference", reference], ["--point", "100,100=#c03030"], ["--resolution", "320"]):
        assert np.abs(colorized(samples, *options) - automatic).mean() > 0.5, options
    colorizer = Colorizer.load()
    result = colorizer(samples / "dog.jpg", edit="shift hue=20", samples=1)
    assert colorizer.engine == "onnx" and len(result.samples) == 1 and isinstance(result.palette, Palette)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("onnx", "pt", "safetensors"):
            subprocess.run(
                [PALGAN, "export", "bundled", f"{folder}/model.{kind}"], check=True, stdout=subprocess.DEVNULL
            )
        assert {path.name for path in Path(folder).iterdir()} == {
            f"model.{x}" for x in ("onnx", "pt", "py", "safetensors")
        }
    words = ["-m", "palgan_jax.main", "--config", "demo", "--workdir", "nowhere"]
    training = subprocess.run([sys.executable, "-P", *words], capture_output=True, text=True, check=False)
    assert training.returncode == ExitCode.BAD_INPUT and "pip install -e" in training.stderr, training.stderr
    names = {distribution.metadata["Name"] for distribution in distributions()} - OF_PIP
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and not path.is_symlink())
    print(f"{len(names)} distributions, {size / 1e6:.0f} MB: {', '.join(sorted(names, key=str.lower))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
