"""What a person wants to know before a long wait: how long it takes here, and what would be shorter."""

import time

import jax

LONG_SECONDS = 600.0
"""What is left of a run that takes longer than this is said once the first steps are done."""
VERY_LONG_SECONDS = 86_400.0
"""On a CPU, a smaller run is proposed above this."""
STEPS = 3
"""Steps that are timed, after the first one."""
SMALLER = "--config.resolution=64 --config.net.width=0.25 --config.discriminator.width=0.25 --config.batch_size=8"


def compile_time() -> str:
    """Returns how long compiling the step takes on this kind of device, in words."""
    return {"cpu": "which takes minutes on a CPU"}.get(jax.default_backend(), "which takes a minute or two") + (
        " the first time, and seconds when this run is started again"
    )


class Outlook:
    """Times the first steps of a run, which begins after step `begin`, on a platform."""

    def __init__(self, begin: int, total: int, platform: str):
        self._begin, self._total, self._platform = begin, total, platform
        self._start: tuple[int, float] | None = None
        self._is_said = False

    def after(self, step: int) -> str | None:
        """Returns how long a run of so many steps done will take, once, where that is long; None otherwise."""
        now = time.monotonic()
        if self._is_said or step == self._begin:
            return None
        if self._start is None:
            self._start = step, now
        first, start = self._start
        if step < first + STEPS:
            return None
        self._is_said = True
        return outlook((now - start) / (step - first), self._total - step, self._platform)


def outlook(step_seconds: float, steps: int, platform: str) -> str | None:
    """Returns a sentence on a run with `steps` steps of so many seconds; None where it is over soon."""
    seconds = step_seconds * steps
    if seconds < LONG_SECONDS:
        return None
    sentence = f"a step takes {step_seconds:.2g} s here, so that the other {steps:,} take about {_in_words(seconds)}"
    if platform == "cpu" and seconds > VERY_LONG_SECONDS:
        sentence += f"; on a CPU, begin with a smaller model and smaller pictures: {SMALLER}"
    return sentence


def _in_words(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} minutes"
