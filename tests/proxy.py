"""Proxies between a client and a server: what is on its way can be delayed, held, or lost.

`delaying` makes answers late, as over a network, and counts the commands. `holding` holds one message, so that a test
can look at that exact place. `faulty` is a bad network: late, in crumbs, cut, lost, silent, or nobody there any more.
Each runs in a thread of its own for the time of a `with`, changes no byte, and judges nothing: what is to be expected,
its user says.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from bson.raw_bson import RawBSONDocument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["Body", "Delaying", "Fault", "Holding", "How", "Line", "Place", "delaying", "faulty", "holding"]

Body = RawBSONDocument

HEADER = struct.Struct("<iiii")  # length, request, answers which request, kind
OP_MSG = 2013
BODY_AT = HEADER.size + 5  # the flags, and the kind of the first section: the body

OWN = frozenset({"hello", "isMaster", "ismaster", "ping", "endSessions"})
"""What a driver sends by itself, however much or little it is asked for."""


# What all of them do: carry messages


class _Connection(Protocol):
    """One client's connection: both ways of it. It ends with the one that ends first."""

    async def to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...
    async def to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


class _Relay:
    """A proxy that listens. What is set from another thread is set by `do`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.over = asyncio.Event()
        """The proxy ends, and all connections with it."""
        self.gone = asyncio.Event()
        """Nothing listens any more, and no connection is left, although the proxy is there still."""

    def do(self, call: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(call)

    @contextmanager
    def running(self, host: str, port: int, connection: Callable[[], _Connection]) -> Iterator[str]:
        """Carry connections to a server until the block ends; yields the URI of the proxy."""
        loop = self.loop

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                if not self.gone.is_set():
                    await self._carry(host, port, connection(), reader, writer)
            finally:
                writer.transport.abort()

        listener = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, backlog=100))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def refuse() -> None:
            await self.gone.wait()
            listener.close()

        refusing = asyncio.run_coroutine_threadsafe(refuse(), loop)

        async def close() -> None:
            listener.close()
            self.over.set()
            refusing.cancel()
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

        try:
            yield f"mongodb://127.0.0.1:{listener.sockets[0].getsockname()[1]}/?directConnection=true"
        finally:
            asyncio.run_coroutine_threadsafe(close(), loop).result(10)
            self.do(loop.stop)
            thread.join()
            loop.close()

    async def _carry(
        self,
        host: str,
        port: int,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        from_server, to_server = await asyncio.open_connection(host, port)
        ways = connection.to_server(reader, to_server), connection.to_client(from_server, writer)
        tasks = [asyncio.create_task(way) for way in (*ways, self.gone.wait(), self.over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            to_server.transport.abort()


async def _read_ahead(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    before: Callable[[bytes, float], Awaitable[None]],
    *,
    to_the_end: bool = False,
) -> None:
    """Carry messages one way, each after `before`, which is given when it came; more are read meanwhile.

    With the end of the connection it ends at once, or `to_the_end` when all that came before is carried.
    """
    waiting: asyncio.Queue[tuple[bytes, float] | None] = asyncio.Queue()

    async def deliver() -> None:
        while (item := await waiting.get()) is not None:
            await before(*item)
            writer.write(item[0])
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        while True:
            waiting.put_nowait((await _message(reader), time.monotonic()))
    except (asyncio.IncompleteReadError, ConnectionError):
        if to_the_end:
            waiting.put_nowait(None)
            await delivery
    finally:
        delivery.cancel()


async def _message(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(HEADER.size)
    return header + await reader.readexactly(HEADER.unpack(header)[0] - HEADER.size)


def _number(message: bytes) -> int:
    return int(HEADER.unpack_from(message)[1])


def _answers(message: bytes) -> int:
    """Return the number of the request that a message is the answer to."""
    return int(HEADER.unpack_from(message)[2])


def _body(message: bytes) -> Body | None:
    """Return the body of a command, or None for what is none: a driver's first greeting."""
    if HEADER.unpack_from(message)[3] != OP_MSG:
        return None
    (size,) = struct.unpack_from("<i", message, BODY_AT)
    return RawBSONDocument(message[BODY_AT : BODY_AT + size])


def _command(message: bytes, *, but: frozenset[str] = OWN) -> str | None:
    """Name the command of a request, unless it is one of a driver's own."""
    body = _body(message)
    name = None if body is None else next(iter(body))
    return None if name in but else name


# Late


@dataclass
class Delaying:
    """A proxy that delays: where it listens, and what went through it.

    `commands` counts them by name, without those that a driver sends by itself; `most_at_once` is the
    most of each name that waited for their answers together.
    """

    uri: str = ""
    commands: Counter[str] = field(default_factory=Counter)
    most_at_once: Counter[str] = field(default_factory=Counter)
    _waiting: Counter[str] = field(default_factory=Counter)

    def asked(self, name: str) -> None:
        self.commands[name] += 1
        self._waiting[name] += 1
        self.most_at_once[name] = max(self.most_at_once[name], self._waiting[name])

    def answered(self, name: str) -> None:
        self._waiting[name] -= 1


@contextmanager
def delaying(host: str, port: int, round_trip: float = 0.0) -> Iterator[Delaying]:
    """Run a proxy whose answers come `round_trip` seconds later, in the order of each connection.

    Opening a connection costs a round trip, too.
    """
    proxy = Delaying()
    with _Relay().running(host, port, lambda: _Delayed(proxy, round_trip)) as proxy.uri:
        yield proxy


class _Delayed:
    def __init__(self, proxy: Delaying, round_trip: float) -> None:
        self._proxy, self._round_trip = proxy, round_trip
        self._opened = time.monotonic() + round_trip
        """When the handshake of TCP is over."""
        self._names: dict[int, str] = {}

    async def to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def before(message: bytes, came: float) -> None:
            if name := _command(message):
                self._names[_number(message)] = name
                self._proxy.asked(name)
            await _until(max(came, self._opened) + self._round_trip / 2)

        try:
            await _read_ahead(reader, writer, before, to_the_end=True)
        finally:
            for name in self._names.values():
                self._proxy.answered(name)

    async def to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def before(message: bytes, came: float) -> None:
            await _until(came + self._round_trip / 2)
            if name := self._names.pop(_answers(message), None):
                self._proxy.answered(name)

        await _read_ahead(reader, writer, before, to_the_end=True)


async def _until(moment: float) -> None:
    await asyncio.sleep(moment - time.monotonic())


# Held


@dataclass(frozen=True)
class Place:
    """Where to hold: the request that `meets` says it of, or its answer (`answer`); the first that comes."""

    meets: Callable[[Body], bool]
    answer: bool = False


@dataclass
class Holding:
    """A proxy that holds a message: `reached` is set when it does, `let_go` lets it go."""

    uri: str = ""
    reached: threading.Event = field(default_factory=threading.Event)
    commands: list[str] = field(default_factory=list)
    """The names of the commands that came, in their order."""
    _relay: _Relay = field(default_factory=_Relay)
    _free: asyncio.Event = field(default_factory=asyncio.Event)
    _first: threading.Lock = field(default_factory=threading.Lock)

    def let_go(self) -> None:
        self._relay.do(self._free.set)

    async def hold(self) -> None:
        self.reached.set()
        await self._free.wait()


@contextmanager
def holding(host: str, port: int, place: Place) -> Iterator[Holding]:
    """Run a proxy that holds one message, a command on its way or its answer on the way back.

    When a client's connection ends, the server's end of it is closed at once, as a kernel does for a process that died.
    """
    proxy = Holding()
    with proxy._relay.running(host, port, lambda: _Held(proxy, place)) as proxy.uri:
        yield proxy


class _Held:
    def __init__(self, proxy: Holding, place: Place) -> None:
        self._proxy, self._place = proxy, place
        self._awaited: set[int] = set()

    async def to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def before(message: bytes, _: float) -> None:
            proxy, place = self._proxy, self._place
            if (body := _body(message)) is None:
                return
            proxy.commands.append(next(iter(body)))
            if place.meets(body) and proxy._first.acquire(blocking=False):
                if place.answer:
                    self._awaited.add(_number(message))
                else:
                    await proxy.hold()

        await _read_ahead(reader, writer, before)

    async def to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def before(message: bytes, _: float) -> None:
            if _answers(message) in self._awaited:
                await self._proxy.hold()

        await _read_ahead(reader, writer, before)


# Bad


CRUMB = 7
"""Bytes that a line in crumbs carries at once: less than any header."""


class How(Enum):
    """What happens to a command that is struck."""

    delay = "the answer is late"
    trickle = "the answer comes in crumbs"
    cut_request = "the line is cut before the server has the command"
    cut_answer = "the line is cut when the server has done it"
    cut_inside = "the line is cut in the middle of the answer"
    drop = "the answer is lost, the line stays open"
    silent = "the whole line falls silent in the middle of the answer"
    silent_request = "the whole line falls silent before the server has the command"
    gone = "the server is gone when it has done it: nothing listens any more"


@dataclass(frozen=True)
class Fault:
    """A fault: how, at which command, how often.

    `at` is the number of the first command that is struck, `times` how many are (None: all from there on);
    `seconds` is the delay, or the pause between two crumbs; `part` how much of the answer goes through before the
    line is cut or silent there, from 0.0 to 1.0: all but its last byte.
    """

    how: How
    at: int = 0
    times: int | None = 1
    seconds: float = 0.0
    part: float = 0.5

    def strikes(self, number: int) -> bool:
        return number >= self.at and (self.times is None or number < self.at + self.times)

    def __str__(self) -> str:
        often = "from there on" if self.times is None else "once"
        return f"{self.how.name} at {self.at} {often}"


@dataclass
class Line:
    """A proxy that strikes: where it listens, and the commands that came, in their order."""

    uri: str = ""
    commands: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    """The commands that the fault met."""
    struck_at: float = 0.0
    """When it met the first of them, by the monotonic clock."""


@dataclass
class _Shared:
    """What the connections of a line have in common."""

    line: Line
    fault: Fault | None
    relay: _Relay = field(default_factory=_Relay)
    silent: asyncio.Event = field(default_factory=asyncio.Event)


class _CutError(Exception):
    """The connection ends here."""


@contextmanager
def faulty(host: str, port: int, fault: Fault | None = None) -> Iterator[Line]:
    """Run a proxy with a fault; without one it carries all.

    A fault strikes the commands of the program, counted from 0 as they come; what a driver sends by itself (its
    greeting, its monitors) passes, unless the fault is one of the whole line.
    """
    shared = _Shared(Line(), fault)
    with shared.relay.running(host, port, lambda: _Struck(shared)) as shared.line.uri:
        yield shared.line


class _Struck:
    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._struck: set[int] = set()
        """The requests whose answer is struck, by their number in the protocol."""

    async def to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shared = self._shared
        try:
            while True:
                message = await _message(reader)
                if name := _command(message, but=OWN - {"ping"}):
                    self._met(name, message)
                if shared.silent.is_set():
                    await shared.relay.over.wait()
                writer.write(message)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, _CutError):
            return

    def _met(self, name: str, message: bytes) -> None:
        """Count a command; do to it what is done before the server has it."""
        shared, fault = self._shared, self._shared.fault
        number = len(shared.line.commands)
        shared.line.commands.append(name)
        if fault is None or not fault.strikes(number):
            return
        shared.line.struck.append(name)
        shared.line.struck_at = shared.line.struck_at or time.monotonic()
        if fault.how is How.cut_request:
            raise _CutError
        if fault.how is How.silent_request:
            shared.silent.set()
        self._struck.add(_number(message))

    async def to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shared = self._shared
        try:
            while True:
                message = await _message(reader)
                if shared.silent.is_set():
                    await shared.relay.over.wait()
                if shared.fault is not None and _answers(message) in self._struck:
                    await self._answer(message, writer, shared.fault)
                else:
                    writer.write(message)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, _CutError):
            return

    async def _answer(self, message: bytes, writer: asyncio.StreamWriter, fault: Fault) -> None:
        part = message[: min(round(len(message) * fault.part), len(message) - 1)]
        match fault.how:
            case How.delay:
                await asyncio.sleep(fault.seconds)
                writer.write(message)
            case How.trickle:
                for at in range(0, len(message), CRUMB):
                    writer.write(message[at : at + CRUMB])
                    await writer.drain()
                    await asyncio.sleep(fault.seconds)
            case How.cut_answer:
                raise _CutError
            case How.cut_inside:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)  # an abort throws away what is not out yet
                raise _CutError
            case How.drop:
                return
            case How.silent:
                writer.write(part)
                await writer.drain()
                self._shared.silent.set()
                await self._shared.relay.over.wait()
            case How.gone:
                self._shared.relay.gone.set()
                raise _CutError
