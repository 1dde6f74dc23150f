"""How an index takes the place of others that can't stay beside it.

Nothing is dropped before the server has taken the new specification elsewhere, and a stand-in serves
the same queries where the server permits one. Whatever comes between drop and build, Ctrl-C too, the
old ones are put back.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from motorctl.core import driver
from motorctl.core.schema import duplicates
from motorctl.core.schema.compare import same
from motorctl.core.schema.fetch import fetch
from motorctl.core.schema.model import TEMPORARY, Index

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
    from collections.abc import Collection as Names

    from motorctl.client import Database
    from motorctl.core.schema.applying.catalog import Catalog

__all__ = ["drop_abandoned", "rebuild", "scratch_name"]

_NOBODYS = "motorctl_temporary"
"""A field that no document has."""

_SCRATCH = re.compile(rf"{TEMPORARY}(\d+)_[0-9a-f]+")
"""The name of such a collection: when it was made, in Unix seconds of the server, and something random."""

_ABANDONED = 300
"""Seconds after which nobody can be using such a collection any more: it lives for milliseconds."""

_CONFLICT = frozenset({85, 86})
"""Another name for the same index, the same name for another one."""

_CANNOT_CREATE = 67
"""A second text index, one index too many, or a specification that no server takes."""

_SHAPE = ("collation", "timeseries", "clusteredIndex", "capped", "size", "max")
"""Options of a collection that have a say in which indexes it takes."""

_LATECOMERS = 0.1
"""Seconds after a build in which another apply's drop, decided on before it, may still come in."""


async def rebuild(catalog: Catalog, collection: str, new: Index, replaces: Names[str]) -> None:
    """Build an index and drop those that it `replaces`: afterwards, wherever the server takes both.

    Where it doesn't, a stand-in comes first, so that no query is without an index and no duplicate slips
    in: that is a second build, as long as the first one and as large. Text and wildcard indexes have
    none, nor has the 64th index of a collection, nor time series before MongoDB 6.0. Raises the driver's
    error when it can't be built; then the old ones are there as before, or the error has a note for each
    that isn't.
    """
    if await _in_the_way(catalog, collection, new, replaces):
        await finish(_rehearse(catalog, collection, new))
        async with _stand_in(catalog, collection, new, replaces) as stand_in:
            if stand_in is None or not stand_in.options.get("unique"):
                await _look_for_duplicates(catalog, collection, new)
            # Another apply may have been faster meanwhile.
            if old := await _in_the_way(catalog, collection, new, replaces):
                await _swap(catalog, collection, new, old)
            if stand_in is not None:
                await asyncio.sleep(_LATECOMERS)
                await catalog.create_index(collection, new.specification())
            if old:
                return
    for name in replaces:
        if name != new.resolved_name:
            await catalog.drop_index(collection, name)


async def drop_abandoned(catalog: Catalog) -> None:
    """Drop the collections on which killed ones tried a specification, if the user may."""
    with suppress(PyMongoError):
        found = map(_SCRATCH.fullmatch, await catalog.collections({"$regex": f"^{TEMPORARY}"}))
        if made := {match[0]: int(match[1]) for match in found if match}:
            now = (await driver.server_time(catalog.db)).timestamp()
            for name in (name for name, moment in made.items() if moment < now - _ABANDONED):
                await catalog.drop_collection(name)


async def scratch_name(db: Database) -> str:
    """Return a new name for a collection that lives for milliseconds, made at this moment of the server's clock."""
    return f"{TEMPORARY}{int((await driver.server_time(db)).timestamp())}_{uuid.uuid4().hex}"


async def _in_the_way(
    catalog: Catalog, collection: str, new: Index, replaces: Names[str]
) -> list[dict[str, Any]]:
    """Build the index, or return those that have to go before it can be."""
    there = await catalog.indexes(collection)
    old = [document for name, document in there.items() if name in replaces]
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
    scratch = await scratch_name(catalog.db)
    there = await catalog.attempt(partial(fetch, catalog.db, {collection}))
    options = there[collection].options if collection in there else {}
    async with _tidied(partial(catalog.drop_collection, scratch), f"collection {scratch}"):
        await catalog.create_collection(scratch, {name: options[name] for name in _SHAPE if name in options})
        await catalog.create_index(scratch, new.specification())


@asynccontextmanager
async def _stand_in(
    catalog: Catalog, collection: str, new: Index, replaces: Names[str]
) -> AsyncIterator[Index | None]:
    """Have an index that does the new one's work while the block lasts, or None where the server takes none."""
    alike = _alike(new)
    if alike is None:
        yield None
        return
    retire = partial(_retire, catalog, collection, alike.resolved_name, {new.resolved_name, *replaces})
    async with _tidied(retire, f"stand-in {alike.resolved_name} of {collection}"):
        yield await _build_alike(catalog, collection, new, alike)


@asynccontextmanager
async def _tidied(tidy: Callable[[], Coroutine[Any, Any, None]], subject: str) -> AsyncIterator[None]:
    """Tidy up after the block; where both fail, the block's error is raised, with a note of what is left."""
    try:
        yield
    except BaseException as error:
        try:
            await finish(tidy())
        except PyMongoError:
            error.add_note(f"{subject} is left: drop it")
        raise
    await finish(tidy())


async def _build_alike(catalog: Catalog, collection: str, new: Index, alike: Index) -> Index | None:
    try:
        await _build_instead(catalog, collection, alike)
    except OperationFailure as error:
        if error.code == _CANNOT_CREATE:
            return None
        values = (error.details or {}).get("keyValue")
        if values is None:
            raise
        raise _shared(collection, new, [values[field] for field in new.keys]) from error
    return alike


async def _build_instead(catalog: Catalog, collection: str, alike: Index) -> None:
    """Build a stand-in, in the place of one that a killed rebuild to something else has left."""
    try:
        await catalog.create_index(collection, alike.specification())
    except OperationFailure as error:
        if error.code not in _CONFLICT:
            raise
        await catalog.drop_index(collection, alike.resolved_name)
        await catalog.create_index(collection, alike.specification())


def _alike(new: Index) -> Index | None:
    """Write an index that serves another one's queries, refuses the same documents, and is kept beside it.

    Its keys begin with the same ones, and its last is null in every document. Nothing of it expires: the
    old one, or the new one, sees to that.
    """
    unused = new.options.get("hidden") and not new.options.get("unique")
    if unused or new.is_text or any("$**" in field for field in new.keys):
        return None
    options = {key: value for key, value in new.options.items() if key != "expireAfterSeconds"}
    return Index({**new.keys, _NOBODYS: 1}, f"{TEMPORARY}{new.resolved_name}", options)


async def _retire(catalog: Catalog, collection: str, stand_in: str, others: Names[str]) -> None:
    """Drop the stand-in, also one that is still being built, if a query can do without it: one of the others is there."""
    if not (await catalog.indexes(collection)).keys().isdisjoint(others):
        await catalog.drop_index(collection, stand_in)


async def _look_for_duplicates(catalog: Catalog, collection: str, new: Index) -> None:
    """Raise what a build would end with when two documents share a unique key."""
    if not duplicates.can_be_asked(new):
        return
    stages = [*duplicates.stages(new.keys, new.options), {"$limit": 1}]
    options = {"collation": new.options["collation"]} if "collation" in new.options else {}

    async def first() -> Any:
        rows = await driver.aggregate(catalog.db[collection], stages, allowDiskUse=True, **options)
        return [row async for row in rows]

    for row in await catalog.attempt(first):
        raise _shared(collection, new, row["_id"])


def _shared(collection: str, new: Index, values: Iterable[Any]) -> DuplicateKeyError:
    message = f"E11000 documents of {collection} share a value of the unique index {new.resolved_name}"
    found = dict(zip(new.keys, values, strict=True))
    details = {"code": 11000, "codeName": "DuplicateKey", "errmsg": message, "keyValue": found}
    return DuplicateKeyError(message, 11000, details)


async def _swap(catalog: Catalog, collection: str, new: Index, old: list[dict[str, Any]]) -> None:
    try:
        for document in old:
            # The driver's thread would drop it even after a cancellation: perhaps after it was put back.
            await finish(_drop_this(catalog, collection, document))
        await catalog.create_index(collection, new.specification())
    except BaseException as error:
        for note in await finish(_put_back(catalog, collection, old)):
            error.add_note(note)
        raise


async def _drop_this(catalog: Catalog, collection: str, document: Mapping[str, Any]) -> None:
    """Drop an index, but not another one that has taken its name meanwhile."""

    async def unchanged() -> bool:
        return same((await catalog.indexes(collection)).get(document["name"]), document)

    await catalog.drop_index(collection, document["name"], provided=unchanged)


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


async def finish(operation: Coroutine[Any, Any, Any]) -> Any:
    """Await to the end; a cancellation meanwhile goes on only then."""
    task = asyncio.ensure_future(operation)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
