"""Parses the string that names a set of pictures: `folder:PATH`, `list:FILE`, `tfds:NAME`, `synthetic` or a mixture.

folder:photos                                  every picture under a folder
list:train.txt                                 a text file with a picture's path on each line
tfds:imagenet2012  tfds:coco/2017:1.1.0@validation  tfds:/data/coco/2017/1.1.0@train
                                               a set that tensorflow_datasets prepared: NAME[/CONFIG][:VERSION] or
                                               the path of its version folder, then [@SPLIT], by default train
synthetic  synthetic:50000                     pictures made from their numbers, for benchmarks
0.7 folder:photos + 0.3 tfds:coco/2017         a mixture, of which 7 of 10 pictures are from the first
"""

import os
import re
from dataclasses import dataclass

from palgan_jax.errors import UserError

SYNTHETIC_COUNT = 10_000
MOST_SYNTHETIC = 10_000_000
"""Several times as many as ImageNet's. Beyond, the memory for each one's size and place in an epoch adds up."""
DEFAULT_SPLIT = "train"

_KINDS = "folder|list|tfds|synthetic"
_WEIGHT = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_WEIGHTED = re.compile(rf"({_WEIGHT}) +((?:{_KINDS})(?::.*)?)", re.DOTALL)
_NEXT_PART = re.compile(rf" +\+ +(?={_WEIGHT} +(?:{_KINDS})\b)")
_PART_WITHOUT_WEIGHT = re.compile(rf" +\+ +(?:{_KINDS})(?::|$)")
_TFDS_NAME = re.compile(
    r"(?P<name>[A-Za-z_]\w*)(?:/(?P<config>[\w.+-]+))?(?::(?P<version>\d+\.\d+\.\d+))?(?:@(?P<split>.*))?", re.DOTALL
)
_SPLIT = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class FolderSpec:
    """All pictures under a folder."""

    path: str

    def __str__(self) -> str:
        return f"folder:{self.path}"


@dataclass(frozen=True)
class ListSpec:
    """The pictures that a text file names, in its order."""

    path: str

    def __str__(self) -> str:
        return f"list:{self.path}"


@dataclass(frozen=True)
class TfdsSpec:
    """A split of a set that tensorflow_datasets prepared, by name."""

    name: str
    config: str = ""
    version: str = ""
    """Empty: the newest that is installed."""
    split: str = DEFAULT_SPLIT

    def __str__(self) -> str:
        config, version = self.config and f"/{self.config}", self.version and f":{self.version}"
        return f"tfds:{self.name}{config}{version}@{self.split}"


@dataclass(frozen=True)
class TfdsFolderSpec:
    """A split of a set that tensorflow_datasets prepared, by the folder (or gs:// address) of one version."""

    path: str
    split: str = DEFAULT_SPLIT

    def __str__(self) -> str:
        return f"tfds:{self.path}@{self.split}"


@dataclass(frozen=True)
class SyntheticSpec:
    """Pictures made from their numbers."""

    count: int = SYNTHETIC_COUNT

    def __str__(self) -> str:
        return f"synthetic:{self.count}"


StoredSpec = FolderSpec | ListSpec | TfdsSpec | TfdsFolderSpec
SingleSpec = StoredSpec | SyntheticSpec


@dataclass(frozen=True)
class MixtureSpec:
    """Several sets with their weights: each one's share of the samples is its weight over their sum."""

    parts: tuple[tuple[float, SingleSpec], ...]

    def __str__(self) -> str:
        return " + ".join(f"{weight!r} {spec}" for weight, spec in self.parts)


Spec = SingleSpec | MixtureSpec


def parse(text: str) -> Spec:
    """Parses what the user wrote, so that `parse(str(spec)) == spec`.

    A text without a kind names a folder; if it has a colon, only where that exists. Raises UserError for anything else.
    """
    pieces = _NEXT_PART.split(text.strip())
    weighted = [_WEIGHTED.fullmatch(piece) for piece in pieces]
    if weighted[0] is None or not all(weighted):
        return _single(text)
    if len(pieces) == 1:
        _single(text.partition(" ")[2])
        raise UserError(f"{text!r} gives a weight to a single source: leave the weight out, or add another source.")
    parts = tuple((float(match[1]), _single(match[2])) for match in weighted if match)
    if not all(0 < weight < float("inf") for weight, _ in parts):
        raise UserError(f"{text!r} has a weight that is not a number above 0: give each source a share of its own.")
    return MixtureSpec(parts)


def _single(text: str) -> SingleSpec:
    kind, colon, rest = text.partition(":")
    if _PART_WITHOUT_WEIGHT.search(text):
        raise UserError(
            f"{text!r} mixes sources without weights: write one before each, e.g. 0.5 folder:a + 0.5 folder:b."
        )
    if kind == "synthetic":
        digits = rest.lstrip("0") if rest.isdecimal() else ""
        if colon and not (digits and len(digits) <= len(str(MOST_SYNTHETIC)) and int(digits) <= MOST_SYNTHETIC):
            raise UserError(
                f"{text!r} needs a number of pictures behind the colon, from 1 to {MOST_SYNTHETIC}: "
                "write e.g. synthetic:10000."
            )
        return SyntheticSpec(int(digits)) if colon else SyntheticSpec()
    if colon and kind in ("folder", "list"):
        if not rest:
            example = {"folder": "the path of a folder", "list": "the path of a text file"}[kind]
            raise UserError(f"{kind}: needs {example} behind the colon, e.g. {kind}:photos.")
        return FolderSpec(rest) if kind == "folder" else ListSpec(rest)
    if colon and kind == "tfds":
        return _tfds(text, rest)
    if text and (not colon or os.path.exists(text)):  # noqa: PTH110  # Path.exists raises for names that are too long
        return FolderSpec(text)
    raise UserError(
        f"{text!r} is not a known source of pictures: write folder:PATH, list:FILE, tfds:NAME or synthetic."
    )


def _tfds(text: str, rest: str) -> TfdsSpec | TfdsFolderSpec:
    if rest.startswith(("/", "~", ".")) or "://" in rest:
        path, at, split = rest.rpartition("@")
        # An @ in a folder's name is followed by the rest of the path.
        spec = TfdsFolderSpec(path, split) if at and "/" not in split else TfdsFolderSpec(rest)
    else:
        match = _TFDS_NAME.fullmatch(rest)
        if match is None:
            raise UserError(
                f"{text!r} does not name a prepared set: write tfds:NAME[/CONFIG][:VERSION][@SPLIT], "
                "e.g. tfds:coco/2017@train, or tfds: and the path of its version folder."
            )
        split = match["split"] if match["split"] is not None else DEFAULT_SPLIT
        spec = TfdsSpec(match["name"], match["config"] or "", match["version"] or "", split)
    if not _SPLIT.fullmatch(spec.split):
        raise UserError(f"{text!r} names no split behind the @: write e.g. @train or @validation.")
    return spec
