"""What a person is told at the end: pictures, or results where a picture has several; each error once."""

from pathlib import Path, PurePath

import pytest

from palgan_jax.colorize.batch import Outcome
from palgan_jax.colorize.inputs import Source
from palgan_jax.colorize.summary import Summary
from palgan_jax.colorize.targets import Job
from palgan_jax.errors import ExitCode, UserError


def job(name: str) -> Job:
    return Job(Source(Path(name), PurePath(name)), Path("out") / name, "png", "")


def closing_message(capsys, done=(), failed=(), before=(), not_done=(), overwrite=False) -> str:
    summary = Summary(None)
    for name in before:
        summary.skip(job(name), (4, 4))
    for name in done:
        summary.take(Outcome(job(name), target=Path("out") / name), (4, 4))
    for name in failed:
        summary.take(Outcome(job(name), error=UserError(f"{name} is cut off.")), (4, 4))
    if not_done:
        summary.stop([job(name) for name in [*done, *not_done]], {job(x).source: (4, 4) for x in not_done}, overwrite)
    code = summary.end(Path("out"))
    out, err = capsys.readouterr()
    assert sorted(err.splitlines()) == [f"palgan: error: {name} is cut off." for name in sorted(set(failed))]
    assert code == (ExitCode.INTERRUPTED if not_done else ExitCode.BAD_INPUT if failed else ExitCode.FINISHED)
    return out.splitlines()[-1]


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        ({"done": "abc"}, "Colorized 3 of 3 pictures into out."),
        ({"done": "abc", "failed": "d"}, "Colorized 3 of 4 pictures into out."),
        ({"done": "b", "before": "acd"}, "Colorized 1 of 1 picture into out, 3 more were done before."),
        ({"done": "aaaa"}, "Colorized 4 of 4 results of 1 picture into out."),
        ({"done": "aabb", "failed": "cc"}, "Colorized 4 of 6 results of 3 pictures into out."),
        ({"done": "ab", "not_done": "c"}, "Stopped with 2 pictures done: the same command goes on with the others."),
        (
            {"done": "ab", "not_done": "c", "overwrite": True},
            "Stopped with 2 pictures done: the same command makes all of them anew (--overwrite).",
        ),
        (
            {"done": "ab", "before": "aa", "not_done": "c"},
            "Stopped with 4 results of 2 pictures done: the same command goes on with the others.",
        ),
    ],
)
def test_pictures_and_results_are_told_apart(capsys, pictures, sentence):
    assert closing_message(capsys, **pictures) == sentence
