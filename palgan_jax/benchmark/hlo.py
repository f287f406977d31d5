"""Parses the text of an optimized HLO module, as `compiled.as_text()` gives it.

The grammar is that of XLA's HloPrinter: computations of one instruction a line, `name = shape opcode(operands),
attributes`. An array's layout in braces holds the order of its dimensions, its tiles T and its memory space S:
`f32[8,3]{1,0:T(8,128)S(1)}`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

BITS = {"pred": 8, "token": 0, "opaque": 0, "bf16": 16}
"""Bits of an element, for the types whose name does not end in them."""

_LAYOUT = re.compile(r"(?P<order>[\d,]*)(?::(?P<tiles>.*))?")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_HEAD = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.\-]+) .*\{$")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition|called_computations|\w+_computation)=(\{[^}]*\}|%[\w.\-]+)")
_NAME = re.compile(r"%([\w.\-]+)")
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclass(frozen=True)
class Array:
    """One array of a shape: its element type, its dimensions and its layout in memory.

    Attributes:
      order: dimensions, the one whose neighbors are adjacent in memory first.
      tile: sizes of the (first level of) tiles, which pad the last dimensions in `order`; () without tiles.
      space: 0 is the device's main memory; on a TPU, 1 is the vector memory inside the chip.
    """

    dtype: str
    dims: tuple[int, ...]
    order: tuple[int, ...]
    tile: tuple[int, ...]
    space: int

    @property
    def item_bits(self) -> int:
        """Returns the bits of an element: 32 for f32, 4 for s4."""
        digits = re.search(r"\d+", self.dtype)
        return BITS.get(self.dtype, int(digits.group()) if digits else 32)

    @property
    def payload(self) -> int:
        """Returns the bytes of its numbers."""
        return math.ceil(math.prod(self.dims) * self.item_bits / 8)

    @property
    def size(self) -> int:
        """Returns its bytes in memory, with the padding of its tiles."""
        dims = list(self.dims)
        for tile, axis in zip(reversed(self.tile), self.order, strict=False):
            dims[axis] = -(-dims[axis] // tile) * tile
        extra_dimensions = self.tile[: max(len(self.tile) - len(self.order), 0)]  # a scalar still takes a whole tile
        return math.ceil(math.prod(dims) * math.prod(extra_dimensions) * self.item_bits / 8)

    @property
    def text(self) -> str:
        """Returns type and dimensions alone: f32[32,256,256,64]."""
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"


def parse_arrays(shape: str) -> tuple[Array, ...]:
    """Returns the arrays of a shape, which may be a tuple, nested or not."""
    arrays = []
    for dtype, dims, layout in _ARRAY.findall(shape):
        parts = _LAYOUT.match(layout)
        tiles = (parts["tiles"] if parts else None) or ""
        tile = re.search(r"T\(([\d,]+)\)", tiles)
        space = re.search(r"S\((\d+)\)", tiles)
        sizes = tuple(int(size.lstrip("<=")) for size in dims.split(",") if size)
        order = tuple(int(axis) for axis in parts["order"].split(",") if axis) if parts else ()
        arrays.append(
            Array(
                dtype, sizes, order or tuple(reversed(range(len(sizes)))),
                tuple(map(int, tile[1].split(","))) if tile else (), int(space[1]) if space else 0,
            )
        )  # fmt: skip
    return tuple(arrays)


@dataclass(frozen=True)
class Instruction:
    """One line of HLO; `attributes` is the text after the operands, and the value of a constant."""

    name: str
    shape: tuple[Array, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    @cached_property
    def op_name(self) -> str:
        """Returns its origin in Python, such as jit(step)/jvp(PalGAN)/palette_generator/conv_0/dot_general, or ""."""
        match = re.search(r'op_name="([^"]*)"', self.attributes)
        return match[1] if match else ""

    @cached_property
    def called(self) -> dict[str, tuple[str, ...]]:
        """Returns the names of the computations that it runs, by the attribute that names them."""
        return {kind: tuple(_NAME.findall(names)) for kind, names in _CALLED.findall(self.attributes)}


Computation = Mapping[str, Instruction]


@dataclass(frozen=True)
class Module:
    """A parsed module.

    Attributes:
      computations: the instructions of each computation, by name, in the order of the text.
      runs: how often each computation is run, from the entry and through loops.
      fused: computations inside fusions and reductions, whose intermediate results never reach memory.
      uncounted_loops: loops whose number of runs XLA does not tell; it is taken as 1.
    """

    computations: Mapping[str, Computation]
    runs: Mapping[str, int]
    fused: frozenset[str]
    uncounted_loops: int

    def running(self) -> Iterator[tuple[Instruction, Computation, int]]:
        """Yields each instruction outside fusions, with its computation and how often it is run."""
        for name, times in self.runs.items():
            if name not in self.fused:
                computation = self.computations.get(name, {})
                yield from ((instruction, computation, times) for instruction in computation.values())


def parse(text: str) -> Module:
    """Parses the text of a module."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if current is None:
            head = _HEAD.match(line)
            if head and not line.startswith("HloModule"):
                current = computations.setdefault(head["name"], {})
                entry = head["name"] if line.startswith("ENTRY") else entry
        elif line.startswith("}"):
            current = None
        elif " = " in line:
            instruction = _parse_instruction(line)
            current[instruction.name] = instruction
    return _with_runs(computations, entry)


def _parse_instruction(line: str) -> Instruction:
    name, _, rest = line.strip().removeprefix("ROOT ").partition(" = ")
    shape, rest = _split(rest) if rest.startswith("(") else rest.split(" ", 1)
    opcode, _, _ = rest.strip().partition("(")
    operands, attributes = _split(rest.strip()[len(opcode) :])
    if opcode == "constant":
        attributes = operands[1:-1]
    return Instruction(name.removeprefix("%"), parse_arrays(shape), opcode, tuple(_NAME.findall(operands)), attributes)


def _split(text: str) -> tuple[str, str]:
    """Splits a text that begins with a bracket after the bracket that closes it."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[: place + 1], text[place + 1 :]
    return text, ""


def _with_runs(computations: Mapping[str, Computation], entry: str) -> Module:
    """Counts how often each computation is run."""
    runs: dict[str, int] = {}
    fused: set[str] = set()
    uncounted_loops = 0

    def visit(name: str, times: int, is_fused: bool) -> None:
        nonlocal uncounted_loops
        runs[name] = runs.get(name, 0) + times
        if is_fused:
            fused.add(name)
        for instruction in computations.get(name, {}).values():
            trips = 1
            if instruction.opcode == "while":
                count = _TRIP_COUNT.search(instruction.attributes)
                trips = int(count[1]) if count else 1
                uncounted_loops += count is None
            for kind, names in instruction.called.items():
                reduces = kind == "to_apply" and instruction.opcode != "call"
                for callee in names:
                    visit(callee, times * trips, is_fused or reduces or instruction.opcode == "fusion")

    visit(entry, 1, False)
    return Module(computations, runs, frozenset(fused), uncounted_loops)
