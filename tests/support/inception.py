"""The Inception of FID as PyTorch names its tensors."""

from palgan_jax.pretrained.kinds import KINDS


def torch_shapes():
    """Returns the shapes of pytorch-fid's tensors by name, from our parameters: convolutions and their batch norms."""
    shapes = {}
    for name, shape in KINDS["inception"].shapes().items():
        module, _, part = name.replace("/", ".").rpartition(".")
        if part == "kernel":
            shapes[f"{module}.conv.weight"] = (shape[3], shape[2], shape[0], shape[1])
        else:
            shapes |= {f"{module}.bn.{p}": shape for p in ("weight", "bias", "running_mean", "running_var")}
    return shapes
