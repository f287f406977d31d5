"""A state and a mesh, shared by the tests of checkpoints."""

import jax
import pytest

from tests.support.checkpoint_state import State, build, mesh


@pytest.fixture(scope="package")
def state() -> State:
    return build()


@pytest.fixture(scope="package")
def single_mesh() -> jax.sharding.Mesh:
    return mesh(1, 1)
