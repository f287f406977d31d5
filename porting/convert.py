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

from palgan_jax.export.pytorch_file import state_dict
from palgan_jax.export.pytorch_network import PaletteGenerator

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
    gradients_by_name = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in module.named_parameters()}
    return nest(gradients_by_name, module)["params"]


def load_flax(module: nn.Module, variables: dict[str, Any]) -> None:
    """Copies Flax variables into a module, in place. Raises RuntimeError where names or shapes differ."""
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state_dict(variables).items()})
