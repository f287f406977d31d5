"""One sentence where JAX ends a process because another one of its run is gone.

JAX aborts with a report of its services, in C++, that no Python code can catch. So another process writes what this one
writes to standard error, as it comes, but puts a sentence in the place of that report. The log of a run has all of
it. That process runs this file alone, which so imports nothing of the package.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ABOUT = (
    "another process of the run has ended, or cannot be reached: see what became of it, and start all of them again."
)
_REPORT = re.compile(rb"[EFW]\d{4} \d\d:\d\d:\d\d\S* +\d+ (coordination|preemption|client\.h|gloo)")
_END = b"Terminating process because the JAX distributed service detected fatal errors"
_STACK = re.compile(rb"\*\*\* Check failure stack trace|\s+@ +0x|\s+@ +\(unknown\)")
_OTHER_LINE = re.compile(rb"\d{4}-\d\d-\d\d |palgan: ")


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Puts the sentence in the place of JAX's report, in a `with` body, unless standard error is a terminal."""
    if sys.stderr.isatty():
        yield
        return
    # Not above: as a program, this file is alone.
    from palgan_jax.util.terminal import descriptor_2_to

    reading, writing = os.pipe()
    try:
        # A session of its own: signals to a whole group are not for it, and it lives until the last word has come.
        writer = subprocess.Popen([sys.executable, "-S", __file__], stdin=reading, stdout=2, start_new_session=True)
    except OSError:
        for descriptor in (reading, writing):
            os.close(descriptor)
        yield
        return
    os.close(reading)
    try:
        with descriptor_2_to(writing):
            os.close(writing)
            yield
    finally:
        with suppress(subprocess.TimeoutExpired):  # where processes that this one has started live on
            writer.wait(5)


def _copy() -> None:
    """Copies standard input to standard output, but for JAX's report."""
    after_report = in_report = has_end = has_sentence = False
    while line := sys.stdin.buffer.readline():
        has_end, has_sentence = has_end or _END in line, has_sentence or ABOUT.encode() in line
        if _REPORT.match(line):
            after_report = in_report = True
        elif in_report and _OTHER_LINE.match(line):
            in_report = False
        # Another thread may write its sentence in the midst of the report, before the stack.
        if not in_report and not (after_report and _STACK.match(line)):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    if has_end and not has_sentence:  # Python may have seen it, too
        sys.stdout.write(f"palgan: error: {ABOUT}\n")


if __name__ == "__main__":
    _copy()
