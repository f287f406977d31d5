"""A small process beside each process of a run that has several: it calls the roll, and ends all where one dies.

`distributed/join.py` starts it. It is a process of its own because JAX aborts without a name where the first process
of a run dies, and so that no compilation and no collective that hangs can keep it from its work. It needs the standard
library only.

The companion of process 0 keeps the roll: it listens at the coordinator's address until all have come, then leaves that
port to JAX and keeps the connections. All talk in JSON objects, a line each:

    member -> roll     {"number", "count", "host", "pid"}       who it is
    roll -> process    {"all": ["process 0 of 2 (...)", ...], "hosts": of how many machines}
    process -> roll    {"state": "done"}                        it is through, and waits for the others
                       {"state": "failed", "why": ...}          it ends, as the others may by themselves
                       {"state": "crashed", "why": ...}         it ends by what nobody expected
    member -> roll     {"state": "gone"}                        its process is no longer there
    roll -> process    {"over": reason, "number": of whom}      why all end; null where all ended by themselves
    both ways          {}                                       a sign of life
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

BEATS = 12
"""Signs of life that each gives in the time after which the others would take it for dead."""
_LOOK = 0.2  # seconds between two looks at what sends no event
_HURRY = 5.0  # seconds that a process has to end once it is told to
_BLAME = 2.0  # seconds after a crash in which the death that it follows from becomes known

_LONGEST = 2**24  # bytes of a line: the roll of thousands

Words = dict[str, Any]


def _write(writer: asyncio.StreamWriter, words: Words) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(words).encode() + b"\n")


async def _read(reader: asyncio.StreamReader) -> Words | None:
    """The next line; None at the end, and where the other side speaks another language."""
    try:
        words = json.loads(await reader.readline())
    except (OSError, ValueError):  # an empty last line is no JSON either
        return None
    return words if isinstance(words, dict) else None


# ------------------------------------------------------------------------------------------------------------ the roll


@dataclass
class Peer:
    """What the roll knows of a process."""

    name: str
    host: str = ""
    writer: asyncio.StreamWriter | None = None  # None where its companion is gone
    state: str = "running"  # or done, failed, crashed, gone
    why: str = ""
    since: float = 0.0  # when the state was told
    heard: float = field(default_factory=time.monotonic)


Verdict = tuple[str | None, int | None]


def judge(peers: dict[int, Peer], now: float, silence: float) -> Verdict | None:
    """Whether the run is over: (why, number of who ended it), or (None, None) where all ended by themselves.

    Args:
      now: in seconds, on the clock of the peers.
      silence: seconds without a sign of life after which a process is dead; the others have as long to end by
        themselves where one has failed.
    """
    by_time = sorted(peers.items(), key=lambda item: item[1].since)
    for number, peer in by_time:
        if peer.state == "gone":
            return f"{peer.name} is gone", number
        if now - peer.heard > silence:
            return f"{peer.name} has not been heard of for {silence:g} s", number
    if all(peer.state != "running" for peer in peers.values()):
        return None, None
    # A crash may follow from the death of another, of which the roll is yet to hear.
    certain = all(now - peer.heard < 2 * silence / BEATS for peer in peers.values())
    for number, peer in by_time:
        if peer.state == "crashed" and certain and now - peer.since > _BLAME:
            return f"{peer.name} has ended with {peer.why}", number
        if peer.state == "failed" and now - peer.since > silence:
            return f"{peer.name} has ended ({peer.why})", number
    return None


class Roll:
    """Kept beside process 0: who is there, and what becomes of them."""

    def __init__(self, count: int, parent: int, patience: float, silence: float):
        self._count, self._parent, self._patience, self._silence = count, parent, patience, silence
        self._peers: dict[int, Peer] = {}
        self._complete = asyncio.Event()
        self._last_beat = time.monotonic()

    async def keep(self, port: int) -> None:
        """From the first process that comes to the last one that goes."""
        end = time.monotonic() + self._patience
        if (server := await self._listen(port, end)) is None:
            return
        while not self._complete.is_set() and time.monotonic() < end and _lives(self._parent):
            self._beat()
            await asyncio.sleep(_LOOK / 4)
        server.close()  # the port is JAX's from here on
        if self._complete.is_set():
            names = [self._peers[number].name for number in range(self._count)]
            self._broadcast({"all": names, "hosts": len({peer.host for peer in self._peers.values()})})
            why, number = await self._watch()
        else:
            late = f"{self._missing()} within {self._patience:g} s"
            why, number = late if _lives(self._parent) else f"process 0 of {self._count} is gone", None
        self._broadcast({"over": why, "number": number})
        end = time.monotonic() + 2 * _HURRY
        while time.monotonic() < end and any(peer.writer for peer in self._peers.values()):
            await asyncio.sleep(_LOOK / 4)

    async def _listen(self, port: int, end: float) -> asyncio.Server | None:
        while _lives(self._parent):
            try:
                return await asyncio.start_server(self._attend, None, port)
            except OSError as error:  # the port may be a run's that is about to end
                if time.monotonic() > end:
                    _to_process({"over": f"port {port} of {socket.gethostname()} is not free ({error.strerror})"})
                    return None
            await asyncio.sleep(_LOOK)
        return None

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await _read(reader)
        if hello is None or not hello.keys() >= {"number", "count", "host", "pid"} or self._complete.is_set():
            return writer.close()
        number, count, host = hello["number"], hello["count"], str(hello["host"])
        peer = Peer(f"process {number} of {count} (host {host}, pid {hello['pid']})", host, writer)
        other = self._peers.get(number)
        refused = "" if count == self._count else f"a run of {self._count} processes"
        if not refused and other is not None and other.writer is not None:
            refused = f"the place of {other.name}"
        if not refused and number not in range(self._count):
            refused = f"a run whose last is {self._count - 1}"
        if refused:
            _write(writer, {"over": f"{peer.name} has come to {refused}", "number": None})
            return writer.close()
        _write(writer, {})
        self._peers[number] = peer
        if len(self._peers) == self._count and all(other.writer for other in self._peers.values()):
            self._complete.set()
        while (words := await _read(reader)) is not None:
            peer.heard = time.monotonic()
            if "state" in words:
                self._note(peer, **words)
        peer.writer = None
        self._note(peer, "gone")
        writer.close()

    def _note(self, peer: Peer, state: str, why: str = "") -> None:
        if peer.state != "gone":
            peer.state, peer.why, peer.since = state, why, time.monotonic()

    def _missing(self) -> str:
        absent = [number for number in range(self._count) if number not in self._peers]
        left = [peer.name for peer in self._peers.values() if peer.writer is None]
        said = [f"{numbers(absent)} of {self._count} {_have(absent)} not come"] if absent else []
        said += [f"{', '.join(left)} {_have(left)} come and gone again"] if left else []
        return " and ".join(said)

    async def _watch(self) -> Verdict:
        looked = time.monotonic()
        for peer in self._peers.values():
            peer.heard = looked  # those who came first had nothing to say until now
        while True:
            now = time.monotonic()
            for peer in self._peers.values():
                peer.heard += _stopped(now - looked, self._silence)
            looked = now
            if not _lives(self._parent) and self._peers[0].state != "gone":
                # Before all others, whose end may well follow from this one.
                self._peers[0].state, self._peers[0].since = "gone", 0.0
            if (verdict := judge(self._peers, now, self._silence)) is not None:
                return verdict
            self._beat()
            await asyncio.sleep(_LOOK / 4)

    def _beat(self) -> None:
        if time.monotonic() - self._last_beat > self._silence / BEATS:
            self._last_beat = time.monotonic()
            self._broadcast({})

    def _broadcast(self, words: Words) -> None:
        for peer in self._peers.values():
            if peer.writer is not None:
                _write(peer.writer, words)


def numbers(of: list[int]) -> str:
    """`process 3`, `processes 3 and 5`, or the first few of them and how many more."""
    listed = [str(number) for number in (of if len(of) <= 8 else of[:8])]
    listed += [f"{len(of) - 8} more"] if len(of) > 8 else []
    if len(listed) == 1:
        return f"process {listed[0]}"
    return f"processes {', '.join(listed[:-1])} and {listed[-1]}"


def _have(some: list) -> str:
    return "has" if len(some) == 1 else "have"


def _lives(parent: int) -> bool:
    return os.getppid() == parent


def _stopped(gap: float, silence: float) -> float:
    """For how much of the seconds since its last look this process was stopped, and may be all others were."""
    return gap if gap > silence / BEATS else 0.0


# ------------------------------------------------------------------------------------------------- beside each process


@dataclass
class Member:
    """The companion of one process: between it and the roll.

    Attributes:
      host, port: where the roll is kept.
      number, count: which process of how many.
      parent: its process id.
      patience: seconds until all have to have come.
      silence: seconds without a sign of life after which the roll is dead.
    """

    host: str
    port: int
    number: int
    count: int
    parent: int
    patience: float
    silence: float

    async def attend(self) -> None:
        """From the start of the process until its end, or until it has to end."""
        end, problem = time.monotonic() + self.patience, "nobody listens there"
        while _lives(self.parent) and time.monotonic() < end:
            writer = None
            try:
                connection = asyncio.open_connection(self.host, self.port, limit=_LONGEST)
                reader, writer = await asyncio.wait_for(connection, _HURRY)
                me = {"number": self.number, "count": self.count, "host": socket.gethostname(), "pid": self.parent}
                _write(writer, me)
                words = await self._first_words(reader)
                problem = "what answers there is not the start of a run"
                if words is not None:
                    _to_process(words)
                    return await self._stand_by(reader, writer, words["all"]) if "all" in words else None
            except (OSError, TimeoutError) as error:
                problem = error.strerror or "no answer"
                if error.errno and not isinstance(error, socket.gaierror):
                    problem = os.strerror(error.errno)
            finally:
                if writer is not None:
                    writer.close()
            await asyncio.sleep(_LOOK)
        _to_process({"over": f"process 0 of {self.count} does not answer at {self.host}:{self.port} ({problem})"})

    async def _first_words(self, reader: asyncio.StreamReader) -> Words | None:
        """That all are there, or why that is not to be; None where this is no roll."""
        words, limit = None, _HURRY
        while _lives(self.parent):
            try:
                words = await asyncio.wait_for(_read(reader), limit)
            except TimeoutError:
                return None
            if words != {}:
                break
            limit = self.silence
        return words if words and words.keys() & {"all", "over"} else None

    async def _stand_by(self, roll: asyncio.StreamReader, writer: asyncio.StreamWriter, names: list[str]) -> None:
        forward = asyncio.create_task(self._forward(writer))
        reading = asyncio.create_task(_read(roll))
        heard = said = looked = time.monotonic()
        died = None
        while died is None or time.monotonic() - died < _HURRY:
            await asyncio.wait([reading], timeout=_LOOK)
            now = time.monotonic()
            heard += _stopped(now - looked, self.silence)
            looked = now
            if died is None and not _lives(self.parent):
                died = now
                # Who died first, and is to be named here too, comes as the answer.
                _write(writer, {"state": "gone"})
            if reading.done():
                heard, words = now, reading.result()
                if words is None:
                    await self._end(f"{names[0]} is gone", 0)
                    break
                if "over" in words:
                    await self._end(words["over"], words["number"])
                    break
                reading = asyncio.create_task(_read(roll))
            elif now - heard > self.silence:
                await self._end(f"{names[0]} has not been heard of for {self.silence:g} s", 0)
                break
            if now - said > self.silence / BEATS:
                said = now
                _write(writer, {})
        forward.cancel()
        reading.cancel()

    async def _forward(self, writer: asyncio.StreamWriter) -> None:
        process = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(process), sys.stdin)
        while (words := await _read(process)) is not None:
            _write(writer, words)

    async def _end(self, why: str | None, number: int | None) -> None:
        if why is not None and number != self.number:
            advice = "all others end with it, so look there for the reason, then start all again"
            with contextlib.suppress(OSError):
                os.write(2, f"palgan: error: {why}: {advice}.\n".encode())
        _to_process({"over": why, "number": number})
        if why is None:
            return
        end = time.monotonic() + _HURRY
        while _lives(self.parent) and time.monotonic() < end:
            await asyncio.sleep(_LOOK / 4)
        if _lives(self.parent):
            os.kill(self.parent, signal.SIGKILL)


def _to_process(words: Words) -> None:
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(words).encode() + b"\n")


async def main(host: str, port: int, number: int, count: int, parent: int, patience: float, silence: float) -> None:
    """See Member for the arguments."""
    # What a terminal or a scheduler sends to a whole group is the process's to answer.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    tasks = [Member(host, port, number, count, parent, patience, silence).attend()]
    if number == 0:
        tasks.append(Roll(count, parent, patience, silence).keep(port))
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
