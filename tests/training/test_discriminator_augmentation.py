"""What the discriminator sees of pictures that are moved and cut."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from palgan_jax.training.discriminator_augmentation import moved_and_cut

SIDE = 16
FAR = 9.0  # of the center of a square, in sides: outside of the picture


def pictures(count: int = 1, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 1, (count, side, side, 2)).astype(np.float32)


@settings(max_examples=20)
@given(st.floats(0, 1), st.floats(0, 1))
def test_pictures_are_moved_by_whole_pixels_and_zeros_come_in(down, across):
    x = pictures()
    result = np.asarray(moved_and_cut(jnp.asarray(x), jnp.asarray([[down, across, FAR, FAR]])))
    reach = SIDE // 8
    moves = 2 * reach + 1
    shift = [min(int(np.float32(share) * np.float32(moves)), moves - 1) - reach for share in (down, across)]
    np.testing.assert_array_equal(result[0], ndimage.shift(x[0], (*shift, 0), order=0))


def test_the_middle_moves_nothing_and_a_quarter_of_the_picture_is_cut_out():
    x = pictures()
    cut = np.asarray(moved_and_cut(jnp.asarray(x), jnp.full((1, 4), 0.5)))
    middle = slice(SIDE // 4, 3 * SIDE // 4)
    assert not cut[0, middle, middle].any()
    x[0, middle, middle] = 0
    np.testing.assert_array_equal(cut, x)


def test_each_picture_has_its_own_draw_and_the_gradient_is_what_is_still_to_be_seen():
    x, draws = jnp.asarray(pictures(3)), jax.random.uniform(jax.random.key(0), (3, 4))
    together = moved_and_cut(x, draws)
    for i in range(3):
        np.testing.assert_array_equal(together[i], moved_and_cut(x[i : i + 1], draws[i : i + 1])[0])
    gradient = jax.grad(lambda x: moved_and_cut(x, draws).sum())(x)
    assert set(np.unique(gradient)) == {0, 1}  # colors are above zero
    assert gradient.sum() == (together != 0).sum()
