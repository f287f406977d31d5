"""Qt resources that Qt's own compiler made: `rcc --binary --format-version N` of Qt 6.4.2, of three files each."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.prepare.qt_resource import UnreadableResource, read_resource
from tests.support.places import GOLDEN

FOLDER = GOLDEN / "qt_resource"
VERSIONS = ("version1", "version2", "version3")


def resource(name: str) -> bytes:
    return (FOLDER / f"{name}.rcc").read_bytes()


@pytest.mark.parametrize("name", VERSIONS)
def test_files_of_each_version_are_read(name):
    content = resource(name)
    assert read_resource(content, "gallery/pictures/deep/long.txt") == b"palette " * 200, "stored by zlib"
    assert read_resource(content, "gallery/pictures/deep/größe.txt") == b"short", "stored as it is"
    with Image.open(io.BytesIO(read_resource(content, "gallery/pictures/slope.webp"))) as picture:
        assert (picture.format, picture.size) == ("WEBP", (24, 16))


@pytest.mark.parametrize(
    "path", ["gallery/pictures/hill.webp", "pictures/slope.webp", "gallery/pictures", "", "gallery/../"]
)
def test_what_is_not_there_is_said(path):
    with pytest.raises(UnreadableResource):
        read_resource(resource("version3"), path)


def test_zstandard_is_refused():
    content = resource("zstandard")
    assert read_resource(content, "gallery/pictures/deep/größe.txt") == b"short"
    with pytest.raises(UnreadableResource, match="Zstandard"):
        read_resource(content, "gallery/pictures/deep/long.txt")


def test_a_file_of_another_kind_is_refused():
    with pytest.raises(UnreadableResource, match="no Qt resource"):
        read_resource(b"RIFF" + bytes(100), "a")


@given(st.sampled_from(VERSIONS), st.integers(0, 505), st.binary(max_size=6))
def test_damage_is_said_whatever_it_is(name, at, other):
    content = resource(name)
    for damaged in (content[:at], content[:at] + other + content[at + len(other) :]):
        try:
            read_resource(damaged, "gallery/pictures/deep/long.txt")
        except UnreadableResource as error:
            assert str(error)
