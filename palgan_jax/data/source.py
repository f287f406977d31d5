"""Opens a set of pictures to train or evaluate on, named by one string (`data/spec.py`).

Every picture is scanned once (`data/index.py`). Unreadable and near-gray pictures are left out by number, so that
nothing is filtered later.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from palgan_jax.data import index as index_lib
from palgan_jax.data import jpeg
from palgan_jax.data import spec as specs
from palgan_jax.data.array_record import RecordPictures
from palgan_jax.data.decode import decode_rgb
from palgan_jax.data.folder import list_pictures, read_list
from palgan_jax.data.mixture import MixtureSource
from palgan_jax.data.protocols import Part, Pictures, Source
from palgan_jax.data.synthetic import SyntheticSource
from palgan_jax.data.tfds_layout import find_split
from palgan_jax.distributed.collectives import failing_together
from palgan_jax.errors import UserError
from palgan_jax.util.files import make_folder, write_file


@dataclass(frozen=True)
class StoredSource:
    """The usable pictures of a stored set. Implements `Source`."""

    name: str
    pictures: Pictures
    rows: np.ndarray  # int32 (N,): their numbers among all stored pictures
    sizes: np.ndarray
    file_bytes: np.ndarray
    colorfulness: np.ndarray  # float32 (N,), on a thumbnail
    near_gray: int  # number of pictures left out for having next to no color
    unreadable: tuple[tuple[str, str], ...]  # (name, reason) of pictures left out
    digest: str
    index_file: Path | None
    report: Path | None  # list of unreadable pictures, if there are any and it could be written

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(0, len(self), 1.0),)

    @property
    def counts(self) -> dict[str, int]:
        usable, unreadable = len(self), len(self.unreadable)
        total = usable + self.near_gray + unreadable
        return {"found": total, "used": usable, "near_gray": self.near_gray, "unreadable": unreadable}

    def picture_name(self, i: int) -> str:
        return self.pictures.picture_name(int(self.rows[i]))

    def read(self, i: int, *, at_least: int | None = None) -> np.ndarray:
        row = int(self.rows[i])
        _, data = self.pictures.load(row)
        return decode_rgb(data, name=self.pictures.label(row), at_least=at_least)

    def missing(self) -> str | None:
        file = self.pictures.index_file
        return None if file is None or file.parent.is_dir() else str(file.parent)

    def decoded_bytes(self, at_least: int | None) -> int:
        keys = self.sizes[:, 0].astype(np.int64) << 32 | self.sizes[:, 1]  # sorted much faster than pairs
        sizes, counts = np.unique(keys, return_counts=True)
        decoded = (jpeg.decoded_size((size >> 32, size & 0xFFFFFFFF), at_least) for size in sizes.tolist())
        return sum(count * 3 * w * h for (w, h), count in zip(decoded, counts.tolist(), strict=True))

    def summary(self) -> str:
        """Returns e.g. `folder:photos: 480 pictures (487 found, 5 next to gray, 2 unreadable)`."""
        counts = self.counts
        reasons = {"near_gray": "next to gray", "unreadable": "unreadable"}
        left_out = [f"{counts[kind]} {reason}" for kind, reason in reasons.items() if counts[kind]]
        detail = f" ({counts['found']} found, {', '.join(left_out)})" if left_out else ""
        return f"{self.name}: {len(self)} pictures{detail}"

    def identity(self) -> str:
        return self.digest


def open_source(
    spec: str,
    *,
    tfds_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    near_gray: float = 0.0,
    max_unreadable: float = 1.0,
    progress: index_lib.OnProgress | None = None,
) -> Source:
    """Opens a set of pictures, and scans those that are not in its index yet.

    Args:
      spec: names the set; see `data/spec.py`.
      tfds_dir: the folder of prepared sets that `tfds:NAME` is looked up in; None: $TFDS_DATA_DIR, else
        ~/tensorflow_datasets.
      cache_dir: a folder for the index where none can be written beside the pictures, and for `NAME.unreadable.txt`,
        the list of unreadable pictures; only the first process writes them. None: neither is written.
      near_gray: pictures with range of a + range of b under this are left out (method: section 8); 0 keeps all.
      max_unreadable: the largest share of unreadable pictures that is left out; a single one always is.
      progress: called with (done, total) while pictures are scanned; not called where the index is complete.

    Raises:
      UserError: the kind of source is unknown; there are no pictures; none of them is usable (says why); too many of
        them are unreadable.
    """
    parsed = specs.parse(spec)
    options = (tfds_dir, cache_dir, near_gray, max_unreadable, progress)
    if isinstance(parsed, specs.MixtureSpec):
        sources = tuple(_open_single(str(part), part, *options) for _, part in parsed.parts)
        return MixtureSource(spec, sources, tuple(weight for weight, _ in parsed.parts))
    return _open_single(spec, parsed, *options)


def _open_single(
    name: str,
    spec: specs.SingleSpec,
    tfds_dir: str | Path | None,
    cache_dir: str | Path | None,
    near_gray: float,
    max_unreadable: float,
    progress: index_lib.OnProgress | None,
) -> Source:
    """Opens a set that is no mixture; `name` is its spec in messages."""
    if isinstance(spec, specs.SyntheticSpec):
        return SyntheticSource(name, spec.count)
    pictures = stored_pictures(spec, tfds_dir)
    cache = None if cache_dir is None else Path(cache_dir)
    index = index_lib.load_or_build(pictures, cache, progress)
    unreadable = (
        *((pictures.picture_name(row), reason) for row, reason in sorted(index.unreadable.items())),
        *pictures.problems,
    )
    report = None if cache is None else cache / f"{index_lib.file_stem(pictures)}.unreadable.txt"
    with failing_together():
        if report is not None and jax.process_index() == 0:
            _write_report(report, name, unreadable)
    usable = index.usable(near_gray)
    if not len(usable):
        raise UserError(_nothing_usable(name, index, unreadable, near_gray))
    total = len(index) + len(pictures.problems)
    if len(unreadable) > max(1, max_unreadable * total):
        raise UserError(_too_many_unreadable(name, total, unreadable, max_unreadable, report))
    return _usable_source(name, pictures, index, usable, unreadable, report)


_IDENTITY = ("name", "width", "height", "file_bytes")


def _usable_source(
    name: str,
    pictures: Pictures,
    index: index_lib.Index,
    usable: np.ndarray,
    unreadable: tuple[tuple[str, str], ...],
    report: Path | None,
) -> StoredSource:
    """Returns the source of the usable rows of an index."""
    rows = index.rows[usable]
    return StoredSource(
        name=name,
        pictures=pictures,
        rows=usable.astype(np.int32),
        sizes=np.stack([rows["width"], rows["height"]], axis=1),
        file_bytes=rows["file_bytes"],
        colorfulness=rows["colorfulness"],
        near_gray=len(index) - len(index.unreadable) - len(usable),
        unreadable=unreadable,
        digest=hashlib.sha256(b"".join(rows[column].tobytes() for column in _IDENTITY)).hexdigest()[:16],
        index_file=index.file,
        report=report if unreadable else None,
    )


def stored_pictures(spec: specs.StoredSpec, tfds_dir: str | Path | None) -> Pictures:
    """Lists all encoded pictures that a spec names, without reading them. Raises UserError where there are none."""
    if isinstance(spec, specs.FolderSpec):
        return list_pictures(spec.path)
    if isinstance(spec, specs.ListSpec):
        return read_list(spec.path)
    return RecordPictures(find_split(spec, None if tfds_dir is None else str(tfds_dir) or None))


def _nothing_usable(
    name: str, index: index_lib.Index, unreadable: tuple[tuple[str, str], ...], near_gray: float
) -> str:
    total, bad = len(index), len(index.unreadable)
    if bad and bad == total:
        first, reason = unreadable[0]
        return f"{name} holds {total} picture files and none can be read: {first} {reason}."
    remark = f" ({bad} more cannot be read)" if bad else ""
    return (
        f"{name} holds {total - bad} pictures{remark}, all of them gray or next to gray (range of a + range of b under "
        f"{near_gray:g}): name a set of pictures in color."
    )


def _too_many_unreadable(
    name: str, total: int, unreadable: tuple[tuple[str, str], ...], max_share: float, report: Path | None
) -> str:
    reference = f"{report} lists them" if report else f"the first is {' '.join(unreadable[0])}"
    return (
        f"{len(unreadable)} of {total} pictures of {name} cannot be read, more than {max_share:.2%}, and {reference}: "
        "remove them, or raise --config.data.max_unreadable."
    )


def _write_report(path: Path, name: str, unreadable: tuple[tuple[str, str], ...]) -> None:
    """Writes a line for each picture, name, tab and reason, or removes an older report where there are none."""
    if not unreadable:
        path.unlink(missing_ok=True)
        return
    make_folder(path.parent)
    lines = [f"# {len(unreadable)} pictures of {name} were left out", *("\t".join(row) for row in unreadable)]
    write_file(path, "\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
