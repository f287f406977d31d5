"""Progress as it is shown: a bar on a real terminal, lines elsewhere, and no use of JAX."""

import os
import pty
import subprocess
import sys
import termios

import pytest

from palgan_jax.util.progress import Progress
from tests.support.places import ROOT

COUNT_TO_THREE = """
import sys
from palgan_jax.util.progress import Progress
from palgan_jax.util.terminal import show_messages
show_messages()
with Progress("counting", 3, unit="sheep", shown={shown}) as progress:
    for _ in range(3):
        progress.advance("black")
        {then}
print("jax" in sys.modules)
"""


def run(code: str, terminal: bool) -> tuple[str, str]:
    """Returns standard output and what a process wrote to standard error, which is a terminal or a pipe."""
    reader, terminal_end = pty.openpty() if terminal else os.pipe()
    if terminal:
        termios.tcsetwinsize(reader, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal_end, text=True
    )
    os.close(terminal_end)
    output, _ = process.communicate(timeout=600)
    content = b""
    try:
        while piece := os.read(reader, 65536):
            content += piece
    except OSError:  # the end of a terminal
        pass
    os.close(reader)
    return output, content.decode()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal_and_a_line_elsewhere(terminal):
    output, screen = run(COUNT_TO_THREE.format(shown=True, then=""), terminal)
    assert output.strip() == "False", "a bar needs no JAX, which would take the chip"
    assert "counting" in screen and "3/3" in screen and "black" in screen
    assert ("sheep/s, 0:00 left" in screen) != terminal
    assert ("\r" in screen.replace("\r\n", "")) == terminal
    assert screen.endswith("\n"), "the next line begins on its own"


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_shown_by_the_other_processes(terminal):
    assert run(COUNT_TO_THREE.format(shown=False, then=""), terminal)[1] == ""


def test_the_line_of_a_bar_ends_where_the_work_fails():
    _, screen = run(COUNT_TO_THREE.format(shown=True, then="sys.exit('broken')"), terminal=True)
    assert "1/3" in screen and screen.splitlines()[-1] == "broken"


def test_bytes_are_counted_in_words(caplog, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with caplog.at_level("INFO"), Progress("fetching", 3_000_000, done=500_000, unit="B") as progress:
        progress.advance(count=1_500_000)
        progress.advance(count=-1_000_000)  # came in vain
        progress.advance("last", 2_000_000)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("fetching 3.00 MB/3.00 MB, ") and caplog.messages[0].endswith("left, last")
