"""The optimizers: two Adams with different learning rates (TTUR), constant and then to zero."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from palgan_jax.config import Phases
from palgan_jax.nn.efficientnet_lite0 import parameters_of_blocks


def schedule(peak: float, decay_from: int, total: int, decay: str = "linear") -> optax.Schedule:
    """Returns a rate of `peak` until step `decay_from`, then linearly or by a cosine to 0 at step `total`."""
    steps = max(total - decay_from, 1)
    decaying = (
        optax.cosine_decay_schedule(peak, steps) if decay == "cosine" else optax.linear_schedule(peak, 0.0, steps)
    )
    return optax.join_schedules([optax.constant_schedule(peak), decaying], [decay_from])


def make_optimizers(
    config: ConfigDict, phases: Phases
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """Returns the optimizers of E + G and of D (method: section 8).

    Of a pretrained encoder, frozen blocks are left as they are, and the others have a rate of their own (section 12).
    """
    optim = config.optim

    def adam(rate: float, begin: int = 0) -> optax.GradientTransformation:
        # With b1 = 0 the first moment is the gradient, so the state does not keep it.
        direction = (
            optax.scale_by_adam(optim.b1, optim.b2)
            if optim.b1
            else optax.scale_by_rms(optim.b2, eps_in_sqrt=False, bias_correction=True)
        )
        parts = [direction]
        if optim.weight_decay:
            parts.append(optax.add_decayed_weights(optim.weight_decay, mask=_is_kernel))
        rates = schedule(rate, phases.decay_from, phases.total, optim.decay)
        parts.append(optax.scale_by_learning_rate(_zero_before(begin, rates) if begin else rates))
        return optax.chain(*parts)

    def clipped(transformation: optax.GradientTransformation) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(optim.clip), transformation) if optim.clip else transformation

    generator = adam(optim.g_lr)
    if config.net.encoder != "paper":
        encoder = adam(optim.g_lr * optim.encoder_rate, phases.encoder_from)
        generator = optax.partition(
            {"rest": generator, "encoder": encoder, "frozen": optax.set_to_zero()},
            lambda params: _parts_of_encoder(params, config.net.frozen_blocks),
        )
    return clipped(generator), clipped(adam(optim.d_lr))


def _zero_before(begin: int, rates: optax.Schedule) -> optax.Schedule:
    return lambda step: jnp.where(jnp.asarray(step) < begin, 0.0, rates(step))


def _is_kernel(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _parts_of_encoder(params: Any, frozen: int) -> Any:
    """Labels parameters of E + G as "frozen", "encoder" or "rest"."""
    labels = jax.tree.map(lambda _: "rest", params)
    encoder = params["palette_generator"]["encoder"]
    trained = parameters_of_blocks(frozen)
    labels["palette_generator"]["encoder"] = {
        name: jax.tree.map(lambda _, name=name: "encoder" if name in trained else "frozen", part)
        for name, part in encoder.items()
    }
    return labels
