"""A source, read and split in a thread of its own, a few chunks ahead of whoever takes them.

A daemon thread: one that waits for a terminal or a pipe can't be woken, and mustn't keep the process
from ending.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from motorctl.core.ingest.model import Reading
from motorctl.core.ingest.reading.split import LINES, split

if TYPE_CHECKING:
    from motorctl.core.ingest.model import Chunk, Place
    from motorctl.core.ingest.reading.source import Source

__all__ = ["Reader"]

CHUNKS_AHEAD = 4


class Reader:
    """The chunks of a source, as an asynchronous iterator. Begins to read when the first one is asked for.

    `number` is the source's among those of the import, from 0.
    """

    def __init__(
        self,
        source: Source,
        reading: Reading | None = None,
        start: Place | None = None,
        part: tuple[int, int] | None = None,
        number: int = 0,
    ) -> None:
        self.source = source
        self.number = number
        self._how = (reading or Reading(), start, part)
        self._queue: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(CHUNKS_AHEAD)
        self._stopped = threading.Event()
        self._started = self._ended = self._taken = False
        self._next: Chunk | None = None

    async def peek(self) -> Chunk | None:
        """Wait for the next chunk and leave it there; None at the end. Raises what `split` raises."""
        if not self._started:
            self._started = True
            loop = asyncio.get_running_loop()
            name = f"read {self.source.name}"
            threading.Thread(target=self._read, args=(loop,), name=name, daemon=True).start()
        if self._next is None and not self._ended:
            item = await self._queue.get()
            self._ended = item is None or isinstance(item, Exception)
            if isinstance(item, Exception):
                raise item
            self._next = item
        return self._next

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Chunk:
        if self._taken:
            # The one before has been worked on: there is room for another.
            self._taken = False
            self._room.release()
        chunk = await self.peek()
        if chunk is None:
            raise StopAsyncIteration
        self._next, self._taken = None, True
        return chunk

    def in_range(self, chunk: Chunk) -> bool:
        """Whether a chunk's lines are counted from the beginning of a range of the file, and not of the file."""
        reading, _, part = self._how
        return part is not None and chunk.layout in LINES and self.source.is_seekable(reading.encoding)

    def close(self) -> None:
        """Let the thread end as soon as it can."""
        self._stopped.set()
        self._room.release()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        def put(item: Chunk | Exception | None) -> None:
            # The loop is closed when the import ended while this thread waited for input.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._queue.put_nowait, item)

        try:
            for chunk in split(self.source, *self._how):
                self._room.acquire()
                if self._stopped.is_set():
                    return
                put(chunk)
        except Exception as error:  # noqa: BLE001 - raised again in the loop's thread
            put(error)
        else:
            put(None)
