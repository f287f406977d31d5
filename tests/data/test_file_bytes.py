"""Pipes are read once, and nothing that may never answer is opened."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from palgan_jax.data.decode import picture_size, read_rgb
from palgan_jax.errors import UserError
from tests.support import picture_files as made
from tests.support.places import ROOT

PNG = made.encoded(made.RGB, "PNG")
READ = "import sys; from palgan_jax.data.decode import picture_size, read_rgb\n" \
       "print(picture_size(sys.argv[1]), read_rgb(sys.argv[1]).sum(), read_rgb(sys.argv[1]).sum())"  # fmt: skip
EXPECTED = f"(48, 40) {made.RGB.sum()} {made.RGB.sum()}"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the files of Unix")


def run(word: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", READ, word], cwd=ROOT, capture_output=True, timeout=600, **options)


@pytest.mark.parametrize("word", ["-", "/dev/stdin", "/dev/fd/0"])
def test_standard_input_is_read(word):
    process = run(word, input=PNG)
    assert process.stdout.decode().strip() == EXPECTED, process.stderr


@pytest.mark.parametrize("word", ["-", "/dev/stdin"])
def test_standard_input_from_a_file(tmp_path, word):
    (tmp_path / "a.png").write_bytes(PNG)
    with (tmp_path / "a.png").open("rb") as file:
        assert run(word, stdin=file).stdout.decode().strip() == EXPECTED


def test_process_substitution():
    reading, writing = os.pipe()
    os.write(writing, PNG)
    os.close(writing)
    try:
        process = run(f"/dev/fd/{reading}", pass_fds=[reading])
    finally:
        os.close(reading)
    assert process.stdout.decode().strip() == EXPECTED, process.stderr


def test_standard_input_that_is_empty_or_a_device():
    assert b"UserError: - is empty (0 bytes)" in run("-", input=b"").stderr
    with open("/dev/zero", "rb") as zero:  # noqa: PTH123
        assert b"UserError: - is a device, not a picture file" in run("-", stdin=zero).stderr


def test_what_may_never_answer_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s.jpg"))
    try:
        for path, kind in (("pipe.jpg", "a named pipe"), ("s.jpg", "a socket"), ("/dev/zero", "a device")):
            for read in (read_rgb, picture_size):
                with pytest.raises(UserError, match=f"is {kind}, not a picture file"):
                    read(tmp_path / path)
    finally:
        listener.close()


def test_plain_files_are_read_anew_each_time(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    assert np.array_equal(read_rgb(path), made.RGB)
    path.write_bytes(made.encoded(made.RGB[::-1], "PNG"))
    assert np.array_equal(read_rgb(path), made.RGB[::-1])
