"""What is known of every picture of a set before training: can it be read, its size, how much colour it has.

Made once by decoding every picture to a thumbnail, then kept in a small file, so that leaving out near-gray and
unreadable pictures costs nothing later.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from palgan_jax.color import bytes_to_lab
from palgan_jax.data.cores import available_cores
from palgan_jax.data.folder import Listing
from palgan_jax.data.picture import decode_rgb, picture_size_of, read_bytes
from palgan_jax.errors import UserError
from palgan_jax.writing import make_folder, write_file

THUMBNAIL = 64
_BATCH = 256
_VERSION = 1  # of the file's layout and of what its numbers mean

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


@dataclass(frozen=True)
class Index:
    """One row a picture, in the listing's order."""

    width: np.ndarray  # int32 (N,), upright pixels; 0 where unreadable
    height: np.ndarray  # int32 (N,)
    range_ab: np.ndarray  # float32 (N, 2), largest minus smallest a and b on the thumbnail
    unreadable: dict[int, str]  # row -> reason

    def __len__(self) -> int:
        return len(self.width)

    def usable(self, near_gray: float) -> np.ndarray:
        """int64 (M,): the rows of readable pictures with range of a + range of b of at least near_gray (Lab units)."""
        readable = np.ones(len(self), bool)
        readable[list(self.unreadable)] = False
        return np.flatnonzero(readable & (self.range_ab.sum(axis=1) >= near_gray))


def load_or_build(listing: Listing, cache: Path | None, progress: Progress | None = None) -> Index:
    """The index of a folder: from the cache file where that was made of these very files, else built and kept there.

    Of several processes only the first keeps it.
    """
    key = _fingerprint(listing)
    if cache is not None and (index := _load(cache, key)) is not None:
        return index
    index = build(listing, progress)
    if cache is not None and jax.process_index() == 0:
        _save(cache, key, index)
    return index


def build(listing: Listing, progress: Progress | None = None) -> Index:
    """Decodes every picture to a 64 x 64 thumbnail (threads: the decoders release the lock) and measures its colour."""
    total = len(listing.names)
    sizes = np.zeros((total, 2), np.int32)
    range_ab = np.zeros((total, 2), np.float32)
    unreadable: dict[int, str] = {}
    batch = np.zeros((_BATCH, THUMBNAIL, THUMBNAIL, 3), np.uint8)
    rows: list[int] = []

    def measure() -> None:
        range_ab[rows] = colour_range(batch)[: len(rows)]
        rows.clear()

    for row, seen in enumerate(_map_threads(lambda name: _look(listing.root, name), listing.names)):
        if isinstance(seen, str):
            unreadable[row] = seen
        else:
            sizes[row], batch[len(rows)] = seen
            rows.append(row)
            if len(rows) == _BATCH:
                measure()
        if progress is not None:
            progress(row + 1, total)
    if rows:
        measure()
    return Index(sizes[:, 0].copy(), sizes[:, 1].copy(), range_ab, unreadable)


def colour_range(rgb: np.ndarray) -> np.ndarray:
    """uint8 (B, H, W, 3) -> float32 (B, 2): largest minus smallest a and b over the pixels, computed on the device."""
    return np.asarray(jax.device_get(_colour_range(jax.device_put(rgb))))


@jax.jit
def _colour_range(rgb: jax.Array) -> jax.Array:
    ab = bytes_to_lab(rgb)[..., 1:]
    return ab.max(axis=(1, 2)) - ab.min(axis=(1, 2))  # (B, 2)


def _look(root: Path, name: str) -> tuple[tuple[int, int], np.ndarray] | str:
    """Size and thumbnail of a picture, or why there is none."""
    path = str(root / name)
    try:
        data = read_bytes(path)
        rgb = decode_rgb(data, name=path, at_least=THUMBNAIL)
        size = picture_size_of(data, name=path)
    except UserError as error:
        return str(error).removeprefix(path).strip().removesuffix(".")
    thumbnail = Image.fromarray(rgb).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    return size, np.asarray(thumbnail)


def _map_threads(function: Callable, items: Iterable) -> Iterator:
    """`map` on as many threads as there are cores, in order, never more than a few results ahead of the consumer."""
    workers = available_cores()
    waiting = []
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 8 * workers:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()


def _fingerprint(listing: Listing) -> str:
    """Changes with the folder's place and with any file's name, size or time."""
    digest = hashlib.sha256(f"{_VERSION}\n{listing.root.resolve()}\n".encode("utf-8", "surrogateescape"))
    for row in zip(listing.names, listing.sizes, listing.times, strict=True):
        digest.update(repr(row).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _load(path: Path, key: str) -> Index | None:
    """The cached index; None where there is none, it's of other files, or it's damaged (it's then built anew)."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            unreadable = {int(row): reason for row, reason in json.loads(str(file["unreadable"]))}
            return Index(file["width"], file["height"], file["range_ab"], unreadable)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _save(path: Path, key: str, index: Index) -> None:
    content = io.BytesIO()
    unreadable = np.array(json.dumps(list(index.unreadable.items())))
    np.savez_compressed(
        content,
        key=np.array(key),
        width=index.width,
        height=index.height,
        range_ab=index.range_ab,
        unreadable=unreadable,
    )
    make_folder(path.parent)
    write_file(path, content.getvalue())
