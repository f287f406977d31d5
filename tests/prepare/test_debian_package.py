"""Debian packages as dpkg-deb makes them, and damaged or hostile ones."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palgan_jax.prepare.debian_package import UnreadablePackage, read_members
from tests.support.debian_packages import HAS_DPKG, make_package, write_package

FILES = {"usr/share/a.jpg": b"first" * 1000, "usr/share/deep/b.jpg": b"", "usr/share/link.txt": bytes(range(256))}
needs_dpkg = pytest.mark.skipif(not HAS_DPKG, reason="needs dpkg-deb")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return make_package(tmp_path_factory.mktemp("package") / "gallery.deb", FILES)


@pytest.mark.parametrize("compression", ["xz", "gzip", "none"])
@needs_dpkg
def test_files_of_a_package_are_read(tmp_path, compression):
    path = make_package(tmp_path / "gallery.deb", FILES, compression)
    assert dict(read_members(path, set(FILES))) == FILES
    assert dict(read_members(path, ["usr/share/a.jpg"])) == {"usr/share/a.jpg": FILES["usr/share/a.jpg"]}


@needs_dpkg
def test_zstandard_is_refused(tmp_path):
    with pytest.raises(UnreadablePackage, match="Zstandard"):
        list(read_members(make_package(tmp_path / "gallery.deb", FILES, "zstd"), set(FILES)))


@needs_dpkg
def test_a_link_is_no_file_whatever_it_points_to(package):
    with pytest.raises(UnreadablePackage, match="no regular file"):
        list(read_members(package, ["usr/share/link.jpg"]))


def test_what_is_not_there_is_named(package):
    with pytest.raises(UnreadablePackage, match=r"it has no usr/share/c\.jpg"):
        list(read_members(package, ["usr/share/a.jpg", "usr/share/c.jpg"]))


def test_names_that_lead_out_of_a_folder_write_nothing(tmp_path):
    entries = [("../../outside.jpg", b"bad"), ("/tmp/outside.jpg", b"bad"), ("./usr/a.jpg", b"good")]
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    path = write_package(folder / "odd.deb", entries)
    assert list(read_members(path, ["usr/a.jpg"])) == [("usr/a.jpg", b"good")]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"PK\x03\x04" * 50, b"!<arch>\n" + b"x" * 200])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "odd.deb"
    path.write_bytes(content)
    with pytest.raises(UnreadablePackage):
        list(read_members(path, ["usr/share/a.jpg"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 2000), other=st.binary(max_size=8))
def test_damage_is_said_whatever_it_is(package, tmp_path, at, other):
    content = package.read_bytes()
    for damaged in (content[:at], content[:at] + other + content[at + len(other) :]):
        path = tmp_path / "damaged.deb"
        path.write_bytes(damaged)
        try:
            list(read_members(path, set(FILES)))
        except UnreadablePackage as error:
            assert str(error)
