"""Everything that is worth knowing of a GPU, in eight minutes: our programs, and PyTorch's beside them.

    comparisons/gpu.sh                                # on a machine with a GPU: installs, measures, prints a table
    python -m comparisons.gpu [--json FILE]           # in an environment that has both; PyTorch is left out if absent
    python -m comparisons.gpu --quick                 # a look at it, on any machine, with small networks

Each part runs in a process of its own, since JAX and PyTorch both take a card's memory, and is given up when it has
taken half of the minutes that were left; the figures of the others stand. Both train whole steps (E, G and D forward
and back, all losses but the perceptual one, both Adams, averages) with the same weights on the same batch, and colorize
it. In float32 both use the card's TF32, as JAX does unless told otherwise; the networks are compared without it.

  parity     how far the two paint apart, in float32
  step       a training step in float32 and bfloat16: ours; PyTorch eager and compiled, in channels-last order
  peak       `palgan benchmark`: operations and their share of a matrix product's rate
  metrics    PSNR, SSIM, LPIPS, colorfulness and the features of FID, as `palgan evaluate` measures them
  transfer   bytes of pictures to the device, and to Lab and palettes there
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from palgan_jax.util.text import aligned

PRECISIONS = ("bfloat16", "float32")
SIDES = ("ours", "pytorch_compiled", "pytorch")
"""In the order in which they are measured: the most telling first, should the minutes be over."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which parts are given up (default: 8)")
    parser.add_argument("--batch", type=int, default=32, help="pictures in a batch (default: 32)")
    parser.add_argument("--steps", type=int, default=20, help="calls that are timed; medians count (default: 20)")
    parser.add_argument("--quick", action="store_true", help="small networks and pictures, and two calls")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.resolution, options.width, options.perceptual = 256, 1.0, False
    if options.quick:
        options.resolution, options.width, options.batch, options.steps = 64, 1 / 16, 2, 2
    if options.part:
        name, _, options.precision = options.part.partition(":")
        print(json.dumps(PARTS[name](options)))
        return
    end = time.monotonic() + 60 * options.minutes
    figures: dict[str, Any] = {"date": datetime.date.today().isoformat(), **part("machine", options, end)}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PALGAN_COMPARISON"] = folder  # where a side leaves what it has painted
        sides = SIDES if find_spec("torch") else SIDES[:1]
        for precision in PRECISIONS:
            figures[precision] = {side: part(f"{side}:{precision}", options, end) for side in sides}
        figures["parity"] = part("parity", options, end) if len(sides) > 1 else {"error": "PyTorch is not installed"}
    for name in ("metrics", "transfer", "peak"):
        figures[name] = part(name, options, end)
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def part(name: str, options: argparse.Namespace, end: float) -> dict[str, Any]:
    """Returns the figures of a part, measured by a process of its own, or its error.

    It has half of the time until `end`, so that something is left for the parts after it.
    """
    remaining = end - time.monotonic()
    if remaining <= 0:
        return {"error": "no time was left"}
    words = [f"--part={name}", f"--batch={options.batch}", f"--steps={options.steps}"]
    command = [sys.executable, "-m", "comparisons.gpu", *words, *(["--quick"] if options.quick else [])]
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if name.startswith("pytorch"):
        environment["JAX_PLATFORMS"] = "cpu"  # which draws the weights alone
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=remaining / 2)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {remaining / 2:.0f} s, half of what was left"}
    if process.returncode:
        return {"error": (process.stderr.strip() or f"ended with {process.returncode}").splitlines()[-1]}
    return json.loads(process.stdout.splitlines()[-1])


# ---- parts, each in a process of its own -----------------------------------------------------------------------------


def machine(_: argparse.Namespace) -> dict[str, Any]:
    import jax

    device = jax.devices()[0]
    versions = {"jax": jax.__version__}
    if find_spec("torch"):
        import torch

        versions["torch"] = torch.__version__
    return {"platform": device.platform, "device": device.device_kind, "versions": versions}


def timed(call: Any, steps: int) -> float:
    """Returns the median seconds of a call that waits for its result, after two that are not counted."""
    seconds = []
    for _ in range(2 + steps):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def side_figures(side: Any, options: argparse.Namespace, start: float) -> dict[str, Any]:
    side.train()
    ready = time.perf_counter() - start
    step, batch = timed(side.train, options.steps), timed(side.colorize, options.steps)
    return {"first_step_s": ready, "step_ms": 1e3 * step, "images_per_second": options.batch / step,
            "inference_images_per_second": options.batch / batch}  # fmt: skip


def keep_painted(name: str, paintings: Any) -> None:
    import numpy as np

    np.save(Path(os.environ["PALGAN_COMPARISON"]) / f"{name}.npy", paintings)


def ours(options: argparse.Namespace) -> dict[str, Any]:
    import jax

    from comparisons.jax_step import Ours

    start = time.perf_counter()
    side = Ours(options, None)
    if options.precision == "float32":
        with jax.default_matmul_precision("highest"):
            keep_painted("ours", side.colorize())
        jax.clear_caches()
    figures = side_figures(side, options, start)
    memory = jax.devices()[0].memory_stats() or {}
    return figures | {"memory_gb": memory.get("peak_bytes_in_use", 0) / 1e9 or None}


def pytorch(options: argparse.Namespace, compiled: bool = False) -> dict[str, Any]:
    import torch

    from comparisons.jax_step import Ours
    from comparisons.pytorch_step import Torch

    draws = Ours(options, None)
    arguments = (draws.variables, draws.judge, draws.batch, None)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    start = time.perf_counter()
    side = Torch(*arguments, True, compiled, device, options.precision, options.width)
    if options.precision == "float32" and not compiled:
        keep_painted("pytorch", side.colorize())
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    figures = side_figures(side, options, start)
    return figures | {"memory_gb": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None}


def pytorch_compiled(options: argparse.Namespace) -> dict[str, Any]:
    return pytorch(options, compiled=True)


def parity(_: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    folder = Path(os.environ["PALGAN_COMPARISON"])
    first, second = (np.load(folder / f"{name}.npy") for name in ("ours", "pytorch"))
    return {"largest_difference": float(np.abs(first - second).max()), "largest_value": float(np.abs(first).max())}


def metrics(options: argparse.Namespace) -> dict[str, Any]:
    from functools import partial

    import jax
    import numpy as np
    from flax.traverse_util import unflatten_dict

    from palgan_jax.metrics.catalogue import with_companions
    from palgan_jax.metrics.measure import measure
    from palgan_jax.pretrained.kinds import KINDS
    from palgan_jax.pretrained.load import load_metric_weights

    # Inception's weights are drawn, which takes the time of the published ones.
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0, 0.02, shape).astype(np.float32) for name, shape in KINDS["inception"].shapes().items()
    }
    params = {"fid": unflatten_dict(weights, sep="/"), "lpips_alexnet": load_metric_weights("lpips-alexnet")}
    names = with_companions(("psnr", "ssim", "lpips_alexnet", "colorfulness", "fid"))
    run, params = jax.jit(partial(measure, metrics=names)), jax.device_put(params)
    shape = (options.batch, options.resolution, options.resolution, 3)
    pictures = {name: rng.integers(0, 256, shape, np.uint8) for name in ("predicted", "truth")}
    start = time.perf_counter()
    jax.block_until_ready(run(params, pictures))
    first = time.perf_counter() - start
    seconds = timed(lambda: jax.block_until_ready(run(params, pictures)), options.steps)
    return {"first_s": first, "images_per_second": options.batch / seconds}


def transfer(options: argparse.Namespace) -> dict[str, Any]:
    import jax
    import numpy as np

    from palgan_jax.config import default_config, palette_spec
    from palgan_jax.data.device import lab_batch

    config = default_config()
    shape = (options.batch, options.resolution, options.resolution, 3)
    rgb = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    to_lab = jax.jit(lambda rgb: lab_batch(rgb, palette_spec(config), config.ab_range))
    seconds = timed(lambda: jax.block_until_ready(jax.device_put(rgb)), options.steps)
    ready = timed(lambda: jax.block_until_ready(to_lab(jax.device_put(rgb))), options.steps)
    return {"gb_per_second": rgb.nbytes / seconds / 1e9, "images_per_second": options.batch / ready}


def peak(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        small = ["net.attention=none", "net.norm=batch", "net.spectral=false", "resolution=64"] if options.quick else []
        fields = ["loss.perceptual=0", f"net.width={options.width}", f"discriminator.width={options.width}", *small]
        command = [sys.executable, "-m", "palgan_jax.cli", "benchmark", "--config=imagenet256", f"--json={file}"]
        command += [
            f"--batch={options.batch}",
            f"--steps={options.steps}",
            "--sweep",
            f"precision={','.join(PRECISIONS)}",
        ]
        subprocess.run([*command, *(f"--config.{field}" for field in fields)], check=True, stdout=subprocess.DEVNULL)
        rows = json.loads(file.read_text())["rows"]
    names = ("share_of_matrix_peak", "matrix_peak_gflops", "gflop_per_image", "images_per_second")
    return {row["setting"]["precision"]: {name: row[name] for name in names} for row in rows}


PARTS = {
    f.__name__: f for f in (machine, ours, pytorch, pytorch_compiled, parity, metrics, transfer, peak)
}  # fmt: skip


# ---- the table -------------------------------------------------------------------------------------------------------


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text: a row a side, our speed as a multiple of the quicker PyTorch's, and lines."""
    rows = [["", "step, ms", "images a second", "colorizing, a second", "memory, GB", "first step, s", "times PyTorch"]]
    notes = []
    for precision in PRECISIONS:
        sides = figures[precision]
        rivals = [side["step_ms"] for name, side in sides.items() if name != "ours" and "step_ms" in side]
        for name, side in sides.items():
            label = f"{name.replace('_', ' ')}, {precision}"
            if "error" in side:
                notes.append(f"{label}: {side['error']}")
                continue
            times = f"{min(rivals) / side['step_ms']:.2f}" if rivals and name == "ours" else ""
            memory = f"{side['memory_gb']:.2f}" if side["memory_gb"] else "-"
            speeds = [f"{side[key]:.1f}" for key in ("step_ms", "images_per_second", "inference_images_per_second")]
            rows.append([label, *speeds, memory, f"{side['first_step_s']:.0f}", times])
    for name in ("parity", "metrics", "transfer", "peak"):
        notes.append(f"{name}: {words(figures[name])}")
    head = f"{figures['date']}, {figures.get('device', figures.get('error'))}, {words(figures.get('versions', {}))}"
    return "\n".join([head, "", aligned(rows), "", *notes])


def words(figures: dict[str, Any]) -> str:
    """Returns nested figures as one line."""
    cells = []
    for name, value in figures.items():
        text = f"({words(value)})" if isinstance(value, dict) else f"{value:.4g}" if isinstance(value, float) else value
        cells.append(f"{name.replace('_', ' ')} {text}")
    return ", ".join(cells)


if __name__ == "__main__":
    main()
