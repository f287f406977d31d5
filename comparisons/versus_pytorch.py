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
import copy
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
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from palgan_jax.config import Phases, default_config, palette_spec  # noqa: E402
from palgan_jax.data.device import lab_batch  # noqa: E402
from palgan_jax.export import pytorch_network  # noqa: E402
from palgan_jax.nn.build import build_discriminator, build_generator  # noqa: E402
from palgan_jax.pretrained.load import load_vgg16  # noqa: E402
from palgan_jax.pretrained.vgg_alexnet import IMAGENET_MEAN, IMAGENET_STD, VGG16_CONVS  # noqa: E402
from palgan_jax.training.losses import PERCEPTUAL_WEIGHTS  # noqa: E402
from palgan_jax.training.optimizers import make_optimizers  # noqa: E402
from palgan_jax.training.state import init_state  # noqa: E402
from palgan_jax.training.step import make_train_step  # noqa: E402
from porting import convert  # noqa: E402
from porting import torch_losses as theirs  # noqa: E402
from porting.torch_palgan import ColorDiscriminator, Options, PalGAN  # noqa: E402
from tests.support.golden_recipe import uniform  # noqa: E402

STEPS = 1000  # of the learning rate's schedule; none is reached


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


class FusedNorm(nn.Module):
    """pytorch_network.BatchNorm by PyTorch's own kernel, which differs in the running variance alone."""

    def __init__(self, norm: pytorch_network.BatchNorm) -> None:
        super().__init__()
        self.register_buffer("mean", norm.mean)
        self.register_buffer("var", norm.var)

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.var, training=self.training, momentum=0.1, eps=1e-5)


def with_fused_norms(module: nn.Module) -> nn.Module:
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, pytorch_network.BatchNorm):
                setattr(parent, name, FusedNorm(child))
    return module


class VGG16(nn.Module):
    """The first activation of each stage, as the perceptual loss compares them."""

    def __init__(self, params: Any) -> None:
        super().__init__()
        fin = 3
        for name, width in VGG16_CONVS[:11]:
            conv = nn.Conv2d(fin, width, 3, padding=1).requires_grad_(False)
            conv.weight.data = torch.from_numpy(np.array(params[name]["kernel"]).transpose(3, 2, 0, 1).copy())
            conv.bias.data = torch.from_numpy(np.array(params[name]["bias"]))
            setattr(self, name, conv)
            fin = width
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None])

    def forward(self, rgb: Tensor) -> list[Tensor]:
        found, x = [], (rgb * 0.5 + 0.5 - self.mean) / self.std
        for name, _ in VGG16_CONVS[:11]:
            if name[5:] == "1" and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(getattr(self, name)(x))
            if name in PERCEPTUAL_WEIGHTS:
                found.append(x)
        return found


class Torch:
    """The networks, optimizers and averages of a training run in PyTorch."""

    def __init__(self, variables: Any, judge: Any, batch: Any, vgg: Any, channels_last: bool, compiled: bool = False):
        self.order = torch.channels_last if channels_last else torch.contiguous_format
        self.generator = PalGAN(Options(), batch["rgb"].shape[1])
        self.discriminator = ColorDiscriminator()
        convert.load_flax(self.generator, variables)
        convert.load_flax(self.discriminator, judge)
        self.vgg = None if vgg is None else VGG16(vgg).to(memory_format=self.order)
        for module in (self.generator, self.discriminator):
            with_fused_norms(module).to(memory_format=self.order)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.g_adam = torch.optim.Adam(self.generator.parameters(), 1e-4, (0.0, 0.9), fused=True)
        self.d_adam = torch.optim.Adam(self.discriminator.parameters(), 4e-4, (0.0, 0.9), fused=True)
        given = {name: torch.from_numpy(np.array(x)) for name, x in batch.items()}
        self.l, self.c = (self.to_nchw(given[name]) for name in ("l", "c"))
        self.h, self.rgb = given["h"], self.to_nchw(given["rgb"].float() / 127.5 - 1)
        if compiled:
            for module in (self.generator, self.discriminator, self.vgg):
                if module is not None:
                    module.compile()

    def to_nchw(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2).contiguous(memory_format=self.order)

    def train(self) -> float:
        predicted, c_hat = self.generator(self.l, self.h)
        rgb_hat = self.to_nchw(theirs.render(self.l.permute(0, 2, 3, 1), c_hat.permute(0, 2, 3, 1)))

        self.discriminator.requires_grad_(True)
        logits = self.discriminator(
            torch.cat([self.c, c_hat.detach()]), torch.cat([self.rgb, rgb_hat.detach()]), torch.cat([self.h, self.h])
        )
        self.d_adam.zero_grad(set_to_none=True)
        theirs.discriminator_loss(*logits.chunk(2)).backward()

        self.discriminator.requires_grad_(False)
        fake = self.discriminator(c_hat, rgb_hat, self.h)
        loss = 10 * theirs.l1_loss(c_hat, self.c) + theirs.adversarial_loss(fake)
        loss = loss + theirs.palette_loss(predicted, self.h)
        if self.vgg is not None:
            with torch.no_grad():
                wanted = self.vgg(self.rgb)
            pairs = zip(PERCEPTUAL_WEIGHTS.values(), self.vgg(rgb_hat), wanted, strict=True)
            loss = loss + sum(weight * theirs.l1_loss(f, w) for weight, f, w in pairs)
        self.g_adam.zero_grad(set_to_none=True)
        loss.backward()
        self.d_adam.step()
        self.g_adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.generator.parameters()), 1e-3)
            torch._foreach_lerp_(self.statistics(self.average), self.statistics(self.generator), 1e-3)
        return float(loss.detach())

    @staticmethod
    def statistics(module: nn.Module) -> list[Tensor]:
        return [buffer for name, buffer in module.named_buffers() if name.endswith(("mean", "var"))]

    def colorize(self) -> np.ndarray:
        self.generator.eval()
        with torch.inference_mode():
            _, c_hat = self.generator(self.l)
        self.generator.train()
        return c_hat.permute(0, 2, 3, 1).numpy()


# ---- ours ------------------------------------------------------------------------------------------------------------


class Ours:
    """The training step and the prediction as the package makes them."""

    def __init__(self, options: argparse.Namespace, vgg: Any):
        config = default_config()
        config.net.width = config.discriminator.width = options.width
        config.batch_size, config.resolution = options.batch, options.resolution
        config.loss.perceptual = float(options.perceptual)
        generator, discriminator = build_generator(config), build_discriminator(config)
        transformations = make_optimizers(config, Phases(STEPS, STEPS))

        def start(key: jax.Array) -> Any:
            return init_state(key, generator, discriminator, *transformations, options.resolution)

        self.state = jax.jit(start)(jax.random.key(0))
        rgb = uniform("benchmark", (options.batch, options.resolution, options.resolution, 3), 0, 256).astype(np.uint8)
        self.batch = jax.jit(lambda rgb: lab_batch(rgb, palette_spec(config), config.ab_range))(rgb)
        self.variables = jax.tree.map(np.array, self.state.generator)
        self.judge = jax.tree.map(np.array, self.state.discriminator)
        self.vgg = vgg
        self.step = jax.jit(make_train_step(config, generator, discriminator, *transformations), donate_argnums=0)
        self.predict = jax.jit(lambda variables, l: generator.apply(variables, l))

    def train(self) -> float:
        self.state, metrics = self.step(self.state, self.batch, self.vgg)
        return float(jax.block_until_ready((self.state, metrics))[1]["loss/g"])

    def colorize(self) -> np.ndarray:
        return np.asarray(self.predict(self.variables, self.batch["l"])[1])


# ---- turns -----------------------------------------------------------------------------------------------------------


def contend(name: str, options: argparse.Namespace, pipe: Connection) -> None:
    """A side in a process of its own: runs what it is asked for, and says how many seconds that took, and the picture.

    In one process the allocator and the threads of each would be in the other's way.
    """
    torch.set_num_threads(THREADS)
    ours = Ours(options, load_vgg16("") if options.perceptual else None)
    side: Any = ours
    if name != "ours":
        given = (ours.variables, ours.judge, ours.batch, ours.vgg)
        side = Torch(*given, "channels_last" in name, *([True] if "compiled" in name else []))
        ours.state = None
    while work := pipe.recv():
        start = time.perf_counter()
        made = getattr(side, work)()
        pipe.send((time.perf_counter() - start, made if work == "colorize" else None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--batch", type=int, default=4, help="pictures in a batch")
    parser.add_argument("--resolution", type=int, default=256, help="pixels a side")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side; medians count")
    parser.add_argument("--perceptual", action="store_true", help="train with the perceptual loss")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too")
    options = parser.parse_args()
    options.width = 1.0
    eager, compiled = ("contiguous", "channels_last"), ("compiled", "compiled_channels_last")
    names = ("ours", *eager, *(compiled if options.compile else ()))
    context, pipes = multiprocessing.get_context("spawn"), {}
    for name in names:
        pipes[name], end = context.Pipe()
        context.Process(target=contend, args=(name, options, end), daemon=True).start()

    def turn(name: str, work: str) -> tuple[float, Any]:
        pipes[name].send(work)
        return pipes[name].recv()

    painted = {name: turn(name, "colorize")[1] for name in names}
    difference = float(np.abs(painted["ours"] - painted["contiguous"]).max())
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
