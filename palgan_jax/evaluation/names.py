"""Selects the photographs that a protocol measures, reading no record whole in order to learn its name if it can.

Files have their names outside. In a prepared set they are inside the records, and reading one means reading the picture
too. Names are then needed beforehand only where a protocol's list is a part of the set; they are read once, and kept.
Elsewhere each name is read with its photograph.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax

from palgan_jax.data.index import file_stem
from palgan_jax.data.protocols import Pictures
from palgan_jax.distributed.collectives import broadcast_bytes, gather_bytes
from palgan_jax.errors import UserError
from palgan_jax.evaluation import protocols
from palgan_jax.evaluation.protocols import Protocol
from palgan_jax.util.files import cache_folder, make_folder, write_file
from palgan_jax.util.progress import Progress
from palgan_jax.util.threads import available_cores, ordered_map


class Selection(NamedTuple):
    """Photographs in the order in which they are measured.

    Attributes:
      rows: their numbers in the truth.
      names: their names; None where each is read with its photograph.
    """

    rows: Sequence[int]
    names: list[str] | None


def select_photographs(truth: Pictures, protocol: Protocol) -> Selection:
    """Returns the photographs to measure: those on the protocol's list, in its order, or all where it has none.

    A prepared set that is as long as the list is measured whole, in its own order; whether its names are those of the
    list is known when they are read. Raises UserError where the truth has none of the protocol's pictures.
    """
    if protocol.names is None or (truth.names is None and len(truth) == len(protocol.names())):
        return Selection(range(len(truth)), None if truth.names is None else list(truth.names))
    names = all_names(truth)
    if not (rows := protocols.select(protocol, names)):
        raise UserError(
            f"{truth.place} holds none of the pictures of {protocol.name} ({protocol.description}): name the folder "
            "that they are in, or measure with --protocol folder."
        )
    return Selection(rows, [names[row] for row in rows])


def select_reference(truth: Pictures, protocol: Protocol) -> Selection:
    """Returns the photographs that FID is taken against, where they are others than those measured.

    Raises UserError where the truth does not have all of them.
    """
    names = all_names(truth)
    rows = protocols.select_reference(protocol, names)
    return Selection(rows, [names[row] for row in rows])


def all_names(pictures: Pictures) -> Sequence[str]:
    """Returns the names of all pictures, also of those that have them inside: these are read once and then kept.

    All processes call this, and each reads a share. They are kept in the cache folder of the first.
    """
    return _names_inside(pictures) if pictures.names is None else pictures.names


@cache
def _names_inside(pictures: Pictures) -> Sequence[str]:
    stored_names = json.loads(broadcast_bytes(json.dumps(_read_kept(pictures)).encode()))
    if stored_names is not None:
        return stored_names
    process, count = jax.process_index(), jax.process_count()
    own_names: list[str | None] = []
    numbers = range(process, len(pictures), count)
    with Progress("names", len(numbers), unit="picture", shown=process == 0) as progress:
        for name in ordered_map(lambda i: _name_inside(pictures, i), numbers, available_cores(), 2 * available_cores()):
            own_names.append(name)
            progress.advance()
    names: list[str | None] = [None] * len(pictures)
    for number, message in enumerate(gather_bytes(json.dumps(own_names).encode())):
        names[number::count] = json.loads(message)
    if process == 0 and None not in names:  # what cannot be read now may be there the next time
        with suppress(UserError):  # where nothing can be kept, names are read again
            path = _kept_file(pictures)
            make_folder(path.parent)
            write_file(path, json.dumps(names).encode())
    return [pictures.label(i) if name is None else name for i, name in enumerate(names)]


def _name_inside(pictures: Pictures, i: int) -> str | None:
    try:
        return pictures.load(i)[0]
    except UserError:
        return None


def _read_kept(pictures: Pictures) -> list[str] | None:
    try:
        return json.loads(_kept_file(pictures).read_bytes())
    except (UserError, OSError, ValueError):  # not there, or damaged
        return None


def _kept_file(pictures: Pictures) -> Path:
    """Returns the file for the names of these very pictures, of which stamps tell. Raises UserError without a home."""
    digest = hashlib.sha256(pictures.stamps().tobytes()).hexdigest()[:16]
    return cache_folder() / "names" / f"{file_stem(pictures)}-{digest}.json"
