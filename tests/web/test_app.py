"""What the server answers: pictures as `palgan colorize` makes them, and sentences to all that is wrong."""

import asyncio
import base64
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.testclient import TestClient

from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.points import Hints
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.colorize.prepared import Subject
from palgan_jax.data.picture import Picture
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.samples import sample_palette
from palgan_jax.web import app
from palgan_jax.web.app import PAGE, Service, application
from palgan_jax.web.previews import preview
from palgan_jax.web.shelf import Shelf, hold
from tests.support.colorize_model import tiny_weights
from tests.support.picture_files import ALPHA16, RGB, RGB16, chunk, encoded, png
from tests.web.conftest import LOCAL, colorizer_of

MASK = np.zeros((40, 48), np.uint8)
MASK[:20] = 255


def sentence(answer, status):
    """The sentence of an answer that is an error."""
    assert answer.status_code == status, answer.text
    text = answer.json()["error"]
    assert text.endswith(".") and "\n" not in text and "Traceback" not in text
    return text


def mask_png():
    return encoded(np.dstack([np.full((*MASK.shape, 3), 255, np.uint8), MASK]), "PNG")


def wished(client, stored_picture, **wish):
    body = {"picture": stored_picture["picture"], "format": "png", "wish": wish}
    return client.post("/api/result", json=body)


@pytest.fixture
def photograph(tmp_path):
    """A file with a caption, a date and 16 bits, half transparent."""
    exif = Image.Exif()
    exif[0x010E], exif[0x0132] = "Boat <b>on</b> a lake", "1931:05:01 12:00:00"
    data = png(np.dstack([RGB16, ALPHA16]), 16, 6, [(b"tEXt", b"Author\0Anna"), (b"eXIf", exif.tobytes()[6:])])
    path = tmp_path / "boat.png"
    path.write_bytes(data)
    return path


# ------------------------------------------------------------------------------------------------- pictures as asked


@pytest.mark.parametrize(("kind", "suffix"), [("png", "png"), ("jpeg", "jpg"), ("webp", "webp"), ("tiff", "tif")])
def test_a_result_is_the_file_that_the_command_writes(client, photograph, by_command, kind, suffix):
    picture = client.post("/api/pictures?name=boat.png", content=photograph.read_bytes()).json()
    answer = client.post("/api/result", json={"picture": picture["picture"], "format": kind, "wish": {}})
    assert answer.status_code == 200
    assert f"boat.{suffix}" in answer.headers["content-disposition"]
    assert answer.content == by_command(photograph, kind=suffix).read_bytes()


def test_palette_saturation_point_and_region_are_those_of_the_command(
    client, photograph, by_command, palette_file, tmp_path
):
    picture = client.post("/api/pictures?name=boat.png", content=photograph.read_bytes()).json()
    first, second = (Palette.from_colors([color]) for color in ("teal", "#c04040"))
    (tmp_path / "mask.png").write_bytes(mask_png())
    answer = wished(
        client,
        picture,
        palette=first.shares.tolist(),
        saturation=1.3,
        points=[{"x": 9, "y": 30, "color": "#3060c0"}],
        regions=[{"mask": base64.b64encode(mask_png()).decode(), "palette": second.shares.tolist()}],
    )
    options = ["--palette", palette_file(first.shares), "--saturation", 1.3, "--point", "9,30=#3060c0"]
    options += ["--region", f"{tmp_path / 'mask.png'}={palette_file(second.shares, 'second.json')}"]
    assert answer.content == by_command(photograph, *options).read_bytes()


def test_the_predicted_palette_and_samples_are_those_of_the_model(client, stored_picture):
    predicted = colorizer_of(tiny_weights()).predict_palette_of(Image.fromarray(RGB))
    assert stored_picture["palette"] == predicted.shares.tolist()
    body = {"palette": stored_picture["palette"], "number": 3, "seed": 5, "temperature": 1.5}
    answer = client.post("/api/sample", json=body).json()
    assert answer["palette"] == sample_palette(predicted, 3, 1.5, 5).shares.tolist()


def test_previews_show_what_the_result_will_be(client):
    rgb = np.asarray(Image.fromarray(RGB).resize((480, 400), Image.Resampling.BICUBIC))
    answer = client.post("/api/pictures?name=boat.png", content=encoded(rgb, "PNG")).json()
    palette = Palette.from_colors(["teal", "#c04040"])
    body = {"picture": answer["picture"], "side": 640, "wish": {"palette": palette.shares.tolist()}}
    preview = Image.open(io.BytesIO(client.post("/api/preview", json=body).content))
    expected = colorizer_of(tiny_weights())(rgb, palette=palette).pixels
    assert preview.size == (480, 400)
    assert np.abs(np.asarray(preview, float) - expected).mean() < 2  # of JPEG


def test_previews_scale_points_to_their_size(client):
    rgb = np.full((200, 1000, 3), 128, np.uint8)
    picture = client.post("/api/pictures?name=x.png", content=encoded(rgb, "PNG")).json()
    wish = {"points": [{"x": 900, "y": 100, "color": "#c03030"}], "saturation": 0.0}
    body = {"picture": picture["picture"], "side": 640, "wish": wish}
    preview = np.asarray(Image.open(io.BytesIO(client.post("/api/preview", json=body).content)), float)
    at, far = preview[64, 576], preview[64, 20]
    assert at[0] - at[1] > 40 > far[0] - far[1]


def test_references_and_palette_files_are_read_as_by_the_command(client, tmp_path):
    answer = client.post("/api/reference?name=a.png", content=encoded(RGB, "PNG")).json()
    assert answer["palette"] == Palette.of(RGB).shares.tolist() and answer["notes"] == []
    gray = client.post("/api/reference?name=a.png", content=encoded(np.full_like(RGB, 99), "PNG")).json()
    assert "a.png is gray" in gray["notes"][0]
    for suffix in (".json", ".gpl", ".ase"):
        data = Palette.from_colors(["teal"]).to_bytes(tmp_path / f"x{suffix}")
        (tmp_path / f"x{suffix}").write_bytes(data)
        answer = client.post(f"/api/palette?name=x{suffix}", content=data).json()
        assert answer["palette"] == Palette.load(tmp_path / f"x{suffix}").shares.tolist()
    assert "x.gpl" in sentence(client.post("/api/palette?name=x.gpl", content=b"?"), 400)


def test_models_without_palettes_paint_as_well():
    client = TestClient(application(Service(colorizer_of(tiny_weights("autoencoder")))), base_url=LOCAL)
    assert client.get("/api/model").json()["takesPalette"] is False
    picture = client.post("/api/pictures?name=a.png", content=encoded(RGB, "PNG")).json()
    assert picture["palette"] is None
    body = {"picture": picture["picture"], "side": 640, "wish": {"saturation": 1.0}}
    assert client.post("/api/preview", json=body).status_code == 200
    assert "takes no palette" in sentence(wished(client, picture, palette=[1.0] * 256), 400)


# ---------------------------------------------------------------------------------------------------- who may ask


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_other_names_of_this_machine_are_refused(client, host):
    for path in ("/", "/api/model", "/style.css"):
        assert "this machine alone" in sentence(client.get(path, headers={"host": host}), 421)


def test_pages_of_others_are_refused(client, stored_picture):
    body = {"picture": stored_picture["picture"], "side": 640, "wish": {}}
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1:8765"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert "another page" in sentence(client.post("/api/preview", json=body, headers=headers), 403)
    assert client.post("/api/preview", json=body, headers={"origin": LOCAL}).status_code == 200


def test_all_that_is_answered_has_the_policy(client):
    for path in ("/", "/main.js", "/api/model", "/absent", "/api/preview"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"


def test_the_page_names_no_other_address_and_all_of_it_is_served(client):
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        text = path.read_text()
        assert set(re.findall(r"\w+://[\w./-]+", text)) <= {"http://www.w3.org/2000/svg"}, path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), path
        answer = client.get(f"/{path.relative_to(PAGE)}")
        assert answer.text == text
        expected = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
        assert answer.headers["content-type"].startswith(expected[path.suffix])
        for name in re.findall(r'from "(\./[^"]+|\.\./(?!runtime/)[^"]+)"', text):
            assert (path.parent / name).is_file(), f"{path} imports {name}"
    for example in client.get("/api/model").json()["examples"]:
        assert client.get(f"/{example['url']}").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    "path", ["/../app.py", "/%2e%2e/app.py", "/examples/../../app.py", "/examples/%2e%2e%2fdemo.py"]
)
def test_no_file_beside_the_page_is_served(client, path):
    assert client.get(path).status_code == 404


# ---------------------------------------------------------------------------------------------------- what is wrong


WRONG = {
    "no JSON": b"{",
    "a list": b"[]",
    "deep": b'{"wish":' + b"[" * 100_000,
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("path", ["preview", "result", "sample"])
def test_what_is_no_wish_is_refused(client, path, name):
    sentence(client.post(f"/api/{path}", content=WRONG[name]), 400)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (None, "a wish is an object"),
        ("red", "a wish is an object"),
        ({"palette": "red"}, "256 numbers"),
        ({"palette": [1, 2]}, "256 bins"),
        ({"palette": [[1]] * 256}, "256 numbers"),
        ({"palette": [0] * 256}, "all bins of this one are 0"),
        ({"palette": [-1] + [1] * 255}, "negative"),
        ({"palette": [float("nan")] * 256}, "NaN"),
        ({"palette": [1e308] * 256}, "infinite"),
        ({"palette": [10**400] + [1] * 255}, "256 numbers"),
        ({"saturation": -1}, "saturation"),
        ({"saturation": "much"}, "saturation"),
        ({"saturation": True}, "saturation"),
        ({"saturation": float("inf")}, "saturation"),
        ({"saturation": -(10**400)}, "saturation"),
        ({"points": 3}, "points"),
        ({"points": [3]}, "points"),
        ({"points": [{"x": 1, "y": 1, "color": "reddish"}]}, "no color"),
        ({"points": [{"x": 1.5, "y": 1, "color": "red"}]}, "a point is"),
        ({"points": [{"x": [], "y": {}, "color": None}]}, "a point is"),
        ({"points": [{"x": 48, "y": 0, "color": "red"}]}, "outside of the picture"),
        ({"points": [{"x": 10**30, "y": 0, "color": "red"}]}, "outside of the picture"),
        ({"points": [{"x": 1, "y": 1, "color": "red"}] * 65}, "at most 64"),
        ({"regions": [{"palette": [1] * 256}]}, "mask of region 1 is missing"),
        ({"regions": [{"mask": "?", "palette": [1] * 256}]}, "no base64"),
        ({"regions": [{"mask": "AAAA", "palette": [1] * 256}]}, "the mask of region 1"),
        ({"regions": [{"mask": base64.b64encode(mask_png()).decode()}]}, "256 numbers"),
        ({"regions": [{}] * 9}, "at most 8"),
    ],
)
def test_each_wrong_wish_has_its_sentence(client, stored_picture, wish, says):
    for path, more in (("preview", {"side": 640}), ("result", {"format": "png"})):
        body = json.dumps({"picture": stored_picture["picture"], "wish": wish, **more})
        assert says in sentence(client.post(f"/api/{path}", content=body), 400)


def test_masks_of_another_shape_or_empty_are_told(client, stored_picture):
    for mask, says in ((np.ones((40, 40)), "the picture 48 x 40"), (np.zeros((40, 48)), "transparent")):
        rgba = np.dstack([np.full((*mask.shape, 3), 255), 255 * mask]).astype(np.uint8)
        region = {"mask": base64.b64encode(encoded(rgba, "PNG")).decode(), "palette": [1] * 256}
        assert says in sentence(wished(client, stored_picture, regions=[region]), 400)


def test_sides_formats_and_samples_are_checked(client, stored_picture):
    picture = stored_picture["picture"]
    for path, body in (
        ("preview", {"picture": picture, "side": 5000, "wish": {}}),
        ("preview", {"picture": picture, "side": [640], "wish": {}}),
        ("result", {"picture": picture, "format": "exe", "wish": {}}),
        ("result", {"picture": picture, "format": ["png"], "wish": {}}),
        ("sample", {"palette": stored_picture["palette"], "number": 0}),
        ("sample", {"palette": stored_picture["palette"], "number": 1e9}),
        ("sample", {"palette": stored_picture["palette"], "number": 1, "temperature": 9}),
        ("sample", {"palette": stored_picture["palette"], "number": 1, "temperature": 10**400}),
        ("sample", {"palette": stored_picture["palette"], "number": float("inf")}),
        ("sample", {"palette": stored_picture["palette"], "number": 1, "seed": -1}),
    ):
        sentence(client.post(f"/api/{path}", content=json.dumps(body)), 400)
    body = {"picture": picture, "side": 640, "lane": [{}], "wish": {}}
    assert client.post("/api/preview", json=body).status_code == 200


@pytest.mark.parametrize("number", [None, 7, [], {}, "", "../boat.png"])
def test_a_picture_that_is_not_held_is_gone(client, number):
    body = {"picture": number, "side": 640, "format": "png", "wish": {}}
    for path in ("preview", "result"):
        assert "open it once more" in sentence(client.post(f"/api/{path}", json=body), 410)


@pytest.mark.parametrize(
    "path", ["pictures?name=a.png", "reference?name=a.png", "preview", "sample", "palette?name=a.gpl"]
)
@pytest.mark.parametrize("states_length", [True, False])
def test_bodies_have_a_limit(client, monkeypatch, path, states_length):
    for limit in ("MOST_BYTES", "MOST_WISH", "MOST_PALETTE"):
        monkeypatch.setattr(app, limit, 1000)
    body = bytes(1001) if states_length else iter([bytes(600), bytes(600)])
    assert "of more than 1" in sentence(client.post(f"/api/{path}", content=body), 413)


def test_uploads_that_stall_give_their_places_to_others(monkeypatch):
    monkeypatch.setattr(app, "_PATIENCE", 0.01)
    service = Service(colorizer_of(tiny_weights()))

    async def upload(*pieces: bytes) -> int:
        coming = list(pieces)

        async def receive() -> dict:
            if not coming:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": coming.pop(0), "more_body": True}

        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
        with pytest.raises(HTTPException, match="has not come to its end") as error:
            await service.add(Request(scope, receive))
        return error.value.status_code

    async def uploads() -> list[int]:
        return await asyncio.gather(*(upload(*[b"abc"] * count) for count in range(4)))

    with ThreadPoolExecutor(1) as pool:  # the browser's tests leave a loop in this one
        assert pool.submit(asyncio.run, asyncio.wait_for(uploads(), 60)).result() == [408] * 4


def test_the_limit_of_pixels_is_that_of_the_command(client):
    small = png(np.zeros((16, 16), np.uint8), 8, 0)
    bomb = small[:8] + chunk(b"IHDR", (60_000).to_bytes(4) * 2 + small[24:29]) + small[33:]
    assert "megapixels" in sentence(client.post("/api/pictures?name=bomb.png", content=bomb), 400)
    assert "at least 16" in sentence(client.post("/api/pictures", content=encoded(RGB[:9], "PNG")), 400)
    assert "empty" in sentence(client.post("/api/pictures?name=a.png", content=b""), 400)


def test_names_are_no_paths(client):
    for name, text in (
        ("../../etc/passwd", "passwd"),
        ("C:\\boats\\boat.png", "boat.png"),
        ("", "the picture"),
        ("a\nb\x1b[31m.png", "a\\nb\\x1b[31m.png"),
        ("n" * 5000, "n" * 200),
    ):
        answer = client.post("/api/pictures", params={"name": name}, content=encoded(RGB, "PNG")).json()
        assert answer["name"] == text
        result = wished(client, answer)
        assert result.status_code == 200 and "\n" not in result.headers["content-disposition"]
        assert sentence(client.post("/api/pictures", params={"name": name}, content=b"?"), 400).startswith(text)


def test_other_methods_and_addresses_are_answered_in_words(client):
    for answer in (client.get("/api/preview"), client.get("/absent"), client.put("/api/model")):
        sentence(answer, 404 if answer.request.method == "GET" else 405)
    assert client.post("/api/absent").status_code in (404, 405)


# ------------------------------------------------------------------------------------------------------ what is held


def test_the_oldest_pictures_are_dropped_for_new_ones():
    small = {side: Subject(Picture(np.zeros((10, 10, 3), np.uint8))) for side in (1, 2)}
    pictures = [app.HeldPicture(bytes(4000 - 3000), str(i), (10, 10), (), None, small) for i in range(4)]
    size = pictures[0].nbytes
    shelf = Shelf(budget=3 * size)
    keys = [shelf.add(picture) for picture in pictures[:3]]
    assert shelf.get(keys[0]) is pictures[0]  # used just now
    keys.append(shelf.add(pictures[3]))
    assert [shelf.get(key) is not None for key in keys] == [True, False, True, True]
    assert len(set(keys)) == 4 and all(len(key) > 20 for key in keys)
    large = app.HeldPicture(bytes(4 * size), "large", (10, 10), (), None, {})
    assert shelf.get(shelf.add(large)) is large and shelf.get(keys[3]) is None


def bytes_of(node: object, known_ids: set[int]) -> int:
    """Sums the arrays and bytes that a thing holds, each once."""
    if id(node) in known_ids:
        return 0
    known_ids.add(id(node))
    if isinstance(node, np.ndarray):
        return node.nbytes if node.base is None else bytes_of(node.base, known_ids)
    if isinstance(node, bytes):
        return len(node)
    if isinstance(node, dict):
        return sum(bytes_of(value, known_ids) for value in node.values())
    if isinstance(node, list | tuple):
        return sum(bytes_of(value, known_ids) for value in node)
    return sum(bytes_of(value, known_ids) for value in getattr(node, "__dict__", {}).values())


@pytest.mark.parametrize("size", [(64, 64), (1280, 100), (1000, 1400)])
def test_what_a_picture_keeps_is_counted(size):
    colorizer, file = Colorizer.load("bundled", engine="onnx"), io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)).save(file, "JPEG")
    picture = hold(file.getvalue(), "x", None)
    counted = picture.nbytes
    palette = Palette.from_colors(["teal", "gold"])
    point = Hints.at_points([((5, 7), "#c03030")])
    for small in picture.small.values():
        for painting in (Painting(), Painting(palette), Painting(hints=point)):
            preview(colorizer, small, picture.size, painting)
    assert counted / 4 < bytes_of(picture, set()) <= counted
