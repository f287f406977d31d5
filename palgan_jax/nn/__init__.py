"""The networks, as Flax Linen modules."""

from palgan_jax.nn.assignment_generator import PaletteAssignmentGenerator
from palgan_jax.nn.discriminator import ColorDiscriminator
from palgan_jax.nn.palette_generator import PaletteGenerator
from palgan_jax.nn.palgan import PalGAN

__all__ = ["ColorDiscriminator", "PalGAN", "PaletteAssignmentGenerator", "PaletteGenerator"]
