"""Pictures and folders that vanish during a run.

A picture that cannot be read any more is replaced by the next one. Too many such pictures, or a folder that has
vanished, end the run with one sentence, a `DataStopped`.
"""

from collections import Counter
from collections.abc import Iterable

from palgan_jax.errors import DataStopped

LEAST_SAMPLE = 1000
"""The share of bad pictures is computed over at least this many, so that a few at the start do not end a run."""

_NAMED = 5  # pictures that the error names


class Replacements:
    """Counts the pictures of a source that others replaced, and ends the run when they become too many.

    Too many are more than max_share of the pictures drawn so far, where at least LEAST_SAMPLE count as drawn and at
    most the whole source. A single picture never ends a run.
    """

    def __init__(self, name: str, total: int, max_share: float):
        self._name, self._total, self._max_share = name, total, max_share
        self._draws = 0
        self.counts: Counter[str] = Counter()
        """Number of samples in which another picture replaced an unreadable one, by the latter's name."""

    def add(self, samples: int, bad: Iterable[str]) -> None:
        """Counts `samples` more samples, of which the pictures named in `bad` were replaced.

        Raises DataStopped, which names the first few, where there are too many now.
        """
        self._draws += samples
        self.counts.update(bad)
        sample = min(max(self._draws, LEAST_SAMPLE), self._total)
        if len(self.counts) > max(1, self._max_share * sample):
            raise DataStopped(self._report(min(self._draws, self._total)))

    def _report(self, draws: int) -> str:
        names = list(self.counts)
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (
            f"{len(names)} of the first {draws} pictures of {self._name} cannot be read any more "
            f"({', '.join(names[:_NAMED])}{rest}), which is more than {self._max_share:.2%}: bring them back, remove "
            "them, or raise --config.data.max_unreadable, and start the same command again."
        )


def vanished(name: str, folder: str) -> DataStopped:
    """Returns the error for a source whose folder has vanished."""
    return DataStopped(
        f"{folder} with the pictures of {name} is gone: bring it back (is a disk or a network drive unmounted?) and "
        "start the same command again."
    )
