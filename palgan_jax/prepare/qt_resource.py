"""Reads files out of Qt's binary resources (.rcc), versions 1 to 3.

A resource is a header, a tree of nodes of equal size, their names and their data, all numbers big-endian; a folder's
node says where its entries begin and how many they are (qtbase, src/corelib/io/qresource.cpp).
"""

import struct
import zlib

_COMPRESSED, _FOLDER, _ZSTANDARD = 1, 2, 4  # flags of a node


class UnreadableResource(Exception):
    """A resource that is damaged or lacks what is looked for; the message says which."""


def read_resource(content: bytes, path: str) -> bytes:
    """Returns the content of one file of a resource; `path` has no slash at the front. Raises UnreadableResource."""
    try:
        magic, version, tree, data, names = struct.unpack_from(">4s4i", content)
        if magic != b"qres" or version not in (1, 2, 3):
            raise UnreadableResource("it is no Qt resource of version 1, 2 or 3")
        node_size = 14 if version == 1 else 22  # from version 2 on with a time
        node = tree
        for part in path.split("/"):
            node = _entry(content, node, part, tree, names, node_size)
        return _data(content, node, data)
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise UnreadableResource(f"it is damaged ({error})") from error


def _entry(content: bytes, folder: int, name: str, tree: int, names: int, node_size: int) -> int:
    """Returns where the node of an entry of a folder's node lies."""
    _, flags, count, first = struct.unpack_from(">IHII", content, folder)
    if flags & _FOLDER:
        for number in range(first, first + count):
            node = tree + number * node_size
            (at,) = struct.unpack_from(">I", content, node)
            (length,) = struct.unpack_from(">H", content, names + at)  # then a hash of 4 bytes
            if content[names + at + 6 : names + at + 6 + 2 * length].decode("utf-16-be") == name:
                return node
    raise UnreadableResource(f"it has no {name}")


def _data(content: bytes, node: int, data: int) -> bytes:
    """Returns the content of a file's node."""
    _, flags, _, _, at = struct.unpack_from(">IHHHI", content, node)  # between: country and language
    if flags & (_FOLDER | _ZSTANDARD):
        raise UnreadableResource("that is a folder, or compressed by Zstandard")
    (length,) = struct.unpack_from(">I", content, data + at)
    stored = content[data + at + 4 : data + at + 4 + length]
    if len(stored) != length:
        raise UnreadableResource("it is cut short")
    return zlib.decompress(stored[4:]) if flags & _COMPRESSED else stored  # four bytes: the size
