"""The page without a server: a folder that any web server can offer, in which the browser does all of the work.

The folder holds the page, the model as ONNX files of float16 weights, ONNX Runtime for browsers, and the pictures to
try. What the page asks for lies beside it, by relative addresses, and it asks for nothing else.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.config import palette_spec
from palgan_jax.errors import UserError, one_line
from palgan_jax.export.onnx_parts import onnx_parts
from palgan_jax.export.refusals import config_with_palettes
from palgan_jax.palette.samples import prior
from palgan_jax.pretrained.origins import license_files
from palgan_jax.util.files import make_folder, write_file
from palgan_jax.web.about import EXAMPLES, PAGE, SAMPLES, SEED, about
from palgan_jax.web.runtime import runtime_files

ABOUT = Path("model") / "about.json"
MOST_PIXELS = 64_000_000
"""Of a picture: of each, a browser needs about nine bytes."""
_GENERATOR = "palgan web --static"
_CHOICE = b'export { BrowserEngine as Engine } from "./browser.js";\n'
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'"
)
_HEAD = '<meta charset="utf-8">'
_NOTES = ["The download is a PNG of 8 bits, without the captions, dates and places of its file."]


def check_folder(folder: Path) -> None:
    """Raises UserError where a folder holds something else than such a page."""
    try:
        is_used = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({one_line(error)}): name another folder for the page.") from error
    if is_used and not _is_page(folder):
        raise UserError(f"{folder} holds other files: name a new folder for the page.")


def _is_page(folder: Path) -> bool:
    try:
        return json.loads((folder / ABOUT).read_bytes())["generator"] == _GENERATOR
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_page(folder: Path, weights: Weights, runtime: Path | None = None) -> int:
    """Writes the page into a folder, whole or not at all; over an older page, file by file. Returns its bytes.

    Args:
      folder: a new one, an empty one, or that of an older page, whose other files stay.
      weights: the model.
      runtime: the .tgz file of onnxruntime-web; None to download it.

    Raises UserError as `check_folder`, `onnx_parts` and `runtime_files` do, and where the folder cannot be written.
    """
    check_folder(folder)
    files = {**_page_files(), **_model_files(weights), **_runtime_files(runtime)}
    if _is_page(folder):
        _write(folder, files)
    elif folder.exists():
        _fill(folder, files)
    else:
        _write_new(folder, files)
    return sum(map(len, files.values()))


def _write(folder: Path, files: dict[Path, bytes]) -> None:
    for path, content in files.items():
        make_folder((folder / path).parent)
        write_file(folder / path, content)


def _fill(folder: Path, files: dict[Path, bytes]) -> None:
    """Writes into an empty folder, which stays the same one: a shell may be in it, or a disk mounted there."""
    make_folder(folder)
    with _staged(folder, folder, files) as new_folder:
        # First that by which a page is known: broken off here, it is written over the next time.
        for path in sorted(new_folder.iterdir(), key=lambda path: path.name != ABOUT.parts[0]):
            path.rename(folder / path.name)


def _write_new(folder: Path, files: dict[Path, bytes]) -> None:
    folder = folder.absolute()
    make_folder(folder.parent)
    with _staged(folder, folder.parent, files) as new_folder:
        new_folder.rename(folder)


@contextmanager
def _staged(folder: Path, beside: Path, files: dict[Path, bytes]) -> Iterator[Path]:
    """Writes the files of a folder into another one for a `with` body that moves them. Raises UserError as it fails."""
    new_folder = beside / f".{uuid4().hex}.tmp"
    try:
        _write(new_folder, files)
        yield new_folder
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({one_line(error)}): name another folder.") from error
    finally:
        rmtree(new_folder, ignore_errors=True)


def _page_files() -> dict[Path, bytes]:
    files = {path.relative_to(PAGE): path.read_bytes() for path in _sources()}
    files[Path("index.html")] = _with_policy(files[Path("index.html")])
    files[Path("engine/choice.js")] = _CHOICE
    del files[Path("engine/server.js")]
    return files | {Path("examples") / f"{name}.jpg": (SAMPLES / f"{name}.jpg").read_bytes() for name in EXAMPLES}


def _sources() -> Iterator[Path]:
    return (path for path in sorted(PAGE.rglob("*")) if path.is_file())


def _with_policy(page: bytes) -> bytes:
    """Adds to the page what it may ask for: what lies beside it, and nothing else."""
    meta = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    return page.replace(_HEAD.encode(), f"{_HEAD}\n  {meta}".encode(), 1)


def _model_files(weights: Weights) -> dict[Path, bytes]:
    config: Any = config_with_palettes(weights)
    encoder, painter = onnx_parts(weights, half=True)
    roots, photographs, draws = prior(SEED)
    description = {
        "generator": _GENERATOR,
        **about(True, palette_spec(config), config.ab_range, {"png": ("PNG", ".png")}),
        "resolution": int(config.resolution),
        "mostPixels": MOST_PIXELS,
        "notes": _NOTES,
        "typical": {"roots": roots.tolist(), "counts": photographs.tolist(), "draws": draws.tolist()},
    }
    licenses = {Path("model") / name: content for name, content in license_files(config.net.encoder).items()}
    return {
        ABOUT: json.dumps(description).encode(),
        Path("model/encoder.onnx"): encoder.SerializeToString(),
        Path("model/painter.onnx"): painter.SerializeToString(),
        **licenses,
    }


def _runtime_files(package: Path | None) -> dict[Path, bytes]:
    return {Path("runtime") / name: content for name, content in runtime_files(package).items()}
