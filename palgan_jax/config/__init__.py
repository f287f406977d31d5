"""The config of a model and its training: fields and defaults, checks, durations, files and overrides.

Each choice that the paper leaves open is one field, with its alternatives named in CHOICES. Importing it needs no JAX.
"""

from ml_collections import ConfigDict

from palgan_jax.config.checks import CHOICES, RANGES, check_config
from palgan_jax.config.durations import CADENCES, PHASES, Durations, Phases, duration_in_steps, durations
from palgan_jax.config.fields import FREE, default_config, flatten, is_of, model_fields, palette_spec
from palgan_jax.config.reading import apply_overrides, load_config, read_config, variant
from palgan_jax.config.saved import flatten_saved, from_dict, without_folders

__all__ = [
    "CADENCES",
    "CHOICES",
    "FREE",
    "PHASES",
    "RANGES",
    "ConfigDict",
    "Durations",
    "Phases",
    "apply_overrides",
    "check_config",
    "default_config",
    "duration_in_steps",
    "durations",
    "flatten",
    "flatten_saved",
    "from_dict",
    "is_of",
    "load_config",
    "model_fields",
    "palette_spec",
    "read_config",
    "variant",
    "without_folders",
]
