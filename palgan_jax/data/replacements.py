"""Pictures and folders that vanish while a run goes on.

A picture that cannot be read any more is replaced by the next one. Too many such pictures, or a folder that is gone,
end the run with one sentence, a `DataStopped`.
"""

from collections import Counter
from collections.abc import Iterable

from palgan_jax.errors import DataStopped

LEAST_SAMPLE = 1000
"""Least number of pictures that the share of bad ones is taken of, so that the first few do not end a run."""

_NAMED = 5  # pictures that the error names


class Replacements:
    """Counts the pictures of a source that others replaced, and ends the run where they become too many.

    That is where more than max_share of the different pictures drawn so far are bad; of the first 1,000, or of the
    whole source if it is smaller, where fewer were drawn. One picture alone never ends a run.
    """

    def __init__(self, name: str, total: int, max_share: float):
        self._name, self._total, self._max_share = name, total, max_share
        self._drawn = 0
        self.counts: Counter[str] = Counter()
        """By name of an unreadable picture: the samples in which another one replaced it."""

    def add(self, samples: int, bad: Iterable[str]) -> None:
        """Counts `samples` more samples, and the names of those that were replaced.

        Raises:
          DataStopped: they are too many; names the first few.
        """
        self._drawn += samples
        self.counts.update(bad)
        sample = min(max(self._drawn, LEAST_SAMPLE), self._total)
        if len(self.counts) > max(1, self._max_share * sample):
            raise DataStopped(self._report(min(self._drawn, self._total)))

    def _report(self, drawn: int) -> str:
        names = list(self.counts)
        others = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (
            f"{len(names)} of the first {drawn} pictures of {self._name} cannot be read any more "
            f"({', '.join(names[:_NAMED])}{others}), which is more than {self._max_share:.2%}: bring them back, remove "
            "them, or raise --config.data.max_unreadable, and start the same command again."
        )


def vanished(name: str, folder: str) -> DataStopped:
    """Returns the error for a source whose folder is gone."""
    return DataStopped(
        f"{folder} with the pictures of {name} is gone: bring it back (is a disk or a network drive unmounted?) and "
        "start the same command again."
    )
