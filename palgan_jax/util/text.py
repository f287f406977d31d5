"""Formats numbers of bytes, and tables, for people."""

from collections.abc import Sequence


def in_words(size: float, decimals: int = 2) -> str:
    """Returns `147.90 GB`, `5.2 MB`, or a smaller unit for less; powers of ten."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            return f"{size / bytes_:.{decimals}f} {unit}"
    return f"{size:.0f} bytes"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Returns a table for people: the first `left` columns flush left, the others flush right, two spaces between."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
