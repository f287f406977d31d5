"""Colors, their edits and files of them, beside what coloraide, swatch and Pillow make of them."""

import io

import numpy as np
import pytest
import swatch
from coloraide import Color
from coloraide.css.color_names import name2val_map
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL.GimpPaletteFile import GimpPaletteFile

from palgan_jax import Palette
from palgan_jax.color import lab_under_d65
from palgan_jax.errors import UserError
from palgan_jax.palette import edits
from palgan_jax.palette.colors import hex_of, parse_color, shown_rgb, within_gamut
from palgan_jax.palette.edit_words import parse_edits
from palgan_jax.palette.swatch_files import read_swatches, write_swatches
from palgan_jax.palette.swatches import Swatch

TYPOS = {"mediumpurple": "#9370db", "palevioletred": "#db7093"}
"""Names that coloraide 8.13 has with 216 in the place of the 219 of CSS."""
share = st.floats(0, 1, width=32)
ab = st.tuples(*2 * [st.floats(-80, 80)])
srgb = st.integers(0, 0xFFFFFF).map(lambda number: Color(f"#{number:06x}"))


def ab_of(color: Color) -> list[float]:
    return color.convert("lab-d65").coords()[1:]


def test_the_names_of_css():
    for name in set(name2val_map) - {"transparent"}:
        np.testing.assert_allclose(parse_color(name), ab_of(Color(TYPOS.get(name, name))), atol=0.03, err_msg=name)


@settings(max_examples=50)
@given(srgb, st.booleans(), st.booleans(), st.booleans())
def test_colors_as_css_writes_them(color, comma, percent, opacity):
    options = {"comma": comma, "percent": percent, "alpha": opacity, "precision": 7, "none": True}
    texts = [color.to_string(hex=True, upper=True), color.to_string(hex=True) + "ff"]
    texts += [color.convert(space).to_string(**options) for space in ("srgb", "hsl", "hwb")]
    for text in texts:
        np.testing.assert_allclose(parse_color(text), ab_of(color), atol=0.03, err_msg=text)


NUMBERS = st.sampled_from(["0", "12", "200.5", "+.5", "1e2", "-3", "40%", "130%", "none"])
HUES = st.sampled_from(["30", "-40deg", "0.4turn", "120grad", "2RAD", "1000", "none"])


@settings(max_examples=100)
@given(st.sampled_from(["rgb", "RGBA", "hsl", "hwb"]), HUES, st.lists(NUMBERS, min_size=3, max_size=3), st.booleans())
def test_colors_as_people_write_them(name, hue, numbers, comma):
    first, second, third = numbers if name.lower().startswith("rgb") else [hue, *numbers[1:]]
    assume(name != "hsl" or second != "-3")  # 0 by CSS, and coloraide takes it as it is
    comma = comma and name != "hwb" and "none" not in (first, second, third)  # CSS has neither
    separator = " , " if comma else "  "
    text = f" {name}( {first}{separator}{second}{separator}{third} / 1)"
    text = text.replace(" / 1", "") if comma else text
    try:
        color = Color(text.strip())
    except ValueError:  # it has no numbers with commas where others are percentages, nor hsl(30, 20, 10)
        assert comma
        return
    np.testing.assert_allclose(parse_color(text), ab_of(color.convert("srgb").fit("srgb", method="clip")), atol=0.03)


@pytest.mark.parametrize(
    "arguments", ["", "1 2", "1 2 3 4", "1, 2 3", "1 2 3 /", "1 2 3 / 1 / 1", "1 2 3deg", "nan 0 0", "1_0 2 3", "٣ 2 3"]
)
def test_what_css_refuses(arguments):
    for name in ("rgb", "hsl", "hwb", "h\u017fl"):
        with pytest.raises(ValueError, match="is not a valid color"):
            Color(f"{name}({arguments})")
        with pytest.raises(UserError, match="is no color that is known here"):
            parse_color(f"{name}({arguments})")


@pytest.mark.parametrize(
    "text", ["rgb(90 122 58 / 50%)", "hsl(90, 36%, 35%, 0.5)", "#5a7a3a80", "#57a8", "rgb(1 2 3 / 0)"]
)
def test_colors_are_opaque(text):
    assert Color(text).alpha() < 1
    with pytest.raises(UserError, match="is not opaque"):
        parse_color(text)


def test_numbers_without_end_are_no_colors():
    for text in ("hsl(0 1e300 1e300)", "hsl(1e999 50 50)", f"rgb({10**400} 0 0)"):
        with pytest.raises(UserError, match="is no color that is known here"):
            parse_color(text)


def test_colors_with_spaces_are_words_of_edits_and_lists():
    palette = Palette.from_colors(["#c04040", "teal", "gold"])
    edited = parse_edits("boost rgb(192 64 64) 2; remove  rgb(255, 215, 0)  20")(palette)
    assert edited.distance(parse_edits("boost #c04040 2; remove gold 20")(palette)) < 1e-3
    text = b"rgb(192 64 64) 2, rgb(0, 128, 128)\nhsl(50.59deg 100% 50%) 50%; teal"
    read, weights = read_swatches(text, ".txt", "x.txt")
    np.testing.assert_allclose(read, [parse_color(color) for color in ("#c04040", "teal", "gold", "teal")], atol=0.1)
    assert weights.tolist() == [2, 1, 50, 1]


@pytest.mark.parametrize("text", ["rgb(300, 0, 0)", "rgb(99999999999, 0, 0)", f"rgb({10**40}, 0, 0)"])
def test_levels_beyond_255_are_255_as_in_css(text):
    np.testing.assert_array_equal(parse_color(text), parse_color("red"))


@settings(max_examples=50)
@given(srgb)
def test_lab_under_d50_is_adapted(color):
    result = lab_under_d65(np.array(color.convert("lab").coords(), np.float32))
    np.testing.assert_allclose(result, color.convert("lab-d65").coords(), atol=0.03)


@settings(max_examples=50)
@given(ab, ab)
def test_nearness_is_by_cie94(one, other):
    distance = Color("lab-d65", [60, *one]).delta_e(Color("lab-d65", [60, *other]), method="94")
    result = edits.nearness(np.array([other]), np.array(one), 20.0)[0]
    assert result == pytest.approx(0.5 + 0.5 * np.cos(np.pi * np.clip(distance / 10 - 1, 0, 1)), abs=1e-6)


@settings(max_examples=50)
@given(srgb, st.floats(-180, 180), st.floats(0, 0.9))
def test_a_shift_turns_hues_and_scales_chromas(color, hue, chroma):
    expected = color.convert("lch-d65").set("h", lambda h: h + hue).set("c", lambda c: c * chroma)
    (result,) = edits.shift(np.array([ab_of(color)]), hue, chroma, 0.0)
    (truth,) = within_gamut(np.array([ab_of(expected)]))
    np.testing.assert_allclose(result, truth, atol=1e-6)


def test_warmth_is_the_white_of_d50():
    d50 = Color("xyz-d65", Color("white").convert("xyz-d50").coords())  # as it is, not adapted
    (result,) = edits.shift(np.zeros((1, 2)), 0.0, 1.0, 17.9)
    np.testing.assert_allclose(result, ab_of(d50), atol=0.1)


@pytest.mark.parametrize("hue", range(5, 365, 45))
def test_the_gamut_holds_what_srgb_shows_and_no_more(hue):
    (most,) = within_gamut(200 * np.array([[np.cos(np.radians(hue)), np.sin(np.radians(hue))]]))

    def is_shown(chroma: float) -> bool:
        colors = (Color("lab-d65", [lightness, *(chroma * most)]) for lightness in np.arange(1, 100, 0.5))
        return any(color.in_gamut("srgb") for color in colors)

    assert is_shown(0.97) and not is_shown(1.03)


@settings(max_examples=50)
@given(ab)
def test_colors_are_shown_as_they_are(at):
    inside = 0.97 * within_gamut(np.array([at]))
    color_of_swatch = Color(hex_of(shown_rgb(inside)[0]))
    assert np.hypot(*(np.array(ab_of(color_of_swatch)) - inside[0])) < 1, "as near as bytes are"


def in_lab(color: Color) -> tuple[float, ...]:
    lightness, a, b = color.convert("lab").coords()
    return lightness / 100, a, b


MODELS = {
    "RGB": (st.tuples(share, share, share), lambda v: Color("srgb", v)),
    "CMYK": (
        st.tuples(share, share, share, share),
        lambda v: Color("srgb", [(1 - ink) * (1 - v[3]) for ink in v[:3]]),
    ),
    "Gray": (st.tuples(share), lambda v: Color("srgb", 3 * [v[0]])),
    "LAB": (srgb.map(in_lab), lambda v: Color("lab", [100 * v[0], *v[1:]])),
}
names = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="%"), max_size=4)
"""Of characters of two bytes in UTF-16: of others swatch writes a wrong length."""
colors_of_modes = st.sampled_from(sorted(MODELS)).flatmap(lambda mode: st.tuples(st.just(mode), MODELS[mode][0]))


@settings(max_examples=60)
@given(st.lists(colors_of_modes, min_size=1, max_size=6), st.integers(0, 6), names)
def test_adobes_swatches_are_read_as_swatch_writes_them(colors, loose, name):
    """Colors of all models, some within a group."""
    entries = [
        {"name": name, "type": "Process", "data": {"mode": mode, "values": list(values)}} for mode, values in colors
    ]
    groups = [{"name": "group", "type": "Color Group", "swatches": entries[loose:]}] if entries[loose:] else []
    read, weights = read_swatches(swatch.dumps(entries[:loose] + groups), ".ase", "x.ase")
    np.testing.assert_allclose(read, [ab_of(MODELS[mode][1](values)) for mode, values in colors], atol=0.05)
    assert set(weights) == {1}


PALETTE = Palette.from_colors(["#c04040", "teal", "gold", "#909090"], [4, 3, 2, 1])


def test_what_is_written_is_read_by_others(tmp_path):
    swatches = PALETTE.swatches(4)
    expected = [[int(one.color[i : i + 2], 16) for i in (1, 3, 5)] for one in swatches]
    PALETTE.save(tmp_path / "x.ase", 4)
    read = swatch.parse(tmp_path / "x.ase")
    assert [entry["data"]["mode"] for entry in read] == 4 * ["RGB"]
    np.testing.assert_allclose([entry["data"]["values"] for entry in read], np.array(expected) / 255, atol=1e-6)
    assert [entry["name"] for entry in read] == [f"{100 * one.share:.4g} %" for one in swatches]
    (colors, mode) = GimpPaletteFile(io.BytesIO(PALETTE.to_bytes("x.gpl", 4))).getpalette()
    assert mode == "RGB" and list(colors[:12]) == np.ravel(expected).tolist()


def test_a_color_table_as_another_program_has_it():
    """What anypalette 0.6.0 (npm) reads of ours, and what it writes; the last four bytes are those of Adobe's spec.

    These are the number of colors, and which of them is transparent.
    """
    read = {"#c04040": 102, "#008080": 77, "#ffd700": 51, "#909090": 26}
    swatches = [Swatch(color, (0.0, 0.0), share) for color, share in zip(read, (0.4, 0.3, 0.2, 0.1), strict=True)]
    colors = b"".join(bytes.fromhex(color[1:]) * count for color, count in read.items())
    assert write_swatches(swatches, ".act", "x.act") == colors + bytes.fromhex("0100 ffff")
    table = bytes.fromhex("c04040 008080 909090") + bytes(759)
    for tail, count in ((b"", 256), (bytes.fromhex("0003 ffff"), 3)):
        result, _ = read_swatches(table + tail, ".act", "x.act")
        assert len(result) == count
        expected = [ab_of(Color(color)) for color in ("#c04040", "teal", "#909090", *["black"] * (count - 3))]
        np.testing.assert_allclose(result, expected, atol=0.03)


def test_the_swatches_of_another_program():
    """What adobe-color-swatch 1.0 writes: an RGB, an HSB, a gray and a CMYK color, the last with a share as name."""
    data = bytes.fromhex(
        "0001 0004 0000c0c04040404000000001 9ff0aaabc0c00000 000815a1000000000000 0002ffff00000000bfbf"
        "0002 0004 0000c0c0404040400000 00000004 0072006500640000 00019ff0aaabc0c00000 00000005 0062006c007500650000"
        "000815a1000000000000 00000005 0067007200610079 0000 0002ffff00000000bfbf 00000005 00320035002000250000"
    )
    read, weights = read_swatches(data, ".aco", "x.aco")
    blue = Color("hsv", [360 * 0x9FF0 / 65535, 2 / 3, 0xC0 / 255])
    inks = Color("srgb", [0xBF / 255, 0, 0])
    np.testing.assert_allclose(read, [*map(ab_of, (Color("#c04040"), blue, Color("gray"), inks))], atol=0.05)
    assert weights.tolist() == [1, 1, 1, 25]
