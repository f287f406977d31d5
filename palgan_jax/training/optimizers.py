"""The optimizers: two Adams with different learning rates (TTUR), constant and then linearly to zero."""

import optax
from ml_collections import ConfigDict


def schedule(peak: float, decay_from: int, total: int) -> optax.Schedule:
    """Returns a rate of `peak` until step `decay_from`, then linearly to 0 at step `total`."""
    decay = optax.linear_schedule(peak, 0.0, max(total - decay_from, 1))
    return optax.join_schedules([optax.constant_schedule(peak), decay], [decay_from])


def make_optimizers(
    optim: ConfigDict, decay_from: int, total: int
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """Returns the optimizers of E + G and of D (method: section 8)."""

    def adam(rate: float) -> optax.GradientTransformation:
        # With b1 = 0 the first moment is the gradient, so the state does not keep it.
        direction = (
            optax.scale_by_adam(optim.b1, optim.b2)
            if optim.b1
            else optax.scale_by_rms(optim.b2, eps_in_sqrt=False, bias_correction=True)
        )
        return optax.chain(direction, optax.scale_by_learning_rate(schedule(rate, decay_from, total)))

    return adam(optim.g_lr), adam(optim.d_lr)
