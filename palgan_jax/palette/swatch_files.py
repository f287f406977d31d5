"""Files of swatches: GIMP's .gpl, Adobe's .aco, .ase and .act, and lists of hex colors (.txt, .hex).

None of these formats has weights. What is written here has each color's share as its name (`12.5 %`), and in .act,
where colors have no names, each color as many times as its share needs; both are read again as weights. Other names
count nothing: all colors weigh the same. Lab is that of the white D50, as in Photoshop. CMYK, which has no profile
here, is read as inks that subtract from white, a guess.

In text, all that Unicode calls white space is a space, but for line breaks, and so are the separators U+001C to U+001F
and the byte order mark, wherever it stands. Digits are those of ASCII.
"""

import colorsys
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from palgan_jax.color import lab_under_d65
from palgan_jax.errors import UserError, one_line
from palgan_jax.palette.colors import IN_PARENTHESES, WORD, ab_of_rgb, parse_color
from palgan_jax.palette.swatches import Swatch

MOST_BYTES = 1 << 20
_SPACE = re.compile(r"[\t\v\f\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*%", re.ASCII)
_ROW_OF_GPL = re.compile(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})(?:\s+(.*))?$", re.ASCII)
_COMMENT = re.compile(r"(^|[\s,;])(?:#(?=[\s,;]|$)|//)[^\n\r]*")  # in lists of colors
_COLORS_OF_ACT = 256

Weighted = tuple[np.ndarray, float]
"""A color (2,), ab in Lab units, and its weight."""


class _Malformed(Exception):
    """Says of a file what is wrong with it."""


def read_swatches(data: bytes, suffix: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the colors (N, 2), ab in Lab units, and the weights (N,) of a file of swatches.

    Args:
      data: its content.
      suffix: a key of READERS, which says what it is.
      name: the file, for sentences.

    Raises UserError where it is malformed or has no color.
    """
    try:
        swatches = READERS[suffix](data)
        if not swatches:
            raise _Malformed("it has no colors")
    except (_Malformed, struct.error, UserError) as error:
        reason = "it ends too early" if isinstance(error, struct.error) else one_line(error)
        raise UserError(f"{name} is no readable {suffix} file ({reason}): save it anew, or name another.") from None
    return np.stack([color for color, _ in swatches]), np.array([weight for _, weight in swatches])


def write_swatches(swatches: Sequence[Swatch], suffix: str, title: str) -> bytes:
    """Returns the content of a file of swatches, of the kind that `suffix`, a key of WRITERS, says."""
    return WRITERS[suffix](swatches, title)


def _weight(name: str) -> float:
    match = _PERCENT.fullmatch(_SPACE.sub(" ", name).strip(" \0\n\r"))
    return float(match[1]) if match else 1.0


def _percent(swatch: Swatch) -> str:
    return f"{100 * swatch.share:.4g} %"


def _rgb(swatch: Swatch) -> bytes:
    return bytes.fromhex(swatch.color[1:])


# ------------------------------------------------------------------------------------------------------------- text


def _text(data: bytes) -> str:
    return _SPACE.sub(" ", data.decode("utf-8", "replace"))


def _read_gpl(data: bytes) -> list[Weighted]:
    lines = _text(data).splitlines()
    if not lines or lines[0].strip() != "GIMP Palette":
        raise _Malformed("its first line is not GIMP Palette")
    swatches = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip() or line.lstrip().startswith("#") or re.match(r"(Name|Columns|Channels):", line):
            continue
        match = _ROW_OF_GPL.match(line)
        levels = [int(match[i]) for i in (1, 2, 3)] if match else [256]
        if not match or max(levels) > 255:
            raise _Malformed(f"line {number} has no color of three numbers from 0 to 255")
        swatches.append((ab_of_rgb(np.array(levels) / 255), _weight(match[4] or "")))
    return swatches


def _write_gpl(swatches: Sequence[Swatch], title: str) -> bytes:
    lines = [" ".join(f"{level:3d}" for level in _rgb(swatch)) + f"\t{_percent(swatch)}" for swatch in swatches]
    return "\n".join(["GIMP Palette", f"Name: {' '.join(title.split())}", "Columns: 0", "#", *lines, ""]).encode()


def _read_list(data: bytes) -> list[Weighted]:
    text = _text(data)
    if link := re.fullmatch(r"\s*https?://(?:www\.)?coolors\.co/(?:palette/)?([0-9a-fA-F-]+)\s*", text):
        text = link[1].replace("-", "\n")
    swatches = []
    for part in re.findall(rf"(?:{IN_PARENTHESES}|[^\n\r,;])+", _COMMENT.sub(r"\1", text)):
        words = WORD.findall(part)
        if not words:
            continue
        color = f"#{words[0]}" if re.fullmatch(r"[0-9a-fA-F]{6}", words[0]) else words[0]
        swatches.append((parse_color(color), _list_weight(words[1:])))
    return swatches


def _list_weight(words: Sequence[str]) -> float:
    text = "".join(words).removesuffix("%") or "1"
    if not _NUMBER.fullmatch(text):
        raise _Malformed(f"{text!r} is no weight")
    weight = float(text)
    if not 0 <= weight < float("inf"):
        raise _Malformed(f"the weight {text} is not positive")
    return weight


def _write_list(swatches: Sequence[Swatch], title: str) -> bytes:
    return "".join(f"{swatch.color} {_percent(swatch).replace(' ', '')}\n" for swatch in swatches).encode()


# ------------------------------------------------------------------------------------------------------------- Adobe


def _read_act(data: bytes) -> list[Weighted]:
    if len(data) not in (768, 772):
        raise _Malformed(f"it has {len(data)} bytes instead of 768 or 772")
    count = struct.unpack(">H", data[768:770])[0] if len(data) == 772 else 0
    count = count if 0 < count <= _COLORS_OF_ACT else _COLORS_OF_ACT
    rgb = np.frombuffer(data, np.uint8, 3 * count).reshape(-1, 3)
    return [(color, 1.0) for color in ab_of_rgb(rgb / 255)]


def _write_act(swatches: Sequence[Swatch], title: str) -> bytes:
    exact_counts = np.array([swatch.share for swatch in swatches])
    exact_counts *= _COLORS_OF_ACT / exact_counts.sum()
    counts = np.floor(exact_counts).astype(int)
    counts[np.argsort(counts - exact_counts)[: _COLORS_OF_ACT - counts.sum()]] += 1  # the largest remainders
    colors = b"".join(_rgb(swatch) * count for swatch, count in zip(swatches, counts, strict=True))
    return colors + struct.pack(">HH", _COLORS_OF_ACT, 0xFFFF)


def _read_aco(data: bytes) -> list[Weighted]:
    start, swatches = 0, []
    for version in (1, 2):  # most files have their colors twice, the second time with names
        if version == 2 and start == len(data):
            break
        file_version, count = struct.unpack_from(">HH", data, start)
        if file_version != version and not (start == 0 and file_version == 2):
            raise _Malformed(f"it has version {file_version} instead of {version}")
        start, swatches = start + 4, []
        for _ in range(count):
            space, *values = struct.unpack_from(">5H", data, start)
            start += 10
            name = ""
            if file_version == 2:
                length = struct.unpack_from(">I", data, start)[0]
                name = _utf16(data, start + 4, length)
                start += 4 + 2 * length
            swatches.append((_aco_color(space, values), _weight(name)))
        if file_version == 2:
            break
    return swatches


def _aco_color(space: int, values: Sequence[int]) -> np.ndarray:
    parts = np.array(values) / 65535
    if space == 0:
        return ab_of_rgb(parts[:3])
    if space == 1:
        return ab_of_rgb(np.array(colorsys.hsv_to_rgb(*parts[:3])))
    if space == 2:
        return ab_of_rgb(parts[:3] * parts[3])  # 0 is all of an ink
    if space == 7:
        a, b = np.array(struct.unpack(">2h", struct.pack(">2H", *values[1:3]))) / 100
        return _ab_of_lab(values[0] / 100, a, b)
    if space == 8:
        return np.zeros(2)
    raise _Malformed(f"it has a color of the kind {space}, where RGB, HSB, CMYK, Lab and gray are known")


def _write_aco(swatches: Sequence[Swatch], title: str) -> bytes:
    parts = [b"", b""]
    for swatch in swatches:
        color = struct.pack(">5H", 0, *(257 * level for level in _rgb(swatch)), 0)
        name = (_percent(swatch) + "\0").encode("utf-16-be")
        parts[0] += color
        parts[1] += color + struct.pack(">I", len(name) // 2) + name
    return b"".join(struct.pack(">HH", version, len(swatches)) + part for version, part in enumerate(parts, 1))


def _read_ase(data: bytes) -> list[Weighted]:
    if data[:4] != b"ASEF":
        raise _Malformed("it does not begin with ASEF; sprites of Aseprite, which end in .ase as well, are none")
    blocks, start, swatches = struct.unpack_from(">I", data, 8)[0], 12, []
    for _ in range(blocks):
        kind, length = struct.unpack_from(">HI", data, start)
        start += 6
        if start + length > len(data):
            raise _Malformed("it ends too early")
        if kind == 1:
            swatches.append(_ase_color(data[start : start + length]))
        start += length
    return swatches


def _ase_color(block: bytes) -> Weighted:
    length = struct.unpack_from(">H", block)[0]
    weight = _weight(_utf16(block, 2, length))
    start = 2 + 2 * length
    model, start = block[start : start + 4], start + 4
    counts = {b"RGB ": 3, b"CMYK": 4, b"LAB ": 3, b"Gray": 1}
    if model not in counts:
        raise _Malformed(f"it has a color of the kind {model!r}, where RGB, CMYK, LAB and Gray are known")
    values = np.array(struct.unpack_from(f">{counts[model]}f", block, start))
    if not np.isfinite(values).all():
        raise _Malformed("a color has values that are no numbers")
    if model == b"LAB ":
        return _ab_of_lab(100 * values[0], *values[1:]), weight
    values = np.clip(values, 0, 1)
    if model == b"Gray":
        return np.zeros(2), weight
    return ab_of_rgb(values if model == b"RGB " else (1 - values[:3]) * (1 - values[3])), weight


def _ab_of_lab(l: float, a: float, b: float) -> np.ndarray:
    """Returns the ab (2,) of Lab under D50; what is beyond its ranges is drawn to their ends."""
    lab = np.clip([l, a, b], [0, -128, -128], [100, 127, 127]).astype(np.float32)
    return lab_under_d65(lab)[1:].astype(np.float64)


def _write_ase(swatches: Sequence[Swatch], title: str) -> bytes:
    blocks = []
    for swatch in swatches:
        name = (_percent(swatch) + "\0").encode("utf-16-be")
        rgb = struct.pack(">3f", *(level / 255 for level in _rgb(swatch)))
        block = struct.pack(">H", len(name) // 2) + name + b"RGB " + rgb + struct.pack(">H", 2)
        blocks.append(struct.pack(">HI", 1, len(block)) + block)
    return b"ASEF" + struct.pack(">HHI", 1, 0, len(blocks)) + b"".join(blocks)


def _utf16(data: bytes, start: int, units: int) -> str:
    if start + 2 * units > len(data):
        raise _Malformed("it ends too early")
    return data[start : start + 2 * units].decode("utf-16-be", "replace")


READERS: dict[str, Callable[[bytes], list[Weighted]]] = {
    ".gpl": _read_gpl,
    ".aco": _read_aco,
    ".ase": _read_ase,
    ".act": _read_act,
    ".txt": _read_list,
    ".hex": _read_list,
}
"""The suffix of a file -> its reader."""
WRITERS: dict[str, Callable[[Sequence[Swatch], str], bytes]] = {
    ".gpl": _write_gpl,
    ".aco": _write_aco,
    ".ase": _write_ase,
    ".act": _write_act,
    ".txt": _write_list,
    ".hex": _write_list,
}
"""The suffix of a file -> its writer."""


def read_bounded(path: Path) -> bytes:
    """Returns the content of a file of at most MOST_BYTES. Raises UserError where it is larger or cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"the palette {path} cannot be read ({one_line(error)}): check the path.") from None
    if len(data) > MOST_BYTES:
        raise UserError(f"{path} is larger than 1 MB, which no palette is: name another file.")
    return data
