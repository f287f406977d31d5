"""Ends a run whose losses or gradients are no longer finite, before a state of it is saved."""

import math

import jax

from palgan_jax.errors import UserError

CHECKED = ("loss/g", "loss/d", "grad_norm/g", "grad_norm/d")
"""Where one of these is not finite at a step, the parameters after it are not either."""


class FiniteCheck:
    """Keeps the losses and gradient norms of steps on the devices, so that no step waits for them, until `check`.

    `restored`: the step that the run goes on from, and its checkpoint, if any.
    """

    def __init__(self, restored: tuple[int, str] | None = None) -> None:
        self._restored = restored
        self._unchecked: list[tuple[int, dict[str, jax.Array]]] = []

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Adds a step that was started, with its metrics."""
        self._unchecked.append((step, {name: metrics[name] for name in CHECKED}))

    def check(self) -> None:
        """Raises UserError, which names the first step that was not finite; waits for all steps that were added."""
        for step, values in jax.device_get(self._unchecked):
            broken = [name for name, value in values.items() if not math.isfinite(value)]
            if not broken:
                continue
            text = f"training is not finite at step {step} ({', '.join(broken)}) and stops"
            if self._restored is not None and step == self._restored[0] + 1:
                # Losses may be finite where the parameters have grown beyond repair.
                raise UserError(
                    f"{text}, right after the checkpoint that it goes on from: remove {self._restored[1]}, so that the "
                    "one before it is taken, and lower --config.optim.g_lr and --config.optim.d_lr."
                )
            raise UserError(
                f"{text}, with checkpoints of earlier steps alone: lower --config.optim.g_lr and "
                "--config.optim.d_lr, or use --config.precision=float32."
            )
        self._unchecked.clear()
