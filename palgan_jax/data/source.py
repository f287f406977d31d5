"""A set of pictures to train or evaluate on, named by one string: `folder:PATH`.

A source is an ordered list of usable pictures that can be decoded by number. The pipeline asks for nothing else, so
that another kind of storage needs only these members.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import jax
import numpy as np

from palgan_jax.data import index as index_lib
from palgan_jax.data.folder import Listing, list_pictures
from palgan_jax.data.picture import decoded_size, read_rgb
from palgan_jax.errors import UserError
from palgan_jax.writing import make_folder, write_file


class Source(Protocol):
    """Usable pictures, numbered 0..len-1. Must be picklable: worker processes get a copy."""

    @property
    def name(self) -> str:
        """As the user wrote it, for messages."""
        ...

    def __len__(self) -> int: ...

    def picture_name(self, i: int) -> str: ...

    def read(self, i: int, *, at_least: int | None = None) -> np.ndarray:
        """Picture i as `picture.read_rgb` gives it; UserError where that fails."""
        ...

    def decoded_bytes(self, at_least: int | None) -> int:
        """What all pictures take in memory, decoded with that `at_least`; an upper bound."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """The usable pictures of a folder."""

    name: str
    root: Path
    names: tuple[str, ...]  # relative to the root, sorted
    sizes: np.ndarray  # int32 (N, 2): width, height
    found: int  # picture files in the folder
    near_gray: int  # of them left out: next to no colour
    unreadable: tuple[tuple[str, str], ...]  # of them left out: name, reason

    def __len__(self) -> int:
        return len(self.names)

    def picture_name(self, i: int) -> str:
        return self.names[i]

    def read(self, i: int, *, at_least: int | None = None) -> np.ndarray:
        return read_rgb(self.root / self.names[i], at_least=at_least)

    def decoded_bytes(self, at_least: int | None) -> int:
        return sum(3 * w * h for w, h in (decoded_size((int(w), int(h)), at_least) for w, h in self.sizes))

    @property
    def counts(self) -> dict[str, int]:
        """found = used + near_gray + unreadable."""
        return {
            "found": self.found,
            "used": len(self),
            "near_gray": self.near_gray,
            "unreadable": len(self.unreadable),
        }

    def summary(self) -> str:
        """One line for people, e.g. `folder:photos: 480 pictures (487 found, 5 next to gray, 2 unreadable)`."""
        count = self.counts
        left_out = [f"{count['near_gray']} next to gray"] if count["near_gray"] else []
        left_out += [f"{count['unreadable']} unreadable"] if count["unreadable"] else []
        detail = f" ({', '.join([f'{self.found} found', *left_out])})" if left_out else ""
        return f"{self.name}: {len(self)} pictures{detail}"


def open_source(
    spec: str,
    *,
    cache_dir: str | Path | None = None,
    near_gray: float = 5.0,
    progress: index_lib.Progress | None = None,
) -> FolderSource:
    """Opens a set of pictures and looks at each of them once.

    Args:
      spec: `folder:PATH`, or only the path of an existing folder.
      cache_dir: a local directory for the index, so that the next start needs no look at every picture, and for
        `NAME.unreadable.txt`, the list of what had to be left out; of several processes only the first writes them.
        None: both stay unwritten.
      near_gray: pictures with range of a + range of b under this are left out (method: section 8); 0 keeps all.
      progress: called with (done, total) while the index is built; not called when it comes from the cache.

    Raises:
      UserError: unknown kind of source; no such folder; no usable picture in it (says what was found).
    """
    root = _folder_of(spec)
    listing = list_pictures(root)
    stem = f"{root.name}-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]}"
    cache = Path(cache_dir) / f"{stem}.npz" if cache_dir is not None else None
    index = index_lib.load_or_build(listing, cache, progress)
    unreadable = (
        *((listing.names[row], reason) for row, reason in sorted(index.unreadable.items())),
        *listing.problems,
    )
    if cache_dir is not None and jax.process_index() == 0:
        make_folder(Path(cache_dir))
        _write_report(Path(cache_dir) / f"{stem}.unreadable.txt", root, unreadable)
    usable = index.usable(near_gray)
    if not len(usable):
        raise UserError(_nothing_usable(spec, listing, index, near_gray))
    return FolderSource(
        name=spec,
        root=root,
        names=tuple(listing.names[row] for row in usable),
        sizes=np.stack([index.width[usable], index.height[usable]], axis=1),
        found=len(listing.names) + len(listing.problems),
        near_gray=len(listing.names) - len(index.unreadable) - len(usable),
        unreadable=unreadable,
    )


def _folder_of(spec: str) -> Path:
    kind, colon, rest = spec.partition(":")
    if colon and kind == "folder":
        if not rest:
            raise UserError("folder: needs the path of a folder behind the colon, e.g. folder:photos.")
        return Path(rest).expanduser()
    path = Path(spec).expanduser()
    if spec and (path.exists() or not colon):
        return path
    raise UserError(f"{spec!r} is not a known source of pictures: write folder:PATH.")


def _nothing_usable(spec: str, listing: Listing, index: index_lib.Index, near_gray: float) -> str:
    total = len(listing.names)
    if index.unreadable and len(index.unreadable) == total:
        row, reason = next(iter(sorted(index.unreadable.items())))
        return f"{spec} holds {total} picture files and none can be read: {listing.names[row]} {reason}."
    also = f" ({len(index.unreadable)} more cannot be read)" if index.unreadable else ""
    gray = total - len(index.unreadable)
    return (
        f"{spec} holds {gray} pictures{also}, all of them gray or next to gray (range of a + range of b under "
        f"{near_gray:g}): name a folder of pictures in colour."
    )


def _write_report(path: Path, root: Path, unreadable: tuple[tuple[str, str], ...]) -> None:
    """One line a file: name, tab, reason. An empty list removes an older report."""
    if not unreadable:
        path.unlink(missing_ok=True)
        return
    lines = [f"# {len(unreadable)} picture files under {root} were left out", *("\t".join(row) for row in unreadable)]
    write_file(path, "\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
