"""The pictures that an evaluation of few photographs keeps beside its numbers, so that systems can be looked at."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax.evaluation.record import Example
from palgan_jax.util.files import make_folder, write_file

FOLDER = "pictures"  # within the folder of results
MOST_KEPT = 200
"""The number of pictures above which none are kept: at 256 x 256 these take about 16 MB."""


def keep_pictures(folder: Path, count: int, pictures: Callable[[int], Example]) -> Callable[[int], Example]:
    """Writes what a system painted, and the photographs, where there are no more than MOST_KEPT of them.

    Returns `pictures`, which does not paint them a second time. Raises UserError where they cannot be written.
    """
    if count > MOST_KEPT:
        return pictures
    examples = [pictures(i) for i in range(count)]
    make_folder(folder / FOLDER)
    for i, example in enumerate(examples):
        for kind in ("painted", "truth"):
            picture = example.predicted if kind == "painted" else example.truth
            write_file(_path(folder, i, kind), _jpeg(picture))
    return examples.__getitem__


def kept_picture(folder: Path, i: int, kind: str) -> np.ndarray | None:
    """Reads picture i as it was "painted", or its "truth", uint8 (H, W, 3); None where it was not kept."""
    try:
        with Image.open(_path(folder, i, kind), formats=["JPEG"]) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError:
        return None


def _path(folder: Path, i: int, kind: str) -> Path:
    return folder / FOLDER / f"{i + 1:03}-{kind}.jpg"


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
