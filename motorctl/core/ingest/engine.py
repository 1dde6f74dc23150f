"""The import, joined: take chunks, decode them, write with batches in flight, account.

    reader thread --Chunk--> decode (worker processes, in parallel) --Decoded--> batches in flight

Chunks are decoded in any order and written in the order of the input. Memory is bounded: a few chunks
wait between the parts, and as many batches are on their way to the server as `in_flight` says. Whatever
ends an import, the batches on their way are waited for and booked before it ends.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from motorctl.core.driver import once
from motorctl.core.ingest.decoding import shape, table
from motorctl.core.ingest.decoding.decode import decode
from motorctl.core.ingest.flight import Flight
from motorctl.core.ingest.model import Plan, Reading
from motorctl.core.ingest.reading.split import split
from motorctl.core.ingest.resuming.checkpoint import WINDOW, Mark
from motorctl.core.ingest.writing.write import Writer, batches, check_acknowledged
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt
    from motorctl.core.ingest.account import Account, Entry
    from motorctl.core.ingest.model import Chunk, Decoded
    from motorctl.core.ingest.reading.reader import Reader
    from motorctl.core.ingest.reading.source import Source
    from motorctl.core.ingest.resuming.checkpoint import Checkpoint, How
    from motorctl.core.workers import Workers

__all__ = ["Options", "check", "peek", "run"]

# After Ctrl-C nobody waits longer than this for the replies to the batches on their way.
LAST_REPLY_SECONDS = 10.0
LAST_SAVE_SECONDS = 5.0
# Two keep one connection's server busy; a third hides what lies between two answers.
IN_FLIGHT = 3
# Below this many bytes of input worker processes cost more than they bring: they take 60 ms to start.
WORKERS_PAY = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """How an import goes about it."""

    plan: Plan = field(default_factory=Plan)
    reading: Reading = field(default_factory=Reading)
    batch_size: int = 1000
    in_flight: int = IN_FLIGHT
    ordered: bool = False
    dry_run: bool = False
    bypass_validation: bool = False


def check(sources: Sequence[Source], options: Options) -> None:
    """Look at the beginning of each file before the first write, stdin excepted.

    Raises `UsageError` for a format that can't be told, a header that can't be used, types without
    columns.
    """
    for source in sources:
        if source.stream is None:
            probe = type(source)(source.name)
            _check_chunk(next(split(probe, options.reading), None), options.plan)


async def peek(readers: Sequence[Reader], options: Options) -> None:
    """Wait for the beginning of the first input, and of each that `check` can't look at."""
    for number, reader in enumerate(readers):
        # `check` has looked at files; each that is peeked at is open, and holds a few chunks, from then on.
        if number == 0 or reader.source.stream is not None:
            _check_chunk(await reader.peek(), options.plan)


def _check_chunk(chunk: Chunk | None, plan: Plan) -> None:
    if chunk is None:
        return
    if chunk.layout == "delimited":
        try:
            table.check(chunk, plan)
            shape.check_names(chunk.header, plan)
        except UsageError as error:
            raise UsageError(f"{chunk.file}: {error.message}", hint=error.hint, file=chunk.file) from error
    elif chunk.layout != "rejects" and (plan.types or plan.null is not None or plan.ignore_blanks):
        raise UsageError(
            f"--types, --null and --ignore-blanks are for CSV and TSV, and {chunk.file} is JSON",
            hint='in JSON a value says its type: {"$date": "2024-01-31T00:00:00Z"}',
        )


async def run(
    collection: Collection,
    readers: Sequence[Reader],
    options: Options,
    account: Account,
    *,
    workers: Workers | None = None,
    checkpoint: Checkpoint | None = None,
    identities: Sequence[bytes] = (),
    attempt: Attempt = once,
    before: Callable[[], Awaitable[None]] | None = None,
    progress: Callable[[Source], None] = lambda _: None,
    last_reply_seconds: float = LAST_REPLY_SECONDS,
) -> None:
    """Import what `readers` read into `collection`, and book every record in `account`.

    The books are right whether this returns, raises or is cancelled. Raises `UsageError` for an input
    that can't be read as what it is or a write concern without an answer, `MotorctlError` for damaged
    input or a rejects file that can't be written, and the driver's error when the server is lost.
    `workers` decode once there is enough to do for them, whoever starts them; `checkpoint` keeps how far
    the import came; `identities` begin the `_id`s that are made, one for each reader. `attempt` awaits
    the sending of a batch, and does so again where that may help; `before` is awaited once, right before
    the first batch is sent; `progress` is called after each chunk. When cancelled, it waits
    `last_reply_seconds` for the batches on their way.
    """
    check_acknowledged(collection)
    writer = Writer(
        collection,
        options.plan,
        ordered=options.ordered,
        attempt=attempt,
        bypass_validation=options.bypass_validation,
    )
    flight = Flight(account, 1 if options.ordered else options.in_flight)
    depth = (workers.count if workers else 0) + 2
    doubtful = checkpoint.doubtful if checkpoint else 0
    line = _Line(readers, options, account, workers, identities, depth=depth, doubtful=doubtful)
    keeper = _Keeper(account, readers, checkpoint)
    how: How = "stopped"
    reason: str | None = None
    account.open()
    try:
        try:
            await _import(line, writer, options, account, flight, keeper, checkpoint, before, progress)
        except Exception as error:
            how, reason = "failed", str(error)
            await flight.land()
            raise
        await flight.land()
        flight.check()
        if account.too_many():
            how, reason = "failed", f"more records were refused than --max-errors {account.limit} allows"
        else:
            how = "done"
    finally:
        line.close()
        # Only one that is cancelled has batches on their way here; a second Ctrl-C doesn't wait for them.
        try:
            await flight.land(last_reply_seconds)
        finally:
            try:
                flight.abandon()
                await keeper.finish(how, reason)
            finally:
                account.close()


async def _import(
    line: _Line,
    writer: Writer,
    options: Options,
    account: Account,
    flight: Flight,
    keeper: _Keeper,
    checkpoint: Checkpoint | None,
    before: Callable[[], Awaitable[None]] | None,
    progress: Callable[[Source], None],
) -> None:
    begun = False
    while (item := await line.next()) is not None:
        entry, source, decoding, doubtful = item
        decoded = await decoding
        account.decoded(entry, decoded)
        write = partial(writer.write, doubtful=doubtful)
        await keeper.ahead()
        for start, stop in batches(decoded, options.batch_size):
            if account.too_many():
                return
            if not begun:
                begun = True
                if before is not None and not options.dry_run:
                    await before()
                await writer.prepare()
                if checkpoint is not None:
                    await checkpoint.begin()
            if options.dry_run:
                outcome = await writer.rehearse(decoded, start, stop)
                entry.sent(stop - start)
                entry.written(decoded, outcome)
            else:
                await flight.send(write, entry, decoded, start, stop)
        if entry.rejects:
            # It may have to read much of a file: nothing for this thread. The source remembers it.
            await asyncio.to_thread(entry.lines_before)
        flight.all_sent(entry)
        await flight.reap()
        flight.check()
        progress(source)
        if account.too_many():
            return


class _Line:
    """The chunks of all inputs on their way through decoding, at most `depth` of them, in order."""

    def __init__(
        self,
        readers: Sequence[Reader],
        options: Options,
        account: Account,
        workers: Workers | None,
        identities: Sequence[bytes],
        *,
        depth: int,
        doubtful: int,
    ) -> None:
        self._doubtful = doubtful
        self._readers = readers
        self._plan = options.plan
        self._account = account
        self._workers = workers
        self._identities = identities or fresh_identities(len(readers))
        self._queue: asyncio.Queue[_Item | Exception | None] = asyncio.Queue(depth)
        self._feeder: asyncio.Task[None] | None = None
        self._bytes = 0

    async def next(self) -> _Item | None:
        """Wait for the next chunk; None at the end. Raises what reading raises."""
        if self._feeder is None:
            self._feeder = asyncio.create_task(self._feed())
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        """Let go of what is still being read and decoded."""
        if self._feeder is not None:
            self._feeder.cancel()
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if isinstance(item, tuple):
                item.decoding.cancel()

    async def _feed(self) -> None:
        try:
            for reader, identity in zip(self._readers, self._identities, strict=True):
                await self._feed_from(reader, identity)
        except Exception as error:  # noqa: BLE001 - raised again in `next`, after the chunks before it
            await self._queue.put(error)
        else:
            await self._queue.put(None)

    async def _feed_from(self, reader: Reader, identity: bytes) -> None:
        source = reader.source
        self._account.tally(source.name)
        _check_chunk(await reader.peek(), self._plan)
        self._account.begun = True
        async for found in reader:
            chunk = replace(found, identity=identity)
            entry = self._account.begin(chunk, partial(_lines_before, reader, chunk))
            self._doubtful -= 1
            self._bytes += len(chunk.data)
            decoding = asyncio.create_task(self._decode(chunk))
            # What is in a rejects file may be there: of some, no answer came.
            doubtful = self._doubtful >= 0 or chunk.layout == "rejects"
            await self._queue.put(_Item(entry, source, decoding, doubtful))
        source.check_length()
        self._account.read_whole.add(source.name)

    async def _decode(self, chunk: Chunk) -> Decoded:
        workers = self._workers
        if workers is None or not (workers.running or self._bytes > WORKERS_PAY):
            return decode(chunk, self._plan)
        if not workers.running:
            workers.start()
        decoded: Decoded = await workers.call(
            "motorctl.core.ingest.decoding.decode:decode", chunk, self._plan
        )
        return decoded


def _lines_before(reader: Reader, chunk: Chunk) -> int:
    """Count the lines before the range of a file that is a part: it is counted only when a record is refused."""
    return reader.source.lines_before(chunk.offset) + 1 - chunk.line if reader.in_range(chunk) else 0


class _Item(NamedTuple):
    entry: Entry
    source: Source
    decoding: asyncio.Task[Decoded]
    doubtful: bool


def fresh_identities(count: int) -> list[bytes]:
    """Make the beginnings of `_id`s for the inputs of one run: seconds and three random bytes.

    The rest of an ObjectId is where the record stands, so each input has a second of its own.
    """
    now, chance = int(time.time()), os.urandom(3)
    return [(now + number).to_bytes(4) + chance for number in range(count)]


class _Keeper:
    """Keeps checkpoints as the import goes on, and the import from running too far ahead of them."""

    def __init__(self, account: Account, readers: Sequence[Reader], checkpoint: Checkpoint | None) -> None:
        self._account = account
        self._readers = readers
        self._checkpoint = checkpoint
        self._ahead = 0

    async def ahead(self) -> None:
        """Make sure that one more chunk may be sent."""
        if self._checkpoint is None:
            return
        self._ahead += 1
        if self._checkpoint.due or self._ahead >= WINDOW:
            await self._save(self._checkpoint)

    async def finish(self, how: How, reason: str | None) -> None:
        """Keep a last one, and say how the import ended.

        Raises what keeps a finished import from being known as one; another is told by what ended it.
        """
        if self._checkpoint is None:
            return
        if how == "done":
            await self._save(self._checkpoint)
            await self._checkpoint.finish(how)
            return
        with suppress(Exception):
            async with asyncio.timeout(LAST_SAVE_SECONDS):
                await self._save(self._checkpoint)
        await self._checkpoint.finish(how, reason)

    async def _save(self, checkpoint: Checkpoint) -> None:
        # What is settled now: what comes while it is being written down isn't in it.
        self._ahead = self._account.on_their_way
        await checkpoint.save(dict(self._marks(checkpoint)), self._account.secure())

    def _marks(self, checkpoint: Checkpoint) -> Iterator[tuple[int, Mark]]:
        for reader in self._readers:
            name = reader.source.name
            tally = self._account.files.get(name)
            if tally is not None and not checkpoint.marks[reader.number].done:
                counts = (
                    tally.read,
                    tally.inserted,
                    tally.updated,
                    tally.unchanged,
                    tally.rejected,
                    tally.bytes,
                )
                place, done = self._account.places.get(name), self._account.whole(name)
                yield reader.number, Mark(place, done, *counts, reader.source.consumed)
