"""Whose palette paints: the Python interface and the options of `palgan colorize`, with a network of random weights."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

import palgan_jax
from palgan_jax import Colorizer, Palette, open_picture
from palgan_jax.colorize import jax_network, predictor
from palgan_jax.colorize.call_options import read_picture
from palgan_jax.colorize.files import is_result
from palgan_jax.colorize.join import luminance
from palgan_jax.colorize.lab_levels import lab_to_levels
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.points import Hints
from palgan_jax.colorize.prepared import Subject
from palgan_jax.colorize.regions import Region
from palgan_jax.data.in_memory import take_picture
from palgan_jax.errors import UserError
from palgan_jax.palette.histogram import hellinger, histogram
from palgan_jax.palette.samples import sample_palette
from tests.support.colorize_model import tiny_weights


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer(tiny_weights())


@pytest.fixture
def photo(samples, tmp_path):
    path = tmp_path / "dog.jpg"
    opened(samples / "dog.jpg").resize((96, 72)).save(path, exif=_caption("a dog"))
    return path


def opened(file):
    with Image.open(file) as picture:
        picture.load()
        picture.getexif()
        return picture


def _caption(text):
    exif = Image.Exif()
    exif[0x010E] = text
    return exif


def test_files_arrays_and_pictures_of_pillow(colorizer, photo):
    picture = opened(photo)
    of_file = colorizer(photo)
    assert of_file.image.size == (96, 72) and of_file.pixels.dtype == np.uint8
    assert of_file.ab.shape == (64, 64, 2) and np.abs(of_file.ab).max() > 10
    assert np.abs(luminance(of_file.pixels) - luminance(open_picture(photo))).max() < 1
    for source in (str(photo), picture, np.asarray(picture)):
        assert np.abs(colorizer(source).pixels.astype(int) - of_file.pixels).mean() < 0.5
    gray = np.asarray(picture.convert("L"))
    assert colorizer(gray).pixels.shape == (72, 96, 3)
    assert colorizer(gray.astype(np.uint16) * 257).pixels.dtype == np.uint16
    assert colorizer(np.dstack([np.asarray(picture), gray])).image.mode == "RGBA"


def test_lists_of_pictures_of_mixed_sizes_compile_nothing_anew(colorizer, photo):
    colorizer(photo, edit="shift hue=20")
    compiled = jax_network._predict._cache_size(), jax_network._predict_palettes._cache_size()
    pictures = [np.full(shape, 99, np.uint8) for shape in ((20, 30), (64, 64, 3), (41, 17, 4))]
    results = colorizer([photo, *pictures], edit="shift hue=20", saturation=0.5)
    assert [result.image.size for result in results] == [(96, 72), (30, 20), (64, 64), (17, 41)]
    assert compiled == (jax_network._predict._cache_size(), jax_network._predict_palettes._cache_size())


def test_the_predicted_palette_given_back_paints_the_same(colorizer, photo, tmp_path):
    automatic = colorizer(photo)
    automatic.palette.save(tmp_path / "p.json")
    for palette in (automatic.palette, tmp_path / "p.json", colorizer.predict_palette_of(photo)):
        repeat = colorizer(photo, palette=palette)
        assert np.abs(repeat.pixels.astype(int) - automatic.pixels).max() <= 1
        assert repeat.palette.distance(automatic.palette) < 1e-3


def test_edits_and_saturation(colorizer, photo):
    automatic = colorizer(photo)
    edited = colorizer(photo, edit="shift hue=90")
    assert (
        edited.palette == automatic.palette.shift(hue=90)
        or edited.palette.distance(automatic.palette.shift(hue=90)) < 1e-3
    )
    assert np.abs(edited.ab - automatic.ab).mean() > 1
    np.testing.assert_allclose(colorizer(photo, saturation=0.5).ab, automatic.ab / 2, atol=1e-4)
    assert np.ptp(colorizer(photo, saturation=0).pixels.astype(int), axis=-1).max() <= 1


@pytest.mark.parametrize("resolution", [None, 128])
def test_a_given_palette_is_followed_as_is_that_of_a_region(colorizer, photo, samples, resolution):
    picture, palette = take_picture(photo), Palette.of(samples / "parrot.jpg")
    everywhere = Region(np.full(picture.pixels.shape[:2], 255, np.uint8), palette)
    paintings = (Painting(palette, follow=False), Painting(palette), Painting(regions=(everywhere,)))
    plain, followed, region = (colorizer.paint(picture, replace(p, resolution=resolution)) for p in paintings)
    distances = [hellinger(histogram(result.ab / np.float32(110)), palette.shares) for result in (plain, followed)]
    assert distances[1] < 0.8 * distances[0]
    assert np.abs(followed.pixels.astype(int) - region.pixels).max() <= 1


def test_several_references_are_mixed_by_their_weights(colorizer, photo, samples):
    a, b = samples / "parrot.jpg", samples / "hay-field.jpg"
    mixed = colorizer(photo, reference=[(a, 3), b]).palette
    assert mixed.distance(Palette.of(a).mix(Palette.of(b), 0.25)) < 1e-3
    assert colorizer(photo, reference=a).palette == Palette.of(a)
    with pytest.warns(UserWarning, match="the reference is gray, and so will be"):
        colorizer(photo, reference=np.full((30, 30), 9, np.uint8))


def test_samples_differ_and_their_seed_repeats_them(colorizer, photo):
    first, repeat, other = (colorizer(photo, samples=3, seed=seed) for seed in (0, 0, 1))
    assert len(first.samples) == 3
    palettes = [first.palette, *(sample.palette for sample in first.samples)]
    assert all(p.distance(q) > 0.01 for i, p in enumerate(palettes) for q in palettes[:i])
    assert [s.palette for s in first.samples] == [s.palette for s in repeat.samples]
    assert [s.palette for s in first.samples] != [s.palette for s in other.samples]
    few = colorizer(photo, samples=1).samples[0]
    assert np.array_equal(few.pixels, first.samples[0].pixels), "a sample is the same among more of them"


def test_the_temperature_is_how_far_samples_lie():
    palette = Palette.from_colors(["#808060", "#6080a0"])
    distances = [palette.distance(sample_palette(palette, 1, t)) for t in (0, 0.5, 1, 2)]
    assert distances[0] < 1e-3 and distances == sorted(distances) and distances[3] > 0.1
    assert sample_palette(palette, 64).shares.sum() == pytest.approx(1, abs=1e-5)


def test_results_are_saved_and_shown(colorizer, photo, tmp_path):
    result = colorizer(photo, samples=1)
    result.save(tmp_path / "x.png")
    assert opened(tmp_path / "x.png").getexif()[0x010E] == "a dog" and is_result(tmp_path / "x.png")
    assert np.array_equal(open_picture(tmp_path / "x.png"), result.pixels)
    colorizer(np.asarray(opened(photo))).save(tmp_path / "x.jpg", quality=80)
    assert is_result(tmp_path / "x.jpg")
    sheet = opened(io.BytesIO(result._repr_png_()))
    assert sheet.width > 2 * 96 + 256 and "1 samples" in repr(result) and "Palette(#" in repr(result)
    with pytest.raises(UserError, match="names a format that is not written"):
        result.save(tmp_path / "x.gif")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"edit": "remove everything"}, "'everything' is no color"),
        ({"saturation": -1}, "the saturation is a number from 0 to 100"),
        ({"saturation": float("nan")}, "the saturation is a number from 0 to 100"),
        ({"saturation": 1e30}, "the saturation is a number from 0 to 100, not 1e\\+30"),
        ({"samples": 65}, "at most 64 samples"),
        ({"samples": -1}, "at most 64 samples"),
        ({"samples": 1, "temperature": 3}, "from 0 to 2, not 3"),
        ({"samples": 1, "seed": -5}, "the seed of samples is a whole number from 0 on, not -5"),
        ({"palette": "nowhere.json"}, "the palette nowhere.json cannot be read"),
        ({"palette": Palette.from_colors(["red"]), "reference": np.zeros((20, 20), np.uint8)}, "leave one out"),
        ({"reference": "nowhere.jpg"}, "nowhere.jpg"),
    ],
)
def test_what_cannot_be_painted_is_one_sentence(colorizer, photo, options, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        colorizer(photo, **options)
    assert "\n" not in str(error.value)


def test_a_model_without_palettes_says_so(photo):
    colorizer = Colorizer(tiny_weights("vae"))
    for options in ({"edit": "shift hue=20"}, {"samples": 1}, {"palette": Palette.from_colors(["red"])}):
        with pytest.raises(UserError, match="takes no palette"):
            colorizer(photo, **options)


def test_the_package_offers_its_classes():
    assert set(palgan_jax.__all__) == {"Colorizer", "Palette", "open_picture"}
    with pytest.raises(AttributeError, match="no attribute 'Colouriser'"):
        palgan_jax.Colouriser  # noqa: B018


# ------------------------------------------------------------------------------------------------------ the command


def test_samples_are_files_and_a_sheet_and_are_known_again(palgan, photo, tmp_path):
    code, out, _ = palgan(photo, options=["--samples", "2"])
    assert code == 0
    names = ["dog.png", "dog-sample1.png", "dog-sample2.png", "dog-samples.jpg"]
    results = [tmp_path / "out" / name for name in names]
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".jsonl") == sorted(names)
    assert all(is_result(path) for path in results)
    assert out.splitlines()[-1] == f"Colorized 4 of 4 results of 1 picture into {tmp_path / 'out'}."
    assert len({path.read_bytes() for path in results}) == 4
    before = {path: path.stat().st_mtime_ns for path in results}
    assert palgan(photo, options=["--samples", "2"])[1].count("is done already") == 4
    assert palgan(photo, options=["--samples", "2", "--overwrite"])[0] == 0
    assert {path.name for path in (tmp_path / "out").glob("dog*")} == set(names)
    assert all(path.stat().st_mtime_ns > before[path] for path in results)
    assert palgan(photo, options=["--samples", "1", "--seed", "3"])[0] == 0
    assert (tmp_path / "out" / "dog-sample1-2.png").is_file() and not (tmp_path / "out" / "dog-2.png").exists()


def test_samples_of_a_result_with_a_name_of_its_own(palgan, photo, tmp_path):
    assert palgan(photo, output=tmp_path / "out" / "a.webp", options=["--samples", "1"])[0] == 0
    assert {path.name for path in (tmp_path / "out").glob("a*")} == {"a.webp", "a-sample1.webp", "a-samples.jpg"}


def test_each_option_of_colors_changes_the_settings(palgan, photo, tmp_path, samples):
    Palette.of(samples / "parrot.jpg").save(tmp_path / "p.gpl")
    option_sets = [
        ["--palette", tmp_path / "p.gpl"],
        ["--reference", samples / "parrot.jpg"],
        ["--reference", samples / "parrot.jpg", "--reference", f"{samples / 'hay-field.jpg'}:0.5"],
        ["--edit", "shift hue=120"],
        ["--edit", "shift hue=120; boost teal 3"],
        ["--saturation", "0.4"],
    ]
    for options in [[], *option_sets]:
        assert palgan(photo, options=options)[0] == 0
    results = sorted((tmp_path / "out").glob("dog*.png"))
    assert len({path.read_bytes() for path in results}) == len(option_sets) + 1
    assert "is done already" in palgan(photo, options=["--edit", "shift hue=120"])[1]


def test_a_locked_series_has_one_palette_for_all(palgan, colorizer, photo, samples, tmp_path, monkeypatch):
    other = tmp_path / "other.png"
    opened(samples / "parrot.jpg").resize((80, 80)).save(other)
    broken = tmp_path / "broken.png"
    broken.write_bytes(other.read_bytes()[:3000])
    monkeypatch.setattr(predictor, "followed", None)  # the mean of several is not followed to the letter
    code, _, errors = palgan(photo, other, broken, options=["--lock"])
    assert code == 2 and len(errors) == 1 and "broken.png" in errors[0]
    mean = Palette.mean([colorizer.predict_palette_of(path) for path in (photo, other)])
    for path in (photo, other):
        result = open_picture(tmp_path / "out" / f"{path.stem}.png").astype(int)
        painted = colorizer.paint(take_picture(path), Painting(mean, follow=False)).pixels
        assert np.abs(result - painted).mean() < 0.5
    assert palgan(photo, other, options=["--lock"])[1].count("is done already") == 2


def test_a_gray_reference_is_said(palgan, photo, tmp_path):
    gray = tmp_path / "gray.png"
    Image.new("L", (40, 40), 128).save(gray)
    code, _, errors = palgan(photo, options=["--reference", gray])
    assert code == 0
    assert errors == [f"palgan: note: {gray} is gray, and so will be what is painted with its palette."]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--lock", "--palette", "x.json"], "--palette and --lock both say which palette"),
        (["--reference", "{photo}:-2"], "the weight of {photo} is a number of at least 0, not -2"),
        (["--reference", "{photo}:0"], "the weights of palettes are at least 0"),
        (["--palette", "{photo}"], "{photo} is no name of a palette"),
        (["--edit", "paint it black"], "'paint it black' is no edit"),
        (["--edit", ""], "there is no edit in an empty text"),
        (["--samples", "-1"], "there are at most 64 samples"),
        (["--saturation", "nan"], "the saturation is a number from 0 to 100"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(palgan, photo, options, sentence):
    words = [word.format(photo=photo) for word in options]
    code, _, errors = palgan(photo, options=words)
    assert code == 2 and len(errors) == 1 and sentence.format(photo=photo) in errors[0]


def test_palettes_by_the_command(checkpoint, photo, samples, tmp_path, capsys):
    from palgan_jax.cli import main

    def palette(*words):
        code = main(["palette", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    p, q = tmp_path / "p.json", tmp_path / "q.json"
    assert palette("extract", samples / "parrot.jpg", "--output", p) == (0, f"Wrote {p}.\n", "")
    assert Palette.load(p) == Palette.of(samples / "parrot.jpg")
    code, _, err = palette("extract", photo, "--output", p)
    assert code == 2 and f"{p} exists already" in err and Palette.load(p) == Palette.of(samples / "parrot.jpg")
    assert palette("extract", photo, "--predict", "--checkpoint", checkpoint, "--output", q)[0] == 0
    assert Palette.load(q).distance(Colorizer.load(checkpoint).predict_palette_of(photo)) < 1e-3
    assert palette("mix", f"{p}:3", q, "-o", tmp_path / "m.json")[0] == 0
    mixed = Palette.load(tmp_path / "m.json")
    assert mixed.distance(Palette.load(p).mix(Palette.load(q), 0.25)) < 1e-3
    assert palette("edit", p, "shift hue=40", "-o", tmp_path / "e.json")[0] == 0
    assert Palette.load(tmp_path / "e.json") == Palette.load(p).shift(hue=40)
    assert palette("convert", p, tmp_path / "p.ase", "--swatches", 12)[0] == 0
    assert Palette.load(tmp_path / "p.ase").distance(Palette.load(p)) < 0.1
    code, out, _ = palette("show", p, "--swatches", 3, "-o", tmp_path / "p.png")
    assert code == 0 and len(out.splitlines()) == 4 and out.splitlines()[1].startswith("#")
    assert opened(tmp_path / "p.png").size == (256, 304)
    for words, sentence in (
        (["show", p, "-o", tmp_path / "x.png", "--swatches", 0], "at least one color, not 0"),
        (["show", p, "-o", tmp_path / "x.gif"], "let it end in .png"),
        (["convert", p, tmp_path / "x.pal"], "x.pal is no name of a palette"),
        (["convert", p, tmp_path / "x.gpl", "--swatches", 999], "1 to 256 swatches"),
        (["edit", p, "shift"], "is no edit"),
        (["mix", f"{p}:0"], "the weights of palettes"),
        (["extract", photo, "--checkpoint", checkpoint], "add --predict"),
        (["show", tmp_path / "nothing.json"], "cannot be read"),
    ):
        code, _, err = palette(*words)
        assert code == 2 and sentence in err and len(err.splitlines()) == 1, err
    assert not list(tmp_path.glob("x.*"))


def test_what_paints_is_told_apart_by_its_digest():
    palette = Palette.from_colors(["red"])
    paintings = [Painting(), Painting(palette), Painting(palette.shift(hue=1)), Painting(saturation=0.9)]
    paintings += [Painting(sample=1), Painting(sample=2), Painting(sample=1, seed=1), Painting(sample=1, temperature=2)]
    assert len({painting.digest() for painting in paintings}) == len(paintings)
    assert Painting(seed=1).digest() == Painting().digest(), "a seed without samples decides nothing"


def assert_held(points, result, photo):
    """The result has the given colors at the points, at the luminance of the photograph."""
    hints = Hints.at_points(points)
    for (x, y), ab in zip(hints.places, hints.colors, strict=True):
        expected = lab_to_levels(np.array([[luminance(open_picture(photo))[y, x], *ab]], np.float32))
        difference = deltaE_ciede2000(rgb2lab(expected), rgb2lab(result.pixels[y, x][None]))
        assert difference.max() < 2


def test_points_and_a_region_together(colorizer, photo):
    points = [((20, 50), "#c03030"), ((80, 10), "#3060b0")]
    left = np.zeros((72, 96), np.uint8)
    left[:, :48] = 255
    with_points = colorizer(photo, points=points)
    with_region = colorizer(photo, points=points, regions=[(left, Palette.from_colors(["#40a040", "#908070"]))])
    for result in (with_points, with_region):
        assert_held(points, result, photo)
    change = np.abs(with_region.pixels.astype(int) - with_points.pixels).mean(-1)
    assert change[:, 50:].mean() < 0.5, "the region ends where its mask does"
    assert change[:24, :24].mean() > 5, "and is painted with its palette away from the points"


def test_points_are_held_whatever_the_palette_and_move_it(colorizer, photo):
    points = [((20, 50), "#c03030"), ((80, 10), "#3060b0")]
    automatic, with_points = colorizer(photo), colorizer(photo, points=points)
    assert with_points.image.size == automatic.image.size
    assert np.abs(luminance(with_points.pixels) - luminance(automatic.pixels)).max() < 1
    assert_held(points, with_points, photo)
    palette = Palette.from_colors([color for _, color in points])
    assert with_points.palette.distance(palette) < automatic.palette.distance(palette)
    gray = colorizer(photo, points=points, saturation=0)
    assert np.ptp(gray.pixels[50, 20].astype(int)) > 20
    with pytest.raises(UserError, match="the point 96,0 is outside of the picture"):
        colorizer(photo, points=[((96, 0), "red")])


def test_points_of_the_command_and_pictures_of_strokes(palgan, photo, tmp_path):
    strokes = np.zeros((72, 96, 4), np.uint8)
    strokes[50, 10:30] = (192, 48, 48, 255)
    Image.fromarray(strokes).save(tmp_path / "strokes.png")
    hints, path = Hints.of_words([str(tmp_path / "strokes.png")])
    assert path == tmp_path / "strokes.png" and len(hints.places) == 20
    code, _, errors = palgan(photo, options=["--point", "20,50=#c03030", "--point", "80,10=#3060b0", "--samples", "1"])
    assert code == 0, errors
    with Image.open(tmp_path / "out" / "dog.png") as result:
        a, b = rgb2lab(np.asarray(result))[50, 20, 1:]
    assert a > 30 and b > 15
    code, _, errors = palgan(photo, options=["--point", tmp_path / "strokes.png"], output=tmp_path / "strokes")
    assert code == 0, errors
    for words, sentence in (("20,50", "there is no file"), ("2,5=what", "is no color"), ("200,5=red", "is outside of")):
        code, _, errors = palgan(photo, options=["--point", words], output=tmp_path / "wrong")
        assert code == 2 and any(sentence in line for line in errors), errors


def test_a_subject_that_was_painted_before_is_painted_as_a_new_one(colorizer, photo):
    picture, _ = read_picture(photo)
    mask = np.zeros(picture.pixels.shape[:2], np.uint8)
    mask[:30, :40] = 255
    red, blue = Palette.from_colors(["#c03030"]), Palette.from_colors(["#3050a0", "gray"])
    paintings = [
        Painting(),
        Painting(saturation=1.4),
        Painting(red),
        Painting(red, regions=(Region(mask, blue),)),
        Painting(regions=(Region(mask, red),)),
        Painting(hints=Hints.at_points([((10, 60), "#30a030")])),
        Painting(red, hints=Hints.at_points([((90, 5), "#30a030"), ((3, 4), "navy")])),
        Painting(resolution=128),
        Painting(red, resolution=128, saturation=0.5),
        Painting(),
    ]
    painted_subject = Subject(picture)
    for painting in paintings:
        repeat, expected = (colorizer.paint(subject, painting) for subject in (painted_subject, Subject(picture)))
        np.testing.assert_array_equal(repeat.pixels, expected.pixels)
        assert repeat.palette == expected.palette


def test_what_earlier_versions_made_is_known_by_its_digest():
    assert Painting().digest().startswith("ab8867b01dd7dfd3")
    assert Painting(saturation=1.2, paint_border=True).digest().startswith("32193dc2d62c5c4b")
    assert Painting(restore_contrast=True).digest() != Painting().digest()
