"""Exchanges between two real processes."""

import json
import os
import subprocess
import sys

from palgan_jax.distributed import collectives
from tests.support.addresses import free_address
from tests.support.places import ROOT

PROCESS = """
import json
import jax
from palgan_jax.distributed.collectives import (
    all_agree, any_agree, broadcast_bytes, failing_together, gather_bytes, number_of_first
)
from palgan_jax.distributed.join import joined
from palgan_jax.errors import UserError

with joined("on"):
    first = jax.process_index() == 0
    sentence = ""
    try:
        with failing_together():
            if first:
                raise UserError("there is no folder x\u00e4: name another.")
    except UserError as error:
        sentence = str(error)
    print(json.dumps([
        all_agree(True), all_agree(first), any_agree(first), any_agree(False), number_of_first(3 if first else 4),
        [data.decode() for data in gather_bytes(b"a" if first else b"bcd")],
        broadcast_bytes(b"xy" if first else b"").decode(), sentence,
    ]))
"""


def test_two_processes_exchange_votes_numbers_bytes_and_errors():
    environment = {**os.environ, "JAX_COORDINATOR_ADDRESS": free_address(), "JAX_NUM_PROCESSES": "2", "XLA_FLAGS": ""}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS], env={**environment, "JAX_PROCESS_ID": str(number)}, cwd=ROOT,
            stdout=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    for process in processes:
        output = process.communicate(timeout=600)[0]
        assert process.returncode == 0
        assert json.loads(output.splitlines()[-1]) == [
            True, False, True, False, 3, ["a", "bcd"], "xy", "there is no folder x\u00e4: name another.",
        ]  # fmt: skip


def test_one_process_needs_no_other():
    assert collectives.gather_bytes(b"a") == [b"a"]
    assert collectives.broadcast_bytes(b"a") == b"a"
    assert collectives.number_of_first(5) == 5
    assert not collectives.any_agree(False) and collectives.all_agree(True)
