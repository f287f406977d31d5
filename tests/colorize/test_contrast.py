"""The contrast of faded prints: restored as scikit-image stretches it, and left as it is where it is whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from skimage.color import rgb2lab
from skimage.exposure import rescale_intensity

from palgan_jax import Palette
from palgan_jax.color import lightness_to_srgb
from palgan_jax.colorize.border import find_border
from palgan_jax.colorize.contrast import UNCHANGED, Contrast, Tones, full_contrast
from palgan_jax.colorize.join import luminance
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.colorize.prepared import Subject
from palgan_jax.data.decode import read_rgb
from palgan_jax.data.picture import Picture
from tests.support.colorize_model import tiny_weights

grays = st.floats(0, 100, width=32)


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer(tiny_weights())


@pytest.fixture(scope="module")
def photograph(samples) -> np.ndarray:
    """L of a sample, (150, 200)."""
    picture = Image.fromarray(read_rgb(samples / "dog.jpg")).resize((200, 150))
    return luminance(np.asarray(picture))


def gray(lightness: np.ndarray, dtype: type = np.uint16) -> np.ndarray:
    """The picture of an L."""
    return np.round(np.iinfo(dtype).max * lightness_to_srgb(lightness)).astype(dtype)


def contrast_of(lightness: np.ndarray, border=None, alpha=None) -> Contrast:
    tones = Tones(*lightness.shape)
    tones.add(lightness, alpha)
    return tones.full_contrast(border)


@settings(max_examples=30)
@given(st.floats(6, 60), st.floats(0.2, 0.9))
def test_a_faded_picture_is_stretched_as_scikit_image_stretches_it(photograph, dark, share):
    faded = dark + (94 - dark) / 100 * share * photograph
    low, high = np.percentile(faded, (0.5, 99.5))
    result = contrast_of(faded)(faded)
    if 90 / (high - low) > 4:  # too steep
        assert np.ptp(np.percentile(result, (0.5, 99.5))) == pytest.approx(4 * (high - low), rel=1e-3)
        return
    expected = rescale_intensity(np.clip(faded, low, high), (low, high), (5.0, 95.0))
    within = (faded >= low) & (faded <= high)
    np.testing.assert_allclose(result[within], expected[within], atol=1e-3)
    assert result.min() >= 0 and result.max() <= 100 and result.dtype == np.float32


@settings(max_examples=100)
@given(grays, grays, arrays(np.float32, 20, elements=grays))
def test_the_order_of_grays_is_kept_and_black_and_white_stay(one, other, lightness):
    contrast = full_contrast(min(one, other), max(one, other))
    lightness = np.sort(np.append(lightness, np.float32([0, 100, one, other])))
    stretched = contrast(lightness)
    assert (np.diff(stretched) >= 0).all()
    assert stretched[0] == pytest.approx(0, abs=1e-3) and stretched[-1] == pytest.approx(100, abs=1e-3)
    assert 1 <= contrast.slope <= 4 + 1e-6
    low, high = contrast(np.float32([min(one, other), max(one, other)]))
    assert low <= min(one, other) + 1e-3 and high >= max(one, other) - 1e-3


def test_photographs_with_blacks_and_whites_stay_to_the_byte(colorizer, photograph):
    expected = rescale_intensity(photograph, tuple(np.percentile(photograph, (1, 99))), (0.0, 100.0))
    assert contrast_of(expected) == UNCHANGED and contrast_of(expected)(expected) is expected
    pixels = gray(expected, np.uint8)
    restored = colorizer(pixels, restore_contrast=True)
    assert np.array_equal(restored.pixels, colorizer(pixels).pixels)
    # Where one of the two is there, it stays.
    for some, at in ((0.6 * expected, 0), (40 + 0.6 * expected, 1)):
        ends = np.percentile(some, (0.5, 99.5))
        stretched = contrast_of(some)(ends.astype(np.float32))
        assert stretched[at] == pytest.approx(ends[at], abs=1e-3) and stretched[1 - at] == pytest.approx([95, 5][at])


@pytest.mark.parametrize("level", [0, 30, 100])
def test_what_is_even_stays_where_it_is(level):
    even = np.clip(level + np.random.default_rng(0).normal(0, 0.5, (80, 100)), 0, 100).astype(np.float32)
    stretched = contrast_of(even)(even)
    assert stretched.std() < 4.01 * even.std() and abs(stretched.mean() - level) < 8
    flat = np.full((9, 9), np.float32(level))
    np.testing.assert_allclose(contrast_of(flat)(flat), flat, atol=1e-3)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.booleans())
def test_bands_give_what_the_whole_gives(heights, has_alpha):
    """Of a picture so wide that a sample of it is taken."""
    rng = np.random.default_rng(len(heights))
    lightness = rng.uniform(20, 70, (sum(heights), 2100)).astype(np.float32)
    alpha = rng.integers(0, 256, lightness.shape).astype(np.uint8) if has_alpha else None
    tones = Tones(*lightness.shape)
    for bottom, height in zip(np.cumsum(heights), heights, strict=True):
        rows = slice(bottom - height, bottom)
        tones.add(lightness[rows], None if alpha is None else alpha[rows])
    assert tones.full_contrast(None) == contrast_of(lightness, alpha=alpha) != UNCHANGED


def test_what_is_transparent_does_not_count(photograph):
    faded = 40 + 0.3 * photograph
    alpha = np.full(faded.shape, 65535, np.uint16)
    alpha[:, :80] = 0
    covered = np.where(alpha > 0, faded, 0).astype(np.float32)
    assert contrast_of(covered, alpha=alpha) == contrast_of(np.ascontiguousarray(faded[:, 80:]))
    assert contrast_of(covered, alpha=np.zeros_like(alpha)) == UNCHANGED


def faded_print(photograph: np.ndarray) -> np.ndarray:
    """L of a faded photograph on paper that was white, askew."""
    sheet = Image.fromarray(np.pad(0.8 * photograph, 25, constant_values=97))
    turned = np.asarray(sheet.rotate(1.0, Image.Resampling.BILINEAR, fillcolor=97))
    return (35 + 0.55 * turned).astype(np.float32)


def test_a_print_is_restored_by_its_photograph_and_its_paper_is_white(colorizer, photograph):
    lightness = faded_print(photograph)
    border = find_border(lightness)
    assert border is not None
    contrast = contrast_of(lightness, border)
    paper = border.mask(*lightness.shape) > 0
    low, high = np.percentile(contrast(lightness)[~paper], (0.5, 99))
    assert low == pytest.approx(5, abs=2) and high == pytest.approx(95, abs=5)
    assert contrast(lightness)[:20].min() > 93
    pixels = gray(lightness)
    result = colorizer(pixels, restore_contrast=True)
    # The same line within and on the border, to which nothing else is done but that the one is painted.
    np.testing.assert_allclose(luminance(result.pixels), contrast(luminance(pixels)), atol=0.1)
    tint = np.ptp(result.pixels / 65535, axis=-1)
    assert tint[:20].max() < 0.01 and tint[~paper].mean() > 0.05
    # The network sees what is shown.
    stretched = np.ascontiguousarray(contrast(lightness)[border.place(*lightness.shape)])
    np.testing.assert_allclose(result.ab, colorizer.predict(stretched)[1], atol=0.1)
    plain = colorizer(pixels)
    assert np.abs(result.ab - plain.ab).mean() > 0.1
    # So does what predicts its palette alone.
    difference = result.palette.distance(plain.palette)
    for restored, painted in ((True, result), (False, plain)):
        predicted = colorizer.predict_palette_of(pixels, restore_contrast=restored)
        assert painted.palette.distance(predicted) < 0.1 * difference


def test_a_tone_is_left_aside(colorizer, photograph):
    """Sepia: each level of the print has a color of its own, of the same luminance."""
    levels = gray(30 + 0.5 * photograph, np.uint8)
    sepia = (levels[..., None] * np.array([1.0, 0.86, 0.67])).astype(np.uint8)
    lightness = rgb2lab(sepia)[..., 0].astype(np.float32)
    toned, plain = (colorizer(pixels, restore_contrast=True) for pixels in (sepia, gray(lightness)))
    np.testing.assert_allclose(luminance(toned.pixels), contrast_of(lightness)(lightness), atol=0.5)
    np.testing.assert_allclose(toned.ab, plain.ab, atol=0.2)


def test_points_and_regions_lie_on_what_is_restored(colorizer, photograph):
    pixels = gray(35 + 0.5 * photograph, np.uint8)
    region = np.zeros(pixels.shape, bool)
    region[:, :100] = True
    wishes = {"points": [((150, 70), "#a04040")], "regions": [(region, Palette.from_colors(["teal"]))]}
    result = colorizer(pixels, restore_contrast=True, **wishes)
    expected = Subject(Picture(pixels)).restored.lightness
    assert np.ptp(expected) > 1.5 * np.ptp(luminance(pixels))
    np.testing.assert_allclose(luminance(result.pixels), expected, atol=0.5)


def test_the_command_restores_when_asked_and_tells_the_results_apart(palgan, photograph, tmp_path):
    picture, out = tmp_path / "old.png", tmp_path / "out"
    Image.fromarray(gray(photograph * 0.5 + 30)).save(picture)
    assert palgan(picture)[0] == 0
    code, output, _ = palgan(picture, options=["--restore-contrast"])
    assert code == 0 and "is done already" not in output
    assert "is done already" in palgan(picture, options=["--restore-contrast"])[1]
    plain, restored = (read_rgb(path) for path in sorted(out.glob("*.png"), key=lambda path: path.stat().st_mtime_ns))
    assert np.ptp(luminance(restored)) > 1.5 * np.ptp(luminance(plain))
    # The mean of one prediction is that prediction: it is that of the restored picture.
    assert palgan(picture, options=["--restore-contrast", "--lock"], output=tmp_path / "locked")[0] == 0
    locked = read_rgb(tmp_path / "locked" / "old.png")
    assert np.abs(locked.astype(int) - restored).max() <= 1
