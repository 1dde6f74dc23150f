"""The few calls in which Motor and PyMongo's async API differ, made alike; who may repeat a call.

Motor returns a cursor from `aggregate` and `list_indexes` at once; PyMongo's `AsyncMongoClient` (and
mongomock-motor, for some) returns a coroutine of one. Core goes through these functions, so that it
runs on each of them unchanged. `Attempt` is how a caller hands in its policy of trying again, and
`RETRYABLE_CODES` say where that may help. Nothing else belongs here.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from motorctl.client import Collection, Database

RETRYABLE_CODES = frozenset({6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
"""The server's codes that say "again, please": mongodb/specifications, retryable-reads.md, "Retryable Error"."""

Attempt: TypeAlias = "Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]"
"""Awaits an operation, and may await it again where that helps: only for what may run twice."""


async def once(operation: Callable[[], Awaitable[Any]]) -> Any:
    """Await an operation, and never again: the `Attempt` of those who have no policy."""
    return await operation()


async def aggregate(
    collection: Collection | Database, pipeline: Sequence[Mapping[str, Any]], **options: Any
) -> AsyncIterator[dict[str, Any]]:
    """Open a cursor over a pipeline's result; `options` are those of the driver's `aggregate`."""
    cursor: AsyncIterator[dict[str, Any]] = await _settled(collection.aggregate(pipeline, **options))
    return cursor


async def list_indexes(collection: Collection) -> list[dict[str, Any]]:
    """List a collection's index documents; an absent collection has none."""
    return await _documents(collection.list_indexes())


async def list_collections(db: Database) -> list[dict[str, Any]]:
    """List the collection and view documents of a database, as `listCollections` has them."""
    return await _documents(db.list_collections())


async def _documents(cursor: Any) -> list[dict[str, Any]]:
    settled = await _settled(cursor)
    return [dict(document) async for document in settled]


async def _settled(cursor: Any) -> Any:
    return await cursor if inspect.isawaitable(cursor) else cursor
