"""Reads what a database's schema is: `listCollections` once, `listIndexes` for each collection at once.

Only reads: a user with the role `read` can do it. An index that is still being built isn't there yet.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver
from motorctl.core.extjson import to_json_value
from motorctl.core.schema.model import TEMPORARY, Collection, SearchIndex
from motorctl.core.schema.server import NO_SEARCH

if TYPE_CHECKING:
    from collections.abc import Collection as Names
    from collections.abc import Mapping

    from motorctl.client import Database

_AT_ONCE = 16
"""Commands under way at a time: enough to hide the network, too few to crowd out others."""

_FEW = 100
"""So many names are asked for by name: they and their options fit into one answer."""

_NOBODYS = ("system.", TEMPORARY)
"""How the names begin of collections that no schema speaks of: the server's, and what a rebuild makes for a while."""

_KEPT = frozenset({"motorctl_imports", "motorctl_reports", "motorctl_schema_history"})
"""The collections in which this tool keeps what it did: no schema speaks of them either."""

_MOST_SEARCH_INDEXES = 1000
"""So many search indexes are asked for in one answer; no service has as many in a collection."""


async def fetch(
    db: Database, names: Names[str] | None = None, *, search: bool = False
) -> dict[str, Collection]:
    """Read the collections of these names, or all but the server's and our own, with their indexes.

    With `search` also the search indexes, where the server has them; else they are None. A collection
    that is dropped meanwhile is left out.
    """
    documents = await _collections(db, names)
    # Who waits for a connection of the pool may run into its time-out.
    options: Any = db.client.options
    gate = asyncio.Semaphore(min(_AT_ONCE, options.pool_options.max_pool_size or _AT_ONCE))
    real = (document["name"] for document in documents if document.get("type") != "view")
    searching = (
        search and (one := next(real, None)) is not None and await _search_indexes(db, one) is not None
    )

    async def read(document: dict[str, Any]) -> Collection | None:
        if document.get("type") == "view":
            return Collection.from_server(document, [])
        async with gate:
            indexes = await fetch_indexes(db, document["name"])
            found = await _search_indexes(db, document["name"]) if searching else None
        if indexes is None:
            return None
        collection = Collection.from_server(document, indexes)
        return collection if found is None else replace(collection, search_indexes=found)

    collections = await asyncio.gather(*(read(document) for document in documents))
    present = [collection for collection in collections if collection is not None]
    return {collection.name: collection for collection in sorted(present, key=lambda one: one.name)}


async def _collections(db: Database, names: Names[str] | None) -> list[dict[str, Any]]:
    if names is None:
        return [
            document
            for document in await driver.list_collections(db)
            if not document["name"].startswith(_NOBODYS) and document["name"] not in _KEPT
        ]
    if len(names) <= _FEW:
        wanted = {"name": {"$in": sorted(names)}}
        reply = await db.command({"listCollections": 1, "filter": wanted, "cursor": {"batchSize": _FEW}})
        if not reply["cursor"]["id"]:
            found: list[dict[str, Any]] = reply["cursor"]["firstBatch"]
            return found
    return [document for document in await driver.list_collections(db) if document["name"] in names]


async def fetch_indexes(db: Database, name: str) -> list[dict[str, Any]] | None:
    """List a collection's indexes but those still being built; None when it is gone.

    The bare command takes names that the driver doesn't (`a..b`) and costs a third of a cursor; 64
    indexes, the most that there are, fit into its answer.
    """
    try:
        reply = await db.command({"listIndexes": name, "includeBuildUUIDs": True})
    except OperationFailure as error:
        if error.code == driver.NAMESPACE_NOT_FOUND:
            return None
        raise
    return [document for document in reply["cursor"]["firstBatch"] if "buildUUID" not in document]


async def _search_indexes(db: Database, name: str) -> tuple[SearchIndex, ...] | None:
    """List a collection's search indexes; None where the server has none."""
    cursor = {"batchSize": _MOST_SEARCH_INDEXES}
    try:
        reply = await db.command(
            {"aggregate": name, "pipeline": [{"$listSearchIndexes": {}}], "cursor": cursor}
        )
    except OperationFailure as error:
        if error.code in NO_SEARCH:
            return None
        raise
    return tuple(
        SearchIndex(one["name"], one["latestDefinition"], one.get("type", "search"))
        for one in reply["cursor"]["firstBatch"]
    )


def dump(current: Mapping[str, Collection]) -> dict[str, Any]:
    """Write what is there as a manifest's document, in relaxed Extended JSON and in the order of names.

    What an interrupted rebuild has left over is left out.
    """
    document = {"collections": {name: _lasting(current[name]).document() for name in sorted(current)}}
    plain: dict[str, Any] = to_json_value(document)
    return plain


def _lasting(collection: Collection) -> Collection:
    lasting = (one for one in collection.indexes if not one.resolved_name.startswith(TEMPORARY))
    return replace(collection, indexes=tuple(lasting))
