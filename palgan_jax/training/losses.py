"""The losses of PalGAN (method: section 7): float32 scalars, means over the batch."""

import jax
import jax.numpy as jnp

from palgan_jax.palette import PaletteSpec, entropy, hellinger, histogram


def hinge_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Computes L_D, the hinge loss of the discriminator's logits, any shape."""
    return jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake))


def hinge_generator(fake: jax.Array) -> jax.Array:
    """Computes the adversarial part of L_G from the discriminator's logits of the fakes, any shape."""
    return -jnp.mean(fake)


def color_l1(c_hat: jax.Array, c: jax.Array) -> jax.Array:
    """Computes the mean absolute difference of normalized ab, (B, H, W, 2) each."""
    return jnp.mean(jnp.abs(c_hat - c))


def palette_l1(h_hat: jax.Array, h: jax.Array) -> jax.Array:
    """Computes the distance part of L_pal: the absolute difference of palettes (B, K), summed over the bins."""
    return jnp.mean(jnp.sum(jnp.abs(h_hat - h), axis=-1))


def palette_entropy(h_hat: jax.Array) -> jax.Array:
    """Computes the mean entropy in nats of palettes (B, K); L_pal subtracts it, so that palettes do not collapse."""
    return jnp.mean(entropy(h_hat))


def palette_consistency(c_hat: jax.Array, h: jax.Array, spec: PaletteSpec) -> jax.Array:
    """Computes the Hellinger distance of the output's palette, of ab (B, H, W, 2), from the given palette (B, K)."""
    return jnp.mean(hellinger(histogram(c_hat, spec), h))


def kl_from_standard_normal(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """Computes the KL divergence of N(mean, exp(log_variance)), (B, K) each, from N(0, 1), summed over K (row VAE)."""
    return jnp.mean(0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance, axis=-1))
