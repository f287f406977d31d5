"""The palette that people hold: what it is made of, its edits, and how they agree with edits of pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from palgan_jax import Palette
from palgan_jax.color import bytes_to_lab
from palgan_jax.errors import UserError
from palgan_jax.palette.edit_words import parse_edits
from palgan_jax.palette.histogram import histogram, of_picture, picture
from palgan_jax.palette.spec import PaletteSpec

GRAY_PIXELS = np.full((40, 30, 3), 99, np.uint8)
seeds = st.integers(0, 2**32 - 1)


def random_palette(seed: int) -> Palette:
    """A palette of some random colors."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 9)
    colors = [f"#{n:06x}" for n in rng.integers(0, 1 << 24, count)]
    return Palette.from_colors(colors, rng.uniform(0.1, 1, count))


@pytest.fixture(scope="module")
def small(samples):
    """The ab of some photographs, 96 x 96."""
    names = ("air-balloon", "hay-field", "parrot", "kitchen")
    pictures = [Image.open(samples / f"{name}.jpg").convert("RGB").resize((96, 96)) for name in names]
    return [bytes_to_lab(np.asarray(picture))[..., 1:] for picture in pictures]


def of_ab(ab) -> Palette:
    return Palette(np.asarray(histogram(ab / 110)))


def turned(ab, degrees):
    rotated = (ab[..., 0] + 1j * ab[..., 1]) * np.exp(1j * np.radians(degrees))
    return np.stack([rotated.real, rotated.imag], axis=-1)


@pytest.mark.parametrize(
    ("edit", "pixels", "most"),
    [
        ({"hue": 30}, lambda ab: turned(ab, 30), 0.06),
        ({"hue": -120}, lambda ab: turned(ab, -120), 0.09),
        ({"chroma": 0.4}, lambda ab: 0.4 * ab, 0.02),
        ({"temperature": 12}, lambda ab: ab + np.array([1.62, 11.89]), 0.04),
    ],
)
def test_a_shift_gives_the_palette_of_shifted_pixels(small, edit, pixels, most):
    """Pixels may leave the gamut of sRGB, which palettes do not."""
    for ab in small:
        before, truth = of_ab(ab), of_ab(pixels(ab).astype(np.float32))
        assert before.shift(**edit).distance(truth) < min(most, 0.5 * before.distance(truth))


def test_a_boost_gives_the_palette_of_more_such_pixels():
    colors, weights = ["#c04040", "#4060c0", "#909090"], [0.2, 0.3, 0.5]
    boosted = Palette.from_colors(colors, weights).boost("#c04040", 4)
    assert boosted.distance(Palette.from_colors(colors, [0.8, 0.3, 0.5])) < 0.03
    assert boosted.distance(Palette.from_colors(colors, weights)) > 0.1


def hues_and_chromas(palette, count=16):
    ab = np.array([swatch.ab for swatch in palette.swatches(count)])
    shares = np.array([swatch.share for swatch in palette.swatches(count)])
    return np.degrees(np.arctan2(ab[:, 1], ab[:, 0])), np.hypot(ab[:, 0], ab[:, 1]), shares


@pytest.mark.parametrize("beside", ["#b8a040", "#909090"])
def test_grass_that_is_removed_becomes_its_neighbors_and_not_gray(beside):
    before = Palette.from_colors(["#5a7a3a", beside], [0.6, 0.4])
    after = before.remove("#5a7a3a")
    _, chroma, shares = hues_and_chromas(before)
    hue_after, chroma_after, shares_after = hues_and_chromas(after)
    green = (hue_after > 108) & (hue_after < 140) & (chroma_after > 15)
    assert shares_after[green].sum() < 0.05
    assert shares_after @ chroma_after > 0.85 * (shares @ chroma), "what was green is as colorful as before"
    if beside == "#b8a040":  # the yellow that is there takes nearly all of it
        yellow = (hue_after > 70) & (hue_after < 108)
        assert shares_after[yellow].sum() > 0.8


def test_removing_what_is_not_there_changes_little():
    palette = Palette.from_colors(["#c04040", "#909090"])
    assert palette.distance(palette.remove("#2040c0")) < 0.03


@settings(max_examples=25)
@given(seeds, st.sampled_from(["shift hue=40", "shift chroma=3", "boost teal 5", "remove #c04040", "shift chroma=0"]))
def test_edits_keep_the_mass_and_leave_the_original_alone(seed, text):
    palette = random_palette(seed)
    before = palette.shares.copy()
    edited = parse_edits(text)(palette)
    assert edited.shares.sum() == pytest.approx(1, abs=1e-5) and edited.shares.min() >= 0
    assert np.array_equal(palette.shares, before)
    with pytest.raises(ValueError, match="read-only"):
        palette.shares[0] = 1


@pytest.mark.parametrize(
    ("text", "much"),
    [
        ("shift chroma=1e308", "shift chroma=1e4"),
        ("shift temperature=1e308", "shift temperature=1e6"),
        ("shift temperature=-1e308", "shift temperature=-1e6"),
        ("boost teal 1e308", "boost teal 1e300"),
        ("boost teal 5e-324", "boost teal 1e-300"),
    ],
)
def test_the_largest_and_smallest_numbers_are_those_of_much(text, much):
    for palette in (random_palette(3), Palette.from_colors(["teal"])):
        assert parse_edits(text)(palette).distance(parse_edits(much)(palette)) < 0.05


@settings(max_examples=15)
@given(seeds, st.floats(-60, 60), st.floats(-60, 60))
def test_edits_that_commute(seed, one, other):
    palette = random_palette(seed).shift(chroma=0.4)  # within the gamut, whatever the hue
    result = palette.shift(hue=one).shift(hue=other)
    assert result.distance(palette.shift(hue=one + other)) < 0.05
    assert result.distance(palette.shift(hue=other).shift(hue=one)) < 0.05
    a, b = palette.boost("teal", 3).boost("#c04040", 2), palette.boost("#c04040", 2).boost("teal", 3)
    assert a.distance(b) < 0.03
    assert palette.boost("teal", 3).boost("teal", 1 / 3).distance(palette) < 0.03


@settings(max_examples=15)
@given(seeds, seeds, st.floats(0, 1))
def test_mixtures(one, other, share):
    a, b = random_palette(one), random_palette(other)
    assert a.mix(b, 0) == a and a.mix(b, 1) == b
    assert a.mix(b, share).distance(b.mix(a, 1 - share)) < 1e-3
    assert a.distance(a.mix(b, share)) <= a.distance(b) + 1e-3
    assert a.distance(b) == pytest.approx(b.distance(a), abs=1e-6)
    assert a.distance(a) == 0


def test_shifts_by_nothing_are_the_palette_itself():
    palette = random_palette(1)
    assert palette.shift() is palette and palette.boost("red", 1) is palette
    assert parse_edits("shift hue=0")(palette) == palette


def test_palettes_are_values():
    assert (
        random_palette(1) == random_palette(1)
        and hash(random_palette(1)) == hash(random_palette(1))
        and random_palette(1) != random_palette(2)
        and random_palette(1) != "x"
    )
    assert repr(Palette.from_colors(["#777777"])).startswith("Palette(#9e9e9e 100%")


def test_a_palette_of_a_picture_is_the_one_of_training(samples):
    path = samples / "fish.jpg"
    picture = Image.open(path)
    squashed = np.asarray(picture.resize((256, 256), Image.Resampling.BILINEAR))
    truth = np.asarray(of_picture(squashed))
    for source in (path, str(path), picture, np.asarray(picture)):
        np.testing.assert_allclose(Palette.of(source).shares, truth, atol=2e-5)
    gray = Palette.of(GRAY_PIXELS).shares.reshape(16, 16)
    assert gray[7:9, 7:9] == pytest.approx(np.full((2, 2), 0.101391), abs=1e-4)  # method: section 2


def test_colors_have_the_palette_of_a_picture_of_them():
    colors = np.array([[192, 64, 64], [64, 96, 192], [144, 144, 144], [144, 144, 144]], np.uint8)
    picture = np.repeat(np.repeat(colors.reshape(2, 2, 3), 128, axis=0), 128, axis=1)
    palette = Palette.from_colors(["#c04040", "rgb(64, 96, 192)", "#909090"], [1, 1, 2])
    assert palette.distance(Palette.of(picture)) < 2e-2  # resized, the picture has some colors between


def test_swatches_are_the_colors_that_it_was_made_of():
    palette = Palette.from_colors(["#c04040", "#4060c0", "#909090"], [0.2, 0.3, 0.5])
    swatches = palette.swatches(3)
    assert [round(swatch.share, 1) for swatch in swatches] == [0.5, 0.3, 0.2]
    assert sum(swatch.share for swatch in palette.swatches(40)) == pytest.approx(1)
    truth = bytes_to_lab(np.array([[144, 144, 144], [64, 96, 192], [192, 64, 64]], np.uint8))[:, 1:]
    assert np.abs(np.array([swatch.ab for swatch in swatches]) - truth).max() < 4


def test_what_a_swatch_shows_has_the_color_that_it_says():
    for swatch in random_palette(5).shift(chroma=2).swatches(12):
        rgb = np.array(bytearray.fromhex(swatch.color[1:]))
        assert np.hypot(*(bytes_to_lab(rgb)[1:] - swatch.ab)) < 3


def test_drawings():
    palette = Palette.from_colors(["#c04040", "#909090"], [1, 3])
    assert palette.draw().size == (256, 304)
    assert palette._repr_png_().startswith(b"\x89PNG")
    assert palette.draw().getpixel((250, 280)) == palette.draw().getpixel((220, 280))  # the bar: a quarter is red
    red, _, blue = palette.draw().getpixel((250, 280))
    assert red > blue + 50
    assert palette.draw(100).size == (96, 96 + 8 + 15)


def test_a_drawing_has_the_axes_of_the_plane_with_words_where_they_fit():
    """The lines where a or b is 0 are lit everywhere, and nothing else of a small plane."""
    palette = Palette.from_colors(["#c04040"])
    for side in (96, 256):
        drawing = np.asarray(palette.draw(side))[:side]
        plain = picture(palette.shares, palette.spec, cell=side // 16)
        is_marked = (drawing != plain).any(-1)
        assert is_marked[:, side // 2].all() and is_marked[side // 2].all()
        around_mark = np.delete(np.delete(is_marked, side // 2, 0), side // 2, 1)
        assert around_mark.any() == (side == 256)


def test_palettes_of_models_that_count_in_another_way():
    other = PaletteSpec(bins=8, half_range=0.9, sigma=0.2, normalization="max")
    palette = random_palette(3)
    recounted = palette.counted_as(other)
    assert recounted.shares.shape == (64,) and palette.counted_as(PaletteSpec()) is palette
    assert palette.distance(recounted) < 0.1  # 8 bins tell less of colors than 16
    assert palette.mix(recounted, 0.5).distance(palette) < 0.05


def test_weights_of_any_size_are_taken_by_their_shares():
    palettes = [random_palette(1), random_palette(2)]
    for weight in (1e-320, 1e308):
        assert Palette.mean(palettes, [weight, weight]) == Palette.mean(palettes)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Palette(np.zeros(256)), "all bins of this one are 0"),
        (lambda: Palette(np.full(256, np.nan)), "NaN or infinite"),
        (lambda: Palette(np.full(256, np.inf)), "NaN or infinite"),
        (lambda: Palette(np.arange(256) - 1.0), "no bin of a palette is negative"),
        (lambda: Palette(np.ones(100)), r"has 256 bins \(16 x 16\), not 100"),
        (lambda: Palette("red"), "these are none"),
        (lambda: Palette.from_colors(["reddish"]), "'reddish' is no color that is known here"),
        (lambda: Palette.from_colors([]), "0 colors have as many weights"),
        (lambda: Palette.from_colors(["red"], [0]), "not all 0"),
        (lambda: Palette.from_colors(["red"], [1, 2]), "a number for each color"),
        (lambda: Palette.from_colors(["red"], [float("nan")]), "a number for each color"),
        (lambda: random_palette(1).mix(random_palette(2), 1.5), "from 0 to 1, not 1.5"),
        (lambda: random_palette(1).shift(hue=float("nan")), "a shift has a hue"),
        (lambda: random_palette(1).shift(chroma=-1), "a shift has a hue"),
        (lambda: random_palette(1).boost("red", 0), "a boost has a factor and a spread above 0"),
        (lambda: random_palette(1).boost("red", 2, -3), "a boost has a factor and a spread above 0"),
        (lambda: random_palette(1).remove("red", 0), "the spread of what is removed"),
        (lambda: Palette.mean([random_palette(1)], [0]), "the weights of palettes"),
        (lambda: Palette.of(3), "a picture is a path"),
        (lambda: Palette.of(np.zeros((3, 4, 5))), r"\(H, W, 1 to 4\), not \(3, 4, 5\)"),
        (lambda: parse_edits(""), "there is no edit"),
        (lambda: parse_edits("paint it black"), "is no edit"),
        (lambda: parse_edits("shift"), "is no edit"),
        (lambda: parse_edits("boost red"), "is no edit"),
        (lambda: parse_edits("shift hue=warm"), "'warm' in 'shift hue=warm' is no number"),
        (lambda: parse_edits("shift tint=3"), "'tint=3' in 'shift tint=3' is unknown"),
        (lambda: parse_edits("remove grasgreen"), "'grasgreen' is no color"),
        (lambda: parse_edits("shift hue=20; boost red -2"), "a boost has a factor"),
    ],
)
def test_what_is_no_palette_is_one_sentence(make, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        make()
    assert "\n" not in str(error.value)


def test_pictures_in_memory_of_every_mode_have_their_colors(samples):
    picture = Image.open(samples / "parrot.jpg").resize((256, 256))
    truth = Palette.of(picture)
    array = np.asarray(picture)
    for value in (
        picture.convert("RGBA"),
        picture.convert("YCbCr"),
        picture.convert("P", palette=Image.Palette.ADAPTIVE),
        array.astype(np.uint16) * 257,
        array / np.float32(255),
        array.astype(np.int64),
    ):
        assert Palette.of(value).distance(truth) < 0.03
    clear = np.dstack([array, np.zeros(array.shape[:2], np.uint8)])
    assert Palette.of(clear).distance(Palette.of(np.full_like(array, 255))) < 1e-3
    assert Palette.of(picture.convert("L")).distance(Palette.of(GRAY_PIXELS)) < 1e-3
