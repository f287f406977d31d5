"""E and G for PyTorch: a state dict in PyTorch's own format, and beside it one module that computes with it.

The module is a copy of `pytorch_network.py` in which the options are those of the weights. Neither is made by PyTorch:
a .pt file is a zip archive of a pickle, which names tensors and their shapes, and of their numbers
(https://docs.pytorch.org/docs/stable/notes/serialization.html).
"""

import io
import keyword
import pickle
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.checkpoint.weights_file import stored_array
from palgan_jax.config import from_dict, palette_spec
from palgan_jax.errors import UserError
from palgan_jax.export.layers import reordered_rows
from palgan_jax.export.onnx_model import checked_model
from palgan_jax.util.files import write_file
from palgan_jax.util.trees import flatten

NETWORK = Path(__file__).with_name("pytorch_network.py")
_FIRST_LINE = NETWORK.read_text(encoding="utf-8").partition("\n")[0]
_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage"}
_OF_FLAX = {"kernel": "weight", "BatchNorm_0": "norm"}
_SAME_DAY = (1980, 1, 1, 0, 0, 0)
"""Of all entries, so that equal weights are equal files."""


def save_pytorch(path: Path, weights: Weights, dtype: str = "float32") -> None:
    """Writes model.pt, and model.py beside it, each whole or not at all.

    Raises UserError for models without palettes, where arrays are missing or do not fit, where a file of that name
    beside it is not such a module, and where they cannot be written.
    """
    module = path.with_suffix(".py")
    reserved_names = {"torch", *sys.stdlib_module_names, *keyword.kwlist}
    if not module.stem.isidentifier() or module.stem in reserved_names:
        raise UserError(
            f"{module.name} would be written too, and Python cannot import a module of that name: choose another, "
            "such as model.pt."
        )
    if module.exists() and not _is_ours(module):
        raise UserError(f"{module} would be written too, and holds something else: choose another name.")
    checked_model(weights)  # runs, so that all arrays are there and fit
    tensors = {
        name: stored_array(f"{collection}/", array, dtype)
        for collection, tree in weights.variables.items()
        for name, array in state_dict({collection: tree}).items()
    }
    write_file(path, pytorch_bytes(tensors))
    write_file(module, module_text(weights.config, path.stem).encode())


def _is_ours(module: Path) -> bool:
    try:
        return module.read_text(encoding="utf-8").startswith(_FIRST_LINE)
    except (OSError, ValueError):
        return False


def state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the arrays of Flax variables, {"params": ..., ...}, by the names and in the order of axes of PyTorch.

    Kernels of convolutions become (out, in, kh, kw), and those of dense layers (out, in); rows behind a flattened
    picture are reordered from (H, W, C) to (C, H, W).
    """
    flat = flatten(variables)
    tensors = {}
    for (collection, *path), value in flat.items():
        array = np.asarray(value, np.float32)
        last = flat.get((collection, *path[:-2], "conv_5", "kernel")) if path[-2:] == ["head", "kernel"] else None
        if last is not None:
            channels = last.shape[-1]
            array = reordered_rows(array, round((array.shape[0] / channels) ** 0.5)).T
        elif path[-1] == "kernel":
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        elif collection == "spectral":
            array = array[0]
        tensors[".".join(_OF_FLAX.get(name, name) for name in path)] = array
    return tensors


def module_text(config: dict[str, Any], name: str) -> str:
    """Returns the module of a config's network, as `name`.py."""
    full: Any = from_dict(config)
    text = NETWORK.read_text(encoding="utf-8")
    fields = text.partition("class Options:")[2].partition("OPTIONS = ")[0]
    names = [line.split(":")[0].strip() for line in fields.splitlines() if " = " in line]
    values = {**full.net, "resolution": full.resolution, "ab_range": full.ab_range, "bins": palette_spec(full).size}
    options = "".join(f"    {field}={values[field]!r},\n" for field in names)
    text = text.replace("OPTIONS = Options()", f"OPTIONS = Options(\n{options})")
    return text.replace("from model import", f"from {name} import").replace("model.p", f"{name}.p")


# ----------------------------------------------------------------------------------------------------- PyTorch's format


def pytorch_bytes(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Returns what `torch.save` writes for a dict of tensors on the CPU, of float32 or float16."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(f"model/{name}", _SAME_DAY), content)

        add("data.pkl", _pickle(tensors))
        add("byteorder", b"little")
        for number, array in enumerate(tensors.values()):
            add(f"data/{number}", np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        add("version", b"3\n")
    return buffer.getvalue()


def _pickle(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Returns the pickle of a state dict: calls of `torch._utils._rebuild_tensor_v2`, as PyTorch's own makes them.

    Written by operation codes, since a Pickler looks names up in modules, which PyTorch's need not be here.
    """
    pieces = [pickle.PROTO + b"\x02", pickle.EMPTY_DICT, pickle.MARK]
    for number, (name, array) in enumerate(tensors.items()):
        storage = _tuple(
            _text("storage"), _name("torch", _STORAGES[array.dtype.name]), _text(str(number)), _text("cpu"),
            _integer(array.size),
        )  # fmt: skip
        strides = [size // array.itemsize for size in np.empty(array.shape, array.dtype).strides]
        hooks = _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
        arguments = _tuple(
            storage + pickle.BINPERSID,
            _integer(0),  # offset
            _tuple(*map(_integer, array.shape)),
            _tuple(*map(_integer, strides)),
            pickle.NEWFALSE,  # requires_grad
            hooks,
        )
        pieces += [_text(name), _name("torch._utils", "_rebuild_tensor_v2"), arguments, pickle.REDUCE]
    return b"".join([*pieces, pickle.SETITEMS, pickle.STOP])


def _tuple(*parts: bytes) -> bytes:
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _integer(number: int) -> bytes:
    return pickle.BININT + struct.pack("<i", number)


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()
