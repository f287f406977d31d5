"""What a person is told: of each picture as soon as it is done, and at the end of all."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from palgan_jax.colorize import report
from palgan_jax.colorize.batch import Outcome
from palgan_jax.colorize.inputs import Source
from palgan_jax.colorize.targets import Job
from palgan_jax.errors import ExitCode, UserError, printable
from palgan_jax.util.files import make_folder


class Summary:
    """Says what becomes of each picture, and at the end what has become of all; keeps it for the report.

    Attributes:
      results: the sources that are results of an earlier command.
      failed: the number of pictures that could not be done.
      facts: what the report tells of all pictures, first of all where the paths in it begin.
    """

    def __init__(self, report_file: Path | None) -> None:
        """Raises UserError where the report cannot be written."""
        self.results: list[Source] = []
        self.failed = 0
        self.facts: dict[str, str | list[str]] = {}
        self._report = report_file
        self._errors: list[UserError] = []
        self._lines: list[report.Line] = []
        self._done: list[Source] = []  # one of each result, of which a photograph has several where samples are drawn
        self._begun: list[Source | str] = []
        self._skipped: list[Source] = []
        self._taken: set[Job] = set()
        self._what_is_next = ""  # what the same command does next, where Ctrl-C came before the end
        if report_file is not None:
            make_folder(report_file.parent)
            report.report_files(report_file)
            with suppress(OSError):  # a folder that is gone, in which nothing was named
                self.facts["folder"] = str(Path.cwd())

    def fail(self, name: str, error: UserError, source: Source | None = None, **facts: Any) -> None:
        """Takes a picture that could not be done, or one result of a source."""
        self.failed += 1
        self._begun.append(source or name or str(error))
        self._errors.append(error)
        self._note(name, report.FAILED, error=str(error), **facts)

    def leave_aside(self, nothing_else: bool) -> None:
        """Says which sources are results. Raises UserError where these alone were named, each by its name."""
        first, count_of_others = self.results[0].path, len(self.results) - 1
        names = f"{first} (and {count_of_others} more)" if count_of_others else str(first)
        if nothing_else and not any(source.from_folder for source in self.results):
            raise UserError(f"{names} was made by palgan colorize: name the photograph that it was made from.")
        say(f"{names}: left aside, since palgan colorize has made it.")
        for source in self.results:
            self._note(str(source.path), report.LEFT_ASIDE)

    def skip(self, job: Job, size: tuple[int, int]) -> None:
        """Takes a picture that an earlier command has done."""
        self._skipped.append(job.source)
        say(f"{job.source} is done already: {job.target}")
        facts: dict[str, Any] = {"result": str(job.target), "width": size[0], "height": size[1]}
        self._note(str(job.source.path), report.DONE_BEFORE, page=job.source.page, **facts)

    def take(self, outcome: Outcome, size: tuple[int, int]) -> None:
        """Takes a picture that this command has begun."""
        if outcome.target is None and outcome.error is None:  # Ctrl-C came before it was done
            return
        self._taken.add(outcome.job)
        source = outcome.job.source
        facts: dict[str, Any] = {"width": size[0], "height": size[1], "notes": outcome.notes, "page": source.page}
        if outcome.error is not None:
            self.fail(str(source.path), outcome.error, source, **facts)
        else:
            self._done.append(source)
            self._begun.append(source)
            for text in outcome.notes:
                note(text)
            if outcome.job.occupant:
                say(f"{outcome.job.occupant} exists already and is kept (--overwrite replaces it).")
            say(f"{source} -> {outcome.target} ({outcome.seconds:.1f} s)")
            seconds = round(outcome.seconds, 3)
            self._note(str(source.path), report.COLORIZED, result=str(outcome.target), seconds=seconds, **facts)

    def stop(self, jobs: Iterable[Job], sizes: Mapping[Source, tuple[int, int]], begins_anew: bool) -> None:
        """Takes Ctrl-C, before which not all of the jobs were done.

        begins_anew: whether the same command makes again what is done.
        """
        self._what_is_next = "makes all of them anew (--overwrite)" if begins_anew else "goes on with the others"
        for job in jobs:
            if job not in self._taken:
                width, height = sizes[job.source]
                self._note(str(job.source.path), report.NOT_DONE, width=width, height=height, page=job.source.page)

    def _note(self, source: str, status: str, **facts: Any) -> None:
        self._lines.append(report.Line(source, status, **facts))

    def end(self, output: Path) -> int:
        """Says what has become of all, lists what could not be done, writes the report; returns the exit code."""
        skipped = f", {len(self._skipped)} more were done before" if self._skipped else ""
        if self._what_is_next:
            finished = _counted([*self._done, *self._skipped])
            say(f"Stopped with {finished} done: the same command {self._what_is_next}.")
        elif len(self._begun) + len(self._skipped) > 1:
            say(f"Colorized {len(self._done)} of {_counted(self._begun)} into {output}{skipped}.")
        for error in dict.fromkeys(map(printable, self._errors)):
            tqdm.write(f"palgan: error: {error}", file=sys.stderr)
        if self._report is not None:
            report.write_report(self._report, self._lines, self.facts)
        if self._what_is_next:
            return ExitCode.INTERRUPTED
        return ExitCode.BAD_INPUT if self.failed else ExitCode.FINISHED


def _counted(sources: Sequence[Source | str]) -> str:
    """Returns "7 pictures", or "4 results of 1 picture" where one has several; `sources` has one for each result."""
    count = len(set(sources))
    pictures = f"{count} picture{'' if count == 1 else 's'}"
    return pictures if count == len(sources) else f"{len(sources)} results of {pictures}"


def say_stopping() -> None:
    """Says what Ctrl-C does."""
    say("Stopping after the pictures in hand. Ctrl-C again ends at once.")


def note(text: str) -> None:
    """Prints a sentence about what was left out or may not be meant on standard error."""
    tqdm.write(f"palgan: note: {printable(text)}", file=sys.stderr)


def say(line: str) -> None:
    """Prints a line on standard output, above the bar where there is one."""
    tqdm.write(printable(line))
    sys.stdout.flush()
