"""A bucket that is slow, busy, or breaks off."""

import json
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.bench import Bench, resumed
from tests.faults.fault import fault
from tests.support.gcs_server import BUCKET, environment, serve

STOPPED = 75
KINDS = ("", "503", "slow", "cut")


@contextmanager
def bucket() -> Iterator[str]:
    """Yields the address of a server that has an empty bucket."""
    with serve() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def misbehave(server: str, kind: str, share: float = 0.1) -> None:
    """Makes a server answer some requests as in `KINDS`."""
    body = json.dumps({"kind": kind, "share": share}).encode()
    urllib.request.urlopen(f"{server}/misbehave", data=body).close()


@fault("a bucket that answers 503, slowly, or half", "runs go on in it as in a folder; metrics to the bit", count=8)
def bad_bucket(bench: Bench, i: int) -> list[str]:
    workdir = f"gs://{BUCKET}/runs/{bench.new().name}"
    with bucket() as server:
        misbehave(server, KINDS[i % len(KINDS)])
        variables = environment(server)
        command = bench.train(workdir, **variables)
        # By the second one, the first save is in the bucket.
        command.wait_for(lambda: command.output.count("validation:") > 1)
        command.process.send_signal(signal.SIGKILL if i % 2 == 0 else signal.SIGTERM)
        wrong = command.complaints((-9, STOPPED))
        again = bench.train(workdir, **variables)
        wrong += again.complaints(0)
        if resumed(again.output) < 3:
            wrong.append(f"went on from {resumed(again.output)}: {again.output[-800:]}")
        page, weights = bench.new("page"), bench.new("weights").with_suffix(".safetensors")
        for arguments in (("info", workdir), ("runs", "show", workdir, "--output", page), ("export", workdir, weights)):
            wrong += bench.command(*arguments, **variables).complaints(0)
        return wrong + bench.compare_lines(_metrics(server, workdir), workdir)


def _metrics(server: str, workdir: str) -> str:
    name = f"{workdir.removeprefix(f'gs://{BUCKET}/')}/metrics.jsonl".replace("/", "%2F")
    misbehave(server, "")
    with urllib.request.urlopen(f"{server}/storage/v1/b/{BUCKET}/o/{name}?alt=media") as answer:
        return answer.read().decode()
