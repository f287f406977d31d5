"""Files of palettes: ours to the bit, others by bytes that their published descriptions give, and damage."""

import json
import struct

import numpy as np
import pytest
from coloraide import Color
from hypothesis import given, settings
from hypothesis import strategies as st

from palgan_jax import Palette
from palgan_jax.errors import UserError

COLORS = ["#c04040", "#4060c0", "#909090"]
SUFFIXES = [".gpl", ".aco", ".ase", ".act", ".txt", ".hex"]


def utf16(text: str) -> bytes:
    return (text + "\0").encode("utf-16-be")


def ase_block(model: bytes, *values: float, name: str = "a name") -> bytes:
    content = (
        struct.pack(">H", len(name) + 1) + utf16(name) + model + struct.pack(f">{len(values)}f", *values) + b"\0\2"
    )
    return struct.pack(">HI", 1, len(content)) + content


def ase(*blocks: bytes) -> bytes:
    return b"ASEF" + struct.pack(">HHI", 1, 0, len(blocks)) + b"".join(blocks)


GROUP = struct.pack(">HI", 0xC001, 2 + 12) + struct.pack(">H", 6) + utf16("group"), struct.pack(">HI", 0xC002, 0)
RGB_ASE = [ase_block(b"RGB ", *(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5))) for c in COLORS]
RGB_ACO = [struct.pack(">5H", 0, *(257 * int(c[i : i + 2], 16) for i in (1, 3, 5)), 0) for c in COLORS]
LAB_RED = Color(COLORS[0]).convert("lab").coords()  # that of CSS is under D50, as Adobe's
_SPACES = "".join(sorted(({c for c in map(chr, range(1 << 16)) if c.isspace()} | {"\ufeff"}) - {"\n", "\r"}))
"""What is white space to Python or to JavaScript, but for line breaks."""
FILES = {
    "plain.gpl": b"GIMP Palette\nName: three\nColumns: 3\n#\n192  64  64\tred\n 64  96 192 blue\n144 144 144\n",
    "windows.gpl": b"GIMP Palette\r\n192 64 64\r\n64 96 192\tnot 50 % of it\r\n144 144 144\r\n",
    "plain.txt": b"# three colors\n#c04040\n4060C0\n\n#909090\n",
    "words.hex": b"#c04040 1, #4060c0 1; #909090 100%\n".replace(b"100%", b"1"),
    "notations.txt": b"rgb(192 64 64)\nrgb(64, 96, 192) 1; hwb(30deg 56.470588% 43.529412%)",
    "comments.txt": b"# warm, by hand; alike\n#c04040 // a coat, red\r\n//sky, sea\n#4060c0 1 # 2, 3\n#909090,#, x",
    "spaces.txt": "@#c04040@1@,@rgb(@64@96@192@)@\n@//@x@\r\n@909090@1@%@".replace("@", _SPACES).encode(),
    "spaces.gpl": "GIMP Palette@\n@192@64@64@9@%@\n@64@96@192@9@%@\r@#\r\n144@144@144@9@%".replace(
        "@", _SPACES
    ).encode(),
    "link.txt": b"https://coolors.co/c04040-4060c0-909090",
    "plain.aco": struct.pack(">HH", 1, 3) + b"".join(RGB_ACO),
    "both.aco": struct.pack(">HH", 1, 3)
    + b"".join(RGB_ACO)
    + struct.pack(">HH", 2, 3)
    + b"".join(c + struct.pack(">I", 4) + utf16("abc") for c in RGB_ACO),
    "groups.ase": ase(GROUP[0], *RGB_ASE, GROUP[1]),
    "lab.ase": ase(ase_block(b"LAB ", LAB_RED[0] / 100, *LAB_RED[1:]), RGB_ASE[1], ase_block(b"Gray", 0.3)),
    "short.act": bytes.fromhex("c040404060c0909090") + bytes(759) + struct.pack(">HH", 3, 0xFFFF),
    "lab.aco": struct.pack(
        ">HH5H5H",
        1,
        2,
        7,
        round(100 * LAB_RED[0]),
        *struct.unpack(">2H", struct.pack(">2h", *(round(x * 100) for x in LAB_RED[1:]))),
        0,
        8,
        5000,
        0,
        0,
        0,
    ).replace(b"\0\1\0\2", b"\0\1\0\3", 1)
    + RGB_ACO[1],
}

DARK_RED = {
    "cmyk.ase": ase(ase_block(b"CMYK", 0, 1, 1, 0.25)),
    "cmyk.aco": struct.pack(">HH5H", 1, 1, 2, 65535, 0, 0, round(0.75 * 65535)),
    "hsb.aco": struct.pack(">HH5H", 1, 1, 1, 0, 65535, round(0.75 * 65535), 0),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_programs(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    assert Palette.load(path).distance(Palette.from_colors(COLORS)) < 2e-3


@pytest.mark.parametrize("name", DARK_RED)
def test_inks_and_hues_are_read_as_the_colors_that_they_are(tmp_path, name):
    (tmp_path / name).write_bytes(DARK_RED[name])
    assert Palette.load(tmp_path / name).distance(Palette.from_colors(["rgb(191, 0, 0)"])) < 5e-3


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_json_is_exact(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp("json") / "x.json"
    palette = Palette(np.random.default_rng(seed).uniform(0, 1, 256) ** 8)
    palette.save(path)
    assert Palette.load(path) == palette


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_swatches_keep_their_colors_and_weights(tmp_path, suffix):
    palette = Palette.from_colors(COLORS, [0.2, 0.3, 0.5])
    path = tmp_path / f"x{suffix}"
    palette.save(path, 3)
    loaded = Palette.load(path)
    assert loaded.distance(palette) < 0.05
    assert loaded.distance(Palette.from_colors(COLORS)) > 2 * loaded.distance(palette)


def test_what_is_written_is_what_the_descriptions_say(tmp_path):
    palette = Palette.from_colors(["#9e9e9e"])
    for suffix in SUFFIXES:
        palette.save(tmp_path / f"x{suffix}", 1)
    assert (tmp_path / "x.gpl").read_text() == "GIMP Palette\nName: x\nColumns: 0\n#\n158 158 158\t100 %\n"
    assert (tmp_path / "x.txt").read_text() == "#9e9e9e 100%\n"
    color = struct.pack(">5H", 0, *[158 * 257] * 3, 0)
    with_name = color + struct.pack(">I", 6) + utf16("100 %")
    assert (tmp_path / "x.aco").read_bytes() == b"\0\1\0\1" + color + b"\0\2\0\1" + with_name
    block = struct.pack(">H", 6) + utf16("100 %") + b"RGB " + struct.pack(">3f", *[158 / 255] * 3) + b"\0\2"
    assert (tmp_path / "x.ase").read_bytes() == ase(struct.pack(">HI", 1, len(block)) + block)
    assert (tmp_path / "x.act").read_bytes() == bytes([158]) * 768 + b"\1\0\xff\xff"


@pytest.mark.parametrize("name", ["both.aco", "groups.ase", "short.act"])
def test_files_that_were_cut_short_are_one_sentence(tmp_path, name):
    path = tmp_path / name
    content = FILES[name]
    lengths = {len(content[: 4 + 30])} if name == "both.aco" else {768}  # whole files of an older version
    for end in range(0, len(content), max(1, len(content) // 150)):
        path.write_bytes(content[:end])
        if end in lengths:
            continue
        with pytest.raises(UserError, match="is no readable") as error:
            Palette.load(path)
        assert "\n" not in str(error.value)


@settings(max_examples=150)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damage_is_a_palette_or_one_sentence(tmp_path_factory, name, data):
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(content)
    try:
        palette = Palette.load(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert palette.shares.sum() == pytest.approx(1, abs=1e-5)


def changed(**values) -> bytes:
    good = {"generator": "palgan_jax palette", "ab_range": 110.0, "bins": 16, "half_range": 1.0, "sigma": 0.1}
    good |= {"kernel": "inverse_quadratic", "normalization": "sum", "shares": [1.0] * 256}
    return json.dumps(good | values).encode()


MALFORMED = [
    ("x.json", changed(shares=[0.0] * 256), "x.json is no palette: .*all bins of this one are 0"),
    ("x.json", changed(shares=[1.0] * 100), "x.json is no palette: .*256 bins"),
    ("x.json", changed(shares=[-1.0, *[1.0] * 255]), "x.json is no palette: .*negative"),
    ("x.json", changed(shares=[float("nan")] * 256), "x.json is no palette: .*NaN"),
    ("x.json", changed(shares=[[1.0], [2.0, 3.0]]), "x.json is no palette: .*these are none"),
    ("x.json", changed(shares=None), "x.json is no palette"),
    ("x.json", changed(shares=[10**400, *[1.0] * 255]), "x.json is no palette: .*these are none"),
    ("x.json", changed(ab_range=10**400), "that `palgan palette` wrote"),
    ("x.json", changed(bins=10**9), "that `palgan palette` wrote"),
    ("x.json", changed(sigma=0), "that `palgan palette` wrote"),
    ("x.json", changed(kernel="box"), "that `palgan palette` wrote"),
    ("x.json", changed(generator="other"), "that `palgan palette` wrote"),
    ("x.json", b"[1, 2]", "that `palgan palette` wrote"),
    ("x.json", b"{" * 100_000, "that `palgan palette` wrote"),
    ("x.json", b"\xff\xfe", "that `palgan palette` wrote"),
    ("x.gpl", b"GIMP Palette\n300 0 0\n", "line 2 has no color of three numbers"),
    ("x.gpl", "GIMP Palette\n\u0661 0 0\n".encode(), "line 2 has no color of three numbers"),
    ("x.gpl", b"JASC-PAL\n", "its first line is not GIMP Palette"),
    ("x.gpl", b"GIMP Palette\n", "it has no colors"),
    ("x.txt", b"", "it has no colors"),
    ("x.txt", b"#c04040 much", "'much' is no weight"),
    ("x.txt", b"#c04040 1_0", "'1_0' is no weight"),
    ("x.txt", b"#c04040 0x1", "'0x1' is no weight"),
    ("x.txt", "#c04040 \u0661".encode(), "is no weight"),
    ("x.txt", "#c04040\u200b".encode(), "is no color"),
    ("x.txt", b"#c04040 -1", "the weight -1 is not positive"),
    ("x.txt", b"#c04040 0", "not all 0"),
    ("x.txt", b"grasgreen", "'grasgreen' is no color"),
    ("x.txt", b"rgb(192 64", "'rgb\\(192' is no color"),
    ("x.txt", b"#c0404080", "is not opaque"),
    ("x.txt", b"lab(50 20 30)", "'lab\\(50 20 30\\)' is no color"),
    ("x.ase", b"\0\0\0\0\xe0\xa5", "sprites of Aseprite"),
    ("x.aco", struct.pack(">HH5H", 1, 1, 9, 0, 0, 0, 0), "a color of the kind 9"),
    ("x.act", bytes(100), "100 bytes instead of 768 or 772"),
    ("x.gpl", b"GIMP Palette\n" + b"#" * (1 << 20), "larger than 1 MB"),
    ("x.png", b"", r"let it end in \.json"),
]


@pytest.mark.parametrize(("name", "data", "sentence"), MALFORMED)
def test_malformed_files_are_one_sentence(tmp_path, name, data, sentence):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError, match=sentence) as error:
        Palette.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value) or "colors have as many weights" in str(error.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        Palette.load(tmp_path / "x.json")
    with pytest.raises(UserError, match="let it end in"):
        Palette.from_colors(COLORS).save(tmp_path / "x.jpeg")
