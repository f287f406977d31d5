"""What a chip can do at most, as Google Cloud's documentation says.

Sources, one page a generation: https://cloud.google.com/tpu/docs/v4, .../v5e, .../v5p and .../v6e, "key
specifications" (read 2026-11). The bandwidth of the links is the one named there, of both directions together; the page
on v4 names none, and its value is that of Jouppi et al. (2023, "TPU v4: An optically reconfigurable supercomputer for
machine learning", table 4: six links of 50 GB/s).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peaks:
    """Limits of one chip: numbers a second and bytes."""

    flops: float
    """Operations a second with matrices of bfloat16."""
    bandwidth: float
    """Bytes a second to and from HBM."""
    memory: float
    """Bytes of HBM."""
    links: float
    """Bytes a second over all links to other chips, of both directions together."""
    source: str

    @property
    def sending(self) -> float:
        """Bytes a second that a chip sends when it sends over all of its links."""
        return self.links / 2


def _peaks(tflops: float, gbps: float, memory: float, links: float, page: str) -> Peaks:
    return Peaks(tflops * 1e12, gbps * 1e9, memory, links * 1e9, f"https://cloud.google.com/tpu/docs/{page}")


PEAKS = {
    "v4": _peaks(275, 1200, 32 * 2**30, 600, "v4"),
    "v5e": _peaks(197, 819, 16e9, 400, "v5e"),
    "v5p": _peaks(459, 2765, 95e9, 1200, "v5p"),
    "v6e": _peaks(918, 1638, 32e9, 800, "v6e"),
}
"""By the name that a topology starts with."""
