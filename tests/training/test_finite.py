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
