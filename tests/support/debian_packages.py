"""Debian packages for tests: by dpkg-deb where it is installed, else by tarfile in an ar archive of our own."""

import io
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.miniature_sets import write_tar

CONTROL = (
    "Package: gallery\nVersion: 1.0-1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: x\n"
)
HAS_DPKG = shutil.which("dpkg-deb") is not None


def make_package(path: Path, files: Mapping[str, bytes], compression: str = "xz") -> Path:
    """Writes a package of some files, by name, and returns its path."""
    if not HAS_DPKG:
        return write_package(path, [(f"./{name}", content) for name, content in files.items()])
    root = path.with_suffix(".root")
    for name, content in {"DEBIAN/control": CONTROL.encode(), **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "usr/share/link.jpg").symlink_to("/etc/passwd")
    command = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", root, path]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(root)
    return path


def write_package(path: Path, entries: list[tuple[str, bytes]]) -> Path:
    """Writes a package with members of any names, as no tool of Debian makes it, and returns its path."""
    archive = io.BytesIO()
    write_tar(archive, entries, "w:xz")
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": archive.getvalue()}
    text = b"!<arch>\n"
    for name, content in members.items():
        text += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        text += content + b"\n" * (len(content) % 2)
    path.write_bytes(text)
    return path
