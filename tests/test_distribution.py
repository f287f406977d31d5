"""The distribution of sources and the wheel: what is in them, and that what a wheel brings runs without a checkout.

`make test-light` installs such a wheel into an empty environment, with what it asks for, and colorizes with it.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement

import palgan_jax
from tests.support.places import ROOT

NAME = f"palgan_jax-{palgan_jax.__version__}"
LINKED = {"palgan_jax/configs": "configs", "palgan_jax/examples": "examples"}
"""Folders of the package that are links, so that both a checkout and a wheel have them."""


def kept_files() -> list[str]:
    """Returns the files of the checkout that git keeps or would keep."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in names.split("\0") if name and (ROOT / name).exists()]


def expected_files() -> set[str]:
    """Returns what belongs into the package: all of its files, the configs, and the photographs with their licenses."""
    expected = set()
    for name in kept_files():
        path = PurePosixPath(name)
        if path.parts[0] == "palgan_jax" and name not in LINKED:
            expected.add(name)
        elif path.match("configs/*.py") or path.match("examples/*/*"):
            expected.add(f"palgan_jax/{name}")
    return expected


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the distribution of sources, and with the wheel that was made from it and not from the checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("what belongs into a distribution is what git keeps, and this is no checkout")
    source = tmp_path_factory.mktemp("source")
    for name in kept_files():
        if not name.startswith("tests/golden/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder


def test_the_wheel_has_all_files_of_the_package_and_no_others(built):
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        metadata = Parser().parsestr(wheel.read(f"{NAME}.dist-info/METADATA").decode())
        entries = wheel.read(f"{NAME}.dist-info/entry_points.txt").decode()
    expected = expected_files()
    assert {name for name in names if not name.startswith(f"{NAME}.dist-info/")} == expected
    assert {"palgan_jax/bundled/pretrained.safetensors", "palgan_jax/web/page/index.html"} <= expected
    assert {"palgan_jax/configs/tiny.py", "palgan_jax/examples/samples/dog.jpg"} <= expected
    assert f"{NAME}.dist-info/licenses/LICENSE" in names
    assert metadata["Version"] == palgan_jax.__version__ and metadata["License-Expression"] == "Apache-2.0"
    requirements = map(Requirement, metadata.get_all("Requires-Dist"))
    dependencies = {requirement.name for requirement in requirements if requirement.marker is None}
    assert "onnxruntime" in dependencies and "jax" not in dependencies
    assert "palgan = palgan_jax.cli:main" in entries


def test_the_distribution_of_sources_has_what_a_wheel_is_built_from(built):
    with tarfile.open(built / f"{NAME}.tar.gz") as sources:
        names = {name.removeprefix(f"{NAME}/") for name in sources.getnames()}
    assert expected_files() | {"pyproject.toml", "README.md", "LICENSE"} <= names
    assert not any(name.startswith(("tests/", "docs/", ".")) for name in names)


def test_what_the_wheel_brings_runs_without_the_checkout(built, tmp_path):
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        wheel.extractall(tmp_path / "installed")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}

    def output(*words: str) -> str:
        command = [sys.executable, "-P", *words]
        process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr
        return process.stdout

    place = output("-c", "import palgan_jax; print(palgan_jax.__file__)").strip()
    assert Path(place).is_relative_to(tmp_path / "installed")
    palgan = ("-m", "palgan_jax.cli")
    assert output(*palgan, "--version").split() == [palgan_jax.__version__]
    assert "colorize photographs" in output(*palgan, "--help")
    sample = str(tmp_path / "installed" / "palgan_jax" / "examples" / "samples" / "dog.jpg")
    output(*palgan, "colorize", sample, "--output", "dog.png", "--engine", "onnx")
    assert (tmp_path / "dog.png").stat().st_size > 10_000
