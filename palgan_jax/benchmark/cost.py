"""What a compiled function costs, by its executable alone: operations, memory, collectives, and the roofline."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from palgan_jax.benchmark.hlo import Buffer, Collective, Traffic, parse
from palgan_jax.benchmark.peaks import Peaks

GIB = 2**30


@dataclass(frozen=True)
class CollectiveSum:
    """All collectives of a kind: how many are run, bytes of their numbers, bytes that each chip sends (ring)."""

    count: int
    bytes: int
    sent: float


@dataclass(frozen=True)
class Cost:
    """Of one run of a compiled function, on one chip."""

    images: float
    flops: float
    bytes: float
    """Bytes that its operations read and write, as XLA counts them; part of that stays inside the chip."""
    arguments: int
    results: int
    """Bytes of results that do not take the place of arguments."""
    temporaries: int
    code: int
    """Bytes of the program itself."""
    collectives: dict[str, CollectiveSum]
    traffic: Sequence[Traffic]
    buffers: Sequence[Buffer]
    uncounted_loops: int
    """Loops that run an unknown number of times, counted as 1."""
    compile_seconds: float

    def roofline_seconds(self, peaks: Peaks) -> float:
        """The larger of operations / peak and bytes / bandwidth: no run can be faster, and few are as fast."""
        return max(self.flops / peaks.flops, self.bytes / peaks.bandwidth)

    def interconnect_seconds(self, peaks: Peaks) -> float:
        """Time of the collectives where nothing else is done meanwhile, and all links are busy."""
        return sum(kind.sent for kind in self.collectives.values()) / peaks.sending

    def figures(self, peaks: Peaks) -> dict[str, Any]:
        """The figures that are printed and written as JSON."""
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
    """The cost of a compiled function that works on `images` images a device and was compiled for so many devices."""
    program = parse(compiled.as_text(), devices)
    totals, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    again_flops, again_bytes = program.repeated()
    return Cost(
        images=images,
        flops=totals.get("flops", math.nan) + again_flops,
        bytes=totals.get("bytes accessed", math.nan) + again_bytes,
        arguments=memory.argument_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        collectives=sum_by_kind(program.collectives()),
        traffic=program.traffic(),
        buffers=program.buffers(),
        uncounted_loops=program.uncounted_loops,
        compile_seconds=compile_seconds,
    )


def sum_by_kind(collectives: Sequence[Collective]) -> dict[str, CollectiveSum]:
    """Counts and bytes of collectives on a device."""
    sums: dict[str, CollectiveSum] = {}
    for c in collectives:
        if c.devices > 1:
            before = sums.get(c.kind, CollectiveSum(0, 0, 0.0))
            sums[c.kind] = CollectiveSum(before.count + c.times, before.bytes + c.bytes * c.times, before.sent + c.sent)
    return sums
