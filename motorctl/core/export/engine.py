"""The way of an export: batches in, text out in the same order, with worker processes where that pays."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

from motorctl.core.driver import once
from motorctl.core.export.ids import batches_of
from motorctl.core.export.model import SAMPLE, Block, Style
from motorctl.core.export.read import raw_batches
from motorctl.core.export.table import merged
from motorctl.core.export.text import block, heading, pieces, sampled
from motorctl.core.workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt
    from motorctl.core.export.model import Export

__all__ = ["START_BYTES", "blocks"]

START_BYTES = 2_000_000
"""Workers start when so much BSON has been written: before that they cost more than they save."""
# What bounds the memory: a larger batch is cut into pieces, and so much BSON is with the workers at a time,
# beside a piece for each.
_PIECE_BYTES = 2_000_000
_WINDOW_BYTES = 8_000_000
# A piece is larger only where a single document is: then a worker may have to wait, for the memory's sake.
_LARGE_BYTES = 4_000_000
# Of very large documents, those in so many bytes are sample enough.
_SAMPLE_BYTES = 16_000_000
_IN_WORKER = "motorctl.core.export.text:block"


class _Call(NamedTuple):
    """The arguments of `block`."""

    batch: bytes
    style: Style
    before: bytes
    after: bytes


async def blocks(
    collection: Collection, export: Export, *, ids: Iterable[bytes] | None = None, attempt: Attempt = once
) -> AsyncGenerator[bytes]:
    """Yield the text of an export, about a batch at a time, and count in `export` what was yielded.

    `ids` are lines that name the documents (see `read_ids`); without them it is all that the query finds.
    A text that isn't compressed ends with a line end. `attempt` awaits the first batch, and may do so again.
    Raises what `batches_of`, `raw_batches` and `block` raise, and `MotorctlError` when a worker process dies.
    """
    source = (
        raw_batches(collection, export.query, attempt=attempt)
        if ids is None
        else batches_of(collection, export, ids, attempt=attempt)
    )
    async with (
        aclosing(source) as batches,
        aclosing(_calls(batches, export)) as calls,
        aclosing(_texts(calls, export.workers)) as texts,
    ):
        async for text, style in texts:
            export.documents += text.documents
            export.partial += text.partial
            export.bytes += len(text.data)
            if text.columns:
                held = merged(tuple(export.columns.values()), text.columns)
                export.columns = dict(zip(style.columns, held, strict=True))
            if text.data:
                yield text.data


async def _calls(batches: AsyncIterator[bytes], export: Export) -> AsyncGenerator[_Call]:
    """Yield what is to be written, at least one call: a file without documents may need its brackets."""
    columns, found = export.fields, False
    waiting: list[bytes] = []
    if export.format == "csv" and not columns:
        documents = 0
        async for batch in batches:
            waiting.append(batch)
            documents += sum(1 for _ in pieces(batch, 1))
            if documents >= SAMPLE or sum(map(len, waiting)) >= _SAMPLE_BYTES:
                break
        columns, found = sampled(waiting, SAMPLE), True
    style = Style(export.format, export.canonical, columns, found, export.compression)
    before, between, after = b"", b"", b""
    if export.format == "json":
        before, between, after = b"[\n", b",\n", b"]\n"
    elif export.format == "csv" and export.header and columns:
        before = heading(columns)
    # Held back until it is known whether another follows.
    held: bytes | None = None
    async for piece in _pieces(waiting, batches):
        if held is not None:
            yield _Call(held, style, before, between)
            before = b""
        held = piece
    yield _Call(held or b"", style, before, b"\n" + after if held and after else after)


async def _pieces(first: list[bytes], others: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    while first:
        for piece in pieces(first.pop(0), _PIECE_BYTES):
            yield piece
    async for batch in others:
        for piece in pieces(batch, _PIECE_BYTES):
            yield piece


async def _texts(calls: AsyncIterator[_Call], count: int) -> AsyncGenerator[tuple[Block, Style]]:
    """Yield what the calls result in, in their order."""
    pool: Workers | None = None
    tasks: deque[tuple[asyncio.Task[Block], _Call]] = deque()
    begun = under_way = 0
    most = max(_WINDOW_BYTES, count * _LARGE_BYTES)
    try:
        async for call in calls:
            if pool is None and count and begun >= START_BYTES:
                pool = Workers(count)
                pool.start()
            begun += len(call.batch)
            if pool is None:
                yield block(*call), call.style
                continue
            tasks.append((asyncio.create_task(pool.call(_IN_WORKER, *call)), call))
            under_way += len(call.batch)
            while tasks and (
                tasks[0][0].done()
                or len(tasks) > 2 * count
                or under_way > most
                or (len(tasks) > count and under_way > _WINDOW_BYTES)
            ):
                task, oldest = tasks.popleft()
                under_way -= len(oldest.batch)
                yield await task, oldest.style
        while tasks:
            task, oldest = tasks.popleft()
            yield await task, oldest.style
    finally:
        for task, _ in tasks:
            task.cancel()
        if pool is not None:
            pool.close()
        await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)
