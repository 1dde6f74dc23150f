"""A proxy before a server: answers take longer, as over a network, and the commands are counted.

Tests and benchmarks share it. It changes no byte, and keeps the order of each connection; opening one
costs a round trip, too. It judges nothing: what is too many, the caller says.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bson.raw_bson import RawBSONDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Proxy", "delaying"]

HEADER = struct.Struct("<iiii")  # length, request, answers which request, kind
OP_MSG = 2013
BODY_AT = HEADER.size + 5  # the flags, and the kind of the first section: the body

# What a driver sends by itself, however much or little it is asked for.
OWN = frozenset({"hello", "isMaster", "ismaster", "ping", "endSessions"})


@dataclass
class Proxy:
    """A proxy that runs: where it listens, and what went through it.

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
def delaying(host: str, port: int, round_trip: float = 0.0) -> Iterator[Proxy]:
    """Run a proxy to a server in a thread of its own; each answer comes `round_trip` seconds later."""
    proxy = Proxy()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip)  # the handshake of TCP
        from_server, to_server = await asyncio.open_connection(host, port)
        names: dict[int, str] = {}

        def asked(message: bytes) -> None:
            if name := _command(message):
                names[_request(message)] = name
                proxy.asked(name)

        def answered(message: bytes) -> None:
            if name := names.pop(_answers(message), None):
                proxy.answered(name)

        halves = [
            _carry(reader, to_server, round_trip / 2, first=asked),
            _carry(from_server, writer, round_trip / 2, last=answered),
        ]
        tasks = [asyncio.create_task(half) for half in (*halves, over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for name in names.values():
                proxy.answered(name)
            for end in (writer, to_server):
                end.transport.abort()

    listener = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    proxy.uri = f"mongodb://127.0.0.1:{listener.sockets[0].getsockname()[1]}/?directConnection=true"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def close() -> None:
        listener.close()
        over.set()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    delay: float,
    *,
    first: Callable[[bytes], None] | None = None,
    last: Callable[[bytes], None] | None = None,
) -> None:
    """Carry messages one way until its end; `first` sees each as it comes, `last` as it goes."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

    async def deliver() -> None:
        while (item := await under_way.get()) is not None:
            due, message = item
            await asyncio.sleep(due - loop.time())
            if last is not None:
                last(message)
            writer.write(message)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        while True:
            header = await reader.readexactly(HEADER.size)
            message = header + await reader.readexactly(HEADER.unpack(header)[0] - HEADER.size)
            if first is not None:
                first(message)
            under_way.put_nowait((loop.time() + delay, message))
    except asyncio.IncompleteReadError:
        under_way.put_nowait(None)
        await delivery
    finally:
        delivery.cancel()


def _request(message: bytes) -> int:
    return int(HEADER.unpack_from(message)[1])


def _answers(message: bytes) -> int:
    return int(HEADER.unpack_from(message)[2])


def _command(message: bytes) -> str | None:
    """Name the command of a request, unless it is one of the driver's own."""
    if HEADER.unpack_from(message)[3] != OP_MSG:
        return None
    (size,) = struct.unpack_from("<i", message, BODY_AT)
    name = next(iter(RawBSONDocument(message[BODY_AT : BODY_AT + size])))
    return None if name in OWN else name
