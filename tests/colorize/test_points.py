"""Colors that are given at pixels: held in the result, kept within edges, and refused where they make no sense."""

from pathlib import Path

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000, rgb2lab

from palgan_jax.colorize import points as module
from palgan_jax.colorize.join import ab_of, colors_of, join, join_colors, luminance
from palgan_jax.colorize.lab_levels import lab_to_levels
from palgan_jax.colorize.points import EDGE, Ground, Hints, Spread, parse_point
from palgan_jax.data.decode import read_rgb
from palgan_jax.errors import UserError

COLORS = ("#c03030", "#3060b0", "#40a050", "#808080", "#d0a020")


def painting(seed: int = 0) -> np.ndarray:
    return gaussian_filter(np.random.default_rng(seed).normal(0, 200, (64, 64, 2)), (6, 6, 0)).astype(np.float32)


def difference_at(points, lightness: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """CIEDE2000 at the points, of the result from the given colors at the picture's own luminance, in gamut."""
    hints = Hints.at_points(points)
    x, y = hints.places.T
    target = lab_to_levels(np.column_stack([lightness[y, x], hints.colors]).astype(np.float32))
    return deltaE_ciede2000(rgb2lab(target), rgb2lab(rgb[y, x]))


@pytest.mark.parametrize(("name", "times"), [("parrot", 1), ("dog", 1), ("fish", 3)])
def test_the_result_has_the_given_colors_at_the_pixels(samples, name, times):
    lightness = np.kron(luminance(read_rgb(samples / f"{name}.jpg")), np.ones((times, times), np.float32))
    lightness += np.random.default_rng(0).normal(0, 2, lightness.shape).astype(np.float32)
    lightness = np.clip(lightness, 5, 95)
    height, width = lightness.shape
    rng = np.random.default_rng(1)
    points = [((int(rng.integers(width)), int(rng.integers(height))), color) for color in COLORS]
    rgb = join_colors(Spread(Ground(lightness), Hints.at_points(points)).over(colors_of(lightness, painting())))
    assert difference_at(points, lightness, rgb).max() < 2
    assert difference_at(points, lightness, join(lightness, painting())).max() > 10  # as it was without them
    assert np.abs(luminance(rgb) - lightness).max() < 0.5


def test_a_color_stays_within_the_outline_that_it_is_given_in():
    y, x = np.indices((200, 300))
    disc = np.hypot(y - 100, x - 100) < 60
    lightness = np.where(disc, 40, 70).astype(np.float32)
    ab = np.zeros((64, 64, 2), np.float32)
    spread = Spread(Ground(lightness), Hints.at_points([((100, 100), "#c03030")]))
    (share,) = spread.shares
    assert share[disc].min() > 0.7 and share[~disc].max() < 0.3
    assert spread.area() == pytest.approx([share.mean()])
    color = rgb2lab(join_colors(spread.over(colors_of(lightness, ab))))[..., 1:]
    assert color[100, 155, 0] > 30 and color[100, 165, 0] < 20 and np.abs(color[:, 280]).max() < 6


def test_two_colors_share_the_picture_by_their_distances():
    lightness = np.full((40, 200), 50, np.float32)
    spread = Spread(Ground(lightness), Hints.at_points([((20, 20), "red"), ((180, 20), "blue")]))
    red, blue = spread.shares[:, 20]
    assert red[20] == pytest.approx(1) and blue[180] == pytest.approx(1)
    np.testing.assert_allclose(red[20:181], blue[20:181][::-1], atol=1e-5)
    assert (np.diff(red[20:181]) <= 1e-6).all()


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_distances_are_those_of_networkx(data):
    height, width = data.draw(st.integers(2, 6)), data.draw(st.integers(2, 6))
    levels = st.lists(st.floats(0, 100, width=32), min_size=height * width, max_size=height * width)
    l = np.array(data.draw(levels), np.float32).reshape(height, width)
    sources = data.draw(st.lists(st.integers(0, l.size - 1), min_size=1, max_size=3, unique=True))
    graph = networkx.Graph()
    for y, x in np.ndindex(height, width):
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            if y + dy < height and 0 <= x + dx < width:
                step = float(l[y + dy, x + dx]) - float(l[y, x])
                length = np.hypot(dy, dx) / max(height, width) + (step / EDGE) ** 2 / 256
                graph.add_edge(y * width + x, (y + dy) * width + x + dx, weight=length)
    distances = networkx.multi_source_dijkstra_path_length(graph, set(sources))
    expected = np.array([distances[i] for i in range(l.size)]).reshape(height, width)
    actual = module._distances(l.tobytes(), (height, width), tuple(sources))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_moving_one_point_searches_once(samples):
    lightness = luminance(read_rgb(samples / "dog.jpg"))
    points = [((30 * i + 5, 40), color) for i, color in enumerate(COLORS)]
    Spread(Ground(lightness), Hints.at_points(points))
    before = module._distances.cache_info()
    points[2] = ((100, 100), points[2][1])
    Spread(Ground(lightness), Hints.at_points(points))
    after = module._distances.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, len(COLORS) - 1)


def test_strokes_are_the_pixels_that_are_painted():
    strokes = np.zeros((60, 90, 4), np.uint8)
    strokes[10, 10:50] = (200, 40, 40, 255)
    strokes[50, 20:80] = (40, 90, 200, 255)
    strokes[11, 10:50] = (200, 40, 40, 60)  # a brush's soft edge
    hints = Hints.of_strokes(strokes)
    assert len(hints.colors) == 2 and len(hints.places) == 100 and hints.size == (90, 60)
    lightness = np.random.default_rng(0).uniform(40, 60, (60, 90)).astype(np.float32)
    rgb = join_colors(Spread(Ground(lightness), hints).over(colors_of(lightness, np.zeros((64, 64, 2), np.float32))))
    color = rgb2lab(rgb)[..., 1:]
    for (y, x), i in (((10, 30), 1), ((50, 50), 0)):
        np.testing.assert_allclose(color[y, x], hints.colors[i], atol=4)


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([((1, 2), "#12345")], "'#12345' is no color"),
        ([((1, 2), "reddish")], "'reddish' is no color"),
        ([((1.5, 2), "red")], "a point is a pixel and a color"),
        ([((1, 2), 7)], "a point is a pixel and a color"),
        ([((1, 2, 3), "red")], "a point is a pixel and a color"),
        ([((float("nan"), 2), "red")], "a point is a pixel and a color"),
        ([((40, 2), "red")], "the point 40,2 is outside of the picture, whose pixels are 0,0 to 39,29"),
        ([((0, -1), "red")], "the point 0,-1 is outside"),
        ([((10**30, 2), "red")], f"the point {10**30},2 is outside"),
        ([((1, 2), "red"), ((1, -(2**63)), "red")], f"the point 1,-{2**63} is outside"),
        ([((3, 3), "red"), ((3, 3), "blue")], "the color at 3,3 has another one beside it"),
    ],
)
def test_points_that_make_no_sense_are_one_sentence(points, sentence):
    with pytest.raises(UserError, match=sentence):
        Spread(Ground(np.full((30, 40), 50, np.float32)), Hints.at_points(points))


def test_strokes_that_make_no_sense_are_one_sentence():
    strokes = np.zeros((30, 40, 4), np.uint8)
    with pytest.raises(UserError, match="has no strokes"):
        Hints.of_strokes(strokes)
    with pytest.raises(UserError, match="is opaque everywhere"):
        Hints.of_strokes(strokes + np.uint8(255))
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 4), np.uint8)
    noise[0, 0, 3] = 0
    with pytest.raises(UserError, match="64 are the most"):
        Hints.of_strokes(noise)
    strokes[3, 3] = 255
    with pytest.raises(UserError, match=r"40 x 30 pixels, and the photograph has 80 x 60"):
        Spread(Ground(np.full((60, 80), 50, np.float32)), Hints.of_strokes(strokes))


def test_a_file_of_strokes_may_be_called_like_a_point(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    strokes = np.zeros((30, 40, 4), np.uint8)
    strokes[3, 3:9] = (200, 30, 30, 255)
    for name in ("sea=blue.png", "3,3=red.png", "3,3=red"):
        Image.fromarray(strokes).save(name, "PNG")
        hints, path = Hints.of_words([name])
        assert (path, len(hints.places)) == (Path(name), 6)
        with pytest.raises(UserError, match="is no point"):
            Hints.of_words(["elsewhere=red.png"])


def test_a_point_is_written_as_a_pixel_and_a_color():
    assert parse_point(" 12, 7 = #c03030") == ((12, 7), "#c03030")
    for text in (
        "12,7",
        "12;7=#c03030",
        "-1,7=#c03030",
        "1.5,7=red",
        "a,b=red",
        "",
        "1,2=",
        "1,2=#zzzzzz",
        "9" * 5000 + ",7=red",
    ):
        with pytest.raises(UserError):
            parse_point(text)


def test_colors_that_are_spread_at_half_the_size_are_nearly_the_same(samples):
    lightness = luminance(read_rgb(samples / "dog.jpg"))
    points = [((256, 200), "#c03030"), ((60, 80), "#3030c0"), ((400, 400), "#30a030")]
    colors = colors_of(lightness, painting())
    fine, coarse = (ab_of(Spread(Ground(lightness, side), Hints.at_points(points)).over(colors)) for side in (512, 256))
    plain = ab_of(colors)
    assert np.abs(fine - coarse).mean() < 0.1 * np.abs(fine - plain).mean()
    x, y = np.transpose([place for place, _ in points])
    assert np.abs(fine - coarse)[y, x].max() < 0.5
