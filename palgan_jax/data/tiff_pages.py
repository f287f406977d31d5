"""Finds the picture of a TIFF among its pages, and reads the tags of a page."""

import mmap
import struct
from enum import IntEnum

import numpy as np

Bytes = bytes | mmap.mmap


class Tag(IntEnum):
    """Numbers of the tags that are read."""

    SUBFILE = 254
    OLD_SUBFILE = 255
    WIDTH = 256
    LENGTH = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTES = 279
    MAX_SAMPLE = 281
    PLANAR = 284
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SUB_PAGES = 330
    INK_SET = 332
    EXTRA = 338
    FORMAT = 339
    PROFILE = 34675
    DNG = 50706


_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_TYPES = {1: "u1", 2: "S1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 11: "f4", 12: "f8", 13: "u4"}
_TYPES |= {16: "u8", 17: "i8", 18: "u8"}
_MOST_TAGS = 65_535
_MOST_OF_ALL_PAGES = 500_000  # tags: directories may overlap, so that small files can have many large ones
_MASKS = 4
_RAW = (32803, 34892)


class Page:
    """One directory of a TIFF: its tags, of which each is read when it is asked for.

    Attributes:
      at: where the directory begins in the file.
      after: where the next one begins; 0 after the last.
      tags: number of its tags.
    """

    def __init__(self, data: Bytes, at: int) -> None:
        self._data, self.at = data, at
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = struct.unpack(self.order + "H", data[2:4])[0] == 43
        count_code, entry, self._word = ("Q", 20, "Q") if self.big else ("H", 12, "I")
        (count,) = struct.unpack_from(self.order + count_code, data, at)
        first = at + struct.calcsize(count_code)
        if count > _MOST_TAGS:
            raise ValueError("its directory is of an absurd size")
        end = first + count * entry
        # Some programs leave out what follows the last directory.
        (self.after,) = struct.unpack_from(self.order + self._word, data, end) if end < len(data) else (0,)
        self._entries = {}
        for place in range(first, end, entry):
            tag, kind = struct.unpack_from(self.order + "HH", data, place)
            self._entries.setdefault(tag, (kind, place + 4))
        self.tags = count

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def array(self, tag: int) -> np.ndarray:
        """Returns the values of a tag; an empty array where it is missing, of another type or outside the file."""
        kind, place = self._entries.get(tag, (0, 0))
        if kind not in _TYPES:
            return np.zeros(0, np.int64)
        (count,) = struct.unpack_from(self.order + self._word, self._data, place)
        dtype, place = np.dtype(self.order + _TYPES[kind]), place + struct.calcsize(self._word)
        if count * dtype.itemsize > struct.calcsize(self._word):
            (place,) = struct.unpack_from(self.order + self._word, self._data, place)
        if place + count * dtype.itemsize > len(self._data):
            return np.zeros(0, np.int64)
        return np.frombuffer(self._data, dtype, count, place)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Returns the values of a tag as integers."""
        values = self.array(tag)
        return tuple(map(int, values)) if values.dtype.kind in "ui" else ()

    def number(self, tag: int, default: int) -> int:
        """Returns the first value of a tag."""
        return next(iter(self.numbers(tag)), default)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the stored picture."""
        return self.number(Tag.WIDTH, 0), self.number(Tag.LENGTH, 0)

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        value = self.number(Tag.ORIENTATION, 1)
        return value if value in range(1, 9) else 1

    @property
    def profile(self) -> bytes:
        """The color profile; empty where there is none."""
        return self.array(Tag.PROFILE).tobytes()

    @property
    def is_jpeg(self) -> bool:
        """True where the strips or tiles are JPEGs."""
        return self.number(Tag.COMPRESSION, 1) in (6, 7)

    @property
    def parts(self) -> int:
        """The number of strips or tiles, at least 1."""
        return max(1, self.array(Tag.STRIP_OFFSETS).size, self.array(Tag.TILE_OFFSETS).size)

    @property
    def is_reduced(self) -> bool:
        """True for a smaller copy of another page."""
        return bool(self.number(Tag.SUBFILE, 0) & _REDUCED) or self.number(Tag.OLD_SUBFILE, 0) == 2

    @property
    def is_mask(self) -> bool:
        """True for the transparency of another page."""
        return bool(self.number(Tag.SUBFILE, 0) & _MASK) or self.number(Tag.PHOTOMETRIC, -1) == _MASKS


def pages(data: Bytes) -> list[Page]:
    """Returns the directories of a TIFF in their order, without those that cannot be read after the first."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack(order + "H", data[2:4])[0] == 43
    (at,) = struct.unpack(order + ("Q" if big else "I"), data[8:16] if big else data[4:8])
    result, places, tags = [], set(), 0
    while at and at not in places and tags < _MOST_OF_ALL_PAGES:
        places.add(at)
        try:
            page = Page(data, at)
        except (struct.error, ValueError):
            if not result:
                raise ValueError("its directory makes no sense") from None
            break
        result.append(page)
        tags += 1 + page.tags
        at = page.after
    if not result:
        raise ValueError("it has no directory")
    return result


def pictures(data: Bytes) -> list[Page]:
    """Returns the pages that are neither reduced copies nor masks, or else the largest one.

    The raw file of a camera has none.
    """
    all_pages = pages(data)
    if any(Tag.DNG in page for page in all_pages) or data[8:10] == b"CR":
        return []
    inner = _inner_pages(data, all_pages)
    if any(page.number(Tag.PHOTOMETRIC, -1) in _RAW for page in (*all_pages, *inner)):
        return []
    full_pages = [page for page in all_pages if not page.is_reduced and not page.is_mask]
    full_pages = full_pages or [page for page in inner if not page.is_reduced and not page.is_mask]
    return full_pages or [max(all_pages, key=lambda page: page.size[0] * page.size[1])]


def directory_of_picture(data: Bytes, number: int) -> int:
    """Returns which directory, from 0 on, describes a picture (`pictures`): the first one that of an inner page."""
    places = [page.at for page in pages(data)]
    at = [page.at for page in pictures(data)][number:][:1]
    return places.index(*at) if set(at) & set(places) else 0


def _inner_pages(data: Bytes, all_pages: list[Page]) -> list[Page]:
    """Returns pages that are listed within others."""
    result = []
    for at in (at for outer in all_pages[:8] for at in outer.numbers(Tag.SUB_PAGES)[:8]):
        try:
            result.append(Page(data, at))
        except (struct.error, ValueError):
            continue
    return result


def with_page_first(data: bytes, page: Page) -> bytes:
    """Returns the file with `page` as its first one, for readers that take that."""
    at = 8 if page.big else 4
    place = struct.pack(page.order + ("Q" if page.big else "I"), page.at)
    return data if data.startswith(place, at) else data[:at] + place + data[at + len(place) :]
