"""Working directories in a bucket, on a server of this machine. Whole runs in one are in tests/faults."""

import subprocess
import sys
import threading
import urllib.request

import pytest

from palgan_jax.errors import UserError
from palgan_jax.training.lease import Lease
from palgan_jax.training.workdir import opened
from palgan_jax.util.buckets import Bucket
from tests.support.gcs_server import BUCKET, environment, serve
from tests.support.places import ROOT

ADDRESS = f"gs://{BUCKET}/runs/x"


@pytest.fixture
def server(monkeypatch):
    with serve() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for name, value in environment(address).items():
            monkeypatch.setenv(name, value)
        yield address
        server.shutdown()


def test_files_of_a_bucket(server):
    bucket = Bucket(ADDRESS)
    assert bucket.files() == [] and bucket.read("a/b.txt") is None
    bucket.write("a/b.txt", b"one\r\n")
    bucket.write("a/b.txt", b"two\r\n\n")
    bucket.create("c", b"")
    with pytest.raises(FileExistsError):
        bucket.create("c", b"another")
    assert bucket.files() == ["a/b.txt", "c"] and bucket.files(excluded_folder="a") == ["c"]
    assert bucket.read("a/b.txt") == b"two\r\n\n" and bucket.sizes() == {"a/b.txt": 6, "c": 0}
    bucket.remove("c")
    bucket.remove("c")
    assert bucket.files() == ["a/b.txt"]
    # As any other client has it.
    with urllib.request.urlopen(f"{server}/storage/v1/b/{BUCKET}/o/runs%2Fx%2Fa%2Fb.txt?alt=media") as answer:
        assert answer.read() == b"two\r\n\n"


@pytest.mark.parametrize("address", ["s3://bucket/x", "https://example.org/x", "gs://bucket", "gs:///x"])
def test_an_address_that_cannot_be_used_is_refused(address):
    with pytest.raises(UserError, match=r"BUCKET/FOLDER"), opened(address):
        pass


def test_a_missing_package_is_named():
    code = f"import sys; sys.modules['gcsfs'] = None\nfrom palgan_jax.util.buckets import Bucket\nBucket({ADDRESS!r})"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"UserError: {ADDRESS} cannot be opened without gcsfs: pip install" in process.stderr


def test_files_come_back_at_the_next_start_and_logs_are_added_to(server):
    with opened(ADDRESS) as workdir:
        (workdir.folder / "sheets").mkdir()
        (workdir.folder / "sheets" / "1.png").write_bytes(b"sheet")
        (workdir.folder / "log.txt").write_text("one\n")
        workdir.copy()
        (workdir.folder / "metrics.jsonl").write_text("{}\n")
    assert Bucket(ADDRESS).files() == ["log.txt", "metrics.jsonl", "sheets/1.png"]
    with opened(ADDRESS) as workdir:
        assert [path.name for path in workdir.folder.iterdir()] == ["log.txt"]
        with (workdir.folder / "log.txt").open("a") as file:
            file.write("two\n")
        workdir.fetch()
        assert (workdir.folder / "sheets" / "1.png").read_bytes() == b"sheet"
        assert workdir.checkpoints == f"{ADDRESS}/checkpoints"
    assert Bucket(ADDRESS).read("log.txt") == b"one\ntwo\n"


def test_what_was_written_is_copied_where_a_run_fails(server):
    with pytest.raises(UserError, match="why"), opened(ADDRESS) as workdir:
        (workdir.folder / "log.txt").write_text("one\n")
        raise UserError("this is why: mend it.")
    assert Bucket(ADDRESS).read("log.txt") == b"one\n"


def test_a_lease_in_a_bucket_is_kept_taken_over_and_told(server):
    bucket = Bucket(ADDRESS)
    with Lease(bucket, beat=0.1) as first:
        with pytest.raises(UserError, match=rf"^{ADDRESS} is in use by process \d+ on "):
            Lease(bucket, patience=30.0).__enter__()
        first.check()
    assert bucket.files() == [], "an ended run leaves no lease"
    bucket.write("lease.json", b'{"host": "away", "process": 1, "since": "long ago"}\n7\n')
    with Lease(bucket, beat=0.1, patience=0.5) as second:
        second.check()


def test_a_bucket_out_of_reach_is_told_in_a_sentence(monkeypatch):
    for name, value in environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("gcsfs.retry.asyncio.sleep", _at_once, raising=False)
    with pytest.raises(UserError, match=rf"^{ADDRESS} cannot be reached \(.*\): look at the network"):
        Bucket(ADDRESS).read("a")


async def _at_once(*_: object) -> None:
    return None


def test_a_run_that_is_not_there_cannot_be_shown(server, tmp_path, capsys):
    from palgan_jax import cli

    assert cli.main(["runs", "show", ADDRESS, "--output", str(tmp_path / "page.html")]) == 2
    assert f"{ADDRESS} cannot be shown (nothing is there)" in capsys.readouterr().err
