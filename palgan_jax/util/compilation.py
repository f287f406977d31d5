"""Shorter compilation: traces without garbage collection, and keeps compiled programs on the local disk."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from palgan_jax.errors import UserError
from palgan_jax.util.files import cache_folder


def keep_compiled_programs() -> None:
    """Makes JAX keep compiled programs in the cache folder, so that the next start of the same command is quick.

    JAX_COMPILATION_CACHE_DIR names another folder. Without one and without a home folder, nothing is kept.
    """
    import jax

    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # By default JAX keeps only programs that take a second; but a run starts with a dozen shorter ones.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        with suppress(UserError):
            jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))


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
