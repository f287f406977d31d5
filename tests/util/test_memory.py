"""How much memory there is, under limits that the system enforces."""

import resource
import subprocess
import sys

import pytest

from palgan_jax.errors import UserError
from palgan_jax.util.memory import lacks_memory, memory_may_run_out, memory_of_process, needed_and_there
from tests.support.places import ROOT


def test_a_process_may_take_what_the_machine_has_at_most():
    memory = memory_of_process()
    with open("/proc/meminfo") as file:  # noqa: PTH123
        total = int(file.readline().split()[1]) * 1024
    assert 0 < memory <= total


UNDER_A_LIMIT = """
import resource
from palgan_jax.util.memory import memory_of_process
resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000, resource.RLIM_INFINITY))
there = memory_of_process()
bytes(int(0.9 * there))
try:
    bytes(int(1.1 * there))
except MemoryError:
    print("the limit lies between")
"""


def test_a_limit_of_the_shell_counts():
    process = subprocess.run(
        [sys.executable, "-c", UNDER_A_LIMIT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.stdout == "the limit lies between\n", process.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_the_lack_of_memory_is_told_from_other_errors():
    assert lacks_memory(MemoryError()) and lacks_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory"))
    assert not lacks_memory(ValueError("wrong")) and not lacks_memory(None)
    with (
        pytest.raises(UserError, match=r"^a batch needs more memory than there is \(33\.94 GB more at once\): less\.$"),
        memory_may_run_out("a batch", "less"),
    ):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 33937561576 bytes.")
    with pytest.raises(ZeroDivisionError), memory_may_run_out("a batch", "less"):
        _ = 1 / 0


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("Ran out of memory in memory space hbm. Used 33.50G of 15.75G hbm. Exceeded", (33.5 * 2**30, 15.75 * 2**30)),
        ("the total (20.00G) exceeds available HBM (512.0M)", (20.0 * 2**30, 512.0 * 2**20)),
        ("something else", None),
    ],
)
def test_figures_of_libtpu_are_read(text, sizes):
    assert needed_and_there(text) == sizes
