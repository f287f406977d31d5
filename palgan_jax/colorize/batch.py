"""The work on many pictures: decoding, prediction, joining and encoding of several overlap on the cores."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from PIL import Image

from palgan_jax.colorize.encode import FORMATS, encode, encode_bands
from palgan_jax.colorize.files import metadata_of, read_photograph
from palgan_jax.colorize.large import open_large, paint_bands
from palgan_jax.colorize.metadata import no_metadata
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.pixel_budget import PixelBudget
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.colorize.record import Entry, Records
from palgan_jax.colorize.sample_sheet import draw_samples
from palgan_jax.colorize.targets import Job, Names
from palgan_jax.data.file_bytes import read_bytes
from palgan_jax.data.picture import Picture
from palgan_jax.data.tiff_bands import TiffBands
from palgan_jax.data.time_limit import within_time
from palgan_jax.errors import UserError, one_line
from palgan_jax.util.files import file_sha256, write_file, write_new_file
from palgan_jax.util.memory import lacks_memory

_TO_END = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a scheduler, a terminal that is closed; Windows has no SIGHUP
_SHEET_SIDE, _SHEET_QUALITY = 512, 85  # pixels of what a sheet shows; of the JPEG that it is


class Stopped(Exception):
    """The work was told to stop before this picture was done."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
      job: the job.
      target: the file that was written; None where none was.
      error: why not; None also where the work was stopped.
      notes: sentences about what of the picture is left out.
      seconds: from its begin to its end.
    """

    job: Job
    target: Path | None = None
    error: UserError | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


class Worker:
    """Does one job after another, from several threads at once.

    Attributes:
      stop: told to stop, pictures in hand are dropped before their next stage.
    """

    def __init__(
        self,
        colorizer: Colorizer,
        painting: Painting,
        quality: int | None,
        max_pixels: int,
        records: Records,
        names: Names | None,
        overwrite: bool,
    ) -> None:
        """Args: those of one command; `names` finds another name where one was taken meanwhile (None: it may not)."""
        self.stop = threading.Event()
        self._colorizer, self._painting, self._quality = colorizer, painting, quality
        self._max_pixels, self._records, self._names, self._overwrite = max_pixels, records, names, overwrite
        self._budget = PixelBudget()
        self._predicting, self._recording = threading.Lock(), threading.Lock()

    def __call__(self, job: Job, pixels: int) -> Outcome:
        """Does a job with a picture of so many pixels."""
        with self._budget.share(pixels):
            start = time.perf_counter()
            try:
                target, notes = self._do(job, pixels)
            except Stopped:
                return Outcome(job)
            except UserError as error:
                return Outcome(job, error=error, seconds=time.perf_counter() - start)
            except Exception as error:
                if not lacks_memory(error):
                    raise
                shortage = UserError(f"{job.source} needs more memory than there is: make it smaller.")
                return Outcome(job, error=shortage, seconds=time.perf_counter() - start)
            return Outcome(job, target, notes=notes, seconds=time.perf_counter() - start)

    def _do(self, job: Job, pixels: int) -> tuple[Path, tuple[str, ...]]:
        in_parts = bool(self._painting.hints or self._painting.regions or job.version.on_sheet)
        if not in_parts:
            with open_large(job.source.path, job.source.page, pixels) as bands:
                if bands is not None:
                    return self._do_large(job, bands), (*bands.notes, *_notes_of_losses(bands.has_alpha, job))
        name = str(job.source)
        self._go_on()
        data = read_bytes(job.source.path)
        reading = partial(read_photograph, data, name, self._max_pixels, job.source.page)
        photograph = within_time(reading, name, pixels)
        self._go_on()
        if job.version.on_sheet:
            with self._naming(name):
                sheet = self._sheet(photograph.picture, job.version.on_sheet)
            result = encode(sheet, no_metadata(), job.kind, _SHEET_QUALITY, name)
        else:
            deep, painting = FORMATS[job.kind].takes_16_bits, replace(self._painting, sample=job.version.sample)
            with self._naming(name):
                painted = self._colorizer.paint(photograph.picture, painting, deep, self._predicting)
            self._go_on()
            result = encode(painted.pixels, photograph.metadata, job.kind, self._quality, name)
        self._go_on()
        target = self._write(job.target, lambda: result)
        self._record(job, target, (len(data), sha256(data).hexdigest()), (len(result), sha256(result).hexdigest()))
        return target, (*photograph.picture.notes, *_notes_of_losses(photograph.picture.alpha is not None, job))

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Names the picture in what is said, in a `with` body, of points and masks that do not fit it."""
        try:
            yield
        except UserError as error:
            if self._painting.hints or self._painting.regions:
                raise UserError(f"{name}: {error}") from error
            raise

    def _sheet(self, picture: Picture, samples: int) -> np.ndarray:
        """Paints a picture, as it lies on white paper and small, with its own palette and with samples."""
        small = Image.fromarray(picture.on_white())
        small.thumbnail((_SHEET_SIDE, _SHEET_SIDE), Image.Resampling.LANCZOS)
        size = picture.pixels.shape[1::-1]
        hints = self._painting.hints and self._painting.hints.scaled(size, small.size)
        painting = replace(self._painting, hints=hints)
        small = Picture(np.asarray(small))
        results = []
        for result in self._colorizer.paint_samples(small, painting, range(samples + 1), turn=self._predicting):
            self._go_on()
            results.append(result)
        return draw_samples([result.pixels for result in results], [result.palette for result in results])

    def _do_large(self, job: Job, bands: TiffBands) -> Path:
        """Does a job whose picture and result are never in memory as a whole."""
        self._go_on()
        path, metadata = job.source.path, metadata_of(job.source.path, str(job.source), job.source.page)
        painting = replace(self._painting, sample=job.version.sample)

        def pieces() -> Iterator[bytes]:
            deep = FORMATS[job.kind].takes_16_bits
            painted = paint_bands(self._colorizer, bands, painting, deep, self._predicting, self._go_on)
            return encode_bands(painted, metadata, job.kind, self._quality, str(path))

        target = self._write(job.target, pieces)
        facts = [(file.stat().st_size, file_sha256(file)) for file in (path, target)]
        self._record(job, target, *facts)
        return target

    def _record(self, job: Job, target: Path, source: tuple[int, str], result: tuple[int, str]) -> None:
        """Appends a result to the record; source and result: their bytes and digests."""
        entry = Entry(target.name, job.source.identity, *source, job.settings, *result)
        try:
            with self._recording:
                self._records.add(target.parent, entry)
        except UserError:
            if not self._overwrite:  # or the same command would make it once more beside this one
                with suppress(OSError):
                    target.unlink()
            raise

    def _write(self, target: Path, result: Callable[[], bytes | Iterator[bytes]]) -> Path:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{target} cannot be written ({one_line(error)}): choose another place.") from error
        if self._overwrite:
            write_file(target, result())
            return target
        while True:
            try:
                write_new_file(target, result())
                return target
            except FileExistsError:  # somebody has made it since
                if self._names is None:
                    raise UserError(f"{target} exists already: choose another name.") from None
                target = self._names.take_another(target)

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise Stopped


def _notes_of_losses(has_alpha: bool, job: Job) -> list[str]:
    """Returns a sentence about what of a picture the format of its result cannot hold."""
    format_ = FORMATS[job.kind]
    if has_alpha and not format_.takes_alpha and not job.version.on_sheet:
        return [
            f"{job.source} is transparent in part: as {format_.title}, it lies on white (--format png keeps it so)."
        ]
    return []


def do_jobs(
    jobs: Sequence[tuple[Job, int]], worker: Worker, workers: int, report: Callable[[Outcome], None], stopping: Callable
) -> bool:
    """Does all jobs, each with its picture's number of pixels, on threads.

    Args:
      jobs: the jobs.
      worker: does one.
      workers: the number of threads.
      report: is called with each outcome, on the calling thread, as soon as it is there.
      stopping: is called at Ctrl-C or another signal to end, before the pictures in hand are dropped or finished.

    Returns True where all jobs came to an end, and False at such a signal. Another Ctrl-C ends the process at once.
    """
    outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
    in_hand = 0

    def do(job: Job, pixels: int) -> None:
        try:
            outcomes.put(worker(job, pixels))
        except BaseException as error:
            outcomes.put(error)

    def take() -> None:
        outcome = outcomes.get()
        if isinstance(outcome, BaseException):
            raise outcome
        report(outcome)

    def interrupt(number: int, _: object) -> None:
        if worker.stop.is_set():
            if number == signal.SIGINT:
                os._exit(130)
            return  # schedulers send several, and mean the same
        # In this order, so that no job is dropped that this does not stand before.
        outcomes.put(KeyboardInterrupt())
        worker.stop.set()

    with ThreadPoolExecutor(workers) as pool, _interrupts_go_to(interrupt):
        try:
            for job, pixels in jobs:
                pool.submit(do, job, pixels)
                in_hand += 1
                if in_hand > workers:  # one waits, so that no thread has to
                    in_hand -= 1
                    take()
            for _ in range(in_hand):
                take()
            return True
        except KeyboardInterrupt:
            stopping()
            pool.shutdown(cancel_futures=True)
            while not outcomes.empty():
                take()
            return False
        except BaseException:
            worker.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _interrupts_go_to(handler: Callable) -> Iterator[None]:
    """Calls `handler` at signals to end in a `with` body: an exception at any place might lose what was just done.

    The system's own answer would leave half of a result behind, under a hidden name. Signals that the process ignores
    stay ignored, as jobs in the background have it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _TO_END if hasattr(signal, name)]
    answered = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, handler) for number in answered}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
