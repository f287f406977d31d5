"""Compiled programs, kept on the local disk from one process to the next."""

import os
from contextlib import suppress

from palgan_jax.errors import UserError
from palgan_jax.util.files import cache_folder


def keep_compiled_programs() -> None:
    """Makes JAX keep compiled programs in the cache folder, so that the next start of the same command is quick.

    JAX_COMPILATION_CACHE_DIR names another folder. Without one and without a home folder, nothing is kept.
    """
    # Programs that JAX takes for quick (a second) add up, since a run starts with a dozen of them.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    import jax

    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        with suppress(UserError):
            jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
