"""Pictures made from their numbers: nothing is read or decoded, so that the rest of a run can be timed alone."""

import functools
import hashlib
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from palgan_jax.data.protocols import Part

SHORT, LONG = 384, 512
_PATCHES = 10  # of color along each side of the canvas


@dataclass(frozen=True)
class SyntheticSource:
    """Smooth colorful pictures, the same on every machine; every other one is taller than wide. Implements `Source`."""

    name: str
    count: int

    sizes: np.ndarray = field(init=False, repr=False)  # int32 (N, 2)
    file_bytes: np.ndarray = field(init=False, repr=False)  # int64 (N,): zeros, as there are no files

    def __post_init__(self) -> None:
        sizes = np.array([_size(i, None) for i in (0, 1)], np.int32)
        object.__setattr__(self, "sizes", sizes[np.arange(self.count) % 2])
        object.__setattr__(self, "file_bytes", np.zeros(self.count, np.int64))

    def __len__(self) -> int:
        return self.count

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(0, self.count, 1.0),)

    @property
    def counts(self) -> dict[str, int]:
        return {"found": self.count, "used": self.count, "near_gray": 0, "unreadable": 0}

    def picture_name(self, i: int) -> str:
        return f"synthetic/{i}"

    def read(self, i: int, *, at_least: int | None = None) -> np.ndarray:
        """Returns picture i, uint8 (H, W, 3), with a short side of exactly `at_least` pixels, or of 384."""
        width, height = _size(i, at_least)
        canvas = _canvas(2 * max(width, height))
        across, down = np.random.default_rng(i).random(2) * (len(canvas) - width, len(canvas) - height)
        return canvas[int(down) : int(down) + height, int(across) : int(across) + width].copy()

    def missing(self) -> str | None:
        return None

    def decoded_bytes(self, at_least: int | None) -> int:
        width, height = _size(0, at_least)
        return self.count * 3 * width * height

    def summary(self) -> str:
        return f"{self.name}: {self.count} pictures made from their numbers"

    def identity(self) -> str:
        return hashlib.sha256(f"synthetic {self.count} {SHORT} {LONG} {_PATCHES}".encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4)
def _canvas(side: int) -> np.ndarray:
    """Draws the canvas, uint8 (side, side, 3), that pictures are cut from; cutting costs a fraction of drawing."""
    colors = np.random.default_rng(0).integers(0, 256, (_PATCHES, _PATCHES, 3), np.uint8)
    return np.array(Image.fromarray(colors).resize((side, side), Image.Resampling.BILINEAR))


def _size(i: int, at_least: int | None) -> tuple[int, int]:
    """Returns width and height of picture i."""
    short = at_least or SHORT
    long = short * LONG // SHORT
    return (short, long) if i % 2 else (long, short)
