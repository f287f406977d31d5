import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.data.crop import Box, CropRule, Draw, squash, take_crop
from palgan_jax.data.decode import read_rgb
from palgan_jax.data.resize import resize_into, smoothing

NOISE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)

sides = st.integers(16, 5000)
unit = st.floats(0, 1, exclude_max=True)
draws = st.builds(Draw, *([unit] * 6))
rules = st.builds(CropRule, st.floats(0.05, 1), st.floats(1, 1.5))


@given(rule=rules, draw=draws, width=sides, height=sides)
def test_box_lies_in_the_picture_and_has_the_promised_size_and_shape(rule, draw, width, height):
    box = rule.box(draw, width, height)
    assert 0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1
    w, h = (box.right - box.left) * width, (box.bottom - box.top) * height
    lowest, highest = sorted((1.0, width / height))
    assert lowest / rule.jitter * (1 - 1e-6) <= w / h <= highest * rule.jitter * (1 + 1e-6)
    # Between square (0) and the picture's shape (1), times the stretch.
    shape = draw.shape * math.log(width / height) + (2 * draw.stretch - 1) * math.log(rule.jitter)
    assert math.log(w / h) == pytest.approx(shape, abs=1e-6)
    # Decoded to at_least, the crop needs no enlargement (where the file is large enough).
    scale = rule.at_least(64) / min(width, height)
    assert min(w, h) * scale >= 64 * (1 - 1e-6)


@given(rule=rules, draw=draws, width=sides, height=sides, side=st.integers(16, 512))
def test_a_picture_is_reduced_as_far_as_its_crop_allows(rule, draw, width, height, side):
    box = rule.box(draw, width, height)
    factor = box.reduction(width, height, side)
    room = min((box.right - box.left) * width, (box.bottom - box.top) * height) / side
    assert factor == 1 or room >= factor
    assert factor == 8 or room < 2 * factor
    # What is asked of the decoder for it is at least what the smallest possible crop asks for.
    assert factor >= 1 and -(-min(width, height) // factor) <= max(min(width, height), rule.at_least(side))


@given(draw=draws, width=sides, height=sides)
def test_the_whole_picture_is_drawn_where_nothing_else_is_allowed(draw, width, height):
    # The shape of the whole picture is one end of the shapes that are drawn.
    largest = Draw(draw.area, 1.0, draw.stretch, draw.left, draw.top, draw.flip)
    box = CropRule(min_scale=1, jitter=1).box(largest, width, height)
    np.testing.assert_allclose(box, (0, 0, 1, 1), atol=1e-9)


def test_shares_are_spread_over_their_range():
    rule = CropRule(min_scale=0.3, jitter=1)
    boxes = [rule.box(draw, 300, 300) for draw in rule.draws(0, 0, 2000)]
    shares = np.array([(r - l) * (b - t) for l, t, r, b in boxes])
    assert shares.min() == pytest.approx(0.3, abs=0.01) and shares.max() == pytest.approx(1, abs=0.01)
    assert shares.mean() == pytest.approx(0.65, abs=0.02)


def test_draws_depend_on_the_seed_and_the_samples_number_alone():
    rule = CropRule()
    draws = rule.draws(3, 1000, 40)
    assert draws == [draw for first in range(1000, 1040, 5) for draw in rule.draws(3, first, 5)]
    assert len(set(draws)) == 40 and not set(draws) & set(rule.draws(4, 1000, 40))
    # Far along in a long run, too.
    assert rule.draws(3, 10**15, 2)[1] == rule.draws(3, 10**15 + 1, 1)[0]
    values = np.array(rule.draws(5, 0, 4000))
    assert values.min() >= 0 and values.max() < 1
    np.testing.assert_allclose(values.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(values.std(axis=0), 12**-0.5, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(values.T), np.eye(6), atol=0.05)


@pytest.mark.parametrize(("min_scale", "jitter"), [(0, 1.1), (1.1, 1.1), (-1, 1.1), (math.nan, 1.1), (0.5, 0.9)])
def test_impossible_rules(min_scale, jitter):
    with pytest.raises(ValueError, match="must be"):
        CropRule(min_scale, jitter)


@given(draw=draws)
def test_crop_is_pillows_resize_of_the_box_at_whole_pixels(draw):
    rgb = np.asarray(Image.fromarray(NOISE[:20, :30]).resize((90, 60), Image.Resampling.BICUBIC))
    box = CropRule().box(draw, 90, 60)
    result = np.empty((24, 24, 3), np.uint8)
    take_crop(rgb, box, draw.mirrored, result)
    edges = [round(edge * side) for edge, side in zip(box, (90, 60, 90, 60), strict=True)]
    expected = np.asarray(Image.fromarray(rgb).resize((24, 24), Image.Resampling.BILINEAR, edges))
    expected = expected[:, ::-1] if draw.flip < 0.5 else expected
    # The outermost pixels may differ: the filter doesn't look beyond the crop's own pixels.
    assert np.abs(result.astype(int) - expected)[1:-1, 1:-1].mean() <= 3


def test_a_crop_leaves_the_picture_as_it_was():
    rgb = NOISE[:200, :200].copy()
    take_crop(rgb, Box(0, 0, 1, 1), True, np.empty((64, 64, 3), np.uint8))
    assert np.array_equal(rgb, NOISE[:200, :200])


def test_resizing_does_not_alias():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(squash(stripes, 32)[:, 2:-2].astype(int)) <= 4
    assert np.abs(squash(stripes, 32).astype(int) - 127).max() <= 8


def test_squash_keeps_the_corners():
    rgb = np.zeros((64, 128, 3), np.uint8)
    rgb[:32, :64], rgb[:32, 64:], rgb[32:, :64] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    result = squash(rgb, 16)
    assert result.shape == (16, 16, 3)
    assert result[0, 0].tolist() == [255, 0, 0] and result[0, -1].tolist() == [0, 255, 0]
    assert result[-1, 0].tolist() == [0, 0, 255] and result[-1, -1].tolist() == [0, 0, 0]


# ---------------------------------------------------------------- the quick antialiased resize


def pillow(rgb: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR)).astype(float)


def quick(rgb: np.ndarray, side: int) -> np.ndarray:
    out = np.empty((side, side, 3), np.uint8)
    resize_into(rgb, out)
    return out.astype(float)


def plain(rgb: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(rgb, (side, side), interpolation=cv2.INTER_LINEAR).astype(float)


@pytest.mark.parametrize(
    ("factor", "levels"),
    [(1.0, 0.1), (1.2, 1.6), (1.5, 2.6), (1.74, 3.6), (1.76, 0.8), (2, 0.3), (2.6, 0.6), (3.4, 0.5)],
)
def test_quick_resize_is_near_pillows_on_photographs(samples, factor, levels):
    side = 96
    crop = round(side * factor)
    off = []
    for path in sorted(samples.glob("*.jpg")):
        rgb = read_rgb(path)[20 : 20 + crop, 30 : 30 + crop]
        if rgb.shape[:2] == (crop, crop):
            off.append(np.abs(quick(rgb, side) - pillow(rgb, side)).mean())
            assert quick(rgb, side).mean() == pytest.approx(rgb.mean(), abs=1), "brightness"
    assert len(off) >= 15 and np.mean(off) <= levels


@pytest.mark.parametrize("factor", [1.76, 1.9, 2.2, 2.7, 3.3])
def test_quick_resize_suppresses_what_would_alias(factor):
    """Rings that get finer outwards, up to one pixel; beyond what the result can show, they should be gone."""
    side = 128
    crop = round(side * factor)
    y, x = np.mgrid[:crop, :crop] - crop / 2
    rings = np.round(127.5 + 127.5 * np.cos(np.pi * (x * x + y * y) / crop))
    rgb = np.repeat(rings[..., None], 3, axis=2).astype(np.uint8)
    v, u = np.mgrid[:side, :side] - side / 2 + 0.5
    frequency = np.hypot(u, v) * factor / crop  # cycles a pixel of the picture
    aliasing = (frequency > 0.55 / factor) & (frequency < 0.5)
    energy = {f: ((f(rgb, side)[..., 0] - 127.5)[aliasing] ** 2).mean() / 127.5**2 for f in (quick, pillow, plain)}
    assert energy[quick] <= energy[pillow] + 0.03
    assert energy[quick] <= 0.4 * energy[plain]


def test_smoothing_makes_a_triangle_of_the_right_width():
    """Of whole factors, exactly; of others, with the right variance. Always symmetrical and of sum 1."""
    assert smoothing(1.2).tolist() == [1]
    np.testing.assert_allclose(smoothing(2), [0, 0.25, 0.5, 0.25, 0])
    np.testing.assert_allclose(smoothing(3)[1:-1], np.array([1, 2, 3, 2, 1]) / 9, atol=1 / 256)
    for factor in np.linspace(1.75, 7, 200):
        kernel = smoothing(factor)
        assert kernel.sum() == 1 and np.array_equal(kernel, kernel[::-1])
        place = np.arange(len(kernel)) - len(kernel) // 2
        assert (kernel * place**2).sum() == pytest.approx((factor**2 - 1) / 6, rel=0.05)


@given(width=st.integers(1, 80), height=st.integers(1, 80), side=st.integers(1, 40), level=st.integers(0, 255))
def test_one_color_stays_that_color(width, height, side, level):
    out = np.empty((side, side, 3), np.uint8)
    resize_into(np.full((height, width, 3), level, np.uint8), out)
    assert (out == level).all()
