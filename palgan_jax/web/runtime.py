"""ONNX Runtime for browsers, from the registry of npm: one version, whose digest is known."""

import tarfile
from pathlib import Path

from palgan_jax.errors import UserError, one_line
from palgan_jax.prepare.download import download
from palgan_jax.util.files import cache_folder, has_digest, make_folder
from palgan_jax.util.progress import Progress

VERSION = "1.30.0"
ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
BYTES = 33_106_585
SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
"""What `npm view onnxruntime-web@VERSION dist.integrity` shows in base64."""
FILES = {
    "package/dist/ort.wasm.bundle.min.mjs": "ort.wasm.bundle.min.js",  # .mjs is no script for some hosts
    "package/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
"""The parts of the package that run models on the CPU -> their names beside the page."""


def runtime_files(package: Path | None = None) -> dict[str, bytes]:
    """Returns the files of the runtime by their names.

    package: the .tgz file of the package; None for that in the folder of caches, to which it is downloaded once.

    Raises UserError where it cannot be had, and where it is another file than that of npm.
    """
    path = _cached() if package is None else package
    try:
        if not has_digest(path, SHA512):
            raise UserError(
                f"{path} is not onnxruntime-web {VERSION} as npm has it: fetch it by "
                f"`npm pack onnxruntime-web@{VERSION}`."
            )
        with tarfile.open(path) as archive:
            return {name: _content(archive, member) for member, name in FILES.items()}
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): name another file.") from error


def _content(archive: tarfile.TarFile, member: str) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # its digest is that of the package that has it
    with file:
        return file.read()


def _cached() -> Path:
    folder = cache_folder()
    path = folder / f"onnxruntime-web-{VERSION}.tgz"
    if path.exists():
        if has_digest(path, SHA512):
            return path
        path.unlink()  # our own copy, damaged
    make_folder(folder)
    remedy = f"fetch it elsewhere (npm pack onnxruntime-web@{VERSION}) and name the file with --runtime"
    with Progress(path.name, BYTES, unit="B") as progress:
        download([ADDRESS], path, BYTES, SHA512, lambda count: progress.advance(count=count), remedy)
    return path
