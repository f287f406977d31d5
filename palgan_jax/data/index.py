"""What is known of every picture of a set before training: can it be read, its size, how much color it has.

Made once by decoding every picture to a thumbnail, and kept in a small file beside the pictures, so that leaving out
near-gray and unreadable ones costs nothing later. Several processes share the work out in blocks. Finished blocks are
kept until all are there, so that a build goes on where it was interrupted; and of a set that has changed only the
pictures that are new are looked at.
"""

import hashlib
import io
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from PIL import Image

from palgan_jax.color import bytes_to_lab, colorfulness
from palgan_jax.data.decode import decode_rgb, picture_size_of
from palgan_jax.data.protocols import Pictures
from palgan_jax.errors import UserError
from palgan_jax.util.files import make_folder, write_file
from palgan_jax.util.threads import available_cores

THUMBNAIL = 64
BLOCK = 1024
"""Pictures that are looked at, kept and shared out together."""

_VERSION = 3  # of the file's layout and of what its numbers mean

ROW = np.dtype([
    ("stamp", "u8"),  # says of which picture the row is
    ("name", "u8"),  # a hash of its name
    ("width", "i4"),  # upright pixels; 0 where unreadable
    ("height", "i4"),
    ("file_bytes", "i8"),
    ("range_ab", "f4", (2,)),  # largest minus smallest a and b on the thumbnail, in units of Lab
    ("colorfulness", "f4"),
])  # fmt: skip

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures to do) of this process."""
Reasons = dict[int, str]


@dataclass(frozen=True)
class Index:
    """One row a picture, in the order of the set."""

    rows: np.ndarray  # ROW (N,)
    unreadable: Reasons  # row -> reason
    file: Path | None  # where it is kept; None: nowhere

    def __len__(self) -> int:
        return len(self.rows)

    def usable(self, near_gray: float) -> np.ndarray:
        """int64 (M,): the rows of readable pictures with range of a + range of b of at least near_gray (Lab units)."""
        readable = np.ones(len(self), bool)
        readable[list(self.unreadable)] = False
        return np.flatnonzero(readable & (self.rows["range_ab"].sum(axis=1) >= near_gray))


def file_stem(pictures: Pictures) -> str:
    """What files about a set are called in a folder that holds those of several sets."""
    place = pictures.place.encode("utf-8", "surrogateescape")
    return f"{pictures.title}-{hashlib.sha256(place).hexdigest()[:8]}"


def load_or_build(pictures: Pictures, cache_dir: Path | None = None, progress: Progress | None = None) -> Index:
    """The index of a set: from the file beside the pictures, or in `cache_dir`, as far as it is of these very pictures.

    What is missing is built, and kept beside the pictures, else in `cache_dir`, else nowhere. All processes call it
    and get the same; the first one's files count, and it alone writes the index.

    Raises:
      UserError: the processes do not see the same set; what has been found out cannot be kept, in any of them.
    """
    places = [] if pictures.index_file is None else [pictures.index_file]
    if cache_dir is not None:
        places.append(cache_dir / f"{file_stem(pictures)}.npz")
    stamps = pictures.stamps()
    _check_same_everywhere(pictures)
    own = _Known(stamps)
    taken = [place for place in places if own.take(place)]
    known = own.of_first()
    if known.complete:
        return Index(known.rows, known.reasons, taken[0] if taken else None)
    for place in places:
        for part in sorted(_parts(place).glob("*.npz")):
            known.take(part)
    place = next(filter(_can_be_kept, places), None)
    with _together():
        _build(pictures, known, None if place is None else _parts(place), progress)
    known.exchange()
    known.rows["stamp"] = stamps  # those of other processes may differ in the times of their copies
    with _together():  # nobody takes a block away before all of them are kept
        if place is not None and jax.process_index() == 0:
            make_folder(place.parent)
            write_file(place, known.pack(np.arange(len(pictures))))
    if place is not None:
        shutil.rmtree(_parts(place), ignore_errors=True)
    return Index(known.rows, known.reasons, place)


class _Known:
    """The rows of an index as far as they are known."""

    def __init__(self, stamps: np.ndarray):
        self.rows = np.zeros(len(stamps), ROW)
        self.rows["stamp"] = self._stamps = stamps
        self.known = np.zeros(len(stamps), bool)
        self.reasons: Reasons = {}
        self.passing: set[int] = set()
        """Rows of pictures that could not be reached, which may pass: they are looked at again the next time."""

    @property
    def complete(self) -> bool:
        return bool(self.known.all())

    def take(self, path: Path) -> bool:
        """Takes over what a file holds of these pictures that is not known yet; whether that was anything."""
        try:
            rows, reasons = _unpack(path.read_bytes())
        except Exception:  # zipfile and NumPy raise what they like of damaged files
            return False  # there is none, or it is damaged or of another version: what it held is found out anew
        if not len(rows):
            return False
        if np.array_equal(rows["stamp"], self._stamps):
            here = there = np.flatnonzero(~self.known)
        else:
            order = np.argsort(rows["stamp"])
            there = order[np.searchsorted(rows["stamp"], self._stamps, sorter=order).clip(max=len(rows) - 1)]
            here = np.flatnonzero((rows["stamp"][there] == self._stamps) & ~self.known)
            there = there[here]
        self.rows[here] = rows[there]
        self.known[here] = True
        if reasons:
            self.reasons.update(
                (i, reasons[j]) for i, j in zip(here.tolist(), there.tolist(), strict=True) if j in reasons
            )
        return bool(len(here))

    def of_first(self) -> "_Known":
        """What the first process knows, in every process; each keeps its own stamps to find its own blocks by."""
        if jax.process_count() == 1:
            return self
        first = _Known(self._stamps)
        first._put(_from_first(self._message(np.flatnonzero(self.known))))
        return first

    def exchange(self) -> None:
        """Gives every process the blocks of all others."""
        count = jax.process_count()
        if count == 1:
            return
        mine = np.flatnonzero(_owner(len(self.rows), count) == jax.process_index())
        for message in _from_all(self._message(mine)):
            self._put(message)

    def _put(self, message: bytes) -> None:
        with np.load(io.BytesIO(message), allow_pickle=False) as file:
            here, rows, reasons = file["here"], file["rows"], json.loads(bytes(file["reasons"]))
        self.rows[here] = rows
        self.known[here] = True
        self.reasons.update((i, reason) for i, reason, _ in reasons)
        self.passing.update(i for i, _, passing in reasons if passing)

    def _message(self, here: np.ndarray) -> bytes:
        content = io.BytesIO()
        reasons = [(i, self.reasons[i], i in self.passing) for i in self._bad(here)]
        np.savez(
            content, here=here, rows=self.rows[here], reasons=np.frombuffer(json.dumps(reasons).encode(), np.uint8)
        )
        return content.getvalue()

    def _bad(self, here: np.ndarray) -> list[int]:
        return here[np.isin(here, list(self.reasons))].tolist() if self.reasons else []

    def pack(self, here: np.ndarray) -> bytes:
        """The content of a file that keeps these rows."""
        if self.passing:
            here = here[~np.isin(here, list(self.passing))]
        bad = self._bad(here)
        places = np.searchsorted(here, bad).tolist()  # they rise
        return _pack(self.rows[here], dict(zip(places, (self.reasons[i] for i in bad), strict=True)))


def _owner(total: int, count: int) -> np.ndarray:
    """Which process looks at each picture: block b is that of process b modulo their number."""
    return np.arange(total) // BLOCK % count


# ---------------------------------------------------------------- looking at pictures


def _build(pictures: Pictures, known: _Known, parts: Path | None, progress: Progress | None) -> None:
    """Fills in the rows that are not known of this process's blocks, and keeps each block that is finished."""
    mine = (_owner(len(pictures), jax.process_count()) == jax.process_index()) & ~known.known
    todo = np.flatnonzero(mine)
    several = len(todo) > BLOCK
    block: list[int] = []
    looks = _map_threads(lambda i: _look(pictures, i), todo.tolist())
    for done, (i, seen) in enumerate(zip(todo.tolist(), looks, strict=True), 1):
        if isinstance(seen, _Unreadable):
            known.reasons[i] = seen.reason
            if seen.may_pass:
                known.passing.add(i)
        else:
            for column, value in seen.items():
                known.rows[column][i] = value
        known.known[i] = True
        block.append(i)
        if several and parts is not None and (len(block) == BLOCK or done == len(todo)):
            make_folder(parts)
            write_file(parts / f"{block[0]:09}.npz", known.pack(np.array(block)))
            block.clear()
        if progress is not None:
            progress(done, len(todo))


@dataclass(frozen=True)
class _Unreadable:
    reason: str
    may_pass: bool = False  # it was not reached at all


def _look(pictures: Pictures, i: int) -> dict[str, object] | _Unreadable:
    """The row of a picture but for its stamp, or why there is none."""

    def reason(error: UserError) -> str:
        return str(error).removeprefix(pictures.label(i)).strip().removesuffix(".")

    try:
        name, data = pictures.load(i)
    except UserError as error:
        return _Unreadable(reason(error), may_pass=True)
    try:
        rgb = decode_rgb(data, name=pictures.label(i), at_least=THUMBNAIL)
        width, height = picture_size_of(data, name=pictures.label(i))
    except UserError as error:
        return _Unreadable(reason(error))
    thumbnail = Image.fromarray(rgb).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    return {
        "name": _hash(name),
        "width": width,
        "height": height,
        "file_bytes": len(data),
        **color_statistics(np.asarray(thumbnail)),
    }


def color_statistics(rgb: np.ndarray) -> dict[str, object]:
    """uint8 (H, W, 3) -> range_ab (2,), in units of Lab, and colorfulness."""
    lab = np.asarray(bytes_to_lab(rgb))  # type: ignore[arg-type]  # NumPy's in, NumPy's out
    ab = np.ascontiguousarray(lab.reshape(-1, 3).T[1:])  # (2, H * W): NumPy reduces rows many times as fast as columns
    return {
        "range_ab": ab.max(axis=1) - ab.min(axis=1),
        "colorfulness": colorfulness(rgb[None].astype(np.float32))[0],
    }


def _hash(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _map_threads(function: Callable, items: Iterable) -> Iterator:
    """`map` on as many threads as there are cores, in order, never more than a few results ahead of the consumer."""
    workers = available_cores()
    waiting: deque = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 8 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


# ---------------------------------------------------------------- files


def _pack(rows: np.ndarray, reasons: Reasons) -> bytes:
    content = io.BytesIO()
    unreadable = np.frombuffer(json.dumps(list(reasons.items())).encode(), np.uint8)
    np.savez_compressed(content, version=np.array(_VERSION), rows=rows, unreadable=unreadable)
    return content.getvalue()


def _unpack(content: bytes) -> tuple[np.ndarray, Reasons]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        if int(file["version"]) != _VERSION:
            raise ValueError("another version")
        rows = file["rows"]
        if rows.dtype != ROW or rows.ndim != 1:
            raise ValueError("another layout")
        return rows, {int(row): str(reason) for row, reason in json.loads(bytes(file["unreadable"]))}


def _parts(place: Path) -> Path:
    """The folder of the blocks that an interrupted build has finished."""
    return place.with_suffix(".parts")


def _can_be_kept(place: Path) -> bool:
    try:
        make_folder(place.parent)
    except UserError:
        return False
    return not place.is_dir()


# ---------------------------------------------------------------- between processes


def _check_same_everywhere(pictures: Pictures) -> None:
    if jax.process_count() == 1:
        return
    if len(set(_from_all(pictures.digest().encode()))) > 1:
        raise UserError(
            f"the processes do not see the same pictures in {pictures.place}: "
            "give all of them the same files, or a folder that they share."
        )


@contextmanager
def _together() -> Iterator[None]:
    """Waits for all processes; a UserError of one is raised in all, so that none goes on to wait for it forever."""
    own = None
    try:
        yield
    except UserError as error:
        own = error
    sentences = _from_all(b"" if own is None else str(own).encode("utf-8", "surrogateescape"))
    if own is not None:
        raise own
    if failed := next(filter(None, sentences), None):
        raise UserError(failed.decode("utf-8", "surrogateescape"))


def _from_all(data: bytes) -> list[bytes]:
    """What each process has given, in every process."""
    if jax.process_count() == 1:
        return [data]
    sizes = np.asarray(multihost_utils.process_allgather(np.int32(len(data)))).reshape(-1)
    padded = np.zeros(max(int(sizes.max()), 1), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    gathered = np.asarray(multihost_utils.process_allgather(padded))
    return [row[:size].tobytes() for row, size in zip(gathered, sizes, strict=True)]


def _from_first(data: bytes) -> bytes:
    """What the first process has given, in every process."""
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    padded = np.frombuffer(data, np.uint8) if jax.process_index() == 0 else np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded)).astype(np.uint8).tobytes()
