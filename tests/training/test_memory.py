"""Whether a step fits the memory: real limits, real errors of XLA, and the search for the largest batch."""

import functools
import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palgan_jax.config import default_config, load_config
from palgan_jax.errors import UserError
from palgan_jax.training import loop, memory, prepare
from palgan_jax.training.memory import COMPILATIONS, Need, fitting, largest_batch, too_large
from tests.support.places import ROOT
from tests.support.training_runs import NETWORK

LIMITED = """
import resource, jax, jax.numpy as jnp
from palgan_jax.config import default_config, load_config
from palgan_jax.distributed.mesh import make_mesh
from palgan_jax.errors import UserError
from palgan_jax.training.compile import Program
from palgan_jax.training.memory import check_memory, out_of_memory
from palgan_jax.util.memory import lacks_memory, memory_of_process
config, mesh = default_config(), make_mesh()
state = jax.ShapeDtypeStruct((1000, 1000), jnp.float32, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0]))
# Sorting needs a copy: 4 GB beside the 4 MB of the state.
step = jax.jit(lambda s: jnp.sort(jnp.broadcast_to(s.reshape(-1), (1000, 1000000)), axis=0).sum())
program = Program(None, state, None, step.lower(state).compile())
check_memory(config, mesh, program)
print("fits")
resource.setrlimit(resource.RLIMIT_AS, (10_000_000_000, resource.RLIM_INFINITY))
limit = resource.getrlimit(resource.RLIMIT_AS)[0] - memory_of_process() + 2_000_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
try:
    check_memory(config, mesh, program)
except UserError as error:
    print("before:", error)
try:
    program.step(jnp.ones((1000, 1000))).block_until_ready()
except Exception as error:
    print(lacks_memory(error), out_of_memory(error, config, program))
"""


def test_a_step_that_does_not_fit_is_told_with_its_figures_before_it_runs_and_when_it_does():
    command, one_device = [sys.executable, "-c", LIMITED], {**os.environ, "XLA_FLAGS": ""}
    process = subprocess.run(command, cwd=ROOT, env=one_device, capture_output=True, text=True, check=False)
    fits, before, when = process.stdout.splitlines()
    # How much memory there is changes from one question to the next.
    words, words_when = (re.sub(r"[\d.]+", "", text) for text in (before, when))
    assert fits == "fits" and words_when == words.replace("before:", "True")
    need, memory, batch = re.search(r"needs (\S+) GB .* there are (\S+) GB: .*batch_size=(\d+), or", before).groups()
    assert 4.0 <= float(need) <= 9.0 and 1.7 <= float(memory) <= 2.0
    assert int(batch) == pytest.approx(64 * float(memory) / float(need), abs=2)


def bytes_of_step(need: Need, config) -> float:
    """The bytes of a step with the settings of a config, by the rule that `fitting` states."""
    default = default_config()
    share = config.batch_size / config.accumulate / (default.batch_size / default.accumulate)
    share *= (config.resolution / default.resolution) ** 2 * config.net.width / default.net.width
    fixed = need.fixed * (config.net.width / default.net.width) ** 2
    return fixed * (1.25 if config.accumulate > default.accumulate else 1) + need.working * share


@given(st.floats(0, 2e9), st.floats(1e6, 1e11), st.floats(1e6, 1e11))
def test_each_setting_that_is_proposed_fits(fixed, working, memory):
    need = Need(fixed, working)
    for setting in fitting(default_config(), 1, need, memory):
        config = default_config()
        for name, value in re.findall(r"--config\.(\S+)=(\S+)", setting):
            config.update_from_flattened_dict({name: float(value) if "width" in name else int(value)})
        assert bytes_of_step(need, config) <= memory * (1 + 1e-6)


def test_nothing_is_proposed_that_would_not_fit():
    assert fitting(default_config(), 1, Need(1e12, 1e12), 1e9) == []

    class Mesh:
        size = 1

    sentence = str(too_large(default_config(), Mesh, Need(1e12, 1e12), 1e9))
    assert "a smaller batch, resolution and width together would fit." in sentence


@given(
    st.integers(1, 16), st.integers(1, 300), st.integers(1, 3000), st.floats(0, 1e9), st.floats(1e3, 1e8),
    st.floats(1e6, 1e11),
)  # fmt: skip
def test_the_largest_batch_is_found_by_few_compilations(least, first, most, fixed, each, memory):
    compiled = {}

    def need_at(batch: int) -> float:
        assert batch % least == 0 and batch not in compiled
        compiled[batch] = fixed + each * batch
        return compiled[batch]

    most = max(most, least)
    if fixed + each * least > memory:
        with pytest.raises(UserError, match=f"a batch of {least} needs"):
            largest_batch(need_at, memory, least, first, most)
        return
    result = largest_batch(need_at, memory, least, first, most)
    assert result in compiled and len(compiled) <= COMPILATIONS and compiled[result] <= memory
    exact = min(int((memory - fixed) / each) // least * least, most // least * least)
    assert exact - least <= result <= most


FITTED = [*NETWORK, "data.val=", "data.workers=0", "eval_every=0 steps"]


class Prepared(Exception):
    """Has the batch for which a run is about to trace its program."""


def test_fit_takes_the_largest_batch_for_which_there_is_memory_and_keeps_it(tmp_path, monkeypatch, one_device):
    def limited(need_at, room, *rest):
        need_at = functools.cache(need_at)
        limit = 1.001 * need_at(4)  # what four pictures need is not known before steps are compiled
        monkeypatch.setattr(memory, "room", lambda mesh, free=False: limit)
        return largest_batch(need_at, limit, *rest)

    monkeypatch.setattr(memory, "largest_batch", limited)

    def run(steps: int) -> loop.Outcome:
        return loop.train(load_config("tiny", [*FITTED, f"total={steps} steps"]), tmp_path, fit=True)

    def prepared(config, *_):
        raise Prepared(config.batch_size)

    assert run(1) is loop.Outcome.FINISHED
    assert json.loads((tmp_path / "config.json").read_text())["batch_size"] == 4
    monkeypatch.setattr(memory, "largest_batch", lambda *_: pytest.fail("a resumed run keeps its batch"))
    monkeypatch.setattr(prepare, "make_program", prepared)
    with pytest.raises(Prepared, match=r"^4$"):
        run(2)
