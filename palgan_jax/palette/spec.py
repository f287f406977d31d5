"""How a palette is counted, which a model keeps for good."""

from dataclasses import dataclass
from typing import Literal

Kernel = Literal["inverse_quadratic", "gaussian", "hard"]
Normalization = Literal["sum", "max"]


@dataclass(frozen=True)
class PaletteSpec:
    """Describes how a palette is counted. The defaults were measured on the paper's poster (method: section 2).

    Attributes:
      bins: bins along a and along b.
      half_range: the normalized a or b at which the outermost bin centers lie.
      sigma: width of the kernel, in normalized units.
      kernel: how a pixel's vote falls off with its distance from a bin's center.
      normalization: divide by the sum (a distribution) or by the largest bin.
    """

    bins: int = 16
    half_range: float = 1.0
    sigma: float = 0.1
    kernel: Kernel = "inverse_quadratic"
    normalization: Normalization = "sum"

    @property
    def size(self) -> int:
        """Returns K, the number of bins in all."""
        return self.bins**2
