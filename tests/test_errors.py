"""Errors as they are quoted in sentences."""

import errno

import pytest

from palgan_jax.errors import ExitCode, one_line, printable, report


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines."), "two lines"),
        (ValueError(), "ValueError"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/file"), "No space left on device"),
        (OSError("image file is truncated"), "image file is truncated"),
        (ValueError("x" * 400), "x" * 297 + "..."),
    ],
)
def test_an_error_is_quoted_on_one_line(error, line):
    assert one_line(error) == line


def test_what_a_terminal_would_obey_is_escaped():
    assert printable("a\nb\x1b[2J\x7f\x9b\u202e\u2028é😀\udce9") == "a\\nb\\x1b[2J\\x7f\\x9b\\u202e\\u2028é😀\udce9"


def test_a_full_disk_is_a_sentence_wherever_it_is_met(capsys):
    with pytest.raises(OSError) as full, open("/dev/full", "w", buffering=1) as file:  # noqa: PTH123
        file.write("a line\n")
    assert report(full.value) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == (
        "palgan: error: something cannot be written (No space left on device): make room, and start the same command "
        "again.\n"
    )
