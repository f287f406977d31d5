"""Durations of a config in steps, and the sentences for what is none."""

import pytest

from palgan_jax.config import default_config, duration_in_steps, durations
from palgan_jax.errors import UserError


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        ("500 steps", 500),
        (7, 7),
        ("12", 12),
        ("3 epochs", 30),
        ("1 epoch", 10),
        ("1e3 examples", 100),
        ("50%", 400),
        ("0 steps", 0),
        ("0.01 epochs", 1),
        (" 2.5e-1 epochs ", 2),
        (".5 %", 4),
    ],
)
def test_durations(duration, steps):
    assert duration_in_steps(duration, "log_every", batch_size=10, epoch_examples=100, total=800) == steps


@pytest.mark.parametrize(
    "duration", ["soon", "3 weeks", "-1 steps", "epochs 3", "", "nan", "inf steps", "1e400", "5 5 steps", "%"]
)
def test_durations_that_are_none(duration):
    with pytest.raises(UserError, match=r"^--config\.total=.* is not a duration"):
        duration_in_steps(duration, "total", batch_size=10, epoch_examples=100)


def test_durations_of_a_config():
    config = default_config()
    config.batch_size, config.total, config.log_every = 50, "10 epochs", "0 steps"
    spans = durations(config, epoch_examples=500)
    assert (spans.total, spans.phases.decay_from, spans.log, spans.eval) == (100, 50, 0, 10)


def test_more_steps_than_can_be_counted_are_refused():
    config = default_config()
    config.total = "1e9 epochs"
    with pytest.raises(UserError, match=r"total=1e9 epochs are .* steps: 2,147,483,647 can be counted"):
        durations(config, 10**6)
