"""A pipeline is sent, and the batches of its documents come back.

Owns the options of the command and the end of its cursor. Decides nothing about the stages; what is to be
tried again, the caller's `Attempt` says.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import ConnectionFailure, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import make_read_preference, read_pref_mode_from_name

from motorctl.core import driver
from motorctl.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from motorctl.client import Collection, Database
    from motorctl.core.aggregation.stages import Pipeline
    from motorctl.core.driver import Attempt

__all__ = ["DATABASE", "Options", "batches", "command", "documents"]

DATABASE = "."
"""The name that stands for the database itself, which no collection can have."""

LATER = 4000
"""Documents in a reply after the first, which has the server's 101: memory stays flat, and rows flow."""
# The server closed the cursor, killed it, is shutting down, or has lost another server that it asked.
_CURSOR_GONE = frozenset({6, 7, 43, 89, 91, 136, 175, 237, 9001, 11600, 11601, 11602})
# What is told a server at the end is a courtesy: one that is lost would be waited for in vain.
_CLOSING_SECONDS = 0.5
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


@dataclass(frozen=True)
class Options:
    """How the server is asked. `hint` and `collation` as it takes them; times in milliseconds."""

    max_time_ms: int | None = None
    hint: str | Mapping[str, Any] | None = None
    collation: Mapping[str, Any] | None = None
    comment: str | None = None
    batch_size: int | None = None
    let: Mapping[str, Any] | None = None
    read_preference: str | None = None
    read_concern: str | None = None

    def words(self) -> dict[str, Any]:
        """Return what `explain` takes too, by the server's names."""
        given = {
            "hint": self.hint,
            "collation": self.collation,
            "let": self.let,
            "maxTimeMS": self.max_time_ms,
            "comment": self.comment,
        }
        return {name: value for name, value in given.items() if value}


def command(collection: str, pipeline: Pipeline, options: Options) -> dict[str, Any]:
    """Return the server's command, without `explain`."""
    return {
        "aggregate": 1 if collection == DATABASE else collection,
        "pipeline": pipeline,
        "cursor": {},
        "allowDiskUse": True,
        **options.words(),
    }


async def documents(
    db: Database, collection: str, pipeline: Pipeline, options: Options | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Yield the documents of a pipeline as they come; sorts and groups may use the server's disk."""
    chosen = options or Options()
    cursor = await driver.aggregate(_target(db, collection, chosen), pipeline, **_driver_options(chosen))
    async for document in cursor:
        yield document


async def batches(
    db: Database, collection: str, pipeline: Pipeline, options: Options, *, attempt: Attempt = driver.once
) -> AsyncGenerator[bytes]:
    """Yield a pipeline's documents as they come, BSON one after the other; the next reply is on its way then.

    `attempt` awaits the first document, and may do so again: only for a pipeline that writes nothing. Closes
    the server's cursor whatever happens. Raises UnreachableError when cursor or connection are lost on the
    way, and the driver's errors.
    """
    cursor, first = await attempt(lambda: _begun(db, collection, pipeline, options))
    if first is None:
        return
    flow = _Flow(first.raw)
    reader = asyncio.ensure_future(flow.read(cursor, grow=options.batch_size is None))
    try:
        while batch := await flow.taken():
            yield batch
        await reader
    except (ConnectionFailure, OperationFailure) as error:
        if isinstance(error, OperationFailure) and error.code not in _CURSOR_GONE:
            raise
        lost = "cursor" if isinstance(error, OperationFailure) else "connection"
        raise UnreachableError(
            f"the {lost} was lost on the way: the result is not whole",
            hint="run it again: it can't go on from where it was",
        ) from error
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await _closed(cursor)


class _Flow:
    """What a reader has, and a writer has not yet taken: at most LATER documents.

    The reader runs on until it waits for the server. Then the writer gets all that came, a whole reply.
    """

    def __init__(self, first: bytes) -> None:
        self._held = [first]
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False

    async def read(self, cursor: Any, *, grow: bool) -> None:
        if grow:
            # Motor's own method is for a cursor that has not begun.
            getattr(cursor, "delegate", cursor).batch_size(LATER)
        try:
            async for document in cursor:
                self._held.append(document.raw)
                self._some.set()
                if len(self._held) >= LATER:
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._ended = True
            self._some.set()

    async def taken(self) -> bytes:
        """Wait for documents and return them; nothing at the end."""
        if not self._ended:
            # The reader goes first, so that what came with the first document goes out with it.
            await asyncio.sleep(0)
        if not self._held and not self._ended:
            await self._some.wait()
        batch, self._held = b"".join(self._held), []
        self._some.clear()
        self._room.set()
        return batch


async def _begun(
    db: Database, collection: str, pipeline: Pipeline, options: Options
) -> tuple[Any, RawBSONDocument | None]:
    target: Any = _target(db, collection, options)
    raw = target.with_options(codec_options=_RAW)
    cursor: Any = await driver.aggregate(raw, pipeline, **_driver_options(options))
    return cursor, await anext(cursor, None)


async def _closed(cursor: Any) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSING_SECONDS):
            await cursor.close()


def _target(db: Database, collection: str, options: Options) -> Collection | Database:
    target: Any = db if collection == DATABASE else db[collection]
    if options.read_preference is not None:
        mode = make_read_preference(read_pref_mode_from_name(options.read_preference), None)
        target = target.with_options(read_preference=mode)
    if options.read_concern is not None:
        target = target.with_options(read_concern=ReadConcern(options.read_concern))
    found: Collection | Database = target
    return found


def _driver_options(options: Options) -> dict[str, Any]:
    words = {"allowDiskUse": True, **options.words()}
    if options.batch_size is not None:
        words["batchSize"] = options.batch_size
    return words
