"""The same training step and prediction in PyTorch, as somebody who knows it would run them.

With its own batch norm, the fused Adam, averages by foreach, and gradients of D's weights only where D learns.
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palgan_jax.export import pytorch_network
from palgan_jax.pretrained.vgg_alexnet import IMAGENET_MEAN, IMAGENET_STD, VGG16_CONVS
from palgan_jax.training.losses import PERCEPTUAL_WEIGHTS
from porting import convert
from porting import torch_losses as theirs
from porting.torch_palgan import ColorDiscriminator, Options, PalGAN


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
        features, x = [], (rgb * 0.5 + 0.5 - self.mean) / self.std
        for name, _ in VGG16_CONVS[:11]:
            if name[5:] == "1" and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(getattr(self, name)(x))
            if name in PERCEPTUAL_WEIGHTS:
                features.append(x)
        return features


class Torch:
    """The networks, optimizers and averages of a training run in PyTorch."""

    def __init__(
        self, variables: Any, judge: Any, batch: Any, vgg: Any, channels_last: bool, compiled: bool = False,
        device: str = "cpu", precision: str = "float32", width: float = 1.0,
    ):  # fmt: skip
        self.order = torch.channels_last if channels_last else torch.contiguous_format
        self.device, self.precision = torch.device(device), precision
        self.generator = PalGAN(Options(width=width), batch["rgb"].shape[1])
        self.discriminator = ColorDiscriminator(width)
        convert.load_flax(self.generator, variables)
        convert.load_flax(self.discriminator, judge)
        self.vgg = None if vgg is None else VGG16(vgg).to(self.device, memory_format=self.order)
        for module in (self.generator, self.discriminator):
            with_fused_norms(module).to(self.device, memory_format=self.order)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.g_adam = torch.optim.Adam(self.generator.parameters(), 1e-4, (0.0, 0.9), fused=True)
        self.d_adam = torch.optim.Adam(self.discriminator.parameters(), 4e-4, (0.0, 0.9), fused=True)
        tensors = {name: torch.from_numpy(np.array(x)).to(self.device) for name, x in batch.items()}
        self.l, self.c = (self.to_nchw(tensors[name]) for name in ("l", "c"))
        self.h, self.rgb = tensors["h"], self.to_nchw(tensors["rgb"].float() / 127.5 - 1)
        if compiled:
            for module in (self.generator, self.discriminator, self.vgg):
                if module is not None:
                    module.compile()

    def to_nchw(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2).contiguous(memory_format=self.order)

    def mixed(self) -> torch.autocast:
        """Returns the context in which activations are bfloat16, if they are to be."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def train(self) -> float:
        with self.mixed():
            return self.step()

    def step(self) -> float:
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
                targets = self.vgg(self.rgb)
            pairs = zip(PERCEPTUAL_WEIGHTS.values(), self.vgg(rgb_hat), targets, strict=True)
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
        with torch.inference_mode(), self.mixed():
            _, c_hat = self.generator(self.l)
        self.generator.train()
        return c_hat.permute(0, 2, 3, 1).float().cpu().numpy()
