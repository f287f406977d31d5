"""The application that serves the page, and does what it asks for.

What is decided here:

- It is for one person at the same machine. Other pages in the browser must not reach it: the Host header names this
  machine (a foreign name that resolves to it is refused), and what is posted comes from the page itself (Origin).
- Pictures come as bodies of requests. No name that the page gives is a path here.
- Whatever goes wrong is one sentence, {"error": "..."}, with the status that fits it.
"""

import asyncio
import mimetypes
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palgan_jax.colorize.encode import FORMATS, encode
from palgan_jax.colorize.painting import Painting
from palgan_jax.colorize.predictor import Colorizer
from palgan_jax.colorize.prepared import Subject
from palgan_jax.colorize.regions import Region
from palgan_jax.data.picture import Picture
from palgan_jax.errors import UserError, printable
from palgan_jax.palette.palette import Palette
from palgan_jax.palette.samples import sample_palette
from palgan_jax.util.memory import lacks_memory
from palgan_jax.util.text import in_words
from palgan_jax.web.about import MOST_BYTES, PAGE, SAMPLES, SEED, SIDES, about
from palgan_jax.web.previews import preview
from palgan_jax.web.shelf import BUDGET, HeldPicture, Shelf, hold, read_within_time
from palgan_jax.web.wish import json_object, number_of, painting_of, palette_of, whole_number_of
from palgan_jax.web.work import Superseded, Work

MOST_WISH, MOST_PALETTE = 8_000_000, 1_000_000
_UPLOADS = 2  # whose bodies are in memory beside the pictures that are held
_PATIENCE = 30.0  # seconds without another piece of a body, after which its place is given to others
_LONGEST_NAME = 200
HOSTS = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

T = TypeVar("T")


class Guard:
    """Refuses what does not come from the page, and adds HEADERS to all that is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request of HTTP; others are let through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *headers]
            await send(message)

        refusal = _refusal(Request(scope))
        await (refusal or self._app)(scope, receive, answer)


def _refusal(request: Request) -> Response | None:
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() not in HOSTS:
        return _error(421, "this server answers to this machine alone: open it as http://127.0.0.1, with its port.")
    origin = request.headers.get("origin")
    foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if request.method not in ("GET", "HEAD") and (origin not in (None, f"http://{host}") or foreign):
        return _error(403, "this was asked by another page than that of palgan web: it is refused.")
    return None


def _error(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": printable(sentence)}, status)


class Service:
    """What the page may ask for, with one model."""

    def __init__(self, colorizer: Colorizer, budget: int = BUDGET) -> None:
        self.colorizer = colorizer
        self.shelf = Shelf(budget)
        self._work = Work()
        self._turn = threading.Lock()  # of the network
        self._uploads = asyncio.Semaphore(_UPLOADS)
        self._kind: tuple[Any, float] = (self.colorizer.spec, self.colorizer.config.ab_range)

    async def model(self, _: Request) -> Response:
        """Describes the model."""
        titles = {name: (kind.title, kind.suffixes[0]) for name, kind in FORMATS.items()}
        return JSONResponse(about(self.colorizer.takes_reference, *self._kind, titles))

    async def add(self, request: Request) -> Response:
        """Takes a picture, the body."""
        name, predict = _name(request), None
        if self.colorizer.takes_reference:
            predict = partial(self.colorizer.predict_palette_of, turn=self._turn)
        async with self._uploads:
            data = await _body(request, MOST_BYTES, "a picture")
            picture = await self._whole(request, lambda: hold(data, name, predict), name)
        width, height = picture.size
        predicted = None if picture.predicted is None else picture.predicted.shares.tolist()
        answer = {"picture": self.shelf.add(picture), "name": name, "width": width, "height": height}
        return JSONResponse({**answer, "notes": picture.notes, "palette": predicted})

    async def preview(self, request: Request) -> Response:
        """Paints a picture at the size of a screen."""
        content = json_object(await _body(request, MOST_WISH, "a wish"))
        picture, side = self._held(content), content.get("side")
        if side not in SIDES:
            raise UserError(f"a preview has a side of {', '.join(map(str, SIDES))}: load the page anew.")

        def paint() -> bytes:
            painting = painting_of(content.get("wish"), *self._kind)
            with self._turn:
                return preview(self.colorizer, picture.small[side], picture.size, painting)

        key = (content["picture"], side, str(content.get("lane")))
        jpeg = await self._work.preview(key, _lack_in_words(paint, picture.name), request.is_disconnected)
        return Response(jpeg, media_type="image/jpeg")

    async def result(self, request: Request) -> Response:
        """Paints a picture at its full size, as `palgan colorize` does: a file of it."""
        content = json_object(await _body(request, MOST_WISH, "a wish"))
        picture, kind = self._held(content), content.get("format")
        if not isinstance(kind, str) or kind not in FORMATS:
            raise UserError(f"a result has one of the formats {', '.join(FORMATS)}: choose one.")

        def paint() -> bytes:
            painting = painting_of(content.get("wish"), *self._kind)
            photograph = picture.read()
            result = self.colorizer.paint(photograph.picture, painting, FORMATS[kind].takes_16_bits, self._turn)
            return encode(result.pixels, photograph.metadata, kind, None, picture.name)

        data = await self._whole(request, paint, picture.name)
        file = Path(picture.name).stem + FORMATS[kind].suffixes[0]
        disposition = f"attachment; filename*=utf-8''{quote(file, safe='')}"
        return Response(data, media_type=f"image/{kind}", headers={"Content-Disposition": disposition})

    async def sample(self, request: Request) -> Response:
        """Draws a palette around another."""
        content = json_object(await _body(request, MOST_PALETTE, "a palette"))
        palette = palette_of(content.get("palette"), *self._kind)
        number, seed = whole_number_of(content, "number", 1, least=1), whole_number_of(content, "seed", SEED, least=0)
        return _palette(sample_palette(palette, number, number_of(content, "temperature", 1.0), seed))

    async def reference(self, request: Request) -> Response:
        """Counts the palette of a picture, the body."""
        name = _name(request)

        def count(data: bytes) -> Palette:
            return Palette.of(read_within_time(data, name).picture.on_white(), *self._kind)

        async with self._uploads:
            data = await _body(request, MOST_BYTES, "a picture")
            palette = await self._whole(request, partial(count, data), name)
        notes = [f"{name} is gray, and so is what is painted with its palette."] if palette.is_gray else []
        return _palette(palette, notes)

    async def palette_file(self, request: Request) -> Response:
        """Reads a file of a palette, the body."""
        name, data = _name(request), await _body(request, MOST_PALETTE, "a palette")
        return _palette(Palette.from_bytes(data, name).counted_as(*self._kind))

    def _held(self, content: dict[str, Any]) -> HeldPicture:
        picture = self.shelf.get(content.get("picture"))
        if picture is None:
            raise HTTPException(410, "the picture is no longer held here: open it once more.")
        return picture

    async def _whole(self, request: Request, do: Callable[[], T], name: str) -> T:
        return await self._work.whole(_lack_in_words(do, name), request.is_disconnected)

    def warm_up(self) -> None:
        """Prepares what previews and results need, before the first picture comes: JAX compiles it."""
        gray = Picture(np.linspace(0, 255, 64 * 64, dtype=np.uint8).reshape(64, 64)[..., None].repeat(3, -1))
        paintings = [Painting(saturation=2)]
        if self.colorizer.takes_reference:
            palette = Palette.from_colors(["gray"]).counted_as(*self._kind)
            paintings.append(Painting(regions=(Region(gray.pixels[..., 0], palette),)))
        with self._turn:
            for painting in paintings:
                preview(self.colorizer, Subject(gray), (64, 64), painting)


def _lack_in_words(do: Callable[[], T], name: str) -> Callable[[], T]:
    def run() -> T:
        try:
            return do()
        except Exception as error:
            if lacks_memory(error):
                raise UserError(f"{name} needs more memory than there is: make it smaller.") from error
            raise

    return run


def _palette(palette: Palette, notes: list[str] | None = None) -> JSONResponse:
    return JSONResponse({"palette": palette.shares.tolist(), "notes": notes or []})


def _name(request: Request) -> str:
    """Returns what the page calls a file: its last part, no path."""
    name = request.query_params.get("name", "").replace("\\", "/").rpartition("/")[2].strip()
    return printable(name[:_LONGEST_NAME]) or "the picture"


async def _body(request: Request, limit: int, label: str) -> bytes:
    """Reads a body. Raises HTTPException in words: 413 where it is larger than `limit` bytes, 408 where it stalls."""
    too_large = HTTPException(413, f"{label} of more than {in_words(limit)} is not taken: make it smaller.")
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > limit:
        raise too_large
    body, now = bytearray(), asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(_PATIENCE) as wait:
            async for piece in request.stream():
                wait.reschedule(now() + _PATIENCE)
                body += piece
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise HTTPException(408, f"{label} has not come to its end for {_PATIENCE:g} seconds: send it again.") from None
    return bytes(body)


_IN_WORDS = (UserError, Superseded, ClientDisconnect, HTTPException, Exception)


async def _in_words(_: Request, error: Exception) -> Response:
    if isinstance(error, UserError):
        return _error(400, str(error))
    if isinstance(error, Superseded):
        return _error(409, "a newer wish has come.")
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)
    if isinstance(error, HTTPException):
        sentence = str(error.detail)
        return _error(error.status_code, sentence if sentence.endswith(".") else f"{sentence}: check the address.")
    return _error(500, "this went wrong on the side of the program, which says more where it was started.")


def application(service: Service) -> Starlette:
    """Returns the application."""
    mimetypes.add_type("text/javascript", ".js")  # some systems say otherwise, and browsers refuse it then
    posts = {
        "pictures": service.add,
        "preview": service.preview,
        "result": service.result,
        "sample": service.sample,
        "reference": service.reference,
        "palette": service.palette_file,
    }
    return Starlette(
        routes=[
            Route("/api/model", service.model),
            *(Route(f"/api/{name}", answer, methods=["POST"]) for name, answer in posts.items()),
            Mount("/examples", StaticFiles(directory=SAMPLES)),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[Middleware(Guard)],
        exception_handlers=dict.fromkeys(_IN_WORDS, _in_words),
    )
