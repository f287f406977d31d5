"""Messages, bars and lines of libraries, on a terminal, in a pipe and in the file that has all of them."""

import io
import logging
import re
import subprocess
import sys

import pytest

from palgan_jax.util.terminal import show_messages
from tests.support.places import ROOT
from tests.support.terminal import Terminal

PROGRAM = """
import logging, os, subprocess, sys, threading, warnings
from contextlib import suppress
from pathlib import Path
from palgan_jax.errors import UserError, report
from palgan_jax.util.progress import Progress
from palgan_jax.util.terminal import recorded, show_messages
show_messages()
own, other = logging.getLogger("palgan_jax.training"), logging.getLogger("orbax")
try:
    with recorded(Path(sys.argv[1]), process=int(sys.argv[2]), verbose="verbose" in sys.argv):
        with Progress("training", 3) as progress:
            progress.advance()
            own.info("of our own")
            with suppress(OSError):
                os.write(2, b"E1125 of a library in C++\\n")
            subprocess.run(["sh", "-c", "echo of another process >&2"])
            other.warning("of a library in Python")
            warnings.warn("of a warning")
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
            progress.advance()
            progress.advance()
        if "abort" in sys.argv:
            os.write(2, b"F1125 last words\\n")
            os.abort()
        raise UserError("this is wrong: mend it.")
except UserError as error:
    code = report(error)
own.info("afterwards")
os.write(2, b"on the terminal again\\n")
sys.exit(code)
"""
RAW = ("E1125 of a library in C++", "of another process")
OTHERS = (*RAW, "of a library in Python", "UserWarning: of a warning", "ZeroDivisionError")
STAMPED = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} process 3: of our own$"


def words(*arguments) -> list[str]:
    return [sys.executable, "-c", PROGRAM, *map(str, arguments)]


def test_a_terminal_shows_our_own_messages_above_the_bar_and_the_file_has_all(tmp_path):
    terminal = Terminal(words(tmp_path, 0), cwd=ROOT)
    assert terminal.end() == 2
    first, bar, *rest = terminal.lines()
    assert first == "of our own" and bar.startswith("training: 100%") and "3/3" in bar
    assert rest == ["palgan: error: this is wrong: mend it.", "afterwards", "on the terminal again"]
    log = (tmp_path / "log.txt").read_text()
    assert all(text in log for text in (*OTHERS, "of our own", "training 3/3", "UserError: this is wrong: mend it."))
    assert "afterwards" not in log and "\r" not in log


def test_a_terminal_shows_everything_where_asked_to(tmp_path):
    terminal = Terminal(words(tmp_path, 0, "verbose"), cwd=ROOT)
    assert terminal.end() == 2
    log = (tmp_path / "log.txt").read_text()
    for text in OTHERS:
        assert any(text in line for line in terminal.lines()) and text in log


@pytest.mark.parametrize("end", ["", "abort"])
def test_a_pipe_gets_all_but_messages_of_libraries_with_time_and_process_also_the_last_words(tmp_path, end):
    process = subprocess.run(words(tmp_path, 3, end), cwd=ROOT, capture_output=True, text=True, check=False)
    log = (tmp_path / "log-3.txt").read_text()
    for text in (*OTHERS, "training 3/3"):
        assert (text in process.stderr) == (text in RAW or text not in OTHERS) and log.count(text) == 1
    assert re.search(STAMPED, process.stderr, re.MULTILINE) and re.search(STAMPED, log, re.MULTILINE)
    if end:
        assert process.returncode < 0 and "F1125 last words" in process.stderr and "F1125 last words" in log
    else:
        assert process.stderr.endswith("afterwards\non the terminal again\n")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "log.txt").mkdir()
    process = subprocess.run(words(tmp_path, 0), cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 2 and "log.txt cannot be written (Is a directory)" in process.stderr


def test_messages_after_the_stream_was_closed_are_no_fault(monkeypatch):
    before = logging.getLogger().handlers[:]
    stream = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        show_messages()
    logging.getLogger("palgan_jax.x").warning("seen")
    assert stream.getvalue() == "seen\n"
    stream.close()
    logging.getLogger("palgan_jax.x").warning("not seen")
    logging.basicConfig(handlers=before, force=True)


def test_errors_of_threads_that_end_after_the_file_was_closed_are_no_fault(tmp_path):
    # Hooks of a thread that was about to tell of its error when the `with` body was left.
    program = """
import sys, threading
from pathlib import Path
from types import SimpleNamespace
from palgan_jax.util.terminal import recorded, show_messages
show_messages()
with recorded(Path(sys.argv[1])):
    hooks = sys.unraisablehook, threading.excepthook
error = OSError("No space left on device")
for hook in hooks:
    hook(SimpleNamespace(exc_type=OSError, exc_value=error, exc_traceback=None, err_msg=None, object=None, thread=None))
"""
    words = [sys.executable, "-c", program, str(tmp_path)]
    process = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("process", [0, 3])
def test_a_full_disk_under_the_file_hides_no_sentence(tmp_path, process):
    (tmp_path / ("log-3.txt" if process else "log.txt")).symlink_to("/dev/full")
    run_of_command = subprocess.run(words(tmp_path, process), cwd=ROOT, capture_output=True, text=True, check=False)
    assert run_of_command.returncode == 2 and "palgan: error: this is wrong: mend it.\n" in run_of_command.stderr
    assert "Traceback" not in run_of_command.stderr
    terminal = Terminal(words(tmp_path, process), cwd=ROOT)
    assert terminal.end() == 2 and "palgan: error: this is wrong: mend it." in terminal.lines()
