"""The pictures that a server holds for its page: their files, and what is shown of them, within a budget of memory."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from palgan_jax.colorize.files import Photograph, read_photograph
from palgan_jax.colorize.points import SIDE as SPREAD_AT
from palgan_jax.colorize.prepared import Subject
from palgan_jax.data.decode import MAX_PIXELS, picture_size_of
from palgan_jax.data.picture import Picture
from palgan_jax.data.time_limit import within_time
from palgan_jax.errors import UserError
from palgan_jax.palette.palette import Palette
from palgan_jax.web.about import SIDES

BUDGET = 512_000_000
"""Bytes of all pictures that are held."""
_HINT_SIDE = 256  # the longer side at which given colors are spread while something is moved
# Bytes of what a subject keeps, at most. A pixel: L, and that of a print without its border, twice. A pixel at the size
# at which given colors are spread: L, as bytes, too, and what guides along its edges. For the rest, what a network of
# 256 x 256 sees of it, twice, guides along, and has painted last.
_LEARNED, _SPREAD, _OF_NETWORK = 12, 20, 2_400_000


@dataclass(eq=False)
class HeldPicture:
    """A picture that is held.

    Attributes:
      data: its file.
      name: what the page calls it.
      size: (width, height), upright.
      notes: sentences about what of the file is left out.
      predicted: the palette that the model predicts; None for models without palettes.
      small: the picture as on white paper, by its longer side.
    """

    data: bytes
    name: str
    size: tuple[int, int]
    notes: tuple[str, ...]
    predicted: Palette | None
    small: dict[int, Subject]

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return len(self.data) + sum(map(_nbytes, self.small.values()))

    def read(self) -> Photograph:
        """Decodes the file, as `palgan colorize` does. Raises UserError where it cannot be read."""
        return read_within_time(self.data, self.name)


def _nbytes(subject: Subject) -> int:
    pixels = subject.picture.pixels
    height, width = pixels.shape[:2]
    share = min(1.0, subject.hint_side / max(height, width)) ** 2
    return pixels.nbytes + _OF_NETWORK + int(height * width * (_LEARNED + share * _SPREAD))


def read_within_time(data: bytes, name: str) -> Photograph:
    """Decodes a picture file within the limits of `palgan colorize`. Raises UserError where it cannot be read."""
    if not data:
        raise UserError(f"{name} is empty: choose another file.")
    width, height = picture_size_of(data, name=name, max_pixels=MAX_PIXELS)
    return within_time(partial(read_photograph, data, name), name, width * height)


def hold(data: bytes, name: str, predict: Callable[[Subject], Palette] | None) -> HeldPicture:
    """Reads a picture file to be held. Raises UserError where it cannot be read.

    predict: returns the palette that is predicted for a picture; None where the model has no palettes.
    """
    picture = read_within_time(data, name).picture
    height, width = picture.pixels.shape[:2]
    image = Image.fromarray(picture.on_white())
    predicted = predict(Subject(picture)) if predict else None
    small = {
        side: Subject(Picture(_reduced(image, side)), SPREAD_AT if side == SIDES[-1] else _HINT_SIDE) for side in SIDES
    }
    return HeldPicture(data, name, (width, height), picture.notes, predicted, small)


def _reduced(picture: Image.Image, side: int) -> np.ndarray:
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


class Shelf:
    """Pictures by their numbers, which nobody guesses. It is for several threads."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._pictures: OrderedDict[str, HeldPicture] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, picture: HeldPicture) -> str:
        """Takes a picture, and drops the ones that were used least lately for it; returns its number."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._pictures[key] = picture
            while len(self._pictures) > 1 and sum(one.nbytes for one in self._pictures.values()) > self._budget:
                self._pictures.popitem(last=False)
        return key

    def get(self, key: object) -> HeldPicture | None:
        """Returns a picture; None where it was dropped, or never was there."""
        with self._lock:
            if not isinstance(key, str) or key not in self._pictures:
                return None
            self._pictures.move_to_end(key)
            return self._pictures[key]
