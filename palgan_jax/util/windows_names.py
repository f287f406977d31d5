"""Names that Windows, and file systems made for it, take for no file's name.

The rules are those of Microsoft's "Naming Files, Paths, and Namespaces", and of Python's os.path.isreserved, which is
newer than the oldest Python here. Other systems make such files, which a USB stick then refuses; Windows itself may
write them to a device, or into a hidden part of another file, and says nothing.
"""

from pathlib import PurePath, PureWindowsPath

from palgan_jax.errors import UserError

_CHARACTERS = frozenset('<>:"|?*/\\')
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{port}{number}" for port in ("COM", "LPT") for number in "123456789\xb9\xb2\xb3"]
)


def fault_of(name: str) -> str | None:
    """Returns what is wrong with a file's or a folder's name there, as "has ..." or "is ..."; None where nothing is."""
    if characters := "".join(sorted(_CHARACTERS & set(name))):
        return f"has {characters} in it"
    if any(ord(character) < 32 for character in name):
        return "has control characters in it"
    if name.endswith((".", " ")):
        return "ends in a dot or a space"
    stem = name.partition(".")[0].rstrip(" ")
    return f"is that of a device, {stem}" if stem.upper() in _DEVICES else None


def check_path(path: PurePath) -> None:
    """Raises UserError for a path of Windows (none of other systems) that it would take for something else."""
    if not isinstance(path, PureWindowsPath):
        return
    for name in path.parts[1 if path.anchor else 0 :]:
        fault = None if name == ".." else fault_of(name)
        if fault:
            raise UserError(f"{path} is no place for a file, since a name in it {fault}: choose another.")
