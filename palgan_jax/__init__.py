"""PalGAN (ECCV 2022) in JAX and Flax: colorizes photographs through a predicted palette.

Importing the package loads neither JAX nor a device; import the part that you need, e.g. `palgan_jax.nn`.
"""

__version__ = "0.1.0"
