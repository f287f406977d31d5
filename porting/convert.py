"""Carries the weights of a network between its Flax variables and its PyTorch module.

Flax variables: `{"params": ..., "batch_stats": ..., "spectral": ...}`, nested dictionaries of arrays. Needs no JAX, for
NumPy arrays are what is passed. On the way
  - kernels: HWIO <-> OIHW, (in, out) <-> (out, in);
  - the dense layer behind a flattened feature map: its rows follow (H, W, C) in Flax and (C, H, W) in PyTorch;
  - the spectral vector: (1, C) <-> (C,);
  - `BatchNorm_0` in Flax is `norm` in PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from porting.torch_palgan import PaletteGenerator

FLAX_LEAF = {"weight": "kernel"}


def _leaves(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _flattened(module: nn.Module) -> dict[str, int]:
    """The weights of the dense layers behind a flattened map -> how many channels that map has."""
    return {
        f"{name}.head.weight".lstrip("."): part.conv_5.out_channels
        for name, part in module.named_modules()
        if isinstance(part, PaletteGenerator) and hasattr(part, "head")
    }


def flax_path(name: str) -> tuple[str, ...]:
    """Where Flax keeps the tensor that PyTorch calls `name`, the collection first: ("params", "stem", "kernel")."""
    *parts, leaf = name.split(".")
    collection = {"mean": "batch_stats", "var": "batch_stats", "u": "spectral"}.get(leaf, "params")
    parts = ["BatchNorm_0" if part == "norm" else part for part in parts]
    return (collection, *parts, FLAX_LEAF.get(leaf, leaf))


def to_flax_array(name: str, array: np.ndarray, channels: int | None = None) -> np.ndarray:
    """One tensor of PyTorch in Flax's order; `channels` are those of the flattened map that a dense layer reads."""
    if name.rsplit(".", 1)[-1] == "u":
        return array[None]
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.ndim == 2 and channels is not None:
        side = round((array.shape[1] / channels) ** 0.5)
        rows = array.reshape(-1, channels, side, side).transpose(2, 3, 1, 0)  # (H, W, C, out)
        return rows.reshape(array.shape[1], -1)
    return array.T if array.ndim == 2 else array


def to_torch_array(name: str, array: np.ndarray, channels: int | None = None) -> np.ndarray:
    """The inverse of `to_flax_array`."""
    if name.rsplit(".", 1)[-1] == "u":
        return array[0]
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if array.ndim == 2 and channels is not None:
        side = round((array.shape[0] / channels) ** 0.5)
        rows = array.reshape(side, side, channels, -1).transpose(3, 2, 0, 1)  # (out, C, H, W)
        return rows.reshape(-1, array.shape[0])
    return array.T if array.ndim == 2 else array


def nest(tensors: dict[str, Tensor], module: nn.Module) -> dict[str, Any]:
    """Named tensors shaped as the module's (its weights, or their gradients) -> nested dictionary in Flax's layout."""
    flattened, nested = _flattened(module), {}
    for name, tensor in tensors.items():
        *parents, leaf = flax_path(name)
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = np.array(to_flax_array(name, tensor.detach().numpy(), flattened.get(name)), order="C")
    return nested


def to_flax(module: nn.Module) -> dict[str, Any]:
    """A module's parameters, batch statistics and spectral vectors as Flax variables."""
    return nest({name: tensor.clone() for name, tensor in _leaves(module)}, module)


def gradients(module: nn.Module) -> dict[str, Any]:
    """The gradients of a module's parameters, laid out as Flax's `params`; zero where a parameter took no part."""
    found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in module.named_parameters()}
    return nest(found, module)["params"]


def load_flax(module: nn.Module, variables: dict[str, Any]) -> None:
    """Copies Flax variables into a module, in place.

    Raises:
      ValueError: a tensor is missing on either side, or the shapes differ.
    """
    flattened, used = _flattened(module), set()
    for name, tensor in _leaves(module):
        path = flax_path(name)
        node: Any = variables
        for part in path:
            if part not in node:
                raise ValueError(f"the Flax variables lack {'/'.join(path)}, which {name} is read from")
            node = node[part]
        array = to_torch_array(name, np.asarray(node), flattened.get(name))
        if array.shape != tuple(tensor.shape):
            raise ValueError(f"{'/'.join(path)} gives {array.shape}, but {name} is {tuple(tensor.shape)}")
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.array(array)))
        used.add(path)
    unused = sorted("/".join(path) for path in _paths(variables) if path not in used)
    if unused:
        raise ValueError(f"the PyTorch module has no place for {', '.join(unused)}")


def _paths(tree: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _paths(value, (*prefix, key))
    else:
        yield prefix
