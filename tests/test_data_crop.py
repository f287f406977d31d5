import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.data.crop import CropRule, Draw, random_crop, squash

sides = st.integers(16, 5000)
unit = st.floats(0, 1, exclude_max=True)
draws = st.builds(Draw, *([unit] * 6))
rules = st.builds(CropRule, st.floats(0.05, 1), st.floats(1, 1.5))


@settings(deadline=None)
@given(rule=rules, draw=draws, width=sides, height=sides)
def test_box_lies_in_the_picture_and_has_the_promised_size_and_shape(rule, draw, width, height):
    left, top, right, bottom = rule.box(draw, width, height)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    w, h = right - left, bottom - top
    lowest, highest = sorted((1.0, width / height))
    assert lowest / rule.jitter * (1 - 1e-6) <= w / h <= highest * rule.jitter * (1 + 1e-6)
    # Between square (0) and the picture's shape (1), times the stretch.
    shape = draw.shape * math.log(width / height) + (2 * draw.stretch - 1) * math.log(rule.jitter)
    assert math.log(w / h) == pytest.approx(shape, abs=1e-6)
    # Decoded to at_least, the crop needs no enlargement (where the file is large enough).
    scale = rule.at_least(64) / min(width, height)
    assert min(w, h) * scale >= 64 * (1 - 1e-6)


@settings(deadline=None)
@given(draw=draws, width=sides, height=sides)
def test_the_whole_picture_is_drawn_where_nothing_else_is_allowed(draw, width, height):
    # The shape of the whole picture is one end of the shapes that are drawn.
    whole = Draw(draw.area, 1.0, draw.stretch, draw.left, draw.top, draw.flip)
    box = CropRule(min_scale=1, jitter=1).box(whole, width, height)
    np.testing.assert_allclose(box, (0, 0, width, height), rtol=1e-9, atol=1e-6)


def test_shares_are_spread_over_their_range():
    rule, rng = CropRule(min_scale=0.3, jitter=1), np.random.default_rng(0)
    boxes = [rule.box(rule.draw(rng), 300, 300) for _ in range(2000)]
    shares = np.array([(r - l) * (b - t) / 300**2 for l, t, r, b in boxes])
    assert shares.min() == pytest.approx(0.3, abs=0.01) and shares.max() == pytest.approx(1, abs=0.01)
    assert shares.mean() == pytest.approx(0.65, abs=0.02)


@pytest.mark.parametrize(("min_scale", "jitter"), [(0, 1.1), (1.1, 1.1), (-1, 1.1), (math.nan, 1.1), (0.5, 0.9)])
def test_impossible_rules(min_scale, jitter):
    with pytest.raises(ValueError, match="must be"):
        CropRule(min_scale, jitter)


@settings(deadline=None)
@given(draw=draws)
def test_crop_is_pillows_resize_of_the_box(draw):
    rgb = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    rule = CropRule()
    left, top, right, bottom = rule.box(draw, 90, 60)
    got = random_crop(rgb, draw, rule, 24)
    assert got.shape == (24, 24, 3) and got.dtype == np.uint8 and got.flags.c_contiguous
    expected = np.asarray(Image.fromarray(rgb).resize((24, 24), Image.Resampling.BILINEAR, (left, top, right, bottom)))
    expected = expected[:, ::-1] if draw.flip < 0.5 else expected
    # The outermost pixels may differ: the filter doesn't look beyond the crop's own pixels.
    assert np.abs(got.astype(int) - expected)[1:-1, 1:-1].max() <= 1


def test_resizing_does_not_alias():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(squash(stripes, 32)[:, 2:-2].astype(int)) <= 4
    assert np.abs(squash(stripes, 32).astype(int) - 127).max() <= 8


def test_squash_keeps_the_corners():
    rgb = np.zeros((64, 128, 3), np.uint8)
    rgb[:32, :64], rgb[:32, 64:], rgb[32:, :64] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    got = squash(rgb, 16)
    assert got.shape == (16, 16, 3)
    assert got[0, 0].tolist() == [255, 0, 0] and got[0, -1].tolist() == [0, 255, 0]
    assert got[-1, 0].tolist() == [0, 0, 255] and got[-1, -1].tolist() == [0, 0, 0]
