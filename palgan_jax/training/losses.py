"""The losses of PalGAN (method: section 7): float32 scalars, means over the batch."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike

from palgan_jax.choices import ColorLoss, PaletteLoss
from palgan_jax.palette.histogram import as_distribution, entropy, hellinger, histogram
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.pretrained.vgg_alexnet import VGG16

PERCEPTUAL_WEIGHTS: Mapping[str, float] = {
    "conv1_1": 1 / 32,
    "conv2_1": 1 / 16,
    "conv3_1": 1 / 8,
    "conv4_1": 1 / 4,
    "conv5_1": 1.0,
}
"""The layers of VGG16 that the perceptual loss compares, and their weights.

Inferred: the paper names no perceptual network. They are those of pix2pixHD and SPADE (Park et al., 2019, whose
residual block the paper's supplement cites). Those use VGG19, which equals VGG16 up to relu3_3; the weights of VGG16
come with a package, and LPIPS shares them.
"""


def hinge_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Computes L_D, the hinge loss of the discriminator's logits, any shape."""
    return jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake))


def hinge_generator(fake: jax.Array) -> jax.Array:
    """Computes the adversarial part of L_G from the discriminator's logits of the fakes, any shape."""
    return -jnp.mean(fake)


def color_l1(c_hat: jax.Array, c: jax.Array) -> jax.Array:
    """Computes the mean absolute difference of normalized ab, (B, H, W, 2) each."""
    return jnp.mean(jnp.abs(c_hat - c))


def color_huber(c_hat: jax.Array, c: jax.Array) -> jax.Array:
    """Computes the mean Huber loss of normalized ab, (B, H, W, 2) each: quadratic below HUBER_DELTA, then linear."""
    return jnp.mean(optax.losses.huber_loss(c_hat, c, delta=HUBER_DELTA))


COLOR_LOSSES: Mapping[ColorLoss, Callable[[jax.Array, jax.Array], jax.Array]] = {"l1": color_l1, "huber": color_huber}
"""Color losses by name. The gradient of "huber" shrinks with the error, that of "l1" does not."""
HUBER_DELTA = 0.2
"""The error, in normalized ab, at which the loss becomes linear: 22 units of Lab."""


def palette_l1(h_hat: jax.Array, h: jax.Array) -> jax.Array:
    """Computes the distance part of L_pal: the absolute difference of palettes (B, K), summed over the bins."""
    return jnp.mean(jnp.sum(jnp.abs(h_hat - h), axis=-1))


def palette_kl(h_hat: jax.Array, h: jax.Array) -> jax.Array:
    """Computes the mean KL divergence of predicted palettes h_hat from h, (B, K) each, divided by their sums."""
    p, q = as_distribution(h), as_distribution(h_hat)
    return jnp.mean(jnp.sum(p * jnp.log((p + 1e-8) / (q + 1e-8)), axis=-1))


def palette_hellinger(h_hat: jax.Array, h: jax.Array) -> jax.Array:
    """Computes the mean squared Hellinger distance, in [0, 1], of palettes (B, K), divided by their sums."""
    return jnp.mean(hellinger(h_hat, h) ** 2)


PALETTE_LOSSES: Mapping[PaletteLoss, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "l1": palette_l1,
    "kl": palette_kl,
    "hellinger": palette_hellinger,
}
"""The distance part of L_pal by its name. The optimum of "l1" is a median, which leans to gray (method: section 11)."""


def palette_entropy(h_hat: jax.Array) -> jax.Array:
    """Computes the mean entropy in nats of palettes (B, K); L_pal subtracts it, so that palettes do not collapse."""
    return jnp.mean(entropy(h_hat))


def cell_palettes(cells: jax.Array, c: jax.Array, spec: PaletteSpec) -> jax.Array:
    """Computes the mean squared Hellinger distance of the palettes of cells from those of their part of a picture.

    cells is (B, h, w, K), a grid over normalized ab c (B, H, W, 2).
    """
    batch, rows, columns, _ = cells.shape
    height, width = c.shape[1] // rows, c.shape[2] // columns
    parts = c.reshape(batch, rows, height, columns, width, 2).swapaxes(2, 3)  # (B, h, w, H / h, W / w, 2)
    return palette_hellinger(cells, histogram(parts, spec))


def palette_consistency(c_hat: jax.Array, h: jax.Array, spec: PaletteSpec) -> jax.Array:
    """Computes the Hellinger distance of the output's palette, of ab (B, H, W, 2), from the given palette (B, K)."""
    return jnp.mean(hellinger(histogram(c_hat, spec), h))


def kl_from_standard_normal(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """Computes the KL divergence of N(mean, exp(log_variance)), (B, K) each, from N(0, 1), summed over K (row VAE)."""
    return jnp.mean(0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance, axis=-1))


def perceptual(
    params: Any,
    rgb_hat: jax.Array,
    rgb: jax.Array,
    *,
    weights: Mapping[str, float] = PERCEPTUAL_WEIGHTS,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Computes the weighted sum over layers of the mean absolute difference of VGG16 features.

    Args:
      params: from `pretrained.load.load_vgg16`.
      rgb_hat, rgb: (B, H, W, 3) in [-1, 1]; no gradient reaches `rgb`.
      dtype: of the convolutions, such as bfloat16 on accelerators; differences are float32.
    """
    vgg = VGG16(layers=tuple(weights), dtype=dtype)
    fake: Any = vgg.apply({"params": params}, rgb_hat)
    # Two passes, not one over a concatenation: that would be a shuffle between devices where the batch is sharded.
    real: Any = jax.lax.stop_gradient(vgg.apply({"params": params}, rgb))
    distances = [jnp.abs(f.astype(jnp.float32) - r.astype(jnp.float32)).mean() for f, r in zip(fake, real, strict=True)]
    return sum((w * d for w, d in zip(weights.values(), distances, strict=True)), jnp.float32(0))
