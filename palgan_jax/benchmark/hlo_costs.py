"""Reads from a parsed module what XLA's own totals leave out: collectives, traffic by layer, large arrays, loops.

Sizes are those of arrays in memory, with the padding of their tiles (f32[8,3]{1,0:T(8,128)} takes 4 KiB); for
collectives they are those of the numbers alone. What is read from and written to the vector memory of a TPU counts
too, as XLA counts it.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from palgan_jax.benchmark.hlo import Array, Computation, Instruction, Module

MOVES_NOTHING = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id",
    "opt-barrier", "domain",
}  # fmt: skip
RUNS_OTHERS = {"while", "call", "conditional", "async-start"}
"""Instructions whose computations are counted instead of themselves."""
COLLECTIVES = {
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute",
    "collective-broadcast",
}  # fmt: skip


# --------------------------------------------------------------------------------------------------------- collectives


@dataclass(frozen=True)
class Collective:
    """One collective: its kind, bytes of its numbers on a device, devices that take part, times that it is run."""

    kind: str
    bytes: int
    devices: int
    times: int
    op_name: str

    @property
    def sent(self) -> float:
        """Returns the bytes that each device sends in all runs, by the ring algorithm (Patarasuk and Yuan, 2009)."""
        share = (self.devices - 1) / self.devices
        factors = {"all-reduce": 2 * share, "collective-permute": 1.0, "collective-broadcast": 1.0}
        return factors.get(self.kind, share) * self.bytes * self.times


def collectives(module: Module, devices: int) -> list[Collective]:
    """Returns all collectives, also the fused ones, of a module that was compiled for so many devices."""
    results = []
    for name, times in module.runs.items():
        computation = module.computations.get(name, {})
        for instruction in computation.values():
            kind = instruction.opcode.removesuffix("-start")
            if kind in COLLECTIVES:
                size = _payload(instruction, computation, kind)
                # On TPUs a reduce-scatter is an all-reduce inside a fusion that keeps a part of it.
                if kind == "all-reduce" and "all-reduce-scatter" in name:
                    kind = "reduce-scatter"
                members = _group_size(instruction.attributes) or devices
                results.append(Collective(kind, size, members, times, instruction.op_name))
    return results


def _payload(collective: Instruction, computation: Computation, kind: str) -> int:
    """Returns the bytes of a collective's operands; of an all-gather, those of its result, the whole array."""
    operands = sum(a.payload for operand in collective.operands for a in _shape(computation, operand))
    if kind != "all-gather":
        return operands
    result = sum(a.payload for a in collective.shape)
    return result - operands if collective.opcode.endswith("-start") else result  # the shape has both


def _group_size(attributes: str) -> int | None:
    """Returns the devices in one group of a collective; None where all devices are one group.

    XLA writes groups as `{{0,1},{2,3}}`, as `[2,2]<=[4]` (groups, devices of each) or as `mesh['a'=2,'b'=2] {'a'}`.
    """
    if match := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
        return match[1].count(",") + 1
    if match := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
        return int(match[1])
    if match := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", match[2]))
    return None


# ------------------------------------------------------------------------------------------------------- memory traffic


@dataclass(frozen=True)
class Traffic:
    """Bytes that a layer reads and writes, those of them in main memory, and how many instructions do so."""

    layer: str
    bytes: int
    main: int
    instructions: int


@dataclass(frozen=True)
class Buffer:
    """An array in main memory: bytes, shape, the layer that makes it, and how many like it are made."""

    size: int
    shape: str
    layer: str
    count: int


def traffic(module: Module) -> list[Traffic]:
    """Returns the bytes of operands and results of the instructions outside fusions, by layer, most first."""
    sums: dict[str, tuple[int, int, int]] = {}
    for instruction, computation, times in module.running():
        moves = moved(instruction, computation)
        if moves:
            layer = _origin(instruction, computation)
            total, main, count = sums.get(layer, (0, 0, 0))
            total += times * sum(size for size, _ in moves)
            main += times * sum(size for size, space in moves if space == 0)
            sums[layer] = (total, main, count + times)
    return sorted((Traffic(layer, *sums[layer]) for layer in sums), key=lambda t: -t.bytes)


def buffers(module: Module) -> list[Buffer]:
    """Returns the arrays that are written to main memory, largest first; not all of them live at the same time."""
    counts: Counter[tuple[int, str, str]] = Counter()
    for instruction, computation, _ in module.running():
        if not _only_names(instruction.opcode):
            layer = _origin(instruction, computation)
            counts.update((a.size, a.text, layer) for a in _results(instruction, computation) if a.space == 0)
    return [Buffer(*key, count) for key, count in sorted(counts.items(), key=lambda item: -item[0][0])]


def moved(instruction: Instruction, computation: Computation) -> list[tuple[int, int]]:
    """Returns (bytes, memory space) of each array that one run of an instruction reads or writes."""
    opcode = instruction.opcode
    if _only_names(opcode):
        return []
    results = [(a.size, a.space) for a in _results(instruction, computation)]
    operands = [_shape(computation, operand) for operand in dict.fromkeys(instruction.operands)]
    if opcode.removesuffix("-start") in ("dynamic-slice", "slice", "gather"):  # reads no more than it writes
        space = operands[0][0].space if operands and operands[0] else 0
        return [*results, (sum(size for size, _ in results), space)]
    if opcode == "dynamic-update-slice" and len(operands) > 1:  # in place
        return 2 * [(a.size, a.space) for a in operands[1]]
    return [*results, *((a.size, a.space) for arrays in operands for a in arrays)]


def _only_names(opcode: str) -> bool:
    """Returns True for an instruction that only names what others make, or whose computations are counted."""
    return opcode in MOVES_NOTHING or opcode in RUNS_OTHERS or opcode.endswith(("-done", "-update"))


def _results(instruction: Instruction, computation: Computation) -> Sequence[Array]:
    """Returns the arrays that an instruction writes. The shape of a -start has its operands and a flag beside them."""
    opcode, arrays = instruction.opcode, instruction.shape
    if opcode == "copy-start":
        return arrays[:1]
    if opcode.endswith("-start") and opcode != "all-reduce-start":
        operands = sum(len(_shape(computation, operand)) for operand in instruction.operands)
        return [array for array in arrays[operands:] if array.dims]
    return arrays


def _shape(computation: Computation, operand: str) -> Sequence[Array]:
    return computation[operand].shape if operand in computation else ()


# --------------------------------------------------------------------------------------------------------------- layers


def layer_of(op_name: str) -> str:
    """Returns the place in the network that an operation comes from.

    `jit(step)/transpose(jvp(PalGAN))/palette_generator/conv_0/add` is `PalGAN/palette_generator/conv_0, backward`.
    """
    if argument := re.match(r"[\w.]+(?=\[)", op_name):
        return argument[0]
    op_name = re.sub(r"/cond/branch_\d+_fun", "", op_name)  # of choices by platform
    parts = [_unwrapped(part) for part in op_name.split("/") if not part.startswith("jit(")]
    names = [part for part in parts[:-1] if part] or parts[-1:] or ["no layer"]
    return "/".join(names) + (", backward" if "transpose(" in op_name else "")


def _unwrapped(part: str) -> str:
    while inner := re.fullmatch(r"(?:transpose|jvp|vmap|checkpoint|remat|rematted_computation)\((.*)\)", part):
        part = inner[1]
    return part


def _origin(instruction: Instruction, computation: Computation) -> str:
    """Returns the layer of an instruction; for one without a name, that of the instruction whose result it moves."""
    kind = ""
    for _ in range(20):
        if instruction.op_name:
            return f"{kind}{layer_of(instruction.op_name)}"
        if not instruction.operands or instruction.operands[0] not in computation:
            break
        kind = kind or f"{instruction.opcode.removesuffix('-start')} of "
        instruction = computation[instruction.operands[0]]
    return f"{kind}{instruction.opcode} without a name"


# ---------------------------------------------------------------------------------------------------------------- loops


def repeated(module: Module) -> tuple[int, int]:
    """Returns the operations and bytes of all runs but the first of what is in loops, which XLA's totals leave out.

    A step has loops where `accumulate` is above 1. Operations are those of products of matrices and convolutions,
    beside which others are few.
    """
    flops = size = 0
    for name, times in module.runs.items():
        computation = module.computations.get(name, {})
        if times > 1:
            flops += (times - 1) * sum(matrix_flops(i, computation) for i in computation.values())
            if name not in module.fused:
                size += (times - 1) * sum(b for i in computation.values() for b, _ in moved(i, computation))
    return flops, size


def matrix_flops(instruction: Instruction, computation: Computation) -> int:
    """Returns the operations of a product of matrices or a convolution, 2 a multiplication, as XLA counts; else 0."""
    if instruction.opcode == "dot":
        left_shape = _shape(computation, instruction.operands[0])[0].dims
        axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.attributes)
        summed = math.prod(left_shape[int(axis)] for axis in (axes[1] if axes else "").split(",") if axis)
        return 2 * math.prod(instruction.shape[0].dims) * summed
    if instruction.opcode == "convolution":
        x, kernel = (_shape(computation, operand)[0].dims for operand in instruction.operands)
        return _convolution_flops(x, kernel, instruction.shape[0].dims, instruction.attributes)
    return 0


def _convolution_flops(x: Sequence[int], kernel: Sequence[int], y: Sequence[int], attributes: str) -> int:
    """Returns the operations of a convolution of `x` with `kernel` to `y`, whose dimensions the labels name.

    `attributes` has, for example, `window={size=3x3 pad=1_1x1_1 lhs_dilate=2x2}, dim_labels=b01f_01io->b01f`.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", attributes)
    assert labels is not None
    of_x, of_kernel, of_y = labels.groups()
    window = re.search(r"window=\{([^}]*)\}", attributes)
    terms = dict(term.split("=") for term in window[1].split()) if window else {}
    groups = re.search(r"batch_group_count=(\d+)", attributes)
    products = x[of_x.index("b")] * kernel[of_kernel.index("i")] * kernel[of_kernel.index("o")]
    products //= int(groups[1]) if groups else 1
    for axis in range(len(x) - 2):
        taps, stride, dilation, spread = (
            int(terms[name].split("x")[axis]) if name in terms else 1
            for name in ("size", "stride", "rhs_dilate", "lhs_dilate")
        )
        padding = int(terms["pad"].split("x")[axis].split("_")[0]) if "pad" in terms else 0
        length, outputs = x[of_x.index(str(axis))], y[of_y.index(str(axis))]
        reads = (output * stride + tap * dilation - padding for output in range(outputs) for tap in range(taps))
        # What meets padding, or the zeros that lhs_dilate spreads between pixels, is not computed.
        products *= sum(0 <= position < length * spread and position % spread == 0 for position in reads)
    return 2 * products
