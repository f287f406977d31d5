"""Finds the version folder of a prepared set on the local disk, and reads and writes its description."""

import json
import re
from pathlib import Path
from typing import Any

from palgan_jax.data.tfds_layout import INFO
from palgan_jax.errors import UserError
from palgan_jax.util.files import write_file


def find_prepared(data_dir: Path, builder: str) -> Path | None:
    """Returns the newest version folder of a set, e.g. DATA_DIR/coco/2017/1.1.0; None where there is none."""
    versions = [path.parent for path in (data_dir / builder).glob(f"*/{INFO}") if _version(path.parent)]
    return max(versions, key=_version, default=None)


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(map(int, folder.name.split("."))) if re.fullmatch(r"\d+\.\d+\.\d+", folder.name) else ()


def read_info(folder: Path) -> dict[str, Any]:
    """Reads `dataset_info.json` of a version folder. Raises UserError where it cannot be read."""
    path = folder / INFO
    try:
        info = json.loads(path.read_bytes())
        if not isinstance(info["splits"], list):
            raise TypeError("splits")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error!r}): remove the folder and prepare the set again.") from error
    return info


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """Writes `dataset_info.json`, whole or not at all."""
    write_file(folder / INFO, json.dumps(info, indent=2, sort_keys=True).encode())
