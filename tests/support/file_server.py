"""A web server on this machine whose connections break when a test says so."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves `files`, path -> content.

    Attributes:
      breaks: the next answers end after so many bytes, one number an answer.
      ranges: whether parts of files are served.
      requests: (path, first byte) of each request.
      address: without a slash at the end.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.ranges = True
        self.requests: list[tuple[str, int]] = []


@contextmanager
def serve() -> Iterator[FileServer]:
    """Runs a server in a `with` body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            first = first if state.ranges else 0
            state.requests.append((self.path, first))
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            end = first + state.breaks.pop(0) if state.breaks else len(content)
            self.wfile.write(content[first:end])

        def log_message(self, *_: object) -> None:
            pass

    with answering(Handler) as port:
        state = FileServer(f"http://127.0.0.1:{port}")
        yield state


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Runs a server on this machine in a `with` body, and gives its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
