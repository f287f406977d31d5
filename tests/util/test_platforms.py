"""Whether JAX looks for TPUs where there are none."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from palgan_jax.util import platforms
from tests.support.places import ROOT

PROGRAM = """
import sys
from palgan_jax.cli import main
assert main(["info"]) == 0
import jax
sys.exit(jax.default_backend() != "cpu")
"""


@pytest.mark.skipif(find_spec("libtpu") is None, reason="needs libtpu")
def test_commands_on_a_pc_with_libtpu_are_quiet(monkeypatch):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    if platforms.may_have_accelerator():
        pytest.skip("needs a machine without accelerators")
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")


@pytest.fixture
def machine(monkeypatch):
    """Sets what a machine has, in an environment that names no platform."""
    for variable in ("JAX_PLATFORMS", *platforms._NAMES_A_TPU):
        monkeypatch.setenv(variable, "")  # so that it is as before afterwards
        monkeypatch.delenv(variable)

    def has(libtpu, attached=False, plugins=()):
        monkeypatch.setattr(platforms, "find_spec", lambda _: libtpu)
        monkeypatch.setattr(platforms, "has_tpu_devices", lambda: attached)
        monkeypatch.setattr(platforms, "_has_google_accelerator", lambda: False)
        monkeypatch.setattr(platforms, "entry_points", lambda group: plugins)

    return has


@pytest.mark.parametrize("name", ["JAX_PLATFORMS", "TPU_ACCELERATOR_TYPE", "JAX_FORCE_TPU_INIT"])
def test_an_environment_that_names_a_tpu_has_its_way(machine, monkeypatch, name):
    machine(libtpu=True)
    monkeypatch.setenv(name, "tpu")
    platforms.leave_out_absent_tpus()
    assert os.environ.get("JAX_PLATFORMS") == ("tpu" if name == "JAX_PLATFORMS" else None)


@pytest.mark.parametrize("plugins", [[], ["cuda"]])
@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize("libtpu", [None, True])
def test_tpus_are_left_out_where_nothing_else_is(machine, libtpu, attached, plugins):
    machine(libtpu, attached, plugins)
    platforms.leave_out_absent_tpus()
    left_out = libtpu and not attached and not plugins
    assert os.environ.get("JAX_PLATFORMS") == ("cpu" if left_out else None)
