"""Damages files in many ways, and looks that each is read or refused by one sentence, in bounded time and memory.

    python -m tests.support.fuzz pictures --first 0 --count 5000

A mutant is made from its number alone. A process of its own reads them: its limits may end it, or a crash, and then the
next one goes on after the mutant that did it.
"""

import argparse
import pkgutil
import random
import re
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence

from tests.support.places import ROOT

MEMORY = 8_000_000_000  # bytes of address space, of which JAX and its libraries take some
SECONDS = 20  # of the processor; a busy machine fails no test
_LONGEST_WAIT = 300
_LATE = re.compile(
    r'Traceback \(most recent call last\):|File "uvloop/loop.pyx", line \d+, in uvloop[.\w]+|RuntimeError|: |'
    r"Event loop is closed|\s"
)
"""What threads of tensorstore write, one into another's lines, whose reads end after one has failed: of damage that
checksums agree with, which no disk makes."""
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Reader = Callable[[int], tuple[str, Callable[[], str]]]
"""Makes a mutant from its number: the name of the sound file, and what reads it, as the commands do, and returns what
is wrong with the outcome, "" where it is as it should be."""

SUBJECTS = {
    "pictures": "fuzz_pictures:reader",
    "weights": "fuzz_weights:reader",
    "checkpoints": "fuzz_weights:reader_of_checkpoints",
}
"""Kinds of files, and what makes the sound files and returns a Reader, in modules beside this one."""


def damaged(sound: bytes, other_files: Sequence[bytes], chance: random.Random) -> bytes:
    """Returns a file with some damage, such as bits flipped, parts cut out or taken from other files."""
    data = bytearray(sound)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 12))):
        kind = chance.choice(["flips", "flip", "number", "number", "cut", "out", "twice", "zeros", "other"])
        # Headers say how the rest is read.
        at = chance.randrange(max(1, len(data) if chance.random() < 0.5 else min(len(data), 256)))
        length = chance.choice((1, 4, 16, 64, 400))
        if kind == "flips":
            for place in range(at, min(at + length, len(data))):
                data[place] = chance.randrange(256)
        elif kind == "flip" and data:
            data[min(at, len(data) - 1)] ^= 1 << chance.randrange(8)
        elif kind == "number":
            size = chance.choice((1, 2, 4))
            value = (chance.choice(_NUMBERS) & ((1 << 8 * size) - 1)).to_bytes(size, chance.choice(("big", "little")))
            data[at : at + size] = value
        elif kind == "cut" and chance.random() < 0.4:
            del data[at:]
        elif kind == "out":
            del data[at : at + length]
        elif kind == "twice":
            data[at:at] = data[at : at + length]
        elif kind == "zeros":
            data[at : at + length] = bytes(length)
        elif kind == "other":
            other = chance.choice(other_files)
            start = chance.randrange(max(1, len(other)))
            data[at : at + length] = other[start : start + length]
    return bytes(data)


def problem_of_sentence(error: Exception, name: str) -> str:
    """Returns what is wrong with the sentence of an error about a file of that name, "" where nothing is."""
    sentence = str(error)
    return "" if sentence.endswith(".") and "\n" not in sentence and name in sentence else f"says {sentence!r}"


def read_mutants(subject: str, first: int, count: int) -> None:
    """Prints a line for each mutant with its number, and what is wrong with it."""
    warnings.simplefilter("error")
    read_mutant = pkgutil.resolve_name(f"tests.support.{SUBJECTS[subject]}")()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, first + count):
        name, read = read_mutant(number)
        print(number, name, end=" ", flush=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(_LONGEST_WAIT)
        # As errors they would be taken for damage.
        with warnings.catch_warnings(record=True) as warnings_raised:
            warnings.simplefilter("always")
            try:
                problem = read()
            except BaseException as error:
                problem = f"{type(error).__name__}: {error}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        problem += "".join(f" warns: {warning.message}" for warning in warnings_raised)
        print(" ".join(problem.split()), flush=True)


def fuzz(subject: str, first: int, count: int) -> list[str]:
    """Reads mutants in processes of their own. Returns a line for each that went wrong."""
    wrong, last = [], first + count
    while first < last:
        command = [sys.executable, "-m", "tests.support.fuzz", subject, "--read", "--first", str(first)]
        process = subprocess.run(
            [*command, "--count", str(last - first)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        lines = process.stdout.splitlines()
        wrong += [line for line in lines if len(line.split()) > 2]
        if errors := _LATE.sub("", process.stderr).strip():
            wrong.append(f"on standard error, from {first} on: {errors[-500:]}")
        if process.returncode == 0:
            break
        if not lines:
            return [*wrong, f"ended with {process.returncode} before the first mutant"]
        wrong.append(f"{lines[-1]}: ended with {process.returncode}")
        first = int(lines[-1].split()[0]) + 1
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--read", action="store_true", help="in this process, a line for each")
    arguments = parser.parse_args()
    if arguments.read:
        read_mutants(arguments.subject, arguments.first, arguments.count)
    else:
        bad = fuzz(arguments.subject, arguments.first, arguments.count)
        print(*bad, f"{arguments.count} mutants of {arguments.subject}, {len(bad)} went wrong", sep="\n")
        sys.exit(bool(bad))
