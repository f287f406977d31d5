"""Pictures and weights of the golden files of metrics, drawn from their names, as in golden_recipe.

Names and shapes are PyTorch's (e.g. `Mixed_5b.branch1x1.conv.weight`, OIHW), so that the reading of state dicts is
compared as well.
"""

import numpy as np

from tests.support.golden_recipe import spread, uniform


def picture(name: str, height: int, width: int) -> np.ndarray:
    """A uint8 picture (height, width, 3) with detail at several scales; both sides multiples of 40."""
    total = uniform(f"{name} tint", (3,), -2, 2) + np.zeros((height, width, 3), np.float32)
    for block in (1, 4, 20, 40):
        coarse = uniform(f"{name} {block}", (height // block, width // block, 3))
        total += coarse.repeat(block, axis=0).repeat(block, axis=1)
    return np.clip(np.floor(total * np.float32(64)), 0, 255).astype(np.uint8)


def inception_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of pytorch-fid's Inception: signals neither fade nor explode, and each part of a norm does something."""
    *_, layer, kind = name.split(".")
    if layer == "bn":
        limits = {"weight": (0.8, 1.2), "bias": (-0.2, 0.2), "running_mean": (-0.2, 0.2), "running_var": (0.8, 1.25)}
        return uniform(name, shape, *limits[kind])
    return spread(name, shape, float(2 / np.prod(shape[1:], dtype=int)) ** 0.5)


def inception_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The state dict with tensors of these names and shapes."""
    return {name: inception_tensor(name, shape) for name, shape in shapes.items()}


def inception_pictures() -> np.ndarray:
    """Six pictures (6, 400, 160, 3): the resizing to 299 shrinks one side and stretches the other."""
    return np.stack([picture(f"inception {i}", 400, 160) for i in range(6)])


def lpips_pictures() -> tuple[np.ndarray, np.ndarray]:
    """Two batches (3, 80, 120, 3): unrelated pictures, slightly different ones, and equal ones."""
    first = np.stack([picture(f"lpips {i}", 80, 120) for i in range(3)])
    noise = spread("lpips noise", first.shape[1:], 8.0)
    second = np.stack(
        [picture("lpips other", 80, 120), np.clip(np.round(first[1] + noise), 0, 255).astype(np.uint8), first[2]]
    )
    return first, second
