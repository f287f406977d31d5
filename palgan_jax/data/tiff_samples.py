"""Reads the layouts of samples of TIFF that Pillow does not.

Pillow decodes pages of 8 bits a sample and bilevel ones. Of everything else this module reads the samples itself, and
has libtiff, through Pillow, only unpack the bytes: it is given the packed strips or tiles as those of a gray picture of
8 bits with one column a byte.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from PIL import Image

from palgan_jax.data import levels
from palgan_jax.data.tiff_pages import Page, Tag

_MOST_SAMPLES = 16
_PACKED = {1: "", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
"""Compressions that work on bytes, whatever these mean."""
_OTHER_COMPRESSIONS = {
    2: "CCITT", 3: "CCITT fax 3", 4: "CCITT fax 4", 6: "old JPEG", 7: "JPEG", 33003: "JPEG 2000", 33004: "JPEG 2000",
    33005: "JPEG 2000", 34676: "SGI LogLuv", 34677: "SGI LogLuv", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP",
    50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_MAYBE_MISSING = {50001: "webp"}
_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_COLORS = {_WHITE_IS_0: 1, _BLACK_IS_0: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _LAB: 3}
_ASSOCIATED, _UNASSOCIATED = 1, 2
UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4


@dataclass(frozen=True)
class Layout:
    """How the samples of a page lie in the file.

    Attributes:
      width, height: of the picture.
      samples, bits, format: samples a pixel, bits a sample, and one of the formats UNSIGNED, _SIGNED, _FLOAT.
      photometric: the meaning of the samples.
      planar: True where each channel is stored by itself.
      extra: the meaning of the samples after the colors.
    """

    width: int
    height: int
    samples: int
    bits: int
    format: int
    photometric: int
    planar: bool
    extra: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of all samples, unpacked."""
        return self.width * self.height * self.samples * self.bits // 8


def layout_of(page: Page) -> Layout:
    """Returns the layout of a page's samples. Raises ValueError where its tags contradict each other."""
    width, height = page.size
    samples = page.number(Tag.SAMPLES, 1)
    bits, formats = set(page.numbers(Tag.BITS)) or {1}, set(page.numbers(Tag.FORMAT)) or {UNSIGNED}
    if min(width, height, samples, *bits) < 1:
        raise ValueError("its tags make no sense")
    photometric = page.number(Tag.PHOTOMETRIC, _RGB if samples in (3, 4) else _BLACK_IS_0)
    format_ = max(formats) if len(formats) == 1 else 0
    return Layout(
        width,
        height,
        samples,
        max(bits) if len(bits) == 1 else 0,
        UNSIGNED if format_ == _UNDEFINED else format_,
        photometric,
        page.number(Tag.PLANAR, 1) == 2 and samples > 1,
        page.numbers(Tag.EXTRA),
    )


def is_left_to_pillow(page: Page, layout: Layout) -> bool:
    """Returns True for pages that Pillow reads rightly: bilevel ones, and unsigned ones of up to 8 bits."""
    if not is_of_bytes(page):
        return not lacks_codec(page)
    if layout.format != UNSIGNED or (page.big and page.order == ">"):  # Pillow takes such a BigTIFF for none
        return False
    if layout.samples == 1 and layout.photometric in (_WHITE_IS_0, _BLACK_IS_0, _PALETTE):
        return layout.bits in (1, 2, 4, 8)
    if layout.bits != 8:
        return False
    answers = {
        _BLACK_IS_0: (layout.samples == 2 and len(layout.extra) == 1 and not layout.planar),
        _RGB: layout.samples == 3 or (layout.samples == 4 and len(layout.extra) == 1 and not layout.planar),
        _CMYK: layout.samples == 4,
        _YCBCR: layout.samples == 3,
        _LAB: layout.samples == 3 and not layout.planar,
    }
    return answers.get(layout.photometric, False)


def is_of_bytes(page: Page) -> bool:
    """Returns True where a page is stored as it is, or in a compression that works on bytes, whatever these mean."""
    return page.number(Tag.COMPRESSION, 1) in _PACKED


@cache
def _pillow_packs(compression: str) -> bool:
    try:
        Image.new("RGB", (8, 8)).save(io.BytesIO(), "TIFF", compression=compression)
    except Exception:
        return False
    return True


def lacks_codec(page: Page) -> bool:
    """Returns True for a compression that Pillow knows by name, and that the libtiff it was built with has not."""
    name = _MAYBE_MISSING.get(page.number(Tag.COMPRESSION, 1))
    return name is not None and not _pillow_packs(name)


def unsupported(page: Page, layout: Layout) -> str:
    """Returns what of a layout is not supported, in words; "" where all is."""
    compression = page.number(Tag.COMPRESSION, 1)
    colors = _COLORS.get(layout.photometric)
    if not is_of_bytes(page):
        return f"{layout.bits}-bit samples in {_OTHER_COMPRESSIONS.get(compression, f'compression {compression}')}"
    if colors is None:
        return "YCbCr of this layout" if layout.photometric == _YCBCR else f"the color space {layout.photometric}"
    if layout.samples < colors or layout.samples > _MOST_SAMPLES:
        return f"{layout.samples} samples a pixel"
    if not layout.bits or not layout.format:
        return "samples of several types in one pixel"
    if layout.format not in (UNSIGNED, _SIGNED, _FLOAT):
        return "complex numbers"
    if layout.format == _FLOAT and layout.bits not in (16, 32, 64):
        return f"{layout.bits}-bit floats"
    if layout.bits > 16 and layout.bits not in (24, 32, 64):
        return f"{layout.bits}-bit integers"
    if layout.format == _SIGNED and layout.bits not in (8, 16, 32, 64):
        return f"signed {layout.bits}-bit integers"
    if page.number(Tag.PREDICTOR, 1) == 2 and layout.bits not in (8, 16, 32, 64):
        return f"a predictor of {layout.bits}-bit samples"
    if layout.photometric == _CMYK and page.number(Tag.INK_SET, 1) != 1:
        return "inks other than CMYK"
    if layout.photometric in (_PALETTE, _LAB, _CMYK) and layout.format == _FLOAT:
        return "floats in this color space"
    if layout.photometric == _LAB and layout.bits not in (8, 16):
        return f"{layout.bits}-bit Lab"
    return ""


def read_samples(data: bytes, page: Page, layout: Layout) -> np.ndarray:
    """Reads the samples of a page as they are stored, (H, W, S), in the numbers' own type and the machine's order.

    Raises ValueError where they are not all there.
    """
    parts, rows, columns = _parts(data, page, layout)
    samples_per_pixel = 1 if layout.planar else layout.samples
    row_bytes = (columns * samples_per_pixel * layout.bits + 7) // 8
    planes = layout.samples if layout.planar else 1
    tiled = page.number(Tag.TILE_WIDTH, 0) > 0
    result = None
    for plane in range(planes):
        plane_parts = parts[len(parts) // planes * plane :][: len(parts) // planes]
        height = rows * len(plane_parts) if tiled else layout.height
        unpacked = _unpack(plane_parts, page, row_bytes, rows, height)
        values = _numbers(unpacked, page, layout, columns, samples_per_pixel)
        if tiled:
            values = _untile(values, layout, rows, columns)
        if planes == 1:
            return values
        if result is None:
            result = np.empty((layout.height, layout.width, planes), values.dtype)
        result[..., plane] = values[..., 0]
    assert result is not None
    return result


def rows_of_strip(page: Page, layout: Layout) -> int:
    """Returns the rows of each strip but the last."""
    return min(page.number(Tag.ROWS_PER_STRIP, layout.height) or layout.height, layout.height)


def row_bytes(layout: Layout) -> int:
    """Returns the size of a row of all samples together, unpacked."""
    return (layout.width * layout.samples * layout.bits + 7) // 8


def samples_of_strips(parts: Sequence[bytes], page: Page, layout: Layout, rows: int, height: int) -> np.ndarray:
    """Reads packed strips of `rows` rows each, `height` together, as `read_samples` reads all: (height, W, S)."""
    unpacked = _unpack(parts, page, row_bytes(layout), rows, height)
    return _numbers(unpacked, page, layout, layout.width, layout.samples)


def samples_of_tiles(parts: Sequence[bytes], page: Page, layout: Layout, height: int) -> np.ndarray:
    """Reads a row of packed tiles, of which `height` rows are the picture's: (height, W, S)."""
    rows, columns = page.number(Tag.TILE_LENGTH, 0), page.number(Tag.TILE_WIDTH, 0)
    size = (columns * layout.samples * layout.bits + 7) // 8
    values = _numbers(_unpack(parts, page, size, rows, rows * len(parts)), page, layout, columns, layout.samples)
    return _untile(values, replace(layout, height=height), rows, columns)


def _parts(data: bytes, page: Page, layout: Layout) -> tuple[list[bytes], int, int]:
    """Returns the packed strips or tiles in the order of the file, and the rows and columns of each."""
    if page.number(Tag.TILE_WIDTH, 0) > 0:
        offsets, counts = page.numbers(Tag.TILE_OFFSETS), page.numbers(Tag.TILE_BYTES)
        rows, columns = page.number(Tag.TILE_LENGTH, 0), page.number(Tag.TILE_WIDTH, 0)
        if rows < 1 or rows * columns > 4 * layout.width * layout.height + (1 << 20):
            raise ValueError("its tiles make no sense")
        number = -(-layout.height // rows) * -(-layout.width // columns)
    else:
        offsets, counts = page.numbers(Tag.STRIP_OFFSETS), page.numbers(Tag.STRIP_BYTES)
        rows, columns = rows_of_strip(page, layout), layout.width
        number = -(-layout.height // rows)
    number *= layout.samples if layout.planar else 1
    if not counts and len(offsets) == 1:
        counts = (len(data) - offsets[0],)
    if len(offsets) < number or len(counts) < number:
        raise ValueError("strips or tiles of it are missing")
    parts = [data[start : start + count] for start, count in zip(offsets[:number], counts[:number], strict=True)]
    if any(len(part) < count for part, count in zip(parts, counts[:number], strict=True)):
        raise ValueError("its data end early")
    return parts, rows, columns


def _unpack(parts: Sequence[bytes], page: Page, row_bytes: int, rows: int, height: int) -> np.ndarray:
    """Unpacks strips of `rows` rows each to the bytes of all rows, uint8 (height, row_bytes)."""
    compression, fill_order = page.number(Tag.COMPRESSION, 1), page.number(Tag.FILL_ORDER, 1)
    if compression == 1:
        sizes = [min(rows, height - top) * row_bytes for top in range(0, height, rows)]
        if any(len(part) < size for part, size in zip(parts, sizes, strict=True)):
            raise ValueError("its data end early")
        packed = b"".join(part[:size] for part, size in zip(parts, sizes, strict=True))
        unpacked = np.frombuffer(packed, np.uint8).reshape(height, row_bytes)
        return _REVERSED[unpacked] if fill_order == 2 else unpacked
    with Image.open(io.BytesIO(_gray_tiff(parts, compression, fill_order, row_bytes, rows, height))) as picture:
        return np.asarray(picture)


_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


def _gray_tiff(parts: Sequence[bytes], compression: int, fill_order: int, width: int, rows: int, height: int) -> bytes:
    """Writes packed strips as a gray TIFF of 8 bits."""
    sizes = np.array([len(part) for part in parts], "<u4")
    offsets = (8 + np.concatenate([[0], np.cumsum(sizes[:-1], dtype=np.int64)])).astype("<u4")
    body = b"".join([*parts, b"\0" * (sum(map(len, parts)) % 2)])
    start = 8 + len(body)
    has_many = len(parts) > 1
    tags = [
        (Tag.WIDTH, 4, 1, width), (Tag.LENGTH, 4, 1, height), (Tag.BITS, 3, 1, 8), (Tag.COMPRESSION, 3, 1, compression),
        (Tag.PHOTOMETRIC, 3, 1, 1), (Tag.FILL_ORDER, 3, 1, fill_order),
        (Tag.STRIP_OFFSETS, 4, len(parts), start if has_many else int(offsets[0])), (Tag.SAMPLES, 3, 1, 1),
        (Tag.ROWS_PER_STRIP, 4, 1, rows),
        (Tag.STRIP_BYTES, 4, len(parts), start + 4 * len(parts) if has_many else int(sizes[0])), (Tag.PLANAR, 3, 1, 1),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    tables = offsets.tobytes() + sizes.tobytes() if has_many else b""
    return struct.pack("<2sHI", b"II", 42, start + len(tables)) + body + tables + directory


def _numbers(unpacked: np.ndarray, page: Page, layout: Layout, columns: int, samples_per_pixel: int) -> np.ndarray:
    """Makes numbers (rows, columns, samples) of the bytes of rows (rows, bytes), and undoes the predictor."""
    rows, bits, predictor = len(unpacked), layout.bits, page.number(Tag.PREDICTOR, 1)
    shape = (rows, columns, samples_per_pixel)
    if bits not in (8, 16, 32, 64):
        return _small_numbers(unpacked, page.order, bits, columns * samples_per_pixel).reshape(shape)
    if predictor == 3 and layout.format == _FLOAT:
        # The differences of single bytes, in planes of which the first holds the highest byte of each number.
        summed = np.add.accumulate(unpacked.reshape(rows, -1, samples_per_pixel), axis=1, dtype=np.uint8)
        planes = summed.reshape(rows, bits // 8, columns * samples_per_pixel).swapaxes(1, 2)
        return np.ascontiguousarray(planes).view(f">f{bits // 8}").astype(f"f{bits // 8}").reshape(shape)
    kind = "f" if layout.format == _FLOAT else "i" if layout.format == _SIGNED else "u"
    stored = unpacked.view(f"u{bits // 8}").reshape(shape) if bits == 8 else _words(unpacked, page.order, bits, shape)
    if predictor == 2:
        stored = np.add.accumulate(stored, axis=1, dtype=stored.dtype)
    return stored.view(f"{kind}{bits // 8}")


def _words(unpacked: np.ndarray, order: str, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    words = np.ascontiguousarray(unpacked).view(f"{order}u{bits // 8}").reshape(shape)
    return words.astype(f"u{bits // 8}", copy=False)


def _small_numbers(unpacked: np.ndarray, order: str, bits: int, count: int) -> np.ndarray:
    """Makes numbers of `bits` bits each, packed without gaps from the highest bit of each row on; 24 bits are words."""
    if bits == 24:
        words = unpacked.reshape(len(unpacked), count, 3).astype(np.uint32)
        high, middle, low = (0, 1, 2) if order == ">" else (2, 1, 0)
        return words[..., high] << 16 | words[..., middle] << 8 | words[..., low]
    result = np.empty((len(unpacked), count), np.uint8 if bits < 8 else np.uint16)
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=np.uint32)
    band = max(1, (1 << 20) // max(1, count))
    for top in range(0, len(unpacked), band):
        single = np.unpackbits(unpacked[top : top + band], axis=1, count=count * bits)
        result[top : top + band] = single.reshape(-1, count, bits) @ weights
    return result


def _untile(values: np.ndarray, layout: Layout, rows: int, columns: int) -> np.ndarray:
    """Puts tiles, stacked upon each other (tiles * rows, columns, S), side by side: (H, W, S)."""
    tiles_per_row = -(-layout.width // columns)
    down = -(-layout.height // rows)
    tiles = values.reshape(down, tiles_per_row, rows, columns, -1).swapaxes(1, 2)
    return tiles.reshape(down * rows, tiles_per_row * columns, -1)[: layout.height, : layout.width]


# ------------------------------------------------------------------------------------------------------------- meaning


@dataclass(frozen=True, eq=False)
class Colors:
    """Samples with a meaning.

    Attributes:
      space: "gray", "RGB", "CMYK" or "LAB".
      pixels: uint8 or uint16, (H, W) for gray, otherwise (H, W, channels); CMYK and LAB (as Pillow has it) are uint8.
      alpha: (H, W) of the same type, or None.
    """

    space: str
    pixels: np.ndarray
    alpha: np.ndarray | None


def colors_of(samples: np.ndarray, page: Page, layout: Layout) -> Colors:
    """Gives samples (H, W, S) of a supported layout their meaning."""
    count = _COLORS[layout.photometric]
    if layout.photometric == _PALETTE:
        return Colors("RGB", _look_up(samples[..., 0], page, layout.bits), None)
    if layout.photometric == _LAB:
        return Colors("LAB", _lab_bytes(samples[..., :3], layout.bits), None)
    color_samples = samples[..., 0] if count == 1 else samples[..., :count]
    pixels = _scaled(color_samples, page, layout)
    if layout.photometric == _WHITE_IS_0:
        pixels = np.iinfo(pixels.dtype).max - pixels
    alpha = _alpha(samples, page, layout, count, pixels.dtype)
    if alpha is not None and _ASSOCIATED in layout.extra:
        pixels = _without_alpha(pixels, alpha)
    if count == 4:
        return Colors("CMYK", levels.to_bytes(pixels), None if alpha is None else levels.to_bytes(alpha))
    return Colors("gray" if count == 1 else "RGB", pixels, alpha)


def _scaled(values: np.ndarray, page: Page, layout: Layout) -> np.ndarray:
    if layout.format == _FLOAT:
        return levels.from_floats(values)
    top = page.number(Tag.MAX_SAMPLE, 0)
    # Other numbers than these are the largest sample of this very picture.
    stated_top = top if top & (top + 1) == 0 and 255 <= top < (1 << layout.bits) - 1 and int(values.max()) <= top else 0
    if layout.format == UNSIGNED and layout.bits <= 16:
        return levels.from_unsigned(values, stated_top or (1 << layout.bits) - 1)
    return levels.from_integers(values, layout.bits, stated_top)


def _alpha(samples: np.ndarray, page: Page, layout: Layout, count: int, dtype: np.dtype) -> np.ndarray | None:
    """Returns the first of the extra samples that is an opacity."""
    kinds = layout.extra
    if not kinds and layout.photometric == _RGB and layout.samples == 4:
        kinds = (_UNASSOCIATED,)  # many programs leave out what it is
    kinds = kinds[: layout.samples - count]
    place = next((i for i, kind in enumerate(kinds) if kind in (_ASSOCIATED, _UNASSOCIATED)), None)
    if place is None:
        return None
    values = samples[..., count + place]
    scaled = _scaled(values, page, layout)
    if layout.format == UNSIGNED or scaled.dtype == dtype:
        return scaled.astype(dtype, copy=False)
    return levels.to_bytes(scaled) if dtype == np.uint8 else scaled.astype(np.uint16) * 257


def _without_alpha(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Undoes the product with the opacity."""
    full = np.iinfo(pixels.dtype).max
    opacity = np.maximum(alpha, 1).astype(np.float32)
    opacity = opacity if pixels.ndim == 2 else opacity[..., None]
    return np.clip(np.rint(pixels * (full / opacity)), 0, full).astype(pixels.dtype)


def _look_up(indices: np.ndarray, page: Page, bits: int) -> np.ndarray:
    table = page.array(Tag.COLOR_MAP)
    if len(table) != 3 << bits:
        raise ValueError("its palette is missing")
    return table.reshape(3, -1).T.astype(np.uint16)[indices.astype(np.int64) & ((1 << bits) - 1)]


def _lab_bytes(samples: np.ndarray, bits: int) -> np.ndarray:
    """Rounds CIE Lab to the 8 bits of a TIFF: L of 0..255, a and b as signed numbers."""
    if bits == 8:
        return samples.astype(np.uint8)
    lightness = levels.to_bytes(samples[..., 0].astype(np.uint16))
    ab = samples[..., 1:].astype(np.uint16).view(np.int16).astype(np.int32)
    rounded = np.clip((ab + 128) >> 8, -128, 127).astype(np.int8).view(np.uint8)
    return np.dstack([lightness, rounded])
