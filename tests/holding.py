"""A proxy that holds one message: a command on its way to the server, or its answer on the way back.

What a process does at an exact place is looked at there: the test waits until the message has come, does what it
wants with the process, and lets the message go or not. When a client's connection ends, the server's end of it
is closed at once, as a kernel does for a process that died. It changes no byte.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bson.raw_bson import RawBSONDocument
from delaying import BODY_AT, HEADER, OP_MSG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Holding", "Place", "holding"]

Body = RawBSONDocument


@dataclass(frozen=True)
class Place:
    """Where to hold: the request that `meets` says it of, or its answer (`answer`); the first that comes."""

    meets: Callable[[Body], bool]
    answer: bool = False


@dataclass
class Holding:
    """A proxy that runs. `reached` is set when the message is held, `let_go` lets it go."""

    uri: str = ""
    reached: threading.Event = field(default_factory=threading.Event)
    commands: list[str] = field(default_factory=list)
    """The names of the commands that came, in their order."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _free: asyncio.Event = field(default_factory=asyncio.Event)

    def let_go(self) -> None:
        self._loop.call_soon_threadsafe(self._free.set)


@contextmanager
def holding(host: str, port: int, place: Place) -> Iterator[Holding]:
    """Run a proxy to a server in a thread of its own, until the block ends."""
    proxy = Holding()
    loop, free = proxy._loop, proxy._free
    over = asyncio.Event()
    first = threading.Lock()

    async def held() -> None:
        proxy.reached.set()
        await free.wait()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, port)
        awaited: set[int] = set()

        async def asked(message: bytes) -> None:
            if (body := _body(message)) is not None:
                proxy.commands.append(next(iter(body)))
                if place.meets(body) and first.acquire(blocking=False):
                    if not place.answer:
                        return await held()
                    awaited.add(HEADER.unpack_from(message)[1])
            return None

        async def answered(message: bytes) -> None:
            if HEADER.unpack_from(message)[2] in awaited:
                await held()

        halves = [_carry(reader, to_server, asked), _carry(from_server, writer, answered)]
        tasks = [asyncio.create_task(half) for half in (*halves, over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
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


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, before: Any) -> None:
    """Carry messages one way, each after `before` has let it; ends with the connection, whatever is held then."""
    waiting: asyncio.Queue[bytes] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            message = await waiting.get()
            await before(message)
            writer.write(message)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        while True:
            header = await reader.readexactly(HEADER.size)
            waiting.put_nowait(header + await reader.readexactly(HEADER.unpack(header)[0] - HEADER.size))
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        delivery.cancel()


def _body(message: bytes) -> Body | None:
    """Return the body of a command, or None for what is none."""
    if HEADER.unpack_from(message)[3] != OP_MSG:
        return None
    size = int.from_bytes(message[BODY_AT : BODY_AT + 4], "little")
    return RawBSONDocument(message[BODY_AT : BODY_AT + size])
