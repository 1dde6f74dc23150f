"""How an index takes the place of others that can't stay beside it.

Nothing is dropped before the server has taken the new specification elsewhere and a unique key was
looked through for duplicates. Whatever comes between drop and build, Ctrl-C too, the old ones are put
back.
"""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from motorctl.core import driver
from motorctl.core.schema import duplicates
from motorctl.core.schema.fetch import fetch

if TYPE_CHECKING:
    from collections.abc import Collection as Names
    from collections.abc import Coroutine, Iterable, Mapping

    from motorctl.core.schema.catalog import Catalog
    from motorctl.core.schema.model import Index

SCRATCH = "motorctl_temporary_"
"""How the names of the collections begin on which a specification is tried."""

_CONFLICT = frozenset({85, 86})
"""Another name for the same index, the same name for another one."""

_CANNOT_CREATE = 67
"""A second text index, or a specification that no server takes."""

_SHAPE = ("collation", "timeseries", "clusteredIndex", "capped", "size", "max")
"""Options of a collection that have a say in which indexes it takes."""


async def rebuild(catalog: Catalog, collection: str, new: Index, replaces: Names[str]) -> None:
    """Build an index and drop those that it `replaces`: afterwards, wherever the server takes both.

    Raises the driver's error when it can't be built; then the old ones are there as before, or the
    error has a note for each that isn't.
    """
    if await _in_the_way(catalog, collection, new, replaces):
        await _finish(_rehearse(catalog, collection, new))
        await _look_for_duplicates(catalog, collection, new)
        # Another apply may have been faster meanwhile.
        if old := await _in_the_way(catalog, collection, new, replaces):
            await _swap(catalog, collection, new, old)
            return
    for name in replaces:
        if name != new.resolved_name:
            await catalog.drop_index(collection, name)


async def _in_the_way(
    catalog: Catalog, collection: str, new: Index, replaces: Names[str]
) -> list[dict[str, Any]]:
    """Build the index, or return those that have to go before it can be."""
    there = await catalog.attempt(partial(driver.list_indexes, catalog.db[collection]))
    old = [document for document in there if document["name"] in replaces]
    try:
        await catalog.create_index(collection, new.specification())
    except OperationFailure as error:
        second_text = (
            error.code == _CANNOT_CREATE and new.is_text and any("_fts" in one["key"] for one in old)
        )
        if not old or not (error.code in _CONFLICT or second_text):
            raise
        return old
    return []


async def _rehearse(catalog: Catalog, collection: str, new: Index) -> None:
    """Build the index on an empty collection of the same shape, and drop that again."""
    scratch = f"{SCRATCH}{uuid.uuid4().hex}"
    there = await catalog.attempt(partial(fetch, catalog.db, {collection}))
    options = there[collection].options if collection in there else {}
    try:
        await catalog.create_collection(scratch, {name: options[name] for name in _SHAPE if name in options})
        await catalog.create_index(scratch, new.specification())
    finally:
        await catalog.drop_collection(scratch)


async def _look_for_duplicates(catalog: Catalog, collection: str, new: Index) -> None:
    """Raise what a build would end with when two documents share a unique key."""
    if not duplicates.can_be_asked(new):
        return
    stages = [*duplicates.stages(list(new.keys), new.options), {"$limit": 1}]
    options = {"collation": new.options["collation"]} if "collation" in new.options else {}

    async def first() -> Any:
        rows = await driver.aggregate(catalog.db[collection], stages, allowDiskUse=True, **options)
        return [row async for row in rows]

    for row in await catalog.attempt(first):
        values = dict(zip(new.keys, row["_id"], strict=True))
        message = f"E11000 documents of {collection} share a value of the unique index {new.resolved_name}"
        details = {"code": 11000, "codeName": "DuplicateKey", "errmsg": message, "keyValue": values}
        raise DuplicateKeyError(message, 11000, details)


async def _swap(catalog: Catalog, collection: str, new: Index, old: list[dict[str, Any]]) -> None:
    try:
        for document in old:
            # The driver's thread would drop it even after a cancellation: perhaps after it was put back.
            await _finish(catalog.drop_index(collection, document["name"]))
        await catalog.create_index(collection, new.specification())
    except BaseException as error:
        for note in await _finish(_put_back(catalog, collection, old)):
            error.add_note(note)
        raise


async def _put_back(catalog: Catalog, collection: str, old: Iterable[Mapping[str, Any]]) -> list[str]:
    """Build the old indexes again, and tell of each that can't be."""
    notes: list[str] = []
    for document in old:
        try:
            await catalog.create_index(collection, _as_it_was(document))
        except PyMongoError as error:
            # Refused for a conflict: the new index, or another apply's, is there after all.
            if not (isinstance(error, OperationFailure) and error.code in {*_CONFLICT, _CANNOT_CREATE}):
                notes.append(f"index {document['name']} of {collection} is gone and couldn't be put back")
    return notes


def _as_it_was(document: Mapping[str, Any]) -> dict[str, Any]:
    # Without a collation of its own an index would take over its collection's.
    kept = {name: value for name, value in document.items() if name not in ("v", "ns", "background")}
    return {"collation": {"locale": "simple"}, **kept}


async def _finish(operation: Coroutine[Any, Any, Any]) -> Any:
    """Await to the end; a cancellation meanwhile goes on only then."""
    task = asyncio.ensure_future(operation)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
