"""Regions: masks of all kinds, seams, and what lies outside of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from palgan_jax.colorize.join import Layer, join, luminance, squash
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.colorize.regions import REACH, Region, _grown, mask_of, paint_region
from palgan_jax.data.decode import read_rgb
from palgan_jax.data.picture import Picture
from palgan_jax.errors import UserError
from palgan_jax.palette.palette import Palette
from tests.support.colorize_model import tiny_weights

HEIGHT, WIDTH = 90, 130
RED, BLUE = Palette.from_colors(["red"]), Palette.from_colors(["blue"])


def ramp(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.broadcast_to(np.linspace(30, 70, width, dtype=np.float32), (height, width)).copy()


def assert_same(result: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for a level in a few pixels: products of matrices may be rounded otherwise the next time."""
    difference = np.abs(result.astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def uniform(a: float, b: float) -> np.ndarray:
    return np.broadcast_to(np.float32([a, b]), (16, 16, 2))


@pytest.mark.parametrize("soft", [1, 20])
def test_a_seam_is_as_wide_as_the_mask_is_soft(soft):
    """At full resolution, whatever the painting's own: the share of the layer's color is the mask's."""
    x = np.arange(WIDTH) - WIDTH / 2 + 0.5
    mask = np.broadcast_to(np.round(255 * np.clip(x / soft + 0.5, 0, 1)), (HEIGHT, WIDTH)).astype(np.uint8)
    under, over, joined = (
        join(ramp(), uniform(-10, 20), deep=True, layers=layers).astype(float)
        for layers in ([], [Layer(uniform(15, -20), np.full_like(mask, 255))], [Layer(uniform(15, -20), mask)])
    )
    share = ((joined - under) * (over - under)).sum((0, 2)) / ((over - under) ** 2).sum((0, 2))
    np.testing.assert_allclose(share, mask[0] / 255, atol=0.03)  # sRGB is no linear function of Lab
    width = np.argmax(share > 0.9) - np.argmax(share > 0.1)
    assert width <= max(1, 0.8 * soft + 1)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=3))
def test_layers_lie_over_each_other_in_their_order(shares):
    colors = [(5.0, -20.0), (15.0, 10.0), (-12.0, 5.0)][: len(shares)]
    layers = [
        Layer(uniform(*color), np.full((8, 9), share, np.uint8)) for color, share in zip(colors, shares, strict=True)
    ]
    expected = np.array([3.0, 4.0])
    for color, share in zip(colors, shares, strict=True):
        expected = expected + share / 255 * (np.array(color) - expected)
    result = join(np.full((8, 9), 50, np.float32), uniform(3, 4), layers=layers)
    np.testing.assert_array_equal(result, join(np.full((8, 9), 50, np.float32), uniform(*expected)))


def test_within_the_network_a_palette_reaches_a_little_beyond_its_mask():
    mask = np.zeros((300, 600), np.uint8)
    mask[150, 300] = 1  # one faint pixel
    grown = _grown(mask, 256)
    rows, columns = np.nonzero(grown)
    reach = round(256 * REACH)
    assert set(np.unique(grown)) == {0, 1}
    assert abs(np.ptp(rows) + 1 - 2 * reach) <= 4 and abs(np.ptp(columns) + 1 - 2 * reach) <= 4
    assert abs(rows.mean() - 128) < 2 and abs(columns.mean() - 128) < 2


def test_a_region_is_painted_with_its_palette_amid_the_picture_s():
    calls = []

    def paint(l, regions, size):
        calls.append((l, regions))
        return uniform(1, 2)

    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, : WIDTH // 2] = 255
    layer = paint_region(Region(mask, RED), squash(ramp(), 64), BLUE.shares, paint)
    ((l, regions),) = calls
    assert l.shape == (64, 64) and regions.palettes.shape == (1, 2, 256) and regions.shares.shape == (1, 64, 64, 2)
    np.testing.assert_array_equal(regions.palettes[0], [BLUE.shares, RED.shares])
    np.testing.assert_array_equal(regions.shares.sum(-1), 1)
    assert (regions.shares[0, :, :32, 1] == 1).all() and (regions.shares[0, :, 48:, 0] == 1).all()
    assert layer.mask is mask


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer(tiny_weights())


def test_nothing_changes_outside_of_masks_and_a_region_of_all_is_its_palette_alone(colorizer, samples):
    lightness = luminance(read_rgb(samples / "fish.jpg"))
    used_palette, ab = colorizer.predict(lightness)
    region = Region(np.zeros(lightness.shape, np.uint8), RED)
    region.mask[40:200, 60:300] = 255

    def painted(region: Region) -> np.ndarray:
        return join(
            lightness, ab, layers=[paint_region(region, squash(lightness, 64), used_palette, colorizer.repaint)]
        )

    expected = join(lightness, colorizer.repaint(lightness, RED.shares))
    result, plain = painted(region), join(lightness, ab)
    outside = region.mask == 0
    assert_same(result[outside], plain[outside])
    assert np.abs(result.astype(int) - plain)[~outside].mean() > 5
    of_all = painted(Region(np.full(lightness.shape, 255, np.uint8), RED))
    assert np.abs(of_all.astype(int) - expected).max() <= 1


def test_painting_with_the_predicted_palette_is_the_prediction_and_may_be_larger(colorizer, samples):
    lightness = luminance(read_rgb(samples / "fish.jpg"))
    used_palette, ab = colorizer.predict(lightness)
    np.testing.assert_allclose(colorizer.repaint(lightness, used_palette), ab, atol=0.01)
    assert colorizer.repaint(lightness, used_palette, 128).shape == (128, 128, 2)
    with pytest.raises(UserError, match="takes no palette"):
        Colorizer(tiny_weights("autoencoder")).repaint(lightness, used_palette)


def test_regions_from_python(colorizer, samples):
    photo = samples / "fish.jpg"
    plain = colorizer(photo)
    mask = np.zeros(plain.pixels.shape[:2], bool)
    mask[40:200, 60:300] = True
    result = colorizer(photo, regions=[(mask, RED)])
    outside = np.s_[~mask]
    assert_same(result.pixels[outside], plain.pixels[outside])
    assert np.abs(result.pixels.astype(int) - plain.pixels)[mask].mean() > 5
    assert result.palette == plain.palette
    smaller = Image.fromarray(mask[::2, ::2])  # as drawn on a preview
    reference = colorizer(photo, regions=[(smaller, samples / "parrot.jpg"), (mask, RED)])
    assert_same(reference.pixels[mask], result.pixels[mask])
    assert np.ptp(colorizer(photo, regions=[(mask, RED)], saturation=0).pixels.astype(int), axis=-1).max() <= 1


def test_a_resolution_from_python(colorizer, samples):
    photo = samples / "fish.jpg"
    plain, larger = colorizer(photo), colorizer(photo, resolution=128)
    assert larger.ab.shape == (128, 128, 2) and larger.palette == plain.palette
    assert_same(colorizer(photo, resolution=64).pixels, plain.pixels)
    assert colorizer(photo, resolution=128, regions=[(np.ones((32, 32), bool), RED)]).ab.shape == (128, 128, 2)
    for side in (0, 100, 2048, -64):
        with pytest.raises(UserError, match="a multiple of 64 up to 1024"):
            colorizer(photo, resolution=side)


@pytest.fixture
def files(samples, tmp_path):
    """A photograph of 96 x 72, a mask of its left half, a palette file and a gray picture, by name."""
    with Image.open(samples / "fish.jpg") as picture:
        picture.resize((96, 72)).save(tmp_path / "fish.png")
    mask = np.zeros((72, 96), np.uint8)
    mask[:, :48] = 255
    Image.fromarray(mask).save(tmp_path / "left=.png")
    Image.fromarray(mask.T).save(tmp_path / "turned.png")
    Image.fromarray(0 * mask).save(tmp_path / "black.png")
    RED.save(tmp_path / "red.json")
    return {path.name: path for path in tmp_path.iterdir()}


def test_regions_of_the_command(palgan, files, samples):
    code, _, _ = palgan(files["fish.png"])
    assert code == 0
    out = files["fish.png"].parent / "out"
    left, red = files["left=.png"], files["red.json"]
    code, _, errors = palgan(files["fish.png"], options=["--region", f"{left}={red}"])
    assert code == 0, errors
    plain, painted = (np.asarray(Image.open(out / name)) for name in ("fish.png", "fish-2.png"))
    assert_same(painted[:, 48:], plain[:, 48:])
    assert np.abs(painted[:, :48].astype(int) - plain[:, :48]).mean() > 5
    code, _, errors = palgan(files["fish.png"], options=["--region", f"{left}={red}"])
    assert code == 0 and not (out / "fish-3.png").exists(), "the same is not made again"
    code, _, errors = palgan(files["fish.png"], options=["--region", f"{left}={left}"])
    assert code == 0 and any("left=.png is gray" in line for line in errors)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("{red.json}", "is no region: write MASK.png=PALETTE.json"),
        ("nowhere.png={red.json}", "nowhere.png"),
        ("{left=.png}=nowhere.gpl", "nowhere.gpl"),
        ("{black.png}={red.json}", "black.png is black all over"),
        ("{turned.png}={red.json}", "turned.png is 72 x 96, and the picture 96 x 72"),
    ],
)
def test_bad_regions_of_the_command_are_one_sentence(palgan, files, word, sentence):
    for name, path in files.items():
        word = word.replace(f"{{{name}}}", str(path))
    code, _, errors = palgan(files["fish.png"], options=["--region", word.replace(" ", "")])
    assert code == 2 and sentence in " ".join(errors)
    assert not list(files["fish.png"].parent.glob("out/*.png"))


def test_masks_are_scaled_to_the_picture_and_keep_what_they_cover():
    mask = np.zeros((45, 65), np.uint8)
    mask[10:20, 30:40] = 255
    result = Region(mask, RED).mask_of_size(HEIGHT, WIDTH)
    assert result.shape == (HEIGHT, WIDTH) and result[30, 70] == 255 and result[5, 5] == 0
    assert result.mean() == pytest.approx(mask.mean(), rel=0.05)


@pytest.mark.parametrize("option", ["--region={turned.png}={red.json}", "--point=95,70=teal"])
def test_each_picture_that_masks_or_points_do_not_fit_is_named(palgan, files, option):
    others = [files["red.json"].with_name(name) for name in ("a.png", "b.png")]
    for other in others:
        Image.new("L", (64, 60), 90).save(other)
    for name, path in files.items():
        option = option.replace(f"{{{name}}}", str(path))
    code, _, errors = palgan(*others, options=[option, "--samples=1"])
    assert code == 2 and len(errors) == 2
    assert all(sum(f"{other}: " in error for error in errors) == 1 for other in others)


@pytest.mark.parametrize("size", [(40, 3000), (3000, 40), (17, 900)])
def test_a_mask_fits_a_panorama_that_either_was_reduced_from(size):
    mask = np.zeros(size, np.uint8)
    mask[: size[0] // 2, : size[1] // 2] = 255
    reduced = Image.fromarray(mask)
    reduced.thumbnail((512, 512))
    drawn = np.asarray(Image.fromarray(mask).resize([max(1, round(side * 768 / max(size))) for side in size[::-1]]))
    assert Region(mask, RED).mask_of_size(*reduced.size[::-1]).mean() == pytest.approx(mask.mean(), rel=0.1)
    assert Region(drawn, RED).mask_of_size(*size).mean() == pytest.approx(mask.mean(), rel=0.1)
    with pytest.raises(UserError, match="proportions"):
        Region(np.ones((2 * size[0], size[1]), np.uint8), RED).mask_of_size(*size)


def test_white_and_what_is_opaque_is_the_region():
    gray = np.array([[0, 128, 255]], np.uint8)
    np.testing.assert_array_equal(mask_of(Picture(gray), "m"), gray)
    np.testing.assert_array_equal(mask_of(Picture(np.repeat(gray[..., None], 3, -1)), "m"), gray)
    np.testing.assert_array_equal(mask_of(Picture(gray.astype(np.uint16) * 257), "m"), gray)
    np.testing.assert_array_equal(mask_of(Picture(np.zeros_like(gray), alpha=gray), "m"), gray)


def test_bad_masks_are_one_sentence():
    with pytest.raises(UserError, match=r"m.png is black all over.*white"):
        mask_of(Picture(np.zeros((4, 5), np.uint8)), "m.png")
    with pytest.raises(UserError, match=r"m.png is nothing but transparent"):
        mask_of(Picture(np.full((4, 5), 255, np.uint8), alpha=np.zeros((4, 5), np.uint8)), "m.png")
    with pytest.raises(UserError, match=r"m.png is 90 x 130, and the picture 130 x 90: .*proportions"):
        Region(np.ones((130, 90), np.uint8), RED, "m.png").mask_of_size(90, 130)
