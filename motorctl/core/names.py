"""What there is on a server, by name: databases, collections, indexes, ids. For whoever has to choose one.

Reads names alone, never a document's fields, from any member that answers; one short command each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import ReadPreference

if TYPE_CHECKING:
    from motorctl.client import Database

Named = tuple[str, str]
"""A name, and what it is, or ""."""

LAST = "\U0010ffff"
"""No name that begins with a prefix is greater than the prefix followed by this."""


def _from(prefix: str) -> dict[str, Any]:
    return {"$gte": prefix, "$lt": prefix + LAST}


async def databases(db: Database, prefix: str, limit: int) -> list[Named]:
    """Return the databases that the user may see and whose names begin with a prefix, sorted; `limit` at most."""
    admin = db.client.get_database("admin", read_preference=ReadPreference.NEAREST)
    found = await admin.command(
        "listDatabases", nameOnly=True, authorizedDatabases=True, filter={"name": _from(prefix)}
    )
    return [(name, "") for name in sorted(one["name"] for one in found["databases"])][:limit]


async def collections(db: Database, prefix: str, limit: int) -> list[Named]:
    """Return the collections and views whose names begin with a prefix, sorted; `limit` at most.

    The server's own, `system.*`, only where the prefix asks for them.
    """
    near = db.client.get_database(db.name, read_preference=ReadPreference.NEAREST)
    found = await near.command(
        "listCollections", nameOnly=True, authorizedCollections=True, filter={"name": _from(prefix)},
        cursor={"batchSize": 10_000},
    )  # fmt: skip
    kinds = {one["name"]: one.get("type", "collection") for one in found["cursor"]["firstBatch"]}
    names = [name for name in sorted(kinds) if prefix.startswith("system") or not name.startswith("system.")]
    return [(name, "" if kinds[name] == "collection" else str(kinds[name])) for name in names][:limit]


async def indexes(db: Database, collection: str) -> list[Named]:
    """Return the indexes of a collection but that of _id, each with its keys, as (`email_1`, `email: 1`), sorted."""
    near = db.client.get_database(db.name, read_preference=ReadPreference.NEAREST)
    found = await near.command("listIndexes", collection, cursor={"batchSize": 100})
    return sorted(
        (one["name"], ", ".join(f"{field}: {kind}" for field, kind in one["key"].items()))
        for one in found["cursor"]["firstBatch"]
        if one["name"] != "_id_"
    )


async def ids(db: Database, collection: str, prefix: str, limit: int) -> list[Named]:
    """Return the _ids of a collection that are texts and begin with a prefix, sorted; `limit` at most."""
    near = db.client.get_database(db.name, read_preference=ReadPreference.NEAREST)
    cursor = near[collection].find({"_id": _from(prefix)}, {"_id": 1}).sort("_id").limit(limit)
    return [(one["_id"], "") async for one in cursor]
