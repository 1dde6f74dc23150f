"""Reads what a database's schema is: `listCollections` once, `listIndexes` for each collection at once.

Only reads: a user with the role `read` can do it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from motorctl.core import driver
from motorctl.core.extjson import to_json_value
from motorctl.core.schema.model import Collection

if TYPE_CHECKING:
    from collections.abc import Collection as Names
    from collections.abc import Mapping

    from motorctl.client import Database

_AT_ONCE = 16
"""Commands under way at a time: enough to hide the network, too few to crowd out others."""


_NOBODYS = ("system.", "motorctl_")
"""How the names begin of collections that no schema speaks of: the server's, and what this tool keeps."""


async def fetch(db: Database, names: Names[str] | None = None) -> dict[str, Collection]:
    """Read the collections of these names, or all but the server's and our own, with their indexes."""
    documents = [
        document
        for document in await driver.list_collections(db)
        if (not document["name"].startswith(_NOBODYS) if names is None else document["name"] in names)
    ]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(document: dict[str, Any]) -> Collection:
        if document.get("type") == "view":
            return Collection.from_server(document, [])
        async with gate:
            return Collection.from_server(document, await driver.list_indexes(db[document["name"]]))

    collections = await asyncio.gather(*(read(document) for document in documents))
    return {collection.name: collection for collection in sorted(collections, key=lambda one: one.name)}


def dump(current: Mapping[str, Collection]) -> dict[str, Any]:
    """Write what is there as a manifest's document, in relaxed Extended JSON and in the order of names."""
    document = {"collections": {name: current[name].document() for name in sorted(current)}}
    plain: dict[str, Any] = to_json_value(document)
    return plain
