"""The exceptions that are shown to a person as one sentence, and the exit codes of all commands."""

import errno
import io
import os
import re
import select
import sys
import traceback
from enum import IntEnum
from typing import TextIO


class ExitCode(IntEnum):
    """Exit codes of `palgan` and of `python -m palgan_jax.main`; launchers read these and no log."""

    FINISHED = 0
    FAULT = 1
    """A fault of the program or the machine, or other processes of the run that are missing: begin again."""
    BAD_INPUT = 2
    """Only the person can mend it."""
    STOPPED = 75
    """Stopped early and saved; the same command goes on. EX_TEMPFAIL of sysexits.h."""
    INTERRUPTED = 130
    """Ctrl-C where nothing is saved, or once more, which gives up what is not: 128 + SIGINT, as shells have it."""
    OUTPUT_CLOSED = 141
    """What reads the output has ended, as `head` does after ten lines: 128 + SIGPIPE, as shells have it."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk, or what one person may have of it, is full."""


class UserError(Exception):
    """Bad input: one sentence that says what was wrong, where, and what to do.

    The command line prints the sentence and exits with `exit_code`; a library caller can catch it.
    """

    exit_code: ExitCode = ExitCode.BAD_INPUT


class DataStopped(UserError):
    """The data of work that had begun gave out; what was done until then is sound and worth saving."""


class ProcessesMissing(UserError):
    """Other processes of the run did not come."""

    exit_code = ExitCode.FAULT


MODULES_OF_EXTRA = {
    "jax": ("flax", "jax"),
    "train": ("absl", "array_record", "clu", "cv2", "etils", "fsspec", "google", "grain", "optax", "orbax"),
    "prepare": ("tensorflow_datasets", "tensorflow"),
    "formats": ("pillow_heif", "pillow_jxl", "rawpy"),
    "stablehlo": ("flatbuffers",),
    "web": ("starlette", "uvicorn"),
    "hub": ("huggingface_hub",),
    "completion": ("shtab",),
}
EXTRA_OF_MODULE = {module: extra for extra, modules in MODULES_OF_EXTRA.items() for module in modules}
"""Top-level module -> the extra of pyproject.toml that brings it; the light install has none of them for sure."""


def not_installed(error: ModuleNotFoundError) -> UserError | None:
    """Returns the sentence for a missing module that an extra brings, and None for any other."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRA_OF_MODULE:
        return None
    return UserError(
        f"this needs {module}, which is not installed here: in the checkout of palgan_jax, run "
        f"pip install -e '.[{EXTRA_OF_MODULE[module]}]'."
    )


def lacking(problem: str, error: ModuleNotFoundError) -> UserError:
    """Returns the sentence for what cannot be done without a missing module; `problem` names it in a main clause."""
    missing = not_installed(error)
    return UserError(f"{problem}: {missing}" if missing else f"{error}.")


def one_line(error: BaseException, limit: int = 300) -> str:
    """Returns the message of an error, to be quoted in a sentence: on one line, at most `limit` characters, no period.

    That of an error of the system without the file's name; the name of its type where it has no message.
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(text.split()).removesuffix(".") or type(error).__name__
    return line if len(line) <= limit else line[: limit - 3] + "..."


# Control characters, and those that reorder a line or begin another one.
_UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")


def printable(text: object) -> str:
    """Returns a text, such as the name of a file, without what a terminal would obey: `\\n`, `\\x1b` in its place."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(text))


def print_any_name() -> None:
    """Makes standard output and errors print what their encoding lacks as `\\u0436`, where Python would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a caller may have put something simpler in the place
            stream.reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Writes out what was printed. Raises BrokenPipeError where nobody reads it."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def _drop_closed_output() -> bool:
    """Points standard output and errors to nowhere where their readers have ended; returns whether any had."""
    closed_streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _is_closed(stream)]
    for stream in closed_streams:
        # Python flushes once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(closed_streams)


def _is_closed(stream: TextIO) -> bool:
    try:
        stream.flush()  # what could not be written is still there
        # Without a buffer nothing is: the system says whether a pipe has a reader.
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except BrokenPipeError:
        return True
    except (AttributeError, OSError):  # Windows has no poll, and some streams have no file
        return False


def report(error: BaseException) -> ExitCode:
    """Writes to stderr what a person needs to know of an error that ends a command, and returns the exit code."""
    if isinstance(error, ModuleNotFoundError):
        error = not_installed(error) or error
    if isinstance(error, BrokenPipeError) and _drop_closed_output():
        return ExitCode.OUTPUT_CLOSED
    if isinstance(error, UserError):
        print(f"palgan: error: {printable(error)}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        problem = f"{error.filename} cannot be written" if error.filename else "something cannot be written"
        print(
            f"palgan: error: {printable(problem)} ({one_line(error)}): make room, and start the same command again.",
            file=sys.stderr,
        )
        return ExitCode.BAD_INPUT
    traceback.print_exception(error)
    return ExitCode.FAULT
