"""Files written whole or not at all, and where caches go."""

import errno
import os
from pathlib import Path

import pytest

from palgan_jax.errors import UserError
from palgan_jax.util import files as writing
from palgan_jax.util.files import cache_folder, file_sha256, hash64, make_folder, write_file

READ_ONLY = OSError(errno.EROFS, "Read-only file system")


@pytest.fixture
def read_only(monkeypatch):
    """A file system on which nothing can be written, made or removed."""

    def refuse(*_, **__):
        raise READ_ONLY

    for name in ("write_bytes", "touch", "unlink", "replace"):
        monkeypatch.setattr(Path, name, refuse)


def test_a_file_is_made_or_replaced_and_nothing_stays_behind(tmp_path):
    for content in (b"one", b"two, longer", b""):
        write_file(tmp_path / "x.bin", content)
        assert (tmp_path / "x.bin").read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.bin"]


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("n" * 246 + ".png")
    write_file(path, b"x")
    assert path.read_bytes() == b"x" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(UserError, match=r"cannot be written \(File name too long\)"):
        write_file(tmp_path / ("n" * 300), b"x")
    assert len(list(tmp_path.iterdir())) == 1


def test_temporary_names_are_hidden_short_and_never_the_same(tmp_path):
    names = {writing._temporary(tmp_path).name for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(".") and name.endswith(".tmp") and len(name) < 60 for name in names)


def test_a_read_only_file_system_is_one_sentence(tmp_path, read_only):
    with pytest.raises(UserError) as error:
        write_file(tmp_path / "x", b"x")
    assert str(error.value) == f"{tmp_path / 'x'} cannot be written (Read-only file system): choose another place."
    with pytest.raises(UserError, match=r"is no folder that can be written to \(Read-only file system\)"):
        make_folder(tmp_path)


def test_the_first_error_is_told_where_the_rest_cannot_be_removed(tmp_path, monkeypatch):
    def full(path, _):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(*_, **__):
        raise READ_ONLY

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        write_file(tmp_path / "x", b"x")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UserError, match="No space left"):
        write_file(tmp_path / "x", b"x")


def test_a_place_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\)"):
        write_file(tmp_path / "file" / "x", b"x")
    with pytest.raises(UserError, match=r"is no folder that can be written to"):
        make_folder(tmp_path / "file" / "x")
    with pytest.raises(UserError, match="cannot be written"):
        write_file(tmp_path, b"x")


def test_folders_are_made_with_those_above_and_left_as_they_were(tmp_path):
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
        assert not list((tmp_path / "a" / "b").iterdir())


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.delenv("PALGAN_CACHE", raising=False)
    assert cache_folder() == Path("/home/someone/.cache/palgan")
    monkeypatch.setenv("XDG_CACHE_HOME", "/big/cache")
    assert cache_folder() == Path("/big/cache/palgan")
    monkeypatch.setenv("PALGAN_CACHE", "~/here")
    assert cache_folder() == Path("/home/someone/here")


def test_without_a_home_folder_a_cache_has_to_be_named(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PALGAN_CACHE", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(UserError, match="set PALGAN_CACHE"):
        cache_folder()


def test_digests_are_the_same_everywhere(tmp_path):
    # Indexes and stores written before are compared with them.
    assert hash64("a/b.jpg") == 0xAECC9F4D3B67ED67
    assert hash64(os.fsdecode(b"\xff.jpg")) != hash64("\N{REPLACEMENT CHARACTER}.jpg")
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
