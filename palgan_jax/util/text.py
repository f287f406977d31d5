"""Formats numbers of bytes for people."""


def in_words(size: float, decimals: int = 2) -> str:
    """Returns `147.90 GB`, `5.2 MB`, or a smaller unit for less; powers of ten."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            return f"{size / bytes_:.{decimals}f} {unit}"
    return f"{size:.0f} bytes"
