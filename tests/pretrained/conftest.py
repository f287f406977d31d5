"""Fixtures of the tests of published weights."""

import importlib.metadata

import pytest

from palgan_jax.pretrained import readers


@pytest.fixture
def no_package(monkeypatch):
    """A machine on which no package of weights is installed."""

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(readers.importlib.metadata, "distribution", absent)
