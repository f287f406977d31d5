"""Downloads files whose size and digest are known, from the first of several addresses that has them."""

import http.client
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from palgan_jax import __version__
from palgan_jax.errors import UserError, one_line
from palgan_jax.util.files import has_digest

_BLOCK = 1 << 18  # bytes
_TIMEOUT = 60.0  # seconds


def beginning(path: Path) -> Path:
    """Returns the file in which the first bytes of an unfinished download to `path` lie."""
    return path.with_name(f"{path.name}.part")


def download(
    addresses: Sequence[str],
    path: Path,
    size: int,
    digest: str,
    progress: Callable[[int], None],
    remedy: str = "get the file by other means and name its folder with --manual-dir",
) -> None:
    """Downloads a file to `path`, whole or not at all; goes on with what an interrupted download has left.

    Args:
      addresses: of the same file, http or https; each is tried in turn, and again as long as it brings more bytes.
      path: a name that is free.
      size: in bytes.
      digest: SHA-256 or SHA-512, in hexadecimal digits.
      progress: is called with numbers of bytes; negative where what was counted has to come again.
      remedy: what else can be done, for the error.

    Raises:
      UserError: no address has the file, with the reason of each; or it cannot be written.
    """
    part, problems = beginning(path), []
    for address in addresses:
        is_fresh = False
        while True:
            size_before = _length(part)
            problem = _fetch(address, part, size, progress)
            size_now = _length(part)
            if size_now < size:
                if size_now <= size_before:
                    break
                continue
            if has_digest(part, digest):
                part.rename(path)
                return
            problem = "it is another file"
            part.unlink()
            progress(-size_now)
            if is_fresh or not size_before:
                break
            is_fresh = True  # what lay there may have been the beginning of another file
        problems.append(f"{address} ({problem})")
    raise UserError(
        f"{path.name} cannot be downloaded: {', '.join(problems)}: give the same command again later, or {remedy}."
    )


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch(address: str, part: Path, size: int, progress: Callable[[int], None]) -> str:
    """Appends what is missing to `part`, as far as it comes; returns why it ended. Raises UserError on a full disk."""
    size_now = _length(part)
    if size_now >= size:
        return ""
    headers = {"User-Agent": f"palgan/{__version__}"} | ({"Range": f"bytes={size_now}-"} if size_now else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=_TIMEOUT)
    except (OSError, http.client.HTTPException) as error:
        return _reason(error)
    with response:
        if size_now and response.status != http.HTTPStatus.PARTIAL_CONTENT:  # a server that sends whole files only
            part.unlink()
            progress(-size_now)
            size_now = 0
        try:
            with part.open("ab") as file:
                while size_now < size:
                    try:
                        block = response.read(min(_BLOCK, size - size_now))
                    except (OSError, http.client.HTTPException) as error:
                        return _reason(error)
                    if not block:
                        return "the connection ended early"
                    file.write(block)
                    size_now += len(block)
                    progress(len(block))
        except OSError as error:
            raise UserError(f"{part} cannot be written ({one_line(error)}): make room, and try again.") from error
    return ""


def _reason(error: Exception) -> str:
    """Returns why a server did not answer."""
    reason = getattr(error, "reason", error)  # urllib wraps what the system says
    return one_line(error) if isinstance(reason, str) else one_line(reason)
