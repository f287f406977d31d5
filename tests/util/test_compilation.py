"""Compiled programs that are kept between processes, and those that cannot be."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.places import ROOT

PROGRAM = """
from palgan_jax.util.compilation import keep_compiled_programs
from palgan_jax.util.terminal import show_messages
show_messages()
keep_compiled_programs()
import jax
def cube(x):
    return x**3
print(jax.jit(cube)(3.0))
"""


def output_of(before: str = "", **variables: str) -> str:
    settings = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_COMPILATION_CACHE_DIR": ""}
    command = [sys.executable, "-c", before + PROGRAM]
    environment = {**os.environ, **settings, **variables}
    process = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout == "27.0\n"
    return process.stderr


def test_a_program_that_was_cut_while_it_was_written_is_told_in_a_line_and_made_anew(tmp_path):
    assert output_of(PALGAN_CACHE=str(tmp_path)) == ""
    (program,) = (tmp_path / "compiled").glob("jit_cube-*-cache")
    size = program.stat().st_size
    os.truncate(program, size // 2)
    output = output_of(PALGAN_CACHE=str(tmp_path))
    assert output.startswith(f"a compiled program in {tmp_path / 'compiled'} is damaged (") and output.count("\n") == 1
    assert program.stat().st_size > 0.9 * size
    assert output_of(PALGAN_CACHE=str(tmp_path)) == ""


@pytest.mark.parametrize("variables", [{"PALGAN_CACHE": "/dev/null/cache"}, {"PALGAN_CACHE": "~nobody-at-all/cache"}])
def test_a_cache_that_cannot_be_used_is_told_in_a_line(variables):
    output = output_of(**variables)
    assert output.startswith("compiled programs cannot be kept (") and output.count("\n") == 1


def test_a_program_that_cannot_be_written_to_its_end_is_told_in_a_line_and_removed(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
    output = output_of(limit, PALGAN_CACHE=str(tmp_path))
    assert re.fullmatch(
        r"compiled programs cannot be kept in .* \(File too large\): each start compiles anew\n", output
    )
    assert not list((tmp_path / "compiled").iterdir())
