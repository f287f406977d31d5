"""A small set of pictures, shared by the tests of batches."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from palgan_jax.data.source import StoredSource, open_source


@pytest.fixture(scope="package")
def folder(samples, tmp_path_factory) -> Path:
    """21 of the sample photographs, made small; no number of the tests divides 21 but 3 and 7."""
    root = tmp_path_factory.mktemp("pictures")
    for number, path in enumerate(sorted(samples.glob("*.jpg"))[:21]):
        with Image.open(path) as picture:
            picture.thumbnail((160, 160))
            picture.save(root / f"{number:02}{('.jpg', '.png')[number % 5 == 0]}")
    return root


@pytest.fixture(scope="package")
def source(folder) -> StoredSource:
    source = open_source(f"folder:{folder}", near_gray=0)
    assert len(source) == 21
    return source


@pytest.fixture
def fragile(folder, tmp_path) -> tuple[StoredSource, Path]:
    """A source whose files may be broken."""
    copy = tmp_path / "fragile"
    shutil.copytree(folder, copy)
    return open_source(f"folder:{copy}", near_gray=0), copy
