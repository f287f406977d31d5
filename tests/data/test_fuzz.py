"""Damaged pictures: each is a picture or one sentence, and ends in time (`make fuzz` reads thousands)."""

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("limits of Unix", allow_module_level=True)

from tests.support.fuzz import fuzz

COUNT = 600


def test_damaged_pictures_are_pictures_or_sentences():
    assert fuzz("pictures", 0, COUNT) == []
