"""The networks, as Flax Linen modules. What needs no JAX, such as their dimensions, is imported without it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palgan_jax.nn.assignment_generator import PaletteAssignmentGenerator
    from palgan_jax.nn.discriminator import ColorDiscriminator
    from palgan_jax.nn.palette_generator import PaletteGenerator
    from palgan_jax.nn.palgan import PalGAN

__all__ = ["ColorDiscriminator", "PalGAN", "PaletteAssignmentGenerator", "PaletteGenerator"]
_MODULES = {
    "ColorDiscriminator": "discriminator",
    "PalGAN": "palgan",
    "PaletteAssignmentGenerator": "assignment_generator",
    "PaletteGenerator": "palette_generator",
}


def __getattr__(name: str) -> Any:
    """Imports a network when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
