"""The short form of the suite: some faults of each kind, and that a broken promise is noticed."""

import pytest

from tests.faults import buckets, damage, ends, sets, storage, together  # noqa: F401 - they fill the table
from tests.faults.bench import Bench, Command
from tests.faults.fault import FAULTS, NotHere
from tests.faults.page import Row, write_page

SHORT = {"SIGKILL": 2, "full disk at a save": 1, "a bucket that answers 503, slowly, or half": 1}
"""How often each is done here; other tests do the rest of the kinds without starts of their own."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("name", SHORT)
def test_what_is_promised_is_kept(bench, name):
    try:
        assert FAULTS[name].run(bench, SHORT[name]) == []
    except NotHere as why:
        pytest.skip(str(why))


def command_that_wrote(bench: Bench, text: str) -> Command:
    command = bench.command("--version")
    command.end()
    bench.folder.joinpath(f"log-{next(bench._numbers) - 1}").write_text(text)
    return command


def test_a_broken_promise_is_noticed(bench):
    noisy = "Traceback (most recent call last):\npalgan: error: a is wrong: mend it.\n"
    wrong = command_that_wrote(bench, noisy).complaints(2, "is wrong")
    assert len(wrong) == 2 and wrong[0].startswith("ended with 0 and not 2") and "1 lines of libraries" in wrong[1]
    assert "says []" in command_that_wrote(bench, "").complaints(0, "is wrong")[0]
    assert "says ['b.']" in command_that_wrote(bench, "palgan: error: b.\n").complaints(0)[0]
    assert command_that_wrote(bench, "palgan: error: a is wrong.\n").complaints(0, "is wrong") == []


def test_the_page_keeps_what_was_not_done_again(tmp_path):
    last = "working directory that vanishes"
    for row in (Row(last, 3, "x", "a"), Row("SIGKILL", 9, "x", "b|\nb"), Row(last, 4, "x", "c")):
        write_page(tmp_path / "page.md", row)
    rows = [line for line in (tmp_path / "page.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(FAULTS) and "| not done yet |" in rows[2]
    done = [row.split(" | ")[:4] for row in rows if "not done yet" not in row]
    assert done == [["| SIGKILL", "9", "x", r"b\| b"], [f"| {last}", "4", "x", "c"]]
