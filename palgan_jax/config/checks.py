"""The values that a config may have: choices, ranges, and fields that need or exclude others."""

import difflib
from typing import get_args

from ml_collections import ConfigDict

from palgan_jax.choices import (
    Attention,
    ColorLoss,
    Decay,
    DiscriminatorAugmentation,
    DiscriminatorKind,
    Encoder,
    Guide,
    Init,
    Local,
    Model,
    Norm,
    PaletteLoss,
    Precision,
    Projected,
    Tap,
)
from palgan_jax.config.durations import CADENCES, PHASES, duration_in_steps
from palgan_jax.config.fields import default_config, flatten
from palgan_jax.errors import UserError
from palgan_jax.palette.spec import Kernel, Normalization

CHOICES = {
    "model": get_args(Model),
    "precision": get_args(Precision),
    "net.encoder": get_args(Encoder),
    "net.norm": get_args(Norm),
    "net.attention": get_args(Attention),
    "net.local": get_args(Local),
    "net.guide": get_args(Guide),
    "net.tap": get_args(Tap),
    "net.palette_init": get_args(Init),
    "net.paint_init": get_args(Init),
    "discriminator.kind": get_args(DiscriminatorKind),
    "discriminator.palette": get_args(Projected),
    "discriminator_augmentation": get_args(DiscriminatorAugmentation),
    "palette.kernel": get_args(Kernel),
    "palette.normalization": get_args(Normalization),
    "loss.color_kind": get_args(ColorLoss),
    "loss.palette_kind": get_args(PaletteLoss),
    "optim.decay": get_args(Decay),
}

TINY, HUGE = 1e-9, 1e9

RANGES = {
    "seed": (0, 2**32 - 1),
    "resolution": (64, 1024),
    "batch_size": (1, HUGE),
    "accumulate": (1, HUGE),
    "ab_range": (1, 1000),
    "render_leak": (0, 1),
    "ema": (0, 1),
    "net.width": (TINY, 64),
    "net.paint_stride": (1, 2),
    "net.frozen_blocks": (0, 17),
    "net.palette_dropout": (0, 0.99),
    "net.guided_radius": (1, 64),
    "net.guided_eps": (TINY, HUGE),
    "net.palette_scale": (0, HUGE),
    "discriminator.width": (TINY, 64),
    "palette.bins": (2, 256),
    "palette.half_range": (TINY, HUGE),
    "palette.sigma": (TINY, HUGE),
    "predicted_share": (0, 1),
    "recolored_share": (0, 1),
    "loss.l1": (0, HUGE),
    "loss.perceptual": (0, HUGE),
    "loss.adversarial": (0, HUGE),
    "loss.palette": (0, HUGE),
    "loss.entropy": (0, HUGE),
    "loss.cells": (0, HUGE),
    "loss.consistency": (0, HUGE),
    "loss.kl": (0, HUGE),
    "optim.g_lr": (0, 1),  # a step of Adam is about as long, and a weight rarely longer
    "optim.d_lr": (0, 1),
    "optim.encoder_rate": (0, HUGE),
    "optim.weight_decay": (0, HUGE),
    "optim.clip": (0, HUGE),
    "optim.b1": (0, 0.999999),
    "optim.b2": (0, 0.999999),
    "data.luminance_jitter": (0, 1),
    "data.film_share": (0, 1),
    "data.min_scale": (TINY, 1),
    "data.near_gray": (0, HUGE),
    "data.max_unreadable": (0, 1),
    "data.workers": (-1, 1024),
    "keep": (1, HUGE),
}
"""The smallest and the largest value that make sense. Those of `mesh` depend on the devices: see `make_mesh`."""

OF_PRETRAINED = (
    "net.paint_stride", "net.palette_dropout", "net.frozen_blocks", "loss.cells", "optim.encoder_rate",
    "optim.encoder_from",
)  # fmt: skip
"""Fields that only a pretrained encoder has a use for."""


def check_config(config: ConfigDict) -> None:
    """Raises UserError for a field that is missing or unknown, and for a value that cannot work."""
    flat, defaults = flatten(config), flatten(default_config())
    for name in flat.keys() ^ defaults.keys():
        problem = "is not a field of the config" if name in flat else "is missing from the config"
        suggestions = difflib.get_close_matches(name, defaults.keys() - {name}, n=1)
        hint = f"did you mean {suggestions[0]}?" if suggestions else "start from palgan_jax.config.default_config()."
        raise UserError(f"{name} {problem}: {hint}")
    for name, choices in CHOICES.items():
        if flat[name] not in choices:
            raise UserError(f"--config.{name}={flat[name]} is not known: choose one of {', '.join(choices)}.")
    for name, (low, high) in RANGES.items():
        if not low <= flat[name] <= high:
            raise UserError(f"--config.{name}={flat[name]} does not fit: it must be from {low:g} to {high:g}.")
    if config.resolution % 64:
        raise UserError(f"--config.resolution={config.resolution} does not fit: it must be a multiple of 64.")
    for name in ("total", *CADENCES, *PHASES):
        duration_in_steps(flat[name], name, batch_size=1, epoch_examples=1, total=1)
    if config.discriminator_augmentation != "none" and not config.loss.adversarial:
        raise UserError(
            f"--config.discriminator_augmentation={config.discriminator_augmentation} needs a discriminator: set "
            "--config.loss.adversarial."
        )
    for name in OF_PRETRAINED if config.net.encoder == "paper" else ():
        if flat[name] != defaults[name]:
            raise UserError(f"--config.{name}={flat[name]} needs a pretrained encoder: choose --config.net.encoder.")
    if config.net.encoder != "paper" and config.model != "palgan":
        raise UserError(f"--config.model={config.model} takes the paper's encoder: set --config.net.encoder=paper.")
