"""What a compiled program says of itself, read from its HLO text: collectives, memory traffic by layer, large buffers.

XLA's own analysis gives totals alone. Sizes here are those of arrays as they lie in memory, with the padding of their
tiles (f32[8,3]{1,0:T(8,128)} takes 4 KiB), but for collectives, where they are those of the numbers in them. Memory
space 0 is the device's main memory. On a TPU, S(1) is the vector memory inside the chip: XLA counts what is read there
and written there among the bytes accessed too.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

BITS = {"pred": 8, "token": 0, "opaque": 0, "bf16": 16}
"""Of the element types whose name does not end in their number of bits."""

MOVES_NOTHING = frozenset(
    [
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "after-all",
        "partition-id",
        "replica-id",
        "opt-barrier",
        "domain",
    ]
)
COLLECTIVES = frozenset(
    [
        "all-reduce",
        "all-gather",
        "reduce-scatter",
        "all-to-all",
        "ragged-all-to-all",
        "collective-permute",
        "collective-broadcast",
    ]
)
_LAYOUT = re.compile(r"(?P<order>[\d,]*)(?::(?P<tiles>.*))?")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_HEAD = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.\-]+) .*\{$")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition|called_computations|\w+_computation)=(\{[^}]*\}|%[\w.\-]+)")
_WINDOW = (("size", "1"), ("stride", "1"), ("pad", "0_0"), ("lhs_dilate", "1"), ("rhs_dilate", "1"))
_NAME = re.compile(r"%([\w.\-]+)")


@dataclass(frozen=True)
class Array:
    """One array of a shape: element type, dimensions, and where and how it lies in memory."""

    dtype: str
    dims: tuple[int, ...]
    order: tuple[int, ...]  # dimensions from the one that lies closest together
    tile: tuple[int, ...]
    space: int

    @property
    def item_bits(self) -> int:
        """Bits of an element: 32 of f32, 4 of s4."""
        digits = re.search(r"\d+", self.dtype)
        return BITS.get(self.dtype, int(digits.group()) if digits else 32)

    @property
    def payload(self) -> int:
        """Bytes of the numbers in it."""
        return math.ceil(math.prod(self.dims) * self.item_bits / 8)

    @property
    def size(self) -> int:
        """Bytes in memory, with the padding of its tiles."""
        dims = list(self.dims)
        for tile, axis in zip(reversed(self.tile), self.order, strict=False):
            dims[axis] = -(-dims[axis] // tile) * tile
        spare = self.tile[: max(len(self.tile) - len(self.order), 0)]  # a scalar still takes a whole tile
        return math.ceil(math.prod(dims) * math.prod(spare) * self.item_bits / 8)

    @property
    def text(self) -> str:
        """As people write it: f32[32,256,256,64]."""
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"


def parse_arrays(shape: str) -> tuple[Array, ...]:
    """The arrays of a shape, which may be a tuple, nested or not."""
    found = []
    for dtype, dims, layout in _ARRAY.findall(shape):
        parts = _LAYOUT.match(layout)
        tiles = (parts["tiles"] if parts else None) or ""
        tile = re.search(r"T\(([\d,]+)\)", tiles)
        space = re.search(r"S\((\d+)\)", tiles)
        sizes = tuple(int(size.lstrip("<=")) for size in dims.split(",") if size)
        order = tuple(int(axis) for axis in parts["order"].split(",") if axis) if parts else ()
        found.append(
            Array(
                dtype, sizes, order or tuple(reversed(range(len(sizes)))),
                tuple(map(int, tile[1].split(","))) if tile else (), int(space[1]) if space else 0,
            )
        )  # fmt: skip
    return tuple(found)


@dataclass(frozen=True)
class Instruction:
    """One line of HLO."""

    name: str
    shape: tuple[Array, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    @cached_property
    def op_name(self) -> str:
        """What it was in Python, such as jit(step)/jvp(PalGAN)/palette_generator/conv_0/conv_general_dilated."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""

    @cached_property
    def called(self) -> dict[str, tuple[str, ...]]:
        """The names of computations that it runs, by the attribute that names them."""
        return {kind: tuple(_NAME.findall(names)) for kind, names in _CALLED.findall(self.attributes)}


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
        """Bytes that each device sends, all runs together, by the ring algorithm (Patarasuk and Yuan, 2009)."""
        share = (self.devices - 1) / self.devices
        ways = {"all-reduce": 2 * share, "collective-permute": 1.0, "collective-broadcast": 1.0}
        return ways.get(self.kind, share) * self.bytes * self.times


@dataclass
class Program:
    """A parsed HLO module: its computations by name, and which of them is the entry."""

    computations: dict[str, dict[str, Instruction]]
    entry: str
    devices: int
    uncounted_loops: int = field(default=0, init=False)
    """Loops whose number of runs is not known, and is taken as 1."""

    def __post_init__(self) -> None:
        runs: dict[str, int] = {}
        inside: set[str] = set()
        self.uncounted_loops = 0
        self._count(self.entry, 1, runs, inside, False)
        self.runs: Mapping[str, int] = runs
        """How often each computation is run."""
        self.inside: set[str] = inside
        """Computations inside fusions and reductions: their intermediate results never reach memory."""

    def _count(self, name: str, times: int, runs: dict[str, int], inside: set[str], fused: bool) -> None:
        runs[name] = runs.get(name, 0) + times
        if fused:
            inside.add(name)
        for instruction in self.computations.get(name, {}).values():
            for kind, names in instruction.called.items():
                again = times
                if instruction.opcode == "while":
                    again = times * self._trips(instruction)
                within = (
                    fused or instruction.opcode == "fusion" or (kind == "to_apply" and instruction.opcode != "call")
                )
                for called in names:
                    self._count(called, again, runs, inside, within)

    def _trips(self, loop: Instruction) -> int:
        """How often a loop runs: as XLA notes it, else the constant that its condition compares with."""
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes):
            return int(known[1])
        condition = self.computations.get(loop.called.get("condition", ("",))[0], {})
        limits = {i.attributes for i in condition.values() if i.opcode == "constant" and not i.shape[0].dims}
        numbers = [int(text) for text in limits if re.fullmatch(r"\d+", text)]
        if len(numbers) == 1:
            return numbers[0]
        self.uncounted_loops += 1
        return 1

    def running(self) -> Iterator[tuple[Instruction, dict[str, Instruction], int]]:
        """Each instruction outside fusions, with those beside it, and how often it is run."""
        for name, times in self.runs.items():
            if name not in self.inside:
                siblings = self.computations.get(name, {})
                yield from ((instruction, siblings, times) for instruction in siblings.values())

    def collectives(self) -> list[Collective]:
        """All collectives, also those that are fused with what surrounds them."""
        found = []
        for name, times in self.runs.items():
            siblings = self.computations.get(name, {})
            for instruction in siblings.values():
                kind = instruction.opcode.removesuffix("-start")
                if kind not in COLLECTIVES:
                    continue
                given = sum(a.payload for operand in instruction.operands for a in _shape(siblings, operand))
                whole = sum(a.payload for a in instruction.shape)
                if instruction.opcode.endswith("-start") and kind != "all-reduce":
                    whole -= given
                size = whole if kind == "all-gather" else given
                # On TPUs a reduce-scatter is an all-reduce inside a fusion that keeps a part of it.
                scattered = kind == "all-reduce" and "all-reduce-scatter" in name
                members = self._members(instruction.attributes)
                found.append(
                    Collective("reduce-scatter" if scattered else kind, size, members, times, instruction.op_name)
                )
        return found

    def repeated(self) -> tuple[int, int]:
        """Operations and bytes of all runs but the first of what is inside loops, which XLA's totals leave out.

        Operations are those of products of matrices and convolutions; others are few beside them.
        """
        flops = size = 0
        for name, times in self.runs.items():
            siblings = self.computations.get(name, {})
            if times > 1:
                flops += (times - 1) * sum(matrix_flops(i, siblings) for i in siblings.values())
                if name not in self.inside:
                    size += (times - 1) * sum(b for i in siblings.values() for b, _ in moved(i, siblings))
        return flops, size

    def _members(self, attributes: str) -> int:
        """Devices in one group of a collective, as `{{0,1},{2,3}}`, `[2,2]<=[4]` or `mesh['a'=2,'b'=2] {'a'}` say."""
        if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
            return listed[1].count(",") + 1
        if counted := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
            return int(counted[1])
        if named := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes):
            sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
            return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
        return self.devices

    def traffic(self) -> list[Traffic]:
        """Bytes by layer, most first: operands and results of what is not fused away."""
        sums: dict[str, tuple[int, int, int]] = {}
        for instruction, siblings, times in self.running():
            moves = moved(instruction, siblings)
            if moves:
                layer = _origin(instruction, siblings)
                total, main, count = sums.get(layer, (0, 0, 0))
                total += times * sum(size for size, _ in moves)
                main += times * sum(size for size, space in moves if space == 0)
                sums[layer] = (total, main, count + times)
        return sorted((Traffic(layer, *sums[layer]) for layer in sums), key=lambda t: -t.bytes)

    def buffers(self) -> list[Buffer]:
        """The arrays in main memory that are made, largest first; not all of them live at the same time."""
        counts: Counter[tuple[int, str, str]] = Counter()
        for instruction, siblings, _ in self.running():
            if not _only_names(instruction.opcode):
                layer = _origin(instruction, siblings)
                counts.update((a.size, a.text, layer) for a in _results(instruction, siblings) if a.space == 0)
        return [Buffer(*key, count) for key, count in sorted(counts.items(), key=lambda item: -item[0][0])]


def _only_names(opcode: str) -> bool:
    """Whether an instruction only gives names to what others make."""
    return (
        opcode in MOVES_NOTHING
        or opcode in ("while", "call", "conditional", "async-start")  # those that they run are counted
        or opcode.endswith(("-done", "-update"))
    )


def moved(instruction: Instruction, siblings: Mapping[str, Instruction]) -> list[tuple[int, int]]:
    """(bytes, memory space) of all that one run of an instruction reads and writes."""
    opcode = instruction.opcode
    if _only_names(opcode):
        return []
    written = [(a.size, a.space) for a in _results(instruction, siblings)]
    given = [_shape(siblings, operand) for operand in dict.fromkeys(instruction.operands)]
    if opcode.removesuffix("-start") in ("dynamic-slice", "slice", "gather"):  # reads no more than it gives
        return [*written, (sum(size for size, _ in written), given[0][0].space if given and given[0] else 0)]
    if opcode == "dynamic-update-slice" and len(given) > 1:  # in place
        return 2 * [(a.size, a.space) for a in given[1]]
    return [*written, *((a.size, a.space) for arrays in given for a in arrays)]


def matrix_flops(instruction: Instruction, siblings: Mapping[str, Instruction]) -> int:
    """Operations of a product of matrices or a convolution, 2 a multiplication, as XLA counts them; 0 of others."""
    if instruction.opcode == "dot":
        left = _shape(siblings, instruction.operands[0])[0].dims
        axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.attributes)
        summed = math.prod(left[int(axis)] for axis in (axes[1] if axes else "").split(",") if axis)
        return 2 * math.prod(instruction.shape[0].dims) * summed
    if instruction.opcode == "convolution":
        left, right = (_shape(siblings, operand)[0].dims for operand in instruction.operands)
        return _convolution_flops(left, right, instruction.shape[0].dims, instruction.attributes)
    return 0


def _convolution_flops(left: Sequence[int], right: Sequence[int], result: Sequence[int], attributes: str) -> int:
    """`attributes` has, for example, window={size=3x3 pad=1_1x1_1 lhs_dilate=2x2}, dim_labels=b01f_01io->b01f."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", attributes)
    window = re.search(r"window=\{([^}]*)\}", attributes)
    assert labels is not None
    terms = dict(term.split("=") for term in window[1].split()) if window else {}
    rank = len(left) - 2

    def each(name: str, default: str) -> list[str]:
        return terms[name].split("x") if name in terms else [default] * rank

    products = left[labels[1].index("b")] * right[labels[2].index("i")] * right[labels[2].index("o")]
    groups = re.search(r"batch_group_count=(\d+)", attributes)
    products //= int(groups[1]) if groups else 1
    sizes = zip(*(each(*term) for term in _WINDOW), strict=True)
    for axis, (size, stride, pad, holes, apart) in enumerate(sizes):
        given, made = left[labels[1].index(str(axis))], result[labels[3].index(str(axis))]
        start = int(pad.split("_")[0])
        places = (place * int(stride) - start + tap * int(apart) for place in range(made) for tap in range(int(size)))
        # What meets padding or the holes between pixels is not computed.
        products *= sum(0 <= place < given * int(holes) and place % int(holes) == 0 for place in places)
    return 2 * products


def layer_of(op_name: str) -> str:
    """Where in the network an operation comes from.

    `jit(step)/transpose(jvp(PalGAN))/palette_generator/conv_0/add` is `PalGAN/palette_generator/conv_0, backward`.
    """
    if argument := re.match(r"[\w.]+(?=\[)", op_name):
        return argument[0]
    op_name = re.sub(r"/cond/branch_\d+_fun", "", op_name)  # of what is chosen by platform
    parts = [_unwrapped(part) for part in op_name.split("/") if not part.startswith("jit(")]
    names = [part for part in parts[:-1] if part] or parts[-1:] or ["no layer"]
    return "/".join(names) + (", backward" if "transpose(" in op_name else "")


def _unwrapped(part: str) -> str:
    while inner := re.fullmatch(r"(?:transpose|jvp|vmap|checkpoint|remat|rematted_computation)\((.*)\)", part):
        part = inner[1]
    return part


def _origin(instruction: Instruction, siblings: Mapping[str, Instruction]) -> str:
    """The layer of an instruction; of one without a name, that of what it moves."""
    kind = ""
    for _ in range(20):
        if instruction.op_name:
            return f"{kind}{layer_of(instruction.op_name)}"
        if not instruction.operands or instruction.operands[0] not in siblings:
            break
        kind = kind or f"{instruction.opcode.removesuffix('-start')} of "
        instruction = siblings[instruction.operands[0]]
    return f"{kind}{instruction.opcode} without a name"


def _results(instruction: Instruction, siblings: Mapping[str, Instruction]) -> Sequence[Array]:
    """What an instruction writes. Of those that only begin, the shape names also what they read, and a flag."""
    opcode, arrays = instruction.opcode, instruction.shape
    if opcode == "copy-start":
        return arrays[:1]
    if opcode.endswith("-start") and opcode != "all-reduce-start":
        given = sum(len(_shape(siblings, operand)) for operand in instruction.operands)
        return [array for array in arrays[given:] if array.dims]
    return arrays


def _shape(siblings: Mapping[str, Instruction], operand: str) -> Sequence[Array]:
    return siblings[operand].shape if operand in siblings else ()


def parse(text: str, devices: int) -> Program:
    """Parses the text of an optimized HLO module (`compiled.as_text()`) of a program for so many devices."""
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
            instruction = _instruction(line)
            current[instruction.name] = instruction
    return Program(computations, entry, devices)


def _instruction(line: str) -> Instruction:
    name, _, rest = line.strip().removeprefix("ROOT ").partition(" = ")
    shape, rest = _split(rest) if rest.startswith("(") else rest.split(" ", 1)
    opcode, _, _ = rest.strip().partition("(")
    operands, attributes = _split(rest.strip()[len(opcode) :])
    if opcode == "constant":
        attributes = operands[1:-1]
    return Instruction(name.removeprefix("%"), parse_arrays(shape), opcode, tuple(_NAME.findall(operands)), attributes)


def _split(text: str) -> tuple[str, str]:
    """What stands inside the first pair of brackets, with them, and what follows."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[: place + 1], text[place + 1 :]
    return text, ""
