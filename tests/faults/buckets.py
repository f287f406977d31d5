"""A bucket that is slow, busy, or breaks off."""

import json
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.bench import Bench, parsed, resumed, rows
from tests.faults.fault import fault
from tests.support.gcs_server import BUCKET, environment, serve

STOPPED = 75
KINDS = ("", "503", "slow", "cut")
TENSORBOARD = "--config.tensorboard=True"


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
        repeat = bench.train(workdir, **variables)
        wrong += repeat.complaints(0)
        if resumed(repeat.output) < 3:
            wrong.append(f"went on from {resumed(repeat.output)}: {repeat.output[-800:]}")
        page, weights = bench.new("page"), bench.new("weights").with_suffix(".safetensors")
        for arguments in (("info", workdir), ("runs", "show", workdir, "--output", page), ("export", workdir, weights)):
            wrong += bench.command(*arguments, **variables).complaints(0)
        return wrong + bench.compare_lines(_metrics(server, workdir), workdir)


@fault(
    "two processes in a bucket",
    "stopped, they go on; metrics to the bit, and TensorBoard has all of them",
    count=2,
)
def pair_in_bucket(bench: Bench, _: int) -> list[str]:
    workdir = f"gs://{BUCKET}/runs/{bench.new().name}"
    with bucket() as server:
        variables = environment(server)
        pair = bench.pair(workdir, TENSORBOARD, **variables)
        pair[0].wait_for(lambda: pair[0].output.count("validation:") > 0)
        pair[1].process.send_signal(signal.SIGTERM)
        wrong = [problem for command in pair for problem in command.complaints(STOPPED)]
        pair = bench.pair(workdir, TENSORBOARD, **variables)
        wrong += [problem for command in pair for problem in command.complaints(0)]
        if {resumed(command.output) for command in pair} & {0}:
            wrong.append(f"did not go on: {pair[0].output[-800:]}")
        uninterrupted = bench.new("whole")
        wrong += [problem for command in bench.pair(uninterrupted) for problem in command.complaints(0)]
        if parsed(_metrics(server, workdir)) != rows(uninterrupted):
            wrong.append("the metrics are not those of a pair in a folder that nothing happened to")
        return wrong + _board_complaints(server, workdir, bench.new("board"))


def _board_complaints(server: str, workdir: str, folder: Path) -> list[str]:
    """Returns what TensorBoard's reader misses in a run's event files, which are copied to a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # loads TensorFlow

    folder.mkdir()
    for name in _names(server, f"{_within(workdir)}/tensorboard/"):
        (folder / name.rpartition("/")[2]).write_bytes(_content(server, name))
    steps = [event.step for event in EventAccumulator(str(folder)).Reload().Scalars("loss/g")]
    return [] if steps == list(range(1, 13)) else [f"TensorBoard has steps {steps}"]


def _metrics(server: str, workdir: str) -> str:
    misbehave(server, "")
    return _content(server, f"{_within(workdir)}/metrics.jsonl").decode()


def _within(workdir: str) -> str:
    return workdir.removeprefix(f"gs://{BUCKET}/")


def _names(server: str, prefix: str) -> list[str]:
    with urllib.request.urlopen(f"{server}/storage/v1/b/{BUCKET}/o?prefix={prefix}") as answer:
        return [item["name"] for item in json.load(answer).get("items", ())]


def _content(server: str, name: str) -> bytes:
    address = f"{server}/storage/v1/b/{BUCKET}/o/{name.replace('/', '%2F')}?alt=media"
    with urllib.request.urlopen(address) as answer:
        return answer.read()
