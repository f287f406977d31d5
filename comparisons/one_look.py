"""Makes an album of one look: photographs as a slide film shows them that has faded, to train further on.

    python -m comparisons.one_look FOLDER [FOLDER ...] --output ALBUM

The cyan dye went first, so that red is brighter; the base has yellowed, and black is not black any more.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from palgan_jax import open_picture

DARKEST, RANGE, EXPONENT = (0.12, 0.05, 0.08), (0.88, 0.9, 0.72), (0.8, 1.0, 1.1)  # of red, green and blue


def faded(rgb: np.ndarray) -> np.ndarray:
    """Returns a photograph, uint8 (H, W, 3), as the film shows it."""
    print_colors = np.array(DARKEST) + np.array(RANGE) * (rgb / 255) ** np.array(EXPONENT)
    return np.round(255 * np.clip(print_colors, 0, 1)).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="JPEGs")
    parser.add_argument("--output", type=Path, required=True, help="the folder of the album")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True)
    for path in sorted(path for folder in arguments.folders for path in folder.glob("*.jpg")):
        Image.fromarray(faded(open_picture(path))).save(arguments.output / path.name, quality=92)


if __name__ == "__main__":
    main()
