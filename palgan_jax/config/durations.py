"""The durations of a config, such as "30 epochs", in steps."""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from palgan_jax.config.fields import flatten
from palgan_jax.errors import UserError

DURATION = r"(?P<amount>(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?) *(?P<unit>steps?|epochs?|examples?|%)?"
MOST_STEPS = 2**31 - 1  # of an int32, which is what the state counts them in
CADENCES = ("log_every", "eval_every", "checkpoint_every", "sheet_every")
PHASES = ("optim.decay_from", "optim.encoder_from")


def duration_in_steps(duration: str | int, name: str, *, batch_size: int, epoch_examples: int, total: int = 0) -> int:
    """Converts "500 steps", "30 epochs", "1e6 examples" or "50%", which is of `total` steps, to steps, at least 1.

    A bare number is a number of steps, and 0 of any unit is 0: never. Raises UserError, which names the field `name`,
    for anything else.
    """
    match = re.fullmatch(DURATION, str(duration).strip())
    if match is None or (match["unit"] == "%" and name == "total"):
        raise UserError(
            f"--config.{name}={duration} is not a duration: write it as '500 steps', '30 epochs', '1e6 examples' "
            "or, but for the total itself, '10%'."
        )
    amount, unit = float(match["amount"]), (match["unit"] or "step").removesuffix("s")
    if unit == "%" and amount > 100:
        raise UserError(f"--config.{name}={duration} is longer than the whole run: write 100% or less.")
    in_steps = {"step": 1, "epoch": epoch_examples / batch_size, "example": 1 / batch_size, "%": total / 100}
    return max(1, round(amount * in_steps[unit])) if amount else 0


class Phases(NamedTuple):
    """The steps at which the training changes.

    Attributes:
      total: the last step.
      decay_from: the learning rates fall from here on.
      encoder_from: a pretrained encoder is trained from here on.
    """

    total: int
    decay_from: int
    encoder_from: int = 0


@dataclass(frozen=True)
class Durations:
    """The config's durations in steps; 0 is never."""

    phases: Phases
    log: int
    eval: int
    checkpoint: int
    sheet: int

    @property
    def total(self) -> int:
        """Returns the last step."""
        return self.phases.total


def durations(config: ConfigDict, epoch_examples: int) -> Durations:
    """Returns a config's durations for a training set of so many pictures. Raises UserError where the total is 0."""

    def steps(name: str, value: Any, total: int = 0) -> int:
        return duration_in_steps(value, name, batch_size=config.batch_size, epoch_examples=epoch_examples, total=total)

    total = steps("total", config.total)
    if not total:
        raise UserError(f"--config.total={config.total} trains nothing: it must be longer than 0.")
    if total > MOST_STEPS:
        raise UserError(f"--config.total={config.total} are {total} steps: {MOST_STEPS:,} can be counted.")
    flat = flatten(config)
    phases = Phases(total, *(steps(name, flat[name], total) for name in PHASES))
    return Durations(phases, *(steps(name, config[name], total) for name in CADENCES))
