"""Errors as they are quoted in sentences."""

import errno

import pytest

from palgan_jax.errors import one_line


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
