"""How fast the networks train and colorize on the CPU, beside the same networks in PyTorch, in turn.

    python -m comparisons.versus_pytorch [--json FILE]     # in an environment with the extra porting

Both have two threads, the same weights and the same batch, and take turns, each in a process of its own; a ratio is
PyTorch's median time by ours, so that more than 1 says that ours is quicker. Training is a whole step: E, G and D
forward and back, all losses (the perceptual one with --perceptual), both Adams, and the averaged weights. Colorizing is
E and G without gradients. Both keep their memory, in huge pages, as docs/performance.md recommends, unless
GLIBC_TUNABLES is set to something else.

PyTorch runs porting/'s modules as somebody who knows it would run them: with its own batch norm, the fused Adam,
averages by foreach, gradients of D's weights only where D learns, and in contiguous or channels-last order, whichever
is quicker.
--compile adds torch.compile, where a C++ compiler is there.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

THREADS = 2
KEEP_MEMORY = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:glibc.malloc.arena_max=1"
)
if "GLIBC_TUNABLES" not in os.environ:  # glibc reads it when a process starts
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "GLIBC_TUNABLES": KEEP_MEMORY})
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # before JAX counts its threads
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from comparisons.jax_step import Ours  # noqa: E402
from comparisons.pytorch_step import Torch  # noqa: E402
from palgan_jax.pretrained.load import load_vgg16  # noqa: E402


def contend(name: str, options: argparse.Namespace, pipe: Connection) -> None:
    """A side in a process of its own: runs what it is asked for, and says how many seconds that took, and the picture.

    In one process the allocator and the threads of each would be in the other's way.
    """
    torch.set_num_threads(THREADS)
    ours = Ours(options, load_vgg16("") if options.perceptual else None)
    side: Any = ours
    if name != "ours":
        arguments = (ours.variables, ours.judge, ours.batch, ours.vgg)
        side = Torch(*arguments, "channels_last" in name, *([True] if "compiled" in name else []))
        ours.state = None
    while work := pipe.recv():
        start = time.perf_counter()
        result = getattr(side, work)()
        pipe.send((time.perf_counter() - start, result if work == "colorize" else None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--batch", type=int, default=4, help="pictures in a batch")
    parser.add_argument("--resolution", type=int, default=256, help="pixels a side")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side; medians count")
    parser.add_argument("--perceptual", action="store_true", help="train with the perceptual loss")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too")
    options = parser.parse_args()
    options.width, options.precision = 1.0, "float32"
    eager, compiled = ("contiguous", "channels_last"), ("compiled", "compiled_channels_last")
    names = ("ours", *eager, *(compiled if options.compile else ()))
    context, pipes = multiprocessing.get_context("spawn"), {}
    for name in names:
        pipes[name], end = context.Pipe()
        context.Process(target=contend, args=(name, options, end), daemon=True).start()

    def turn(name: str, work: str) -> tuple[float, Any]:
        pipes[name].send(work)
        return pipes[name].recv()

    paintings = {name: turn(name, "colorize")[1] for name in names}
    difference = float(np.abs(paintings["ours"] - paintings["contiguous"]).max())
    assert difference < 1e-3, f"the two sides do not paint the same: {difference}"
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{len(os.sched_getaffinity(0))} cores of {_processor()}",
        "versions": {"jax": jax.__version__, "torch": torch.__version__},
        "batch": options.batch,
        "resolution": options.resolution,
        "perceptual": options.perceptual,
        "rounds": options.rounds,
        "memory_kept": os.environ["GLIBC_TUNABLES"] == KEEP_MEMORY,
        "largest_difference": difference,
    }
    for kind, work in (("inference", "colorize"), ("train", "train")):
        rounds = [[turn(name, work)[0] for name in names] for _ in range(options.rounds + 1)][1:]  # the first compiles
        times = dict(zip(names, zip(*rounds, strict=True), strict=True))
        medians = {name: statistics.median(times[name]) / options.batch for name in names}
        result[f"{kind}_ms"] = {name: round(1e3 * value, 1) for name, value in medians.items()}
        for suffix, rivals in (("", eager), ("_compiled", compiled)):
            if rivals[0] in names:
                result[f"{kind}_ratio{suffix}"] = round(min(medians[n] for n in rivals) / medians["ours"], 3)
    for pipe in pipes.values():
        pipe.send(None)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())


if __name__ == "__main__":
    main()
