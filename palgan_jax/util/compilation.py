"""Shorter compilation: traces without garbage collection, and keeps compiled programs on the local disk."""

import gc
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palgan_jax.errors import UserError, one_line
from palgan_jax.util.files import cache_folder

log = logging.getLogger(__name__)

_COMPLAINT = re.compile(
    r"Error (?P<what>reading|writing) persistent compilation cache entry for '(?P<program>[^']*)': "
    r"\w+: (?:\[Errno \d+\] )?(?P<why>[^\n]*?)(?:: '[^\n]*)?(?:\n.*)?",
    re.DOTALL,
)
"""How JAX warns of a program that cannot be kept or taken."""


def keep_compiled_programs() -> None:
    """Makes JAX keep compiled programs in the cache folder, so that the next start of the same command is quick.

    JAX_COMPILATION_CACHE_DIR names another folder. Where there is none that can be used, nothing is kept, and a line
    says so.
    """
    import jax

    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # By default JAX keeps only programs that take a second; but a run starts with a dozen shorter ones.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    try:
        folder = Path(jax.config.jax_compilation_cache_dir or cache_folder() / "compiled")  # type: ignore[attr-defined]
        folder.mkdir(parents=True, exist_ok=True)
    except (UserError, OSError) as error:
        log.warning("compiled programs cannot be kept (%s): each start compiles anew", one_line(error))
        jax.config.update("jax_enable_compilation_cache", False)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    _mend_what_jax_warns_of(folder)


def _mend_what_jax_warns_of(folder: Path) -> None:
    """Removes programs that cannot be read, as of a process that was killed while it wrote, and says so in a line.

    JAX leaves such a file as it is, so that each later start would compile that program anew.
    """
    show, reports = warnings.showwarning, set()

    def look(message: Warning | str, *arguments, **keywords) -> None:
        match = _COMPLAINT.fullmatch(str(message))
        if match is None:
            show(message, *arguments, **keywords)
            return
        cached_files = sorted(folder.glob(f"{match['program']}-*-cache"), key=lambda path: path.stat().st_mtime)
        # The one that was not written to its end is the newest; which one could not be read is not told.
        for path in cached_files[-1:] if match["what"] == "writing" else cached_files:
            with suppress(OSError):
                path.unlink()
        if match["what"] in reports:
            return
        reports.add(match["what"])
        if match["what"] == "writing":
            log.warning("compiled programs cannot be kept in %s (%s): each start compiles anew", folder, match["why"])
        else:
            log.warning("a compiled program in %s is damaged (%s): it is compiled anew", folder, match["why"])

    warnings.showwarning = look


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Suspends garbage collection, which finds little during imports and traces and takes a fifth of their time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
