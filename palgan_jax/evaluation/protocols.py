"""Protocols: the pictures that a published number is measured on, and how they are resized.

A name such as imagenet-ctest10k stands for a list of files. `difference` compares the pictures that were measured with
it; with any difference the numbers do not carry the name. Names are compared without their folders. The lists lie in
`lists/`, as the numbers of ImageNet's validation files; the SHA-256 of a list is that of its sorted names, one a line.
"""

import gzip
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import PurePosixPath

from palgan_jax.errors import UserError

SIDE = 256
"""Pixels a side at which the field measures."""
_SHOWN = 5  # names in a sentence


@dataclass(frozen=True)
class Protocol:
    """The pictures that numbers with this name were measured on, and their resize.

    Attributes:
      name: as on the command line.
      description: of the pictures.
      resize: how they become squares of `side`: a name in `resize.RESIZES`.
      names: returns their file names, sorted; None where no list is known, or any pictures will do.
      sha256: of that list.
      count: how many pictures there are; None: any number.
      pattern: a regular expression that each name matches, where there is no list.
      some_names: some of the names, where there is no list.
      reference: returns the list of other pictures that FID is measured against; None: against the truth itself.
      side: of the squares, pixels.
      truth_colorfulness: the published colorfulness of the photographs, which shows whether they are the same here.
    """

    name: str
    description: str
    resize: str
    names: Callable[[], tuple[str, ...]] | None = None
    sha256: str = ""
    count: int | None = None
    pattern: str = ""
    some_names: tuple[str, ...] = ()
    reference: Callable[[], tuple[str, ...]] | None = None
    side: int = SIDE
    truth_colorfulness: float | None = None


def _imagenet(numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"ILSVRC2012_val_{number:08d}.JPEG" for number in numbers)


def _listed(name: str) -> Callable[[], tuple[str, ...]]:
    def read() -> tuple[str, ...]:
        compressed = files("palgan_jax.evaluation").joinpath("lists", f"{name}.txt.gz").read_bytes()
        return _imagenet(map(int, gzip.decompress(compressed).split()))

    return read


def list_sha256(names: Iterable[str]) -> str:
    """Returns the SHA-256 of the sorted names without folders, one a line."""
    lines = "".join(f"{base_name(name)}\n" for name in sorted(names, key=base_name))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def base_name(name: str) -> str:
    """Returns a name without its folders."""
    return PurePosixPath(name).name


def stem(name: str) -> str:
    """Returns a name without its folders and its suffix, by which predictions are matched."""
    return PurePosixPath(name).stem


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "imagenet-val50k",
            "all 50,000 pictures of ImageNet's validation set",
            "squash-cv2",
            lambda: _imagenet(range(1, 50_001)),
            "c212211fc64b53a65e24dea8698efd5a820b32d33bc6065776993462893e114d",
            50_000,
            truth_colorfulness=39.09,
        ),
        Protocol(
            "imagenet-ctest10k",
            "the 10,000 pictures of ImageNet's validation set that the field calls ctest10k",
            "squash-cv2",
            _listed("imagenet-ctest10k"),
            "3e84359dcbf05c8ab41b1e8cfeed914792422c6f4c31fb2edef2d10d988f297e",
            10_000,
        ),
        Protocol(
            "imagenet-val5k",
            "files 1 to 5,000 of ImageNet's validation set",
            "crop-cv2",
            lambda: _imagenet(range(1, 5_001)),
            "fddf179692dd54869181f4325a1e28796b678152fdc2768e1acd8be9e5bf1912",
            5_000,
            truth_colorfulness=38.21,
        ),
        Protocol(
            "imagenet-coltran5k",
            "the 5,000 pictures of ImageNet's validation set that ColTran is measured on",
            "crop-area",
            _listed("imagenet-coltran5k"),
            "983d92f858a483a481bb802d9c931492f2387739138a2abea8ec0374c9536ff6",
            5_000,
            reference=_listed("imagenet-coltran5k-reference"),
        ),
        # The list itself is not shipped: its count, the shape of its names and its ends stand for it. No other set of
        # COCO has all of them, since its pictures are in one set only.
        Protocol(
            "coco-val2017",
            "the 5,000 pictures of COCO's val2017, which is also that of COCO-Stuff",
            "squash-cv2",
            count=5_000,
            pattern=r"\d{12}\.jpg",
            some_names=tuple(
                f"{number:012d}.jpg"
                for number in (139, 285, 632, 724, 776, 785, 802, 872, 885, 1000, 581357, 581482, 581615, 581781)
            ),
        ),
        Protocol("folder", "any pictures: comparable only with numbers of the same list", "squash"),
    )
}


def find_protocol(name: str) -> Protocol:
    """Returns the protocol of that name. Raises UserError for an unknown one."""
    if name not in PROTOCOLS:
        raise UserError(f"{name} is no protocol: name one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


@dataclass(frozen=True)
class ListDifference:
    """How the pictures that were measured differ from a protocol's.

    Attributes:
      missing, extra, duplicates: base names, sorted.
      remarks: sentences on everything else.
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.duplicates or self.remarks)

    def __str__(self) -> str:
        """Returns, e.g., `2 missing (a.jpg, b.jpg), 1 there twice (c.jpg)`; "" where there is no difference."""
        kinds = {"missing": self.missing, "not on the list": self.extra, "there twice": self.duplicates}
        return ", ".join(
            [f"{len(names):,} {kind} ({first_few(names)})" for kind, names in kinds.items() if names] + [*self.remarks]
        )


def first_few(names: Sequence[str]) -> str:
    """Returns the first few names, for a sentence."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def difference(protocol: Protocol, names: Iterable[str]) -> ListDifference:
    """Compares the names of pictures that were measured with the protocol's. Empty: they are exactly its own."""
    counts = Counter(map(base_name, names))
    duplicates = tuple(sorted(name for name, count in counts.items() if count > 1))
    if protocol.names is not None:
        names_on_list = set(protocol.names())
        return ListDifference(
            tuple(sorted(names_on_list - counts.keys())), tuple(sorted(counts.keys() - names_on_list)), duplicates
        )
    if protocol.count is None:
        return ListDifference()
    extra = tuple(sorted(name for name in counts if not re.fullmatch(protocol.pattern, name)))
    missing = tuple(name for name in protocol.some_names if name not in counts)
    total = len(counts) - len(extra)
    remarks = () if total == protocol.count else (f"{total:,} pictures instead of {protocol.count:,}",)
    return ListDifference(missing, extra, duplicates, remarks)


def select(protocol: Protocol, names: Sequence[str]) -> list[int]:
    """Returns the numbers of the pictures to measure, out of all `names`.

    Those on the protocol's list, in its order; all of them where it has no list.
    """
    return list(range(len(names))) if protocol.names is None else _on_list(protocol.names(), names)


def select_reference(protocol: Protocol, names: Sequence[str]) -> list[int]:
    """Returns the numbers, out of all `names`, of the other pictures that FID of a protocol is measured against.

    Raises UserError where one is missing or there twice: without all of them there is no such FID.
    """
    assert protocol.reference is not None
    images = protocol.reference()
    numbers = _on_list(images, names)
    missing = sorted(set(images) - {base_name(names[i]) for i in numbers})
    if missing or len(numbers) != len(images):
        problem = f"{len(missing):,} of them missing ({first_few(missing)})" if missing else "some of them there twice"
        raise UserError(
            f"the FID of {protocol.name} is taken against {len(images):,} other pictures, and the truth has {problem}: "
            "give the whole of ImageNet's validation set as the truth."
        )
    return numbers


def _on_list(names_on_list: Sequence[str], names: Sequence[str]) -> list[int]:
    places: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        places.setdefault(base_name(name), []).append(i)
    return [i for name in names_on_list for i in places.get(name, ())]
