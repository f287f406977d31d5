"""The cost of a compiled function, from its executable alone: operations, memory, collectives and the roofline."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from palgan_jax.benchmark import hlo_costs
from palgan_jax.benchmark.hlo import parse
from palgan_jax.benchmark.hlo_costs import Buffer, Collective, Traffic
from palgan_jax.benchmark.topology import Peaks

GIB = 2**30


@dataclass(frozen=True)
class CollectiveSum:
    """Sums over the collectives of one kind: runs, bytes of their numbers, bytes that each chip sends (ring)."""

    count: int
    bytes: int
    sent: float


@dataclass(frozen=True)
class Cost:
    """The cost of one run of a compiled function on one chip; sizes in bytes."""

    images: float
    """Images that one chip works on."""
    flops: float
    bytes: float
    """Bytes that all operations read and write, as XLA counts them; some stay inside the chip."""
    arguments: int
    results: int
    """Bytes of results that do not reuse an argument's buffer."""
    temporaries: int
    code: int
    """The program itself."""
    collectives: dict[str, CollectiveSum]
    traffic: Sequence[Traffic]
    buffers: Sequence[Buffer]
    uncounted_loops: int
    """Loops that run an unknown number of times, counted as 1."""
    compile_seconds: float

    def roofline_seconds(self, peaks: Peaks) -> float:
        """Returns the larger of operations / peak and bytes / bandwidth: few runs come near it."""
        return max(self.flops / peaks.flops, self.bytes / peaks.bandwidth)

    def interconnect_seconds(self, peaks: Peaks) -> float:
        """Returns the time of the collectives if they overlap with nothing and keep all links busy."""
        return sum(kind.sent for kind in self.collectives.values()) / peaks.sending

    def figures(self, peaks: Peaks) -> dict[str, Any]:
        """Returns the figures that are printed and written as JSON."""
        seconds = self.roofline_seconds(peaks)
        return {
            "gflop_per_image": self.flops / self.images / 1e9,
            "gb_per_image": self.bytes / self.images / 1e9,
            "flop_per_byte": self.flops / max(self.bytes, 1),
            "hbm_gb_per_image": sum(layer.main for layer in self.traffic) / self.images / 1e9,
            "hbm_gib_per_chip": (self.arguments + self.results + self.temporaries + self.code) / GIB,
            "hbm_gib": {
                "arguments": self.arguments / GIB,
                "results": self.results / GIB,
                "temporaries": self.temporaries / GIB,
                "code": self.code / GIB,
            },
            "collectives": {kind: asdict(values) for kind, values in self.collectives.items()},
            "collective_mb": sum(kind.bytes for kind in self.collectives.values()) / 1e6,
            "sent_mb": sum(kind.sent for kind in self.collectives.values()) / 1e6,
            "roofline_step_ms": seconds * 1e3,
            "limited_by": "compute" if self.flops / peaks.flops >= self.bytes / peaks.bandwidth else "memory",
            "images_per_second_per_chip": self.images / seconds,
            "interconnect_ms": self.interconnect_seconds(peaks) * 1e3,
            "compile_seconds": self.compile_seconds,
            "loops_counted_once": self.uncounted_loops,
        }


def cost_of(compiled: Any, *, images: float, devices: int, compile_seconds: float) -> Cost:
    """Returns the cost of a compiled function for `devices` devices that works on `images` images on each."""
    module = parse(compiled.as_text())
    totals, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    more_flops, more_bytes = hlo_costs.repeated(module)
    return Cost(
        images=images,
        flops=totals.get("flops", math.nan) + more_flops,
        bytes=totals.get("bytes accessed", math.nan) + more_bytes,
        arguments=memory.argument_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        collectives=sum_by_kind(hlo_costs.collectives(module, devices)),
        traffic=hlo_costs.traffic(module),
        buffers=hlo_costs.buffers(module),
        uncounted_loops=module.uncounted_loops,
        compile_seconds=compile_seconds,
    )


def sum_by_kind(collectives: Sequence[Collective]) -> dict[str, CollectiveSum]:
    """Sums runs and bytes of the collectives of more than one device, by kind."""
    sums: dict[str, CollectiveSum] = {}
    for c in collectives:
        if c.devices > 1:
            total = sums.get(c.kind, CollectiveSum(0, 0, 0.0))
            sums[c.kind] = CollectiveSum(total.count + c.times, total.bytes + c.bytes * c.times, total.sent + c.sent)
    return sums
