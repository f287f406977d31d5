"""Writes tests/golden/checkpoint, which later versions have to read: `python -m tests.support.golden_checkpoint`."""

from palgan_jax.checkpoint.saving import Checkpoints
from tests.support.checkpoint_state import CONFIG, build
from tests.support.places import GOLDEN


def main() -> None:
    with Checkpoints(GOLDEN / "checkpoint", best="val/psnr") as checkpoints:
        checkpoints.save(7, build(), data_position=70, config=CONFIG, metrics={"val/psnr": 24.5})


if __name__ == "__main__":
    main()
