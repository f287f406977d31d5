"""Downloads from a server that breaks off, has something else, or has nothing."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palgan_jax.errors import UserError
from palgan_jax.prepare.download import beginning, download
from tests.support.addresses import free_address
from tests.support.file_server import serve

CONTENT = np.random.default_rng(0).bytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def running():
    with serve() as server:
        yield server


@pytest.fixture
def server(running):
    running.files = {"/a.deb": CONTENT, "/b.deb": CONTENT, "/other.deb": CONTENT[::-1]}
    running.breaks, running.requests, running.ranges = [], [], True
    return running


def fetch(server, folder: Path, *names: str, count=lambda _: None) -> Path:
    path = folder / "wanted.deb"
    download([f"{server.address}/{name}" for name in names or ("a.deb",)], path, len(CONTENT), SHA256, count)
    assert path.read_bytes() == CONTENT
    assert not beginning(path).exists()
    return path


def test_a_file_is_downloaded_and_counted(server, tmp_path):
    counted = []
    fetch(server, tmp_path, count=counted.append)
    assert sum(counted) == len(CONTENT) and len(counted) > 1
    assert server.requests == [("/a.deb", 0)]


def test_a_broken_connection_goes_on_where_it_broke(server, tmp_path):
    counted = []
    server.breaks = [1000, 300_000]
    fetch(server, tmp_path, count=counted.append)
    assert server.requests == [("/a.deb", 0), ("/a.deb", 1000), ("/a.deb", 301_000)]
    assert sum(counted) == len(CONTENT)


def test_an_interrupt_loses_nothing(server, tmp_path):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path, count=interrupt)
    part = beginning(tmp_path / "wanted.deb")
    size = part.stat().st_size
    assert 0 < size < len(CONTENT) and CONTENT.startswith(part.read_bytes())
    counted = []
    fetch(server, tmp_path, count=counted.append)
    assert server.requests[1:] == [("/a.deb", size)] and sum(counted) == len(CONTENT) - size


def test_a_server_of_whole_files_sends_all_again(server, tmp_path):
    counted = []
    server.ranges, server.breaks = False, [1000]
    fetch(server, tmp_path, count=counted.append)
    assert server.requests == [("/a.deb", 0)] * 2 and sum(counted) == len(CONTENT)


def test_the_second_address_is_asked_where_the_first_has_nothing_or_another_file(server, tmp_path):
    for first in ("absent.deb", "other.deb"):
        fetch(server, tmp_path, first, "b.deb").unlink()
    assert [path for path, _ in server.requests] == ["/absent.deb", "/b.deb", "/other.deb", "/b.deb"]


def test_another_beginning_on_disk_is_thrown_away(server, tmp_path):
    for length in (1000, len(CONTENT), len(CONTENT) + 7):
        beginning(tmp_path / "wanted.deb").write_bytes(bytes(length))
        fetch(server, tmp_path).unlink()


def test_all_reasons_are_given_where_no_address_has_it(server, tmp_path):
    nobody = f"http://{free_address()}/a.deb"
    addresses = [f"{server.address}/absent.deb", f"{server.address}/other.deb", nobody]
    with pytest.raises(UserError) as error:
        download(addresses, tmp_path / "wanted.deb", len(CONTENT), SHA256, lambda _: None)
    assert str(error.value).startswith("wanted.deb cannot be downloaded: ")
    for reason in ("absent.deb (HTTP Error 404: Not Found)", "other.deb (it is another file)", "(Connection refused)"):
        assert reason in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_and_not_taken_for_the_server(server, tmp_path):
    beginning(tmp_path / "wanted.deb").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"part cannot be written \(No space left on device\)"):
        fetch(server, tmp_path)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.integers(0, 700_001), breaks=st.lists(st.integers(1, 400_000), max_size=4), ranges=st.booleans())
def test_a_file_arrives_whole_whatever_breaks(server, tmp_path, kept, breaks, ranges):
    server.ranges, server.breaks = ranges, list(breaks) if ranges else []
    beginning(tmp_path / "wanted.deb").write_bytes((CONTENT + b"x")[:kept])
    fetch(server, tmp_path).unlink()
