"""`python -m palgan_jax.main --config demo --workdir w`: training, as launchers of trainers expect it."""

import sys

from palgan_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
