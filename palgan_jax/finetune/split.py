"""Which photographs of a folder are trained on, and which are kept aside to judge by."""

import os
from pathlib import Path

from palgan_jax.colorize.record import Records
from palgan_jax.config import default_config
from palgan_jax.data.source import StoredSource, open_source
from palgan_jax.errors import UserError
from palgan_jax.util.files import make_folder, user_path, write_file
from palgan_jax.util.progress import ScanProgress

TRAIN, ASIDE = "train.txt", "aside.txt"  # lists in the run's folder
FEWEST = 20
SMALL = 60
MOST_ASIDE = 200
NEIGHBORS = 4


def is_aside(number: int, count: int) -> bool:
    """Tells whether picture `number` of `count`, in the order of their names, is kept aside.

    It is a third of few pictures, otherwise a fifth, but no more than about 200.
    They are kept aside by fours: neighbors often show the same scene, and a picture whose double was trained on would
    flatter the result.
    """
    every = 3 if count < SMALL else max(5, -(-count // MOST_ASIDE))
    return number // NEIGHBORS % every == every // 2


def split_folder(folder: str | Path, run: Path) -> tuple[int, int]:
    """Writes RUN/train.txt and RUN/aside.txt, lists of a folder's color photographs, unless they are there already.

    Results of `palgan colorize`, as its records have them, are not taken for photographs.
    Returns how many photographs each has. Raises UserError where the folder has too few in color, and where the lists
    that are there name photographs of another one.
    """
    root, lists = user_path(str(folder)).absolute(), [run / TRAIN, run / ASIDE]
    if all(path.is_file() for path in lists):
        _check_folder(root, run, [os.fsdecode(line) for path in lists for line in path.read_bytes().splitlines()])
    else:
        near_gray, progress = default_config().data.near_gray, ScanProgress(str(folder))
        source = open_source(f"folder:{folder}", cache_dir=run / "data", near_gray=near_gray, progress=progress)
        assert isinstance(source, StoredSource)
        records = Records()
        paths = [root / source.picture_name(i) for i in range(len(source))]
        paths = [path for path in paths if not records.has_written(path)]  # what the model painted teaches it nothing
        count = len(paths)
        if count < FEWEST:
            raise UserError(
                f"{folder} has {count} photographs in color, too few to learn from and to judge by: name a folder of "
                f"{FEWEST} at least."
            )
        for path in paths:
            if "\n" in str(path):
                raise UserError(f"{path} has a line break in its name, which a list cannot hold: rename it.")
        make_folder(run)
        for path, is_test in zip(lists, (False, True), strict=True):
            lines = [str(p) for i, p in enumerate(paths) if is_aside(i, count) == is_test]
            write_file(path, "\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
    train, test = (len(path.read_bytes().splitlines()) for path in lists)
    return train, test


def _check_folder(root: Path, run: Path, photographs: list[str]) -> None:
    """Raises UserError where none of a run's photographs lies in the folder `root`, by whichever name of it."""
    real = root.resolve()
    if photographs and not any(
        Path(path).is_relative_to(root) or Path(path).parent.resolve().is_relative_to(real) for path in photographs
    ):
        raise UserError(
            f"{run} learns from other photographs than those of {root}, such as {photographs[0]}: name another "
            "--output."
        )
