"""A server on this machine alone, until Ctrl-C."""

import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from palgan_jax.errors import UserError, one_line

ADDRESS = "127.0.0.1"
_SECONDS_TO_END = 1  # for requests that are being answered at Ctrl-C
_MOST_CONNECTIONS = 64


def listen(port: int) -> socket.socket:
    """Returns a socket that listens on a port of this machine, 0 for any. Raises UserError where it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(f"port {port} cannot be listened on ({one_line(error)}): choose another with --port.") from None
    return listener


def serve(app: ASGIApp, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Serves an application until Ctrl-C or SIGTERM; `on_start` is called on a thread of its own once it answers."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        log_level="error",
        lifespan="off",
        ws="none",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_END,
        server_header=False,
    )
    threading.Thread(target=on_start, daemon=True).start()  # the socket listens already
    uvicorn.Server(config).run(sockets=[listener])
