"""The page in a real browser, against the command that people run."""

import base64
import io
import json
import threading

import numpy as np
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import expect

from palgan_jax.palette.color_shares import color_shares
from palgan_jax.palette.colors import parse_color
from palgan_jax.palette.palette import Palette
from palgan_jax.web.app import Service, application
from palgan_jax.web.server import listen
from palgan_jax.web.shelf import HeldPicture
from tests.support.colorize_model import tiny_weights
from tests.support.picture_files import RGB, encoded, scene
from tests.support.web_page import PATIENCE, downloaded, drag, drop, loaded, open_picture, settle
from tests.web.conftest import colorizer_of

TOLD = "#said"


@pytest.fixture
def page(browser, server):
    page = loaded(browser, server[0], viewport={"width": 1200, "height": 900})
    yield page
    page.context.close()
    assert page.problems == []
    assert all(url.startswith((server[0], "blob:", "data:")) for url in page.requested_urls)


@pytest.fixture
def photograph(tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "<script>alert(1)</script>", 6
    path = tmp_path / "old boat.jpg"
    path.write_bytes(encoded(scene(96, 72), "JPEG", quality=95, exif=exif))
    return path


def pixels(canvas):
    """The picture on a canvas, as it is shown."""
    data = canvas.evaluate("(canvas) => canvas.toDataURL('image/png').split(',')[1]")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), int)


def shares_of(page, tmp_path):
    """The palette that the page saves."""
    path = downloaded(page, "#save-palette", tmp_path / "saved.json")
    return Palette.load(path), path


def on_plane(ab):
    """Where a color lies in the plane, in shares of its width and height."""
    edge = 110 * 16 / 15
    return (ab[0] / edge + 1) / 2, (1 - ab[1] / edge) / 2


def test_from_a_dropped_picture_to_the_file_that_the_command_writes(page, photograph, by_command, tmp_path):
    open_picture(page, photograph)
    gray, colored = pixels(page.locator("#gray")), pixels(page.locator("#colored"))
    assert gray.shape == (96, 72, 3)  # upright
    assert np.abs(gray - gray.mean(-1, keepdims=True)).max() < 6
    assert np.ptp(colored, axis=-1).mean() > 20
    result = downloaded(page, "#download", tmp_path / "result.png")
    expected = by_command(photograph)
    assert np.array_equal(np.asarray(Image.open(result)), np.asarray(Image.open(expected)))
    assert result.read_bytes() == expected.read_bytes()  # and all that it says beside
    page.select_option("#format", "jpeg")
    result = downloaded(page, "#download", tmp_path / "result.jpg")
    assert result.read_bytes() == by_command(photograph, kind="jpg").read_bytes()


def test_the_line_between_gray_and_color_moves_by_mouse_and_keys(page, photograph):
    open_picture(page, photograph)
    handle = page.locator("#handle")
    drag(page, "#frame", (0.5, 0.5), (0.25, 0.6))
    assert int(handle.get_attribute("aria-valuenow")) == 25
    handle.focus()
    page.keyboard.press("End")
    assert handle.get_attribute("aria-valuenow") == "100"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuetext") == "2 percent gray"
    page.keyboard.down("g")
    assert "inset(0px 0%" in page.locator("#gray").evaluate("(e) => e.style.clipPath")
    page.keyboard.up("g")
    assert "inset(0px 98%" in page.locator("#gray").evaluate("(e) => e.style.clipPath")


def test_the_palette_is_edited_by_mouse_and_painted_as_by_the_command(page, photograph, by_command, tmp_path):
    open_picture(page, photograph)
    loaded_palette = Palette.from_colors(["#4080c0", "#60a050"], [3, 2])
    page.set_input_files("#palette-file", _file(tmp_path / "two.json", loaded_palette.to_json()))
    expect(page.locator("#palette-label")).to_have_text("two.json")
    settle(page)
    before = pixels(page.locator("#colored"))
    drag(page, "#plane", on_plane(parse_color("#4080c0")), on_plane((40, 40)))
    settle(page)
    shares, file = shares_of(page, tmp_path)
    expected = Palette.from_colors(["#c06050", "#60a050"], [3, 2])
    assert shares.distance(expected) < 0.5 * loaded_palette.distance(expected), "light went to where it was dragged"
    after = pixels(page.locator("#colored"))
    assert np.abs(after - before).mean() > 1
    page.locator("#saturation").fill("1.3")
    result = downloaded(page, "#download", tmp_path / "result.png")
    expected = by_command(photograph, "--palette", file, "--saturation", 1.3)
    assert result.read_bytes() == expected.read_bytes()
    page.click("#undo")  # the saturation
    page.click("#undo")  # the whole drag is one step
    settle(page)
    assert shares_of(page, tmp_path)[0] == loaded_palette
    assert np.array_equal(pixels(page.locator("#colored")), before)
    page.keyboard.press("Control+Shift+Z")
    settle(page)
    assert shares_of(page, tmp_path)[0] == shares
    assert np.array_equal(pixels(page.locator("#colored")), after)


def test_the_palette_is_edited_by_keyboard_alone(page, photograph, tmp_path):
    open_picture(page, photograph)
    automatic, _ = shares_of(page, tmp_path)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "plane":
            break
    assert page.evaluate("document.activeElement.id") == "plane"
    page.keyboard.press("ArrowUp")
    expect(page.locator(TOLD)).to_contain_text("percent, a")
    page.keyboard.press("Enter")
    expect(page.locator(TOLD)).to_contain_text("Holding")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(TOLD)).to_contain_text("Moved to")
    shares, _ = shares_of(page, tmp_path)
    assert shares.distance(automatic) > 0.1
    page.focus("#plane")
    page.keyboard.press("+")
    boosted, _ = shares_of(page, tmp_path)
    assert 0 < boosted.distance(shares) < shares.distance(automatic)
    page.focus("#plane")
    page.keyboard.press("Delete")
    expect(page.locator(TOLD)).to_contain_text("Removed")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Escape")
    expect(page.locator(TOLD)).to_have_text("Given up.")
    for _ in range(20):
        page.keyboard.press("Control+z")
    assert shares_of(page, tmp_path)[0] == automatic
    for _ in range(2):
        page.keyboard.press("Control+y")
    assert shares_of(page, tmp_path)[0] == boosted


def test_swatches_sliders_references_versions_and_files_make_palettes(page, photograph, tmp_path):
    open_picture(page, photograph)
    automatic, _ = shares_of(page, tmp_path)
    first = page.locator("#swatches li").first
    assert float(first.locator("input[type=range]").input_value()) < 75
    first.locator("input[type=range]").fill("80")
    values = [float(text.split()[0]) for text in page.locator("#swatches output").all_inner_texts()]
    assert values[0] == 80 and abs(sum(values) - 100) < 3
    first.locator("input[type=color]").fill("#30a030")
    expect(first.locator("input[type=range]")).to_have_attribute("aria-label", "Share of vivid green")
    count = page.locator("#swatches li").count()
    page.locator("#swatches li").first.locator("button").click()
    expect(page.locator(TOLD)).to_contain_text("Removed")
    assert page.locator("#swatches li").count() <= count
    page.click("#reset")
    assert shares_of(page, tmp_path)[0] == automatic
    page.locator("#hue").fill("60")
    shifted, _ = shares_of(page, tmp_path)
    assert shifted.distance(automatic.shift(hue=60)) < 0.01 < shifted.distance(automatic)
    page.locator("#add-color input").fill("#c02020")
    expect(page.locator("#hue")).to_have_value("0")  # it is in the palette now
    drop(page, "#choose-reference", _file(tmp_path / "leaf.png", encoded(RGB, "PNG")))
    expect(page.locator("#palette-label")).to_have_text("Colors of leaf.png")
    assert shares_of(page, tmp_path)[0] == Palette.of(RGB)
    page.locator("#strength").fill("0")
    assert shares_of(page, tmp_path)[0].distance(Palette.of(RGB)) > 0.05
    page.locator("#versions button").nth(3).click()
    expect(page.locator("#versions button[aria-pressed=true]")).to_have_attribute("aria-label", "Version 3")
    teal = Palette.from_colors(["teal"])
    page.set_input_files("#palette-file", _file(tmp_path / "teal.json", teal.to_json()))
    expect(page.locator("#palette-label")).to_have_text("teal.json")
    assert shares_of(page, tmp_path)[0] == teal
    page.set_input_files("#palette-file", _file(tmp_path / "broken.gpl", b"x"))
    expect(page.locator("#error")).to_contain_text("broken.gpl is no readable .gpl file")


def _file(path, content):
    path.write_bytes(content)
    return path


def test_regions_and_points_are_painted_as_by_the_command(page, photograph, by_command, tmp_path):
    open_picture(page, photograph)
    page.click("#where button")
    drag(page, "#frame", (0.2, 0.25), (0.8, 0.25))
    page.locator("#hue").fill("150")
    mask = page.locator("#overlay").evaluate("(e) => e.width")
    assert mask == 72
    _, palette = shares_of(page, tmp_path)
    palette = palette.rename(tmp_path / "region.json")
    page.keyboard.press("2")
    settle(page)  # the picture has more room now
    box = page.locator("#frame").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.75 * box["height"])
    expect(page.locator("#points li")).to_have_count(1)
    page.locator("#points input").fill("#2040d0")
    page.locator(".mark").focus()
    page.keyboard.press("ArrowLeft")
    settle(page)
    point = page.locator("#points span").inner_text()
    assert point == "#2040d0 at 35, 72"
    with page.expect_request("**/api/result") as request:
        result = downloaded(page, "#download", tmp_path / "result.png")
    wish = json.loads(request.value.post_data)["wish"]
    region = _file(tmp_path / "mask.png", base64.b64decode(wish["regions"][0]["mask"]))
    options = ["--region", f"{region}={palette}", "--point", "35,72=#2040d0"]
    assert result.read_bytes() == by_command(photograph, *options).read_bytes()
    alpha = np.asarray(Image.open(region))[..., 3]
    assert alpha[24, 36] == 255 and alpha[70, 36] == 0 and len(np.unique(alpha)) > 5, "the brush is soft"
    page.locator(".mark").focus()
    page.keyboard.press("Delete")
    expect(page.locator("#points li")).to_have_count(0)
    page.click("#where .chip button")
    expect(page.locator("#where input")).to_have_count(1)
    settle(page)


def test_a_region_is_painted_by_keys(page, photograph):
    open_picture(page, photograph)
    page.keyboard.press("3")
    settle(page)  # the brush is ready in the next frame
    page.focus("#frame")
    with page.expect_request("**/api/preview") as request:
        page.keyboard.press(" ")
    assert json.loads(request.value.post_data)["wish"]["regions"][0]["mask"]
    settle(page)


def test_a_region_of_a_panorama_is_painted(page, tmp_path):
    open_picture(page, _file(tmp_path / "strip.png", encoded(scene(3000, 40), "PNG")))
    page.keyboard.press("3")
    settle(page)  # the brush is ready in the next frame
    page.focus("#frame")
    with page.expect_response("**/api/preview") as response:
        page.keyboard.press(" ")
    assert response.value.ok and json.loads(response.value.request.post_data)["wish"]["regions"]


def test_the_same_arithmetic_as_in_python(page, samples):
    """Edits of the page beside those of the package, whose numbers are compared with edited pictures."""
    palette = Palette.of(samples / "hay-field.jpg")
    edits = {
        "shift": palette.shift(40, 1.2, 6),
        "boost": palette.boost("#5a7a3a", 2.5),
        "remove": palette.remove("#5a7a3a", 20),
        "mix": palette.mix(Palette.from_colors(["teal"]), 0.3),
        "same": palette,
    }
    spec = {**vars(palette.spec), "ab_range": palette.ab_range}
    palette_of_page = page.evaluate(
        """async ([spec, shares, teal]) => {
          const { Palette, Spec } = await import("/palette.js");
          const { abOfHex } = await import("/color.js");
          const s = new Spec(spec), p = new Palette(s, { shares }), q = new Palette(s, { shares: teal });
          const c = abOfHex("#5a7a3a");
          const edits = {
            shift: () => p.shift({ hue: 40, chroma: 1.2, temperature: 6 }),
            boost: () => p.boost(c, 2.5), remove: () => p.remove(c, 20),
            mix: () => p.mix(q, 0.3), same: () => p.shift({}),
          };
          const made = Object.fromEntries(Object.entries(edits).map(([k, f]) => [k, Array.from(f().shares)]));
          const swatches = p.swatches(5).map(({ color, share, ab }) => ({ color, share, ab }));
          return { made, swatches, weights: Array.from(p.weights), colors: p.colors, file: JSON.stringify(p) };
        }""",
        [spec, palette.shares.tolist(), Palette.from_colors(["teal"]).shares.tolist()],
    )
    for name, expected in edits.items():
        assert np.abs(np.array(palette_of_page["made"][name]) - expected.shares).max() < 2e-6, name
    colors, shares = color_shares(palette.shares)
    assert np.abs(np.array(palette_of_page["colors"]) - colors).max() < 1e-3
    assert np.abs(np.array(palette_of_page["weights"]) - shares).max() < 1e-5
    swatches = sorted((*swatch["ab"], 100 * swatch["share"]) for swatch in palette_of_page["swatches"])
    assert (
        np.abs(np.array(swatches) - sorted((*swatch.ab, 100 * swatch.share) for swatch in palette.swatches(5))).max()
        < 0.05
    )
    assert {swatch["color"] for swatch in palette_of_page["swatches"]} == {
        swatch.color for swatch in palette.swatches(5)
    }
    assert Palette.from_bytes(palette_of_page["file"].encode(), "x.json") == palette


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(browser, server, photograph, scheme):
    options = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "color_scheme": scheme}
    page = loaded(browser, server[0], **options)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 600) == (scheme == "light")
    open_picture(page, photograph)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for name in ("#plane", "#hue", "#saturation", "#versions button >> nth=5", "#choose-reference", "#download"):
        element = page.locator(name)
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360, name
        assert box["height"] >= 20, name
    page.locator("#download").tap(trial=True)
    assert page.problems == []
    page.context.close()


def test_all_that_can_be_used_has_a_name(page, photograph):
    open_picture(page, photograph)
    page.click("#where button")
    page.click("#add-point")
    nameless = page.locator("button, input, select, canvas[tabindex], [role=slider], [role=img]").evaluate_all(
        """(all) => all.filter((e) => e.offsetParent && !(e.getAttribute("aria-label") || e.textContent.trim()
          || e.labels?.[0]?.textContent.trim())).map((e) => e.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("#plane").get_attribute("aria-label")
    settle(page)


def test_names_and_texts_of_files_are_no_markup(page, tmp_path):
    name = "<img src=x onerror=alert(1)>&amp;\"'.png"
    path = _file(tmp_path / "x.png", encoded(RGB, "PNG"))
    drop(page, "#stage", path, name)
    expect(page.locator("#name")).to_have_text(name, timeout=PATIENCE)
    assert page.locator("#name *").count() == 0
    drop(page, "#stage", _file(tmp_path / "y.png", b"?"), f"{name}y")
    expect(page.locator("#error span")).to_contain_text(name[:20], timeout=PATIENCE)
    assert page.locator("#error span *").count() == 0
    settle(page)


def test_a_picture_that_was_dropped_is_sent_again(browser, photograph, tmp_path):
    service = Service(colorizer_of(tiny_weights()), budget=1)  # the newest picture alone
    listener = listen(0)
    config = uvicorn.Config(application(service), log_config=None, lifespan="off", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    page = loaded(browser, f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        open_picture(page, photograph)
        before = pixels(page.locator("#colored"))
        service.shelf.add(HeldPicture(b"another", "another", (16, 16), (), None, {}))
        page.locator("#saturation").fill("2")
        settle(page)
        assert np.abs(pixels(page.locator("#colored")) - before).mean() > 1
        assert page.locator("#error").is_hidden()
    finally:
        page.context.close()
        running.should_exit = True
        thread.join()
