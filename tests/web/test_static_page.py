"""The page without a server in a real browser, against the command that people run."""

import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.data.decode import read_rgb
from palgan_jax.export.onnx_parts import onnx_parts
from palgan_jax.palette.histogram import histogram
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.samples import sample_palette
from palgan_jax.palette.spec import PaletteSpec
from palgan_jax.palette.transport import followed
from palgan_jax.pretrained.origins import license_files
from palgan_jax.web import static_page
from palgan_jax.web.static_page import write_page
from tests.palette.test_palette_files import DARK_RED, FILES, MALFORMED
from tests.support.colorize_model import tiny_weights
from tests.support.picture_files import P3, RGB, SRGB_PARAMETERS, encoded, formula_curve, rgb_profile, scene
from tests.support.static_page import offered, runtime_package
from tests.support.web_page import PATIENCE, downloaded, drag, drop, loaded, open_picture, settle

RECORD_MASKS = """() => {
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message) {
    if (message.content.wish?.regions?.length) window.masks = message.content.wish.regions.map(({ mask }) => mask);
    return post.call(this, message);
  };
}"""
"""Keeps the masks of the regions that are painted."""


@pytest.fixture(scope="module")
def package():
    with pytest.MonkeyPatch.context() as patch:
        yield runtime_package(patch)


def opened(browser, address):
    page = loaded(browser, address, viewport={"width": 1200, "height": 900})
    page.evaluate(RECORD_MASKS)
    return page


def at_end(page, address):
    page.context.close()
    assert page.problems == []
    assert f"{address}model/painter.onnx" in page.requested_urls  # what its thread asks for is heard, too
    assert all(url.startswith((address, f"blob:{address.rsplit('/', 2)[0]}", "data:")) for url in page.requested_urls)


@pytest.fixture(scope="module")
def folder(package, tmp_path_factory):
    """With the tiny model of `by_command`, whose weights keep 32 bits.

    It paints at the edge of the gamut, where the rounding of weights to 16 bits is seen here and there.
    """
    folder = tmp_path_factory.mktemp("host") / "a page"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static_page, "onnx_parts", lambda weights, half: onnx_parts(weights))
        write_page(folder, tiny_weights(), package)
    return folder


@pytest.fixture(scope="module")
def page(browser, folder):
    with offered(folder) as address:
        page = opened(browser, address.replace(" ", "%20"))
        yield page
        at_end(page, address.replace(" ", "%20"))


@pytest.fixture
def photograph(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    # Another name in each test, by which the page is known to show it.
    return _file(tmp_path / f"old boat, {tmp_path.name}.jpg", encoded(scene(96, 72), "JPEG", quality=95, exif=exif))


def _file(path, content):
    path.write_bytes(content)
    return path


def levels(path):
    return np.asarray(Image.open(path)).astype(int)


def assert_alike(result, expected, most=2):
    """No level of two files is farther apart than so much."""
    result, expected = levels(result), levels(expected)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= most


def saved_palette(page, tmp_path):
    path = downloaded(page, "#save-palette", tmp_path / "saved.json")
    return Palette.load(path), path


def test_samples_are_painted_as_by_the_package(browser, package, samples, tmp_path):
    from palgan_jax.checkpoint.find import find_weights

    folder, weights = tmp_path / "host" / "page", find_weights()
    folder.parent.mkdir()
    write_page(folder, weights, package)
    for name, content in license_files("efficientnet_lite0").items():
        assert (folder / "model" / name).read_bytes() == content
    colorizer = Colorizer(weights, "onnx")
    with offered(folder) as address:
        page = opened(browser, address)
        for name in ("egret", "parrot", "wooden-house"):
            drop(page, "#stage", samples / f"{name}.jpg")
            expect(page.locator("#name")).to_have_text(f"{name}.jpg", timeout=PATIENCE)
            result = downloaded(page, "#download", tmp_path / f"{name}.png")
            expected = tmp_path / f"{name}-expected.png"
            painted = colorizer(samples / f"{name}.jpg").pixels
            Image.fromarray(painted).save(expected)
            assert np.ptp(painted, axis=-1).mean() > 5
            assert_alike(result, expected)
        drop(page, "#choose-reference", samples / "beach-malibu.jpg")
        expect(page.locator("#palette-label")).to_have_text("Colors of beach-malibu.jpg", timeout=PATIENCE)
        result = downloaded(page, "#download", tmp_path / "reference.png")
        painted = colorizer(samples / "wooden-house.jpg", reference=samples / "beach-malibu.jpg").pixels
        assert np.abs(painted.astype(int) - levels(expected)).mean() > 1
        Image.fromarray(painted).save(expected)
        assert_alike(result, expected)
        at_end(page, address)


def test_the_palette_is_edited_and_painted_as_by_the_command(page, photograph, by_command, tmp_path):
    open_picture(page, photograph)
    assert_alike(downloaded(page, "#download", tmp_path / "automatic.png"), by_command(photograph))
    automatic, _ = saved_palette(page, tmp_path)
    drag(page, "#plane", (0.5, 0.5), (0.75, 0.3))
    page.locator("#saturation").fill("1.3")
    settle(page)
    shares, file = saved_palette(page, tmp_path)
    assert shares.distance(automatic) > 0.05
    result = downloaded(page, "#download", tmp_path / "result.png")
    assert_alike(result, by_command(photograph, "--palette", file, "--saturation", 1.3))
    content = page.locator("#colored").evaluate("(canvas) => canvas.toDataURL('image/png').split(',')[1]")
    preview = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)
    assert np.abs(preview - levels(result)).max() <= 1  # as large as the picture
    for _ in range(2):
        page.click("#undo")
    assert saved_palette(page, tmp_path)[0] == automatic


def test_references_and_versions_make_palettes(page, photograph, tmp_path):
    open_picture(page, photograph)
    predicted, _ = saved_palette(page, tmp_path)
    leaf = _file(tmp_path / "leaf.png", encoded(RGB, "PNG"))
    drop(page, "#choose-reference", leaf)
    expect(page.locator("#palette-label")).to_have_text("Colors of leaf.png")
    np.testing.assert_allclose(saved_palette(page, tmp_path)[0].shares, Palette.of(RGB).shares, atol=2e-5)
    gray = _file(tmp_path / "gray.png", encoded(Image.new("L", (90, 70), 90), "PNG"))
    drop(page, "#choose-reference", gray)
    expect(page.locator("#error span")).to_contain_text("gray.png is gray", timeout=PATIENCE)
    page.click("#error button")
    page.locator("#versions button").nth(3).click()
    version = saved_palette(page, tmp_path)[0]
    np.testing.assert_allclose(version.shares, sample_palette(predicted, 3).shares, atol=2e-6)


READ = """async ([name, data, spec]) => {
  const { paletteOfFile } = await import("./engine/palettes.js"), { Spec } = await import("./palette.js");
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  try {
    return Array.from((await paletteOfFile(new File([bytes], name), name, new Spec(spec))).palette);
  } catch (error) {
    return `${error.constructor.name}: ${error.message}`;
  }
}"""


def read_in_page(page, name, data, palette):
    spec = {**vars(palette.spec), "ab_range": palette.ab_range}
    return page.evaluate(READ, [name, base64.b64encode(data).decode(), spec])


def test_palette_files_are_read_as_by_the_package(page):
    colors = Palette.from_colors(["teal", "#c06050", "gold"], [3, 2, 1])
    other = Palette(colors.shares[::-1], PaletteSpec(sigma=0.15), 90)
    files = FILES | DARK_RED | {"exact.json": colors.to_json(), "other.json": other.to_json()}
    files["words.txt"] = b"teal 3\nTomato 2; #fd0\n# nothing\n//"
    for name, data in files.items():
        expected = Palette.from_bytes(data, name).counted_as(colors.spec)
        np.testing.assert_allclose(read_in_page(page, name, data, colors), expected.shares, atol=1e-5, err_msg=name)
    for name, data, sentence in MALFORMED:
        message = read_in_page(page, name, data, colors)
        assert isinstance(message, str) and message.startswith(f"Error: {name} is ") and message.endswith("."), message
        assert "\n" not in message and ("opaque" in message) == ("opaque" in sentence)


def test_a_palette_file_is_loaded_on_the_page(page, photograph, tmp_path):
    open_picture(page, photograph)
    path = tmp_path / "colors.gpl"
    Palette.from_colors(["teal", "#c06050"], [3, 2]).save(path)
    page.set_input_files("#palette-file", path)
    expect(page.locator("#palette-label")).to_have_text(path.name)
    np.testing.assert_allclose(saved_palette(page, tmp_path)[0].shares, Palette.load(path).shares, atol=2e-6)
    page.set_input_files("#palette-file", _file(tmp_path / "broken.gpl", b"x"))
    expect(page.locator("#error span")).to_contain_text("broken.gpl is no readable .gpl file")
    page.click("#error button")


def test_regions_and_given_colors_are_painted_as_by_the_command(page, photograph, by_command, tmp_path):
    open_picture(page, photograph)
    page.click("#where button:has-text('Region')")
    drag(page, "#frame", (0.2, 0.3), (0.7, 0.3))
    page.locator("#hue").fill("120")
    settle(page)
    _, palette = saved_palette(page, tmp_path)
    result = downloaded(page, "#download", tmp_path / "region.png")
    region = _file(tmp_path / "mask.png", base64.b64decode(page.evaluate("masks")[0]))
    options = ["--region", f"{region}={palette}"]
    assert_alike(result, by_command(photograph, *options))
    page.click("text=Give a color")
    box = page.locator("#frame").bounding_box()
    for x, y in ((0.5, 0.8), (0.3, 0.35)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    for n, color in enumerate(("#2040d0", "#40a040")):
        page.locator("#points input").nth(n).fill(color)
    settle(page)
    result = downloaded(page, "#download", tmp_path / "points.png")
    for text in page.locator("#points li span").all_inner_texts():
        color, _, place = text.partition(" at ")
        options += ["--point", f"{place.replace(' ', '')}={color}"]
    assert len(options) == 6
    assert_alike(result, by_command(photograph, *options))
    page.click("#where input >> nth=0", force=True)


def test_colors_are_moved_to_palettes_as_by_the_package(page):
    rng = np.random.default_rng(0)
    ab = rng.normal(0, 20, (16, 16, 2)).astype(np.float32)
    h, predicted = (histogram(rng.normal(0, 0.2, (9, 9, 2)).astype(np.float32)) for _ in range(2))
    for weights in (np.ones((16, 16)), rng.uniform(0, 255, (16, 16)), np.zeros((16, 16))):
        expected = followed(ab, h, predicted, weights=weights.astype(np.float32))
        shares = page.evaluate(
            """async ([a, b, h, predicted, weights, spec]) => {
              const { followed } = await import("./engine/transport.js"), { Spec } = await import("./palette.js");
              return followed([a, b], h, predicted, new Spec(spec), 16, weights).map((plane) => [...plane]);
            }""",
            [
                *(ab[..., i].ravel().tolist() for i in range(2)),
                *(x.ravel().tolist() for x in (h, predicted, weights)),
                {**vars(PaletteSpec()), "ab_range": 110.0},
            ],
        )
        np.testing.assert_allclose(np.stack(shares, -1).reshape(ab.shape), expected, atol=1e-2)


def test_prints_and_transparent_pictures_are_painted_as_by_the_command(page, by_command, samples, tmp_path):
    photograph = (0.7 * read_rgb(samples / "hay-field.jpg")).astype(np.uint8)[:200, :240]
    sheet = np.pad(photograph, ((22, 30), (18, 26), (0, 0)), constant_values=240)
    path = _file(tmp_path / "print.png", encoded(sheet, "PNG"))
    open_picture(page, path)
    result, expected = levels(downloaded(page, "#download", tmp_path / "a.png")), levels(by_command(path))
    assert np.ptp(expected[:15], axis=-1).max() < 2 < np.ptp(expected[60:180, 60:180], axis=-1).mean()
    differs = (np.abs(result - expected) > 2).any(-1)
    assert differs.mean() < 0.005  # along the border alone, which ends a pixel earlier or later
    assert not differs[30:190, 30:220].any() and not differs[:15].any()
    rgba = np.dstack([scene(90, 70), np.tile(np.linspace(0, 255, 90).astype(np.uint8), (70, 1))])
    path = _file(tmp_path / "clear.png", encoded(rgba, "PNG"))
    open_picture(page, path)
    result, expected = levels(downloaded(page, "#download", tmp_path / "b.png")), levels(by_command(path))
    assert np.array_equal(result[..., 3], rgba[..., 3])
    opaque = rgba[..., 3] > 100
    assert np.abs(result - expected)[opaque].max() <= 6  # browsers keep colors in proportion to the opacity


def test_other_kinds_of_files_are_painted_as_by_the_command(page, by_command, tmp_path):
    rgb, profile = scene(60, 50), rgb_profile(P3, formula_curve(3, *SRGB_PARAMETERS))
    kinds = {
        "wide gamut.png": encoded(rgb, "PNG", icc_profile=profile),
        "inks.jpg": encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=95),
        "gray.webp": encoded(Image.fromarray(rgb).convert("L").convert("RGB"), "WEBP", lossless=True),
    }
    for name, content in kinds.items():
        path = _file(tmp_path / name, content)
        open_picture(page, path)
        # A level of luminance that a profile is rounded to differently is more than one in these strong colors.
        assert_alike(downloaded(page, "#download", tmp_path / "a.png"), by_command(path), most=5)


def _png_of(width, height):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    rows = zlib.compress(bytes((width + 15) // 8 * height), 9)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_bad_pictures_end_in_words_and_the_last_one_stays(page, photograph, tmp_path):
    open_picture(page, photograph)
    bad = {
        "empty.png": (b"", "is empty"),
        "words.png": (b"words", "cannot be read"),
        "cut.jpg": (photograph.read_bytes()[:400], "cannot be read"),
        "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "cannot be read"),
        "large.png": (_png_of(10_000, 10_000), "64 megapixels"),
    }
    for name, (content, reason) in bad.items():
        drop(page, "#stage", _file(tmp_path / name, content))
        expect(page.locator("#error span")).to_contain_text(reason, timeout=PATIENCE)
        expect(page.locator("#error span")).to_contain_text(name)
        expect(page.locator("#name")).to_have_text(photograph.name)
        expect(page.locator("#busy")).to_be_hidden()
        page.click("#error button")
    page.locator("#saturation").fill("0.5")
    settle(page)
    assert page.locator("#error").is_hidden()


def test_a_page_that_lacks_a_part_says_so(browser, folder, photograph):
    with offered(folder) as address:
        page = browser.new_context().new_page()
        page.route("**/painter.onnx", lambda route: route.fulfill(status=404))
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        drop(page, "#stage", photograph)
        expect(page.locator("#error span")).to_contain_text("painter.onnx is not where this page is", timeout=PATIENCE)
        page.context.close()
        page = browser.new_context().new_page()
        page.route("**/about.json", lambda route: route.fulfill(status=404))
        page.goto(address)
        expect(page.locator("#error span")).to_contain_text("lacks its model", timeout=PATIENCE)
        page.context.close()


def test_the_page_allows_itself_what_lies_beside_it_alone(folder):
    text = (folder / "index.html").read_text()
    policy = text.partition('Content-Security-Policy" content="')[2].partition('"')[0]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "http" not in policy
    about = json.loads((folder / "model" / "about.json").read_text())
    assert all((folder / example["url"]).is_file() for example in about["examples"])
    assert not (folder / "engine" / "server.js").exists()
    # There are no weights of others in it.
    assert sorted(path.name for path in (folder / "model").iterdir()) == ["about.json", "encoder.onnx", "painter.onnx"]
