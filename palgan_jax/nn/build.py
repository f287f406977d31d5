"""Builds the networks of a config for the devices of a mesh: the one place where networks are chosen by platform.

Without a mesh, and for a mesh of other devices than TPUs, the networks are the portable ones. What is computed is the
same on all platforms.
"""

from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from palgan_jax.nn.discriminator import ColorDiscriminator
from palgan_jax.nn.ops.tpu.kernel import are_tpus
from palgan_jax.nn.palgan import PalGAN


def build_generator(config: ConfigDict, mesh: Mesh | None = None) -> PalGAN:
    """Returns E and G for programs for a mesh.

    On TPUs the last stage of G packs pairs of columns, since its 64 channels fill half of what a TPU multiplies at a
    time (nn/ops/columns.py); a wider network fills it unpacked. Its attention takes the kernels of nn/ops/tpu/ where
    the pictures fit.
    """
    tpus = _tpus(mesh)
    return PalGAN(
        model=config.model,
        palette_size=config.palette.bins**2,
        columns=2 if tpus is not None and config.net.width <= 1 else 1,
        tpus=tpus,
        dtype=activations_dtype(config),
        **config.net,
    )


def build_discriminator(config: ConfigDict, mesh: Mesh | None = None) -> ColorDiscriminator:
    """Returns D for programs for a mesh: on TPUs, its first layer packs four columns of 32 channels."""
    columns = 4 if _tpus(mesh) is not None and config.discriminator.width <= 1 else 1
    return ColorDiscriminator(columns=columns, dtype=activations_dtype(config), **config.discriminator)


def activations_dtype(config: ConfigDict) -> Any:
    """Returns the type of the activations: bfloat16, or None for float32."""
    return jnp.bfloat16 if config.precision == "bfloat16" else None


def _tpus(mesh: Mesh | None) -> Mesh | None:
    return mesh if mesh is not None and are_tpus(mesh) else None
