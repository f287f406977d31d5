"""Damaged weights: each file and folder gives a model that paints, or one sentence (`make fuzz` reads thousands)."""

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("limits of Unix", allow_module_level=True)

from tests.support.fuzz import fuzz

COUNT = 120


def test_damaged_weights_are_weights_or_sentences():
    assert fuzz("weights", 0, COUNT) == []
