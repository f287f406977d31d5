"""What a command writes to standard error: messages that never collide with a bar, and a file that has all of it."""

import io
import logging
import os
import shlex
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

from palgan_jax.errors import UserError, one_line, printable

LINES_OF_PROGRESS = "palgan_jax.util.progress"
"""The logger of what a bar on a terminal shows already."""
SECONDS_TO_COPY = 5.0
"""How long the last lines may take to be copied."""


class _Messages(logging.StreamHandler):
    """Writes messages to standard error, above the bar where there is one.

    Attributes:
      own_alone: leaves out what libraries log.
    """

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.own_alone = False

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
        if self.stream.closed:  # by a program that calls a command and puts its own stream in the place
            return False
        if self.stream.isatty() and record.name == LINES_OF_PROGRESS:
            return False
        if self.own_alone and not _is_own(record):
            return False
        return super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        bars: Any = sys.modules.get("tqdm")  # there is no bar before somebody imports it
        with bars.tqdm.external_write_mode(self.stream) if bars else nullcontext():
            super().emit(record)


def _is_own(record: logging.LogRecord) -> bool:
    return record.name.startswith(("palgan_jax", "__main__"))


def show_messages() -> None:
    """Shows messages, and Python's warnings, on standard error, in the place of whatever showed them before."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_Messages()], force=True)
    logging.captureWarnings(True)
    # Orbax, grain, gcsfs, absl and the client of the hub log at this level what only their developers want to know.
    for noisy in ("absl", "orbax", "jax", "grain", "gcsfs", "httpx2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").propagate = False  # it shows its messages itself


@contextmanager
def recorded(folder: Path, *, process: int = 0, verbose: bool = False) -> Iterator[None]:
    """Keeps what is written to standard error, in a `with` body, in FOLDER/log.txt, or log-N.txt of process N.

    This takes in what libraries write to the file descriptor, in any language, what other processes write that this
    one starts, and errors of threads that nobody waits for. Messages of libraries are in the file alone; where
    `verbose`, all of it is shown. On a terminal, all that libraries write is in the file alone. Elsewhere, or where
    `verbose`, each message has its time and process, and progress comes in lines, since what libraries write breaks
    bars.

    Raises UserError where the file cannot be written.
    """
    path = folder / (f"log-{process}.txt" if process else "log.txt")
    stamped = logging.Formatter(f"%(asctime)s process {process}: %(message)s")
    messages = [handler for handler in logging.getLogger().handlers if isinstance(handler, _Messages)]
    is_on_descriptor_2 = _is_descriptor_2(sys.stderr)
    with ExitStack() as stack:
        file = stack.enter_context(_appending(path))
        _write(file, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(sys.argv)}")
        copied = is_on_descriptor_2 and (verbose or not sys.stderr.isatty())
        if not (copied and verbose):
            stack.enter_context(_messages_in(file, stamped, others_alone=copied))
            stack.enter_context(_own_alone(messages))
            if is_on_descriptor_2:
                stack.enter_context(_errors_of_threads_in(file))
        if copied:
            stack.enter_context(_formatted(messages, stamped))
            stack.enter_context(descriptor_2_to(stack.enter_context(_copies(path))))
        elif is_on_descriptor_2:
            stack.enter_context(_terminal_of_our_own(messages))
            stack.enter_context(descriptor_2_to(file.fileno()))
        try:
            yield
        except BaseException as error:
            expected = isinstance(error, UserError | KeyboardInterrupt | SystemExit)
            _write(file, f"{type(error).__name__}: {error}" if expected else "".join(traceback.format_exception(error)))
            raise


@contextmanager
def _appending(path: Path) -> Iterator[IO[str]]:
    try:
        file = path.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({one_line(error)}): choose another --workdir.") from error
    try:
        yield file
    finally:
        with suppress(OSError):  # what a full disk refused is tried once more, and is no reason to hide why a run ends
            file.close()


def _write(file: IO[str], text: str) -> None:
    # A full disk is no reason to hide why a run ends, nor is a file that was closed (ValueError) while a library's
    # thread was about to tell of its error.
    with suppress(OSError, ValueError):
        file.write("\n".join(map(printable, text.rstrip("\n").split("\n"))) + "\n")
        file.flush()


def _is_descriptor_2(stream: Any) -> bool:
    """Returns whether a stream is the process's own standard error: tests and notebooks put others in its place."""
    with suppress(AttributeError, OSError, io.UnsupportedOperation):
        return stream.fileno() == 2
    return False


@contextmanager
def _formatted(handlers: list[_Messages], formatter: logging.Formatter) -> Iterator[None]:
    formatters = [handler.formatter for handler in handlers]
    for handler in handlers:
        handler.setFormatter(formatter)
    try:
        yield
    finally:
        for handler, old in zip(handlers, formatters, strict=True):
            handler.setFormatter(old)


@contextmanager
def _own_alone(handlers: list[_Messages]) -> Iterator[None]:
    for handler in handlers:
        handler.own_alone = True
    # After an error it stays so: what libraries had begun fails until the process ends, which it does now.
    yield
    for handler in handlers:
        handler.own_alone = False


@contextmanager
def _messages_in(file: IO[str], formatter: logging.Formatter, *, others_alone: bool) -> Iterator[None]:
    """Writes messages to a file as well, all of them or only those of libraries."""
    handler = logging.StreamHandler(file)
    handler.handleError = lambda record: None  # a full disk is no reason to hide why a run ends
    if others_alone:
        handler.addFilter(lambda record: not _is_own(record))
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@contextmanager
def _errors_of_threads_in(file: IO[str]) -> Iterator[None]:
    """Writes to a file the errors that nobody catches: of threads, and of what libraries call from C++."""

    def note(args: Any) -> None:
        _write(file, "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)))

    previous_hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = note, note
    try:
        yield
    except BaseException:
        # As with messages of libraries: the sentence is to stand alone.
        sys.unraisablehook = threading.excepthook = lambda _: None
        raise
    sys.unraisablehook, threading.excepthook = previous_hooks


@contextmanager
def _terminal_of_our_own(handlers: list[_Messages]) -> Iterator[None]:
    """Gives Python a standard error of its own, on the same terminal, so that the descriptor 2 can go elsewhere."""
    terminal = sys.stderr
    terminal.flush()
    stream = open(os.dup(2), "w", encoding=terminal.encoding, errors=terminal.errors, buffering=1)  # noqa: PTH123, SIM115
    sys.stderr = stream
    for handler in handlers:
        handler.setStream(stream)
    try:
        yield
    finally:
        sys.stderr = terminal
        for handler in handlers:
            handler.setStream(terminal)
        with suppress(OSError):  # a terminal that was closed
            stream.close()


@contextmanager
def descriptor_2_to(target: int) -> Iterator[None]:
    """Lets what is written to standard error, by libraries as well, go to a descriptor, in a `with` body."""
    sys.stderr.flush()
    copy = os.dup(2)
    os.dup2(target, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(copy, 2)
        os.close(copy)


@contextmanager
def _copies(path: Path) -> Iterator[int]:
    """Yields a descriptor; what is written to it comes to the end of a file, and to standard error as it is at present.

    A process of its own copies, so that the last words of one that is aborted arrive as well.
    """
    import subprocess  # slow to import, and needed by few commands

    reading, writing = os.pipe()
    try:
        # A session of its own: Ctrl-C on the terminal is not for it.
        copier = subprocess.Popen(
            ["tee", "-a", path], stdin=reading, stdout=2, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError:  # a system without tee
        os.close(reading)
        os.close(writing)
        yield 2
        return
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)
        with suppress(subprocess.TimeoutExpired):  # where processes that this one has started live on
            copier.wait(SECONDS_TO_COPY)
