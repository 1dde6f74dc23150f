"""The import, joined: take chunks, decode them, write with batches in flight, account.

Memory is bounded: a few chunks wait between reading and decoding, and as many batches are on their way
to the server as `in_flight` says. Whatever ends an import, the batches on their way are waited for and
booked before it ends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from motorctl.core.driver import list_indexes, once
from motorctl.core.ingest.decode import columns, decode
from motorctl.core.ingest.model import Plan
from motorctl.core.ingest.split import split
from motorctl.core.ingest.write import NO_ANSWER, Writer, check_acknowledged, lost
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt
    from motorctl.core.ingest.account import Account
    from motorctl.core.ingest.model import Chunk, Decoded, Outcome
    from motorctl.core.ingest.read import Reader
    from motorctl.core.ingest.source import Source

__all__ = ["Options", "check", "has_index", "peek", "run"]

# After Ctrl-C nobody waits longer than this for the replies to the batches on their way.
LAST_REPLY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """How an import goes about it."""

    plan: Plan = field(default_factory=Plan)
    format: str = "auto"
    batch_size: int = 1000
    in_flight: int = 2
    ordered: bool = False
    dry_run: bool = False


def check(sources: Sequence[Source], options: Options) -> None:
    """Look at the beginning of each file before the first write, stdin excepted.

    Raises `UsageError` for a format that can't be told, a header that can't be used, types without
    columns.
    """
    for source in sources:
        if source.stream is None:
            probe = type(source)(source.name)
            _check_chunk(next(split(probe, options.format), None), options.plan)


async def peek(readers: Sequence[Reader], options: Options) -> None:
    """Wait for the beginning of each input, stdin too, and look at it as `check` does."""
    for reader in readers:
        _check_chunk(await reader.peek(), options.plan)


def _check_chunk(chunk: Chunk | None, plan: Plan) -> None:
    if chunk is None:
        return
    if chunk.layout == "delimited":
        columns(chunk.header, plan)
    elif plan.types or plan.null is not None or plan.ignore_blanks:
        raise UsageError(
            f"--types, --null and --ignore-blanks are for CSV and TSV, and {chunk.file} is JSON",
            hint='in JSON a value says its type: {"$date": "2024-01-31T00:00:00Z"}',
        )


async def has_index(collection: Collection, key: Sequence[str]) -> bool:
    """Whether an index begins with the fields of a key, so that finding by it doesn't read everything."""
    wanted = set(key)
    return wanted == {"_id"} or any(
        wanted == set(list(index["key"])[: len(wanted)]) for index in await list_indexes(collection)
    )


async def run(
    collection: Collection,
    readers: Sequence[Reader],
    options: Options,
    account: Account,
    *,
    attempt: Attempt = once,
    before: Callable[[], Awaitable[None]] | None = None,
    progress: Callable[[Source], None] = lambda _: None,
    last_reply_seconds: float = LAST_REPLY_SECONDS,
) -> None:
    """Import what `readers` read into `collection`, and book every record in `account`.

    The books are right whether this returns, raises or is cancelled. Raises `UsageError` for an input
    that can't be read as what it is or a write concern without an answer, `MotorctlError` for damaged
    input or a rejects file that can't be written, and the driver's error when the server is lost.
    `attempt` awaits the sending of a batch, and does so again where that may help; `before` is awaited
    once, right before the first batch is sent; `progress` is called after each chunk. When cancelled,
    it waits `last_reply_seconds` for the batches on their way.
    """
    check_acknowledged(collection)
    writer = Writer(collection, options.plan, ordered=options.ordered, attempt=attempt)
    flight = _Flight(account, 1 if options.ordered else options.in_flight, before)
    account.open()
    try:
        try:
            await _import(readers, writer, options, account, flight, progress)
        except Exception:
            await flight.land()
            raise
        await flight.land()
    finally:
        # Only one that is cancelled has batches on their way here; a second Ctrl-C doesn't wait for them.
        try:
            await flight.land(last_reply_seconds)
        finally:
            flight.abandon()
            account.close()
    flight.check()


async def _import(
    readers: Sequence[Reader],
    writer: Writer,
    options: Options,
    account: Account,
    flight: _Flight,
    progress: Callable[[Source], None],
) -> None:
    for reader in readers:
        source = reader.source
        tally = account.tally(source.name)
        try:
            _check_chunk(await reader.peek(), options.plan)
            account.begun = True
            async for chunk in reader:
                await _import_chunk(chunk, writer, options, account, flight)
                tally.bytes = source.read
                progress(source)
                if account.too_many():
                    return
        finally:
            tally.bytes = source.read


async def _import_chunk(
    chunk: Chunk, writer: Writer, options: Options, account: Account, flight: _Flight
) -> None:
    decoded = decode(chunk, options.plan)
    account.decoded(decoded)
    for start, stop in _batches(len(decoded.documents), options.batch_size):
        if account.too_many():
            return
        if options.dry_run:
            account.sent(decoded, start, stop)
            account.written(decoded, await writer.rehearse(decoded, start, stop))
        else:
            await flight.send(writer, decoded, start, stop)
    flight.check()
    # A long run of rejects sends nothing: Ctrl-C must get its turn all the same.
    await asyncio.sleep(0)


def _batches(documents: int, size: int) -> list[tuple[int, int]]:
    """Cut a number of documents into batches of nearly the same size, none above `size`."""
    count = -(-documents // size)
    return [(documents * i // count, documents * (i + 1) // count) for i in range(count)]


class _Flight:
    """The batches on their way: at most `limit`, and no two with the same key.

    Two records with one key in different batches would race: the older could win, or both be inserted
    where no unique index stands in the way.
    """

    def __init__(
        self, account: Account, limit: int, before: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._account = account
        self._limit = limit
        self._before = before
        self._keys: dict[asyncio.Task[Outcome], frozenset[bytes]] = {}
        self._batches: dict[asyncio.Task[Outcome], tuple[Decoded, int, int]] = {}
        self._error: Exception | None = None

    async def send(self, writer: Writer, decoded: Decoded, start: int, stop: int) -> None:
        """Send a batch as soon as there is room for it."""
        keys = frozenset(decoded.filters[start:stop])
        while len(self._batches) >= self._limit or any(not keys.isdisjoint(k) for k in self._keys.values()):
            await self._settle(asyncio.FIRST_COMPLETED)
        self.check()
        if self._before is not None:
            before, self._before = self._before, None
            await before()
        self._account.sent(decoded, start, stop)
        task = asyncio.create_task(writer.write(decoded, start, stop))
        self._keys[task] = keys
        self._batches[task] = (decoded, start, stop)

    def check(self) -> None:
        """Raise what keeps the import from going on, if anything does."""
        if self._error is not None:
            raise self._error
        if self._account.rejects_error is not None:
            raise self._account.rejects_error

    async def land(self, seconds: float | None = None) -> None:
        """Wait for the batches on their way and book them; what isn't answered in `seconds` is lost."""
        while self._batches:
            if not await self._settle(asyncio.ALL_COMPLETED, seconds):
                self.abandon()

    def abandon(self) -> None:
        """Book what is still on its way: by its answer if there is one, else as lost."""
        for task, (decoded, start, stop) in self._batches.items():
            if task.done() and not task.cancelled():
                self._account.written(decoded, task.result())
            else:
                task.cancel()
                self._account.written(decoded, lost(start, stop, NO_ANSWER, TimeoutError()))
        self._batches.clear()

    async def _settle(self, until: str, seconds: float | None = None) -> bool:
        done, _ = await asyncio.wait(self._batches, timeout=seconds, return_when=until)
        for task in done:
            decoded, _, _ = self._batches.pop(task)
            del self._keys[task]
            outcome = task.result()
            self._account.written(decoded, outcome)
            if outcome.error is not None and self._error is None:
                self._error = outcome.error
        return bool(done)
