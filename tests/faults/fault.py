"""The table of faults: what happens, how often, what is promised, and the function that does it and looks."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.bench import Bench


class NotHere(Exception):
    """Says why this machine cannot show a fault."""


@dataclass(frozen=True)
class Fault:
    """One line of the table.

    Attributes:
      name: what happens, in a few words.
      promise: what a person may count on.
      count: how often the whole suite does it.
      run: does it so many times, and returns a sentence for each time that the promise was broken.
    """

    name: str
    promise: str
    count: int
    run: Callable[[Bench, int], list[str]]


FAULTS: dict[str, Fault] = {}


Run = Callable[[Bench, int], list[str]]


def faults(name: str, promise: str, count: int) -> Callable[[Run], Run]:
    """Adds a function to the table that does a fault as often as it is told."""

    def add(run: Run) -> Run:
        FAULTS[name] = Fault(name, promise, count, run)
        return run

    return add


def fault(name: str, promise: str, count: int = 1) -> Callable[[Run], Run]:
    """Adds a function to the table that does a fault once, and gets its number."""

    def add(run: Run) -> Run:
        faults(name, promise, count)(lambda bench, count: [wrong for i in range(count) for wrong in run(bench, i)])
        return run

    return add


def run_fault(bench: Bench, chosen: Fault, count: int) -> tuple[str, list[str]]:
    """Returns the outcome in words, and the broken promises."""
    bench.note = ""
    try:
        wrong = chosen.run(bench, count)
    except NotHere as why:
        return f"not shown: {why}", []
    note = f" ({bench.note})" if bench.note else ""
    return (f"broken {len(wrong)} times: {wrong[0][:200]}" if wrong else "as promised") + note, wrong
