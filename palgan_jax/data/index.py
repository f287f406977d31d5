"""The index of a set: for every picture whether it can be read, its size, and how much color it has.

It is built once by decoding every picture to a thumbnail (`data/scan.py`), and kept in a small file beside the
pictures, so that leaving out near-gray and unreadable ones costs nothing later. Several processes share the work in
blocks. Finished blocks are kept until the index is complete, so that an interrupted build goes on where it stopped.
After a set has changed, only the new pictures are scanned.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np

from palgan_jax.data.protocols import Pictures
from palgan_jax.data.scan import Unreadable, scan_picture
from palgan_jax.distributed.collectives import broadcast_bytes, failing_together, gather_bytes
from palgan_jax.errors import UserError
from palgan_jax.util.files import make_folder, write_file
from palgan_jax.util.threads import available_cores, ordered_map

BLOCK = 1024
"""Pictures that one process scans together, and whose rows one file keeps until the index is complete."""

_VERSION = 4  # of the file's layout and the meaning of its numbers, which the reader's rules are part of

ROW = np.dtype([
    ("stamp", "u8"),  # identifies the picture, and changes when it does
    ("name", "u8"),  # a hash of its name
    ("width", "i4"),  # upright pixels; 0 where unreadable
    ("height", "i4"),
    ("file_bytes", "i8"),
    ("range_ab", "f4", (2,)),  # largest minus smallest a and b on the thumbnail, in units of Lab
    ("colorfulness", "f4"),
])  # fmt: skip

OnProgress = Callable[[int, int], None]
"""Called with (pictures done, pictures to do) of this process."""
Reasons = dict[int, str]


@dataclass(frozen=True)
class Index:
    """What is known of the pictures of a set: one row each, in the set's order."""

    rows: np.ndarray  # ROW (N,)
    unreadable: Reasons  # row -> reason
    file: Path | None  # that keeps it, if any

    def __len__(self) -> int:
        return len(self.rows)

    def usable(self, near_gray: float) -> np.ndarray:
        """Returns the rows, int64 (M,), of readable pictures whose a-range + b-range, in Lab units, is >= near_gray."""
        readable = np.ones(len(self), bool)
        readable[list(self.unreadable)] = False
        return np.flatnonzero(readable & (self.rows["range_ab"].sum(axis=1) >= near_gray))


def file_stem(pictures: Pictures) -> str:
    """Returns the stem of the names of files about a set, which no other set has."""
    place = pictures.place.encode("utf-8", "surrogateescape")
    return f"{pictures.title}-{hashlib.sha256(place).hexdigest()[:8]}"


def load_or_build(pictures: Pictures, cache_dir: Path | None = None, progress: OnProgress | None = None) -> Index:
    """Returns the index of a set, from the rows that files still hold of these very pictures and a scan of the others.

    It is read from, and kept in, the file beside the pictures, else in `cache_dir`, else nowhere. All processes call
    this together and get the same index, in these phases:

    1. Read: rows come from the first process's files, the same for all; then from each process's own blocks of an
       interrupted build.
    2. Scan: each process scans the missing pictures of its own blocks; then they exchange what they have.
    3. Keep: the first process writes the index; then each removes its blocks.

    Raises:
      UserError: the processes do not see the same set, or the rows cannot be written, in any of them.
    """
    candidates = [] if pictures.index_file is None else [pictures.index_file]
    if cache_dir is not None:
        candidates.append(cache_dir / f"{file_stem(pictures)}.npz")
    _check_same_everywhere(pictures)

    own_rows = KnownRows(pictures.stamps())
    files = [path for path in candidates if own_rows.read(path)]
    index_rows = own_rows.of_first_process()
    if index_rows.complete:
        return Index(index_rows.rows, index_rows.reasons, files[0] if files else None)
    for path in candidates:
        for block in sorted(_blocks_folder(path).glob("*.npz")):
            index_rows.read(block)

    target = next(filter(_writable, candidates), None)
    with failing_together():
        _scan_own_blocks(pictures, index_rows, None if target is None else _blocks_folder(target), progress)
    index_rows.exchange()

    with failing_together():  # no process removes its blocks before the index is written
        if target is not None and jax.process_index() == 0:
            make_folder(target.parent)
            write_file(target, index_rows.pack(np.arange(len(pictures))))
    if target is not None:
        shutil.rmtree(_blocks_folder(target), ignore_errors=True)
    return Index(index_rows.rows, index_rows.reasons, target)


class KnownRows:
    """The rows of an index as far as they are known.

    Attributes:
      rows: ROW (N,); zeros but for the stamp where not known.
      is_known: bool (N,).
      reasons: row -> why the picture cannot be used.
      unreachable: rows of pictures whose files could not be read; they are not kept, but scanned again the next time.
    """

    def __init__(self, stamps: np.ndarray):
        self.rows = np.zeros(len(stamps), ROW)
        self.rows["stamp"] = self._stamps = stamps
        self.is_known = np.zeros(len(stamps), bool)
        self.reasons: Reasons = {}
        self.unreachable: set[int] = set()

    @property
    def complete(self) -> bool:
        """Returns True where every row is known."""
        return bool(self.is_known.all())

    def read(self, path: Path) -> bool:
        """Takes from a file the rows that are not known yet of pictures in the set, which equal stamps tell.

        Nothing is taken from a file that is missing, damaged or of another version. Returns True where any row was new.
        """
        try:
            stored, reasons = _unpack(path.read_bytes())
        except Exception:  # zipfile and NumPy raise many kinds of errors for damaged files
            return False
        set_rows, file_rows = _matches(self._stamps, stored["stamp"])
        new = ~self.is_known[set_rows]
        set_rows, file_rows = set_rows[new], file_rows[new]
        self.rows[set_rows] = stored[file_rows]
        self.is_known[set_rows] = True
        if reasons:
            pairs = zip(set_rows.tolist(), file_rows.tolist(), strict=True)
            self.reasons.update((i, reasons[j]) for i, j in pairs if j in reasons)
        return bool(len(set_rows))

    def add(self, i: int, facts: dict[str, object] | Unreadable) -> None:
        """Fills in row i with what `scan_picture` returned."""
        if isinstance(facts, Unreadable):
            self.reasons[i] = facts.reason
            if facts.unreachable:
                self.unreachable.add(i)
        else:
            for column, value in facts.items():
                self.rows[column][i] = value
        self.is_known[i] = True

    def of_first_process(self) -> "KnownRows":
        """Returns the first process's rows in every process; each keeps its own stamps to read its own blocks by."""
        if jax.process_count() == 1:
            return self
        first = KnownRows(self._stamps)
        first._put(broadcast_bytes(self._message(np.flatnonzero(self.is_known))))
        return first

    def exchange(self) -> None:
        """Gives every process the blocks of all others."""
        count = jax.process_count()
        if count == 1:
            return
        own_numbers = np.flatnonzero(_owners(len(self.rows), count) == jax.process_index())
        for message in gather_bytes(self._message(own_numbers)):
            self._put(message)
        self.rows["stamp"] = self._stamps  # those of copies elsewhere may differ in their times

    def _message(self, places: np.ndarray) -> bytes:
        """Returns the rows at `places`, int (M,), and all that is known of them, for `_put` of another process."""
        content = io.BytesIO()
        reasons = [(i, self.reasons[i], i in self.unreachable) for i in self._unusable(places)]
        np.savez(content, places=places, rows=self.rows[places], reasons=_json_array(reasons))
        return content.getvalue()

    def _put(self, message: bytes) -> None:
        """Replaces rows by those of a `_message`."""
        with np.load(io.BytesIO(message), allow_pickle=False) as file:
            places, rows, reasons = file["places"], file["rows"], json.loads(bytes(file["reasons"]))
        self.rows[places] = rows
        self.is_known[places] = True
        self.reasons.update((i, reason) for i, reason, _ in reasons)
        self.unreachable.update(i for i, _, unreachable in reasons if unreachable)

    def _unusable(self, places: np.ndarray) -> list[int]:
        """Returns those of the rows whose pictures cannot be used."""
        return places[np.isin(places, list(self.reasons))].tolist() if self.reasons else []

    def pack(self, places: np.ndarray) -> bytes:
        """Returns the content of a file that keeps the rows at `places`, int (M,), in rising order."""
        if self.unreachable:
            places = places[~np.isin(places, list(self.unreachable))]
        unusable = self._unusable(places)
        reasons = zip(np.searchsorted(places, unusable).tolist(), (self.reasons[i] for i in unusable), strict=True)
        content = io.BytesIO()
        np.savez_compressed(
            content, version=np.array(_VERSION), rows=self.rows[places], unreadable=_json_array(list(reasons))
        )
        return content.getvalue()


def _matches(stamps: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of equal stamps: int (M,) into `stamps`, and int (M,) into `stored`."""
    if np.array_equal(stamps, stored):  # the usual case: nothing has changed
        return np.arange(len(stamps)), np.arange(len(stamps))
    if not len(stored):
        return np.zeros(0, int), np.zeros(0, int)
    order = np.argsort(stored)
    nearest = order[np.searchsorted(stored, stamps, sorter=order).clip(max=len(stored) - 1)]
    equal = np.flatnonzero(stored[nearest] == stamps)
    return equal, nearest[equal]


def _unpack(content: bytes) -> tuple[np.ndarray, Reasons]:
    """Returns the rows of a file, and the reasons by row. Raises anything where it is damaged or of another version."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        if int(file["version"]) != _VERSION:
            raise ValueError("another version")
        rows = file["rows"]
        if rows.dtype != ROW or rows.ndim != 1:
            raise ValueError("another layout")
        return rows, {int(row): str(reason) for row, reason in json.loads(bytes(file["unreadable"]))}


def _json_array(value: object) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _owners(total: int, count: int) -> np.ndarray:
    """Returns the process, int (total,), that scans each picture: block b is that of process b modulo `count`."""
    return np.arange(total) // BLOCK % count


def _scan_own_blocks(
    pictures: Pictures, index_rows: KnownRows, folder: Path | None, progress: OnProgress | None
) -> None:
    """Scans the pictures of this process's blocks that are not known.

    Where these are more than a block, each block is kept in `folder` (None: nowhere) as soon as it is finished.
    """
    is_own = _owners(len(pictures), jax.process_count()) == jax.process_index()
    todo = np.flatnonzero(is_own & ~index_rows.is_known).tolist()
    keep = folder is not None and len(todo) > BLOCK
    block: list[int] = []
    workers = available_cores()
    scans = ordered_map(partial(scan_picture, pictures), todo, workers, ahead=8 * workers)
    for count, (i, facts) in enumerate(zip(todo, scans, strict=True), 1):
        index_rows.add(i, facts)
        block.append(i)
        if keep and (len(block) == BLOCK or count == len(todo)):
            assert folder is not None
            make_folder(folder)
            write_file(folder / f"{block[0]:09}.npz", index_rows.pack(np.array(block)))
            block.clear()
        if progress is not None:
            progress(count, len(todo))


def _blocks_folder(path: Path) -> Path:
    """Returns the folder of the blocks that an interrupted build of this index has finished."""
    return path.with_suffix(".parts")


def _writable(path: Path) -> bool:
    """Returns True where an index can be written to `path`."""
    try:
        make_folder(path.parent)
    except UserError:
        return False
    return not path.is_dir()


def _check_same_everywhere(pictures: Pictures) -> None:
    """Raises UserError, in all processes, where they do not see the same set."""
    if jax.process_count() > 1 and len(set(gather_bytes(pictures.digest().encode()))) > 1:
        raise UserError(
            f"the processes do not see the same pictures in {pictures.place}: "
            "give all of them the same files, or a folder that they share."
        )
