"""Runs the cases of tests/support/parity_cases.py with the PyTorch networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palgan_jax.export.pytorch_network import (
    ChromaticAttention,
    PaletteAssignmentGenerator,
    PaletteGenerator,
    PalNorm,
    shrink,
)
from porting import convert
from porting import torch_losses as losses
from porting.torch_palgan import ColorDiscriminator, Options, PalGAN
from tests.support import golden_recipe as recipe
from tests.support.golden_recipe import probe
from tests.support.parity_cases import Case, Result, direction, draw_inputs, golden_cases

__all__ = ["Case", "Result", "build", "golden_cases", "kink_margin", "probe", "run", "safe_salt"]

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "rgb_to_lab": losses.rgb_to_lab,
    "lab_to_rgb": losses.lab_to_rgb,
    "render": losses.render,
    "render_leak": partial(losses.render, leak=0.1),
    "histogram": losses.histogram,
    "histogram_gaussian": partial(losses.histogram, kernel="gaussian", sigma=0.15),
    "histogram_max": partial(losses.histogram, normalization="max", bins=8),
    "histogram_hard": partial(losses.histogram, kernel="hard"),
    "entropy": losses.entropy,
    "hellinger": losses.hellinger,
    "discriminator_loss": losses.discriminator_loss,
    "adversarial_loss": losses.adversarial_loss,
    "l1_loss": losses.l1_loss,
    "palette_loss": losses.palette_loss,
    "palette_kl": losses.palette_kl,
    "palette_hellinger": losses.palette_hellinger,
    "consistency_loss": losses.consistency_loss,
    "kl_loss": losses.kl_loss,
}

SAFE_MARGIN = 3e-6
"""How far from its kink a LeakyReLU's input has to be, as a share of the deviation of that layer's inputs.

Nearer than rounding, two correct programs may take different slopes there, which moves a gradient by more than 1e-3.
"""


def nchw(array: np.ndarray, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array)).to(dtype)


def nhwc(tensor: Tensor) -> np.ndarray:
    array = tensor.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def build(case: Case) -> nn.Module:
    """The module of a case, with the weights that its Flax names draw."""
    o, shapes = case.options, {name: shape for name, (_, shape) in case.inputs.items()}
    if case.kind == "palette_generator":
        module: nn.Module = PaletteGenerator(Options(width=o["width"], resolution=shapes["l"][1]))
    elif case.kind == "assignment_generator":
        module = PaletteAssignmentGenerator(Options(**o))
        if "shares" in shapes:
            mix_palettes(module)
    elif case.kind == "palgan":
        module = PalGAN(Options(**o), shapes["l"][1])
    elif case.kind == "discriminator":
        module = ColorDiscriminator(**o)
    elif case.kind == "norm":
        module = PalNorm(shapes["x"][3], **o)
    elif case.kind == "attention":
        renamed = {"radius": "guided_radius", "eps": "guided_eps", "residual": "attention_residual"}
        options = Options(**{"spectral": False, **{renamed.get(k, k): v for k, v in o.items()}})
        module = ChromaticAttention(shapes["s"][3], shapes["f"][3], options)
    else:
        raise ValueError(f"no PyTorch module for a case of kind {case.kind}")
    return with_drawn_weights(module)


def mix_palettes(module: nn.Module) -> None:
    """Lets a network take palettes (B, N, K) and their shares of each pixel (B, N, H, W) in the place of a palette.

    Each PalNorm is computed with every palette, and what these change of its plain norm is mixed by the shares.
    """

    def mixed(plain: nn.Module, whole: Callable[..., Tensor], x: Tensor, h: tuple[Tensor, Tensor], l: Tensor) -> Tensor:
        palettes, shares, n = h[0].unbind(1), shrink(h[1], x).split(1, 1), plain(x)
        parts = [share * (whole(x, palette, l) - n) for palette, share in zip(palettes, shares, strict=True)]
        return n + torch.stack(parts).sum(0)

    for part in module.modules():
        if isinstance(part, PalNorm):
            part.forward = partial(mixed, part.norm, part.forward)


def with_drawn_weights(module: nn.Module) -> nn.Module:
    convert.load_flax(module, recipe.weights(convert.to_flax(module)))
    return module


def run(case: Case, salt: int, mode: str, dtype: torch.dtype = torch.float64) -> Result:
    """Outputs, gradients and updated state of a case.

    In float64 they are what float32 rounds: a few gradients are small differences of large terms, and there float32 on
    both sides would compare one rounding with another.
    """
    if case.kind == "step":
        return run_step(case, salt, dtype)
    if case.kind == "functions":
        return run_functions(case, salt, dtype)
    module, inputs = build(case).to(dtype).train(mode == "train"), draw_inputs(case, salt)
    i = {name: nchw(array, dtype).requires_grad_() for name, array in inputs.items()}
    outputs = call(case, module, i)
    total = sum((out * nchw(direction(name, nhwc(out).shape), dtype)).sum() for name, out in outputs.items())
    total.backward()
    by_input = {name: np.zeros_like(inputs[name]) if x.grad is None else nhwc(x.grad) for name, x in i.items()}
    gradients = {**recipe.flatten(convert.gradients(module), "params"), **by_input}
    return Result({name: nhwc(out) for name, out in outputs.items()}, gradients, updated(module, mode))


def run_functions(case: Case, salt: int, dtype: torch.dtype) -> Result:
    i = {name: torch.from_numpy(array).to(dtype).requires_grad_() for name, array in draw_inputs(case, salt).items()}
    outputs = {}
    for name, function in FUNCTIONS.items():
        outputs[name] = function(*(x for path, x in i.items() if path.split("/")[0] == name))
    total = sum((out * torch.from_numpy(direction(name, out.shape))).sum() for name, out in outputs.items())
    total.backward()
    gradients = {name: np.zeros(x.shape, np.float32) if x.grad is None else x.grad.numpy() for name, x in i.items()}
    return Result({name: out.detach().numpy() for name, out in outputs.items()}, gradients, {})


def updated(module: nn.Module, mode: str = "train") -> dict[str, np.ndarray]:
    """What a call has changed: batch statistics and spectral vectors."""
    variables = convert.to_flax(module)
    collections = {
        collection: variables[collection] for collection in ("batch_stats", "spectral") if collection in variables
    }
    return recipe.flatten(collections) if mode == "train" else {}


def call(case: Case, module: nn.Module, i: dict[str, Tensor]) -> dict[str, Tensor]:
    if case.kind == "palette_generator":
        h, maps = module(i["l"])
        return {"h": h, **{f"m{k + 1}": tap for k, tap in enumerate(maps)}}
    if case.kind == "assignment_generator":
        h = i["h"] if "h" in i else (i["palettes"], i["shares"])
        return {"out": module(i["l"], [i["m1"], i["m2"], i["m3"], i["m4"]], h)}
    if case.kind == "palgan":
        h, ab = module(i["l"])
        return {"h": h, "ab": ab}
    names = {"discriminator": ("ab", "rgb", "h"), "norm": ("x", "h", "l"), "attention": ("s", "f", "l")}[case.kind]
    return {"out": module(*(i[name] for name in names))}


def run_step(case: Case, salt: int, dtype: torch.dtype) -> Result:
    """One training step: the losses of G and D from one forward pass, and the gradient of each for its own player."""
    rgb = torch.from_numpy(draw_inputs(case, salt)["rgb"]).to(dtype) / 255  # (B, R, R, 3)
    generator = with_drawn_weights(PalGAN(Options(width=case.options["width"]), rgb.shape[1])).to(dtype).train()
    discriminator = with_drawn_weights(ColorDiscriminator(case.options["width"])).to(dtype).train()
    lab = losses.rgb_to_lab(rgb)
    l, ab = (lab[..., :1] - 50) / 100, lab[..., 1:] / 110
    h = losses.histogram(ab)
    predicted, fake_ab = generator(l.permute(0, 3, 1, 2), h)
    fake_ab = fake_ab.permute(0, 2, 3, 1)
    pairs = torch.cat([torch.cat([ab, 2 * rgb - 1], -1), torch.cat([fake_ab, losses.render(l, fake_ab)], -1)])
    logits = discriminator(pairs[..., :2].permute(0, 3, 1, 2), pairs[..., 2:].permute(0, 3, 1, 2), torch.cat([h, h]))
    real, fake = logits.chunk(2)
    terms = {
        "loss/l1": 10 * losses.l1_loss(fake_ab, ab),
        "loss/adversarial": losses.adversarial_loss(fake),
        "loss/palette": losses.palette_loss(predicted, h, entropy_weight=0),
        "loss/entropy": -0.01 * losses.entropy(predicted).mean(),
        "loss/consistency": 0.5 * losses.consistency_loss(fake_ab, h),
    }
    g_loss, d_loss = sum(terms.values(), rgb.new_zeros(())), losses.discriminator_loss(real, fake)
    g_grads = player_gradients(g_loss, generator)
    d_grads = player_gradients(d_loss, discriminator)
    metrics: dict[str, Any] = {
        **terms,
        "loss/g": g_loss,
        "loss/d": d_loss,
        "logit/real": real.mean(),
        "logit/fake": fake.mean(),
        "grad_norm/g": norm(g_grads),
        "grad_norm/d": norm(d_grads),
    }
    state = {f"{player}/{path}": array for player, module in (("g", generator), ("d", discriminator))
             for path, array in updated(module).items()}  # fmt: skip
    gradients = {**recipe.flatten(g_grads, "g"), **recipe.flatten(d_grads, "d")}
    return Result({name: value.detach().numpy() for name, value in metrics.items()}, gradients, state)


def player_gradients(loss: Tensor, module: nn.Module) -> dict[str, Any]:
    names, parameters = zip(*module.named_parameters(), strict=True)
    return convert.nest(
        dict(zip(names, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True)), module
    )["params"]


def norm(gradients: dict[str, Any]) -> Tensor:
    flat = recipe.flatten(gradients).values()
    return torch.tensor(np.sqrt(sum(np.square(g.astype(np.float64)).sum() for g in flat)), dtype=torch.float32)


# ---- inputs that stay off the kinks ----------------------------------------------------------------------------------


def kink_margin(case: Case, salt: int, mode: str) -> float:
    """The smallest |input| / deviation of any LeakyReLU while the case runs."""
    margins: list[float] = []

    def note(module: nn.Module, arguments: tuple[Tensor, ...], _out: Tensor) -> None:
        if isinstance(module, nn.LeakyReLU):
            x = arguments[0].detach()
            margins.append(float(x.abs().min() / x.std()))

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        if case.kind in ("functions", "step"):
            run(case, salt, mode)
        else:
            with torch.no_grad():
                inputs = {name: nchw(array) for name, array in draw_inputs(case, salt).items()}
                call(case, build(case).double().train(mode == "train"), inputs)
    finally:
        handle.remove()
    return min(margins, default=1.0)


def safe_salt(case: Case, margin: float = SAFE_MARGIN, tries: int = 200) -> int:
    """The first draw of the inputs that keeps every LeakyReLU off its kink, in all modes of the case."""
    for salt in range(tries):
        if all(kink_margin(case, salt, mode) > margin for mode in case.modes):
            return salt
    raise RuntimeError(f"{case.name}: none of {tries} draws keeps all activations off their kinks")
