"""One run, one working directory."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from palgan_jax.errors import UserError
from palgan_jax.training.lease import Lease
from palgan_jax.training.lease_file import FILE

HOLD = """
import sys, time
from pathlib import Path
from palgan_jax.training.lease import Lease
with Lease(Path(sys.argv[1]), beat=0.1) as lease:
    print("held", flush=True)
    while True:
        lease.check()
        time.sleep(0.05)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def test_a_living_run_is_named_and_keeps_its_lease(tmp_path, holder):
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(UserError, match=rf"in use by process {holder.pid} on .*: stop that run"):
        Lease(tmp_path, patience=30.0).__enter__()
    assert (tmp_path / FILE).read_bytes() == before


def test_the_lease_of_a_killed_run_is_taken_at_once(tmp_path, holder):
    holder.kill()
    holder.wait()
    start = time.monotonic()
    with Lease(tmp_path, patience=1200.0) as lease:
        lease.check()
        assert time.monotonic() - start < 600
        assert json.loads((tmp_path / FILE).read_bytes())["process"] == os.getpid()
    assert not list(tmp_path.iterdir()), "an ended run leaves no lease"


def test_a_run_that_stood_still_is_replaced_and_learns_of_it(tmp_path, holder):
    holder.send_signal(signal.SIGSTOP)
    with Lease(tmp_path, patience=0.5) as lease:
        holder.send_signal(signal.SIGCONT)
        assert holder.wait(600) == 1
        assert "was taken over by process" in holder.stderr.read()
        lease.check()
        assert json.loads((tmp_path / FILE).read_bytes())["process"] == os.getpid()


def test_a_working_directory_that_is_gone_is_told(tmp_path):
    (tmp_path / "run").mkdir()
    with Lease(tmp_path / "run") as lease:
        lease.check()
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        with pytest.raises(UserError, match="run is gone: bring the working directory back"):
            lease.check()


@pytest.mark.parametrize("content", [b"", b'{"host"', b"[" * 100_000, b'{"process": -1, "machine": 0}'])
def test_a_damaged_lease_that_nobody_renews_is_taken(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with Lease(tmp_path, patience=0.1) as lease:
        lease.check()
