"""The photographs that a system is measured on.

They are decoded whole: reduced while decoding, as for training, they would not be those that others measure.
"""

import numpy as np

from palgan_jax.data.decode import decode_rgb
from palgan_jax.data.protocols import Pictures
from palgan_jax.data.source import stored_pictures
from palgan_jax.data.spec import MixtureSpec, SyntheticSpec, parse
from palgan_jax.errors import UserError


def open_truth(spec: str, data_dir: str | None = None) -> Pictures:
    """Returns the pictures that `folder:PATH` (or PATH alone), `list:FILE` or `tfds:NAME` means; opens none of them.

    Raises UserError where there are none, and for mixtures and synthetic pictures.
    """
    parsed = parse(spec)
    if isinstance(parsed, MixtureSpec | SyntheticSpec):
        raise UserError(f"{spec} cannot be measured on: name one set of photographs with folder:, list: or tfds:.")
    return stored_pictures(parsed, data_dir)


def read_picture(pictures: Pictures, i: int, *, at_least: int | None = None) -> np.ndarray:
    """Returns picture i, uint8 (H, W, 3): whole, or reduced where its short side stays `at_least` so long.

    Raises UserError where it cannot be read.
    """
    _, data = pictures.load(i)
    return decode_rgb(data, name=pictures.label(i), at_least=at_least)


def partners(count: int, seed: int) -> np.ndarray:
    """Returns another picture for each of `count`, int (count,): a permutation that leaves none in its place.

    It depends on the two numbers alone. All pictures lie on one cycle (Sattolo, 1986). Raises UserError for fewer
    than two.
    """
    if count < 2:
        raise UserError("the palette of another picture needs at least two pictures: give more.")
    draws = np.random.Philox(key=[seed, count]).random_raw(count)  # raw, since NumPy promises to keep those
    order = np.arange(count)
    for i in range(count - 1, 0, -1):
        j = int(draws[i] % i)
        order[i], order[j] = order[j], order[i]
    return order
