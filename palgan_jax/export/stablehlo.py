"""E and G as a program of StableHLO that any JAX runs without this package, on CPUs, NVIDIA and AMD GPUs and TPUs.

The program computes what `Colorizer.predict` does with pictures of the network's size: lightness (B, R, R), L in
[0, 100], and palette (B, K), zeros for the predicted one, give ab (B, R, R, 2), Lab units, and the palette (B, K) that
was used. B is free. The weights are part of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.errors import FlaxError
from jax import export

from palgan_jax.checkpoint.weights import Weights
from palgan_jax.export.refusals import config_with_palettes, misfit
from palgan_jax.nn.build import build_generator
from palgan_jax.nn.fold import fold_spectral_norm
from palgan_jax.util.files import write_file

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def save_stablehlo(path: Path, weights: Weights) -> None:
    """Writes the program to a file, whole or not at all. Raises UserError where `stablehlo` does, or it cannot be."""
    import flatbuffers  # noqa: F401  # so that its absence is known before the work

    write_file(path, bytes(stablehlo(weights).serialize()))


def stablehlo(weights: Weights) -> export.Exported:
    """Returns the program of trained weights, for all of `PLATFORMS` and any batch.

    Raises UserError for models without palettes, and where the weights are not those of the config's network.
    """
    config: Any = config_with_palettes(weights)
    variables = {name: tree for name, tree in weights.variables.items() if tree}
    (batch,) = export.symbolic_shape("batch")
    pictures = jax.ShapeDtypeStruct((batch, config.resolution, config.resolution), jnp.float32)
    palettes = jax.ShapeDtypeStruct((batch, config.palette.bins**2), jnp.float32)
    try:
        network, folded = fold_spectral_norm(build_generator(config), variables)

        def colorize(lightness: jax.Array, palette: jax.Array) -> tuple[jax.Array, jax.Array]:
            is_empty = jnp.sum(palette, axis=-1) <= 0  # (B,)
            l = (lightness[..., None] - 50) / 100
            output: Any = network.apply(folded, l, palette, use_predicted=is_empty)
            predicted, c = output  # (B, K), (B, R, R, 2)
            return c.astype(jnp.float32) * config.ab_range, jnp.where(is_empty[:, None], predicted, palette)

        with _without_source_files():
            return export.export(jax.jit(colorize), platforms=PLATFORMS)(pictures, palettes)
    except (FlaxError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise misfit(weights, error) from error


@contextmanager
def _without_source_files() -> Iterator[None]:
    """Keeps out of programs which files of this machine their operations were written in."""
    limit = jax.config.jax_traceback_in_locations_limit  # type: ignore[attr-defined]
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        yield
    finally:
        jax.config.update("jax_traceback_in_locations_limit", limit)
