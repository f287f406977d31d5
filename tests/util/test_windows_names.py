"""Names that Windows does not take, against Python's own rules where it has them."""

import errno
import ntpath
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from palgan_jax.errors import UserError
from palgan_jax.util.files import write_new_file
from palgan_jax.util.windows_names import check_path, fault_of

REFUSED = [
    "a:b.png",
    "what?.jpg",
    'a"b',
    "a|b",
    "a*",
    "<a>",
    "a\nb.png",
    "a.",
    "a ",
    "con",
    "NUL.png",
    "Com1",
    "lpt\xb2.x",
]
TAKEN = ["a.png", "a b.jpg", ".hidden", "console.png", "COM0", "com10.png", "Große Straße.tif", "写真.png", "nul-1.png"]


@pytest.mark.parametrize("name", REFUSED + TAKEN)
def test_names_are_refused_as_windows_does(name):
    assert (fault_of(name) is not None) == (name in REFUSED)
    if hasattr(ntpath, "isreserved"):  # since Python 3.13
        assert ntpath.isreserved(f"x\\{name}") == (name in REFUSED)


@pytest.mark.parametrize("path", ["C:\\x\\a:b.png", "a?\\b.png", "x\\nul.png", "\\\\host\\share\\x.\\y.png"])
def test_windows_alone_refuses_them_anywhere_in_a_path(path):
    with pytest.raises(UserError, match=r"since a name in it (has|is|ends)"):
        check_path(PureWindowsPath(path))
    check_path(PurePosixPath(path))


@pytest.mark.parametrize("path", ["C:\\x\\..\\b.png", "\\\\host\\share\\y.png", "c:b.png", "..\\x", "."])
def test_other_paths_of_windows_are_taken(path):
    check_path(PureWindowsPath(path))


def test_a_file_system_that_refuses_a_name_is_explained(tmp_path, monkeypatch):
    # As FAT, exFAT and NTFS do, which need a mount of their own.
    def refuse(self, other):
        raise OSError(errno.EINVAL, "Invalid argument")

    open_path = Path.open

    def refuse_new(self, mode="r", *args, **kwargs):
        if ":" in self.name or "con" in self.name:
            raise OSError(errno.EINVAL, "Invalid argument")
        return open_path(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setattr(Path, "open", refuse_new)
    with pytest.raises(UserError, match="since its name has : in it, which the file system there does not take"):
        write_new_file(tmp_path / "scan 12:30.png", b"x")
    with pytest.raises(UserError, match="Invalid argument"):
        write_new_file(tmp_path / "concert.png", b"x")
    write_new_file(tmp_path / "scan.png", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["scan.png"]
