"""Saves and loads an evaluation that is not finished, so that an interrupted one goes on where it was.

One file in the folder partial of the output, written whole, has the values of the pictures that are done, the moments
that FID accumulates, and a fingerprint of everything that the numbers rest on. Another evaluation cannot load it.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palgan_jax.errors import UserError, one_line
from palgan_jax.metrics.frechet import Moments
from palgan_jax.util.files import make_folder, write_file

FOLDER, FILE = "partial", "state.npz"


@dataclass
class Partial:
    """Everything about the first pictures of an evaluation.

    Attributes:
      done: the number of these pictures.
      rows: by metric, their values, (done,); "name", str, and "mask", False for those that could not be read.
      moments: of the features that FID compares, by their names.
    """

    done: int = 0
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)

    def append(self, values: Mapping[str, np.ndarray]) -> None:
        """Adds the rows of the next pictures."""
        for name, new in values.items():
            self.rows[name] = np.concatenate([self.rows[name], new]) if name in self.rows else np.asarray(new)
        self.done = len(self.rows["mask"])


def fingerprint(description: Mapping[str, Any]) -> str:
    """Computes the SHA-256 of what an evaluation's numbers rest on, as values that JSON knows."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def save(output: Path, partial: Partial, mark: str, title: str) -> None:
    """Writes the file, whole or not at all. `title`: which evaluation this is, for people."""
    arrays: dict[str, Any] = {f"rows/{name}": values for name, values in partial.rows.items()}
    for name, moments in partial.moments.items():
        arrays |= {f"moments/{name}/count": np.int64(moments.count)}
        arrays |= {f"moments/{name}/mean": moments.mean, f"moments/{name}/scatter": moments.scatter}
    content = io.BytesIO()
    np.savez(content, mark=np.str_(mark), title=np.str_(title), **arrays)
    make_folder(output / FOLDER)
    write_file(output / FOLDER / FILE, content.getvalue())


def load(output: Path, mark: str) -> Partial:
    """Loads what was saved under the same fingerprint; returns an empty Partial where nothing was.

    Raises UserError where it belongs to another evaluation, or is damaged.
    """
    path = output / FOLDER / FILE
    if not path.is_file():
        return Partial()
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = dict(file)
        saved_mark, title = str(arrays.pop("mark")), str(arrays.pop("title"))
    except Exception as error:  # zipfile and NumPy raise many kinds of errors for damaged files
        raise UserError(
            f"{path} is damaged ({one_line(error)}): remove the folder {path.parent} to start again."
        ) from None
    if saved_mark != mark:
        raise UserError(
            f"{output} holds the beginning of another evaluation ({title}), or of this one with other pictures, "
            f"options or versions: name another folder, or remove {path.parent}."
        )
    rows = {name.removeprefix("rows/"): array for name, array in arrays.items() if name.startswith("rows/")}
    names = sorted({name.split("/")[1] for name in arrays if name.startswith("moments/")})
    moments = {
        name: Moments(
            int(arrays[f"moments/{name}/count"]), arrays[f"moments/{name}/mean"], arrays[f"moments/{name}/scatter"]
        )
        for name in names
    }
    return Partial(len(rows.get("mask", ())), rows, moments)


def remove(output: Path) -> None:
    """Removes what was saved, once the results are written."""
    shutil.rmtree(output / FOLDER, ignore_errors=True)
