"""The few calls in which Motor and PyMongo's async API differ, made alike.

Motor returns a cursor from `aggregate` and `list_indexes` at once; PyMongo's `AsyncMongoClient` (and
mongomock-motor, for some) returns a coroutine of one. Core goes through these functions, so that it
runs on each of them unchanged. Nothing else belongs here.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from motorctl.client import Collection, Database


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
