"""Addresses on this machine for processes that tests join."""

import socket


def free_address() -> str:
    """Returns HOST:PORT that nothing listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"
