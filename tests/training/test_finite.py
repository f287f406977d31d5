"""Losses and gradients that are not finite."""

import jax.numpy as jnp
import numpy as np
import pytest

from palgan_jax.errors import UserError
from palgan_jax.training.finite import CHECKED, FiniteCheck


def test_the_first_step_that_is_not_finite_is_named():
    finite, good = FiniteCheck(), dict.fromkeys(CHECKED, jnp.float32(1))
    finite.add(1, good)
    finite.check()
    finite.add(2, {**good, "grad_norm/g": jnp.float32(np.nan)})
    finite.add(3, {**good, "loss/d": jnp.float32(np.inf)})
    for _ in range(2):
        with pytest.raises(UserError, match=r"not finite at step 2 \(grad_norm/g\)"):
            finite.check()


def test_a_checkpoint_after_which_no_step_is_finite_is_named_for_removal():
    finite, bad = FiniteCheck((4, "runs/x/checkpoints/4")), dict.fromkeys(CHECKED, jnp.float32(np.nan))
    finite.add(5, bad)
    with pytest.raises(UserError, match=r"at step 5 .*: remove runs/x/checkpoints/4, so that the one before it"):
        finite.check()
    later = FiniteCheck((4, "runs/x/checkpoints/4"))
    later.add(5, dict.fromkeys(CHECKED, jnp.float32(1)))
    later.add(6, bad)
    with pytest.raises(UserError, match="with checkpoints of earlier steps alone: lower"):
        later.check()
