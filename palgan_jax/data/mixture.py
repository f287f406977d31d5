"""Several sets as one source, of which each has its share of the samples."""

import hashlib
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from palgan_jax.data.protocols import Part, Source


@dataclass(frozen=True)
class MixtureSource:
    """The pictures of several sources one after another. Implements `Source`."""

    name: str
    sources: tuple[Source, ...]
    weights: tuple[float, ...]

    parts: tuple[Part, ...] = field(init=False)
    sizes: np.ndarray = field(init=False, repr=False)
    file_bytes: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ends = list(accumulate(len(source) for source in self.sources))
        shares = [weight / sum(self.weights) for weight in self.weights]
        object.__setattr__(self, "parts", tuple(map(Part, [0, *ends[:-1]], ends, shares)))
        object.__setattr__(self, "sizes", np.concatenate([source.sizes for source in self.sources]))
        object.__setattr__(self, "file_bytes", np.concatenate([source.file_bytes for source in self.sources]))

    def __len__(self) -> int:
        return self.parts[-1].stop

    def _locate(self, i: int) -> tuple[Source, int]:
        """Returns the source of picture i, and the picture's number in it."""
        for source, part in zip(self.sources, self.parts, strict=True):
            if part.start <= i < part.stop:
                return source, i - part.start
        raise IndexError(f"there is no picture {i} among {len(self)}")

    @property
    def counts(self) -> dict[str, int]:
        every = [source.counts for source in self.sources]
        return {name: sum(counts[name] for counts in every) for name in every[0]}

    def picture_name(self, i: int) -> str:
        """Returns the source's name and the picture's name in it, since two sources may use the same."""
        source, number = self._locate(i)
        return f"{source.name}/{source.picture_name(number)}"

    def read(self, i: int, *, at_least: int | None = None) -> np.ndarray:
        source, number = self._locate(i)
        return source.read(number, at_least=at_least)

    def missing(self) -> str | None:
        return next((folder for source in self.sources if (folder := source.missing()) is not None), None)

    def decoded_bytes(self, at_least: int | None) -> int:
        return sum(source.decoded_bytes(at_least) for source in self.sources)

    def summary(self) -> str:
        shares = [f"{part.weight:.1%} {s.summary()}" for part, s in zip(self.parts, self.sources, strict=True)]
        return f"{len(self)} pictures: " + " + ".join(shares)

    def identity(self) -> str:
        rows = [(source.identity(), tuple(part)) for source, part in zip(self.sources, self.parts, strict=True)]
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
