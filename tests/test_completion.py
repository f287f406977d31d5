"""Completion of commands: bash itself reads the script, and is asked as it asks when somebody presses the tabulator."""

import subprocess
from contextlib import redirect_stdout
from io import StringIO

import pytest

from palgan_jax.cli import COMMANDS, main
from palgan_jax.errors import ExitCode

# What bash does at the tabulator: it calls the function that the script has registered, with the words of the line.
ASK = """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
function=$(complete -p palgan | sed 's/.* -F \\([^ ]*\\).*/\\1/')
"$function" palgan "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The script for bash, and a question to it, as a file."""
    folder = tmp_path_factory.mktemp("completion")
    with redirect_stdout(StringIO()) as output:
        assert main(["completion", "bash"]) == ExitCode.FINISHED
    (folder / "ask.sh").write_text(output.getvalue() + ASK)
    (folder / "boat.jpg").touch()
    (folder / "mine.safetensors").touch()
    return folder / "ask.sh"


def offered(script, *words):
    command = ["bash", "--norc", str(script), "palgan", *words]
    result = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_bash_offers_commands_options_choices_and_files(script):
    assert offered(script, "") == set(COMMANDS)
    assert offered(script, "colorize", "--ref") == {"--reference"}
    assert offered(script, "export", "bundled", "x.onnx", "--dtype", "") == {"float32", "float16"}
    assert offered(script, "palette", "mi") == {"mix"}
    assert offered(script, "colorize", "bo") == {"boat.jpg"}
    # Options of groups and those that are repeated are values as well.
    assert offered(script, "evaluate", "--checkpoint", "mi") == {"mine.safetensors"}
    assert offered(script, "colorize", "--reference", "bo") == {"boat.jpg"}


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_all_commands(shell, capsys):
    assert main(["completion", shell]) == ExitCode.FINISHED
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS) and "--reference" in text
