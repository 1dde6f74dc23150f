"""What runs at this moment, and has run for how long: `$currentOp`. Only looks; ends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver
from motorctl.core.slow.groups import Operation, seen

if TYPE_CHECKING:
    from motorctl.client import Database


async def read(
    db: Database, *, slower_than: float = 0, collection: str | None = None
) -> tuple[list[Operation], bool]:
    """Return the operations on this database that run now, and whether they are those of all users.

    `slower_than` in milliseconds. Without the right to see others' (`inprog`) they are one's own.
    """
    try:
        return await _read(db, slower_than, collection, all_users=True), True
    except OperationFailure as error:
        if error.code != driver.UNAUTHORIZED:
            raise
    return await _read(db, slower_than, collection, all_users=False), False


async def _read(
    db: Database, slower_than: float, collection: str | None, *, all_users: bool
) -> list[Operation]:
    prefix = f"{db.name}."
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": all_users, "idleConnections": False}},
        {
            "$match": {
                "active": True,
                "op": {"$in": ["query", "getmore", "command", "update", "remove", "insert"]},
                "$expr": {"$eq": [{"$indexOfBytes": ["$ns", prefix]}, 0]},
                "microsecs_running": {"$gte": slower_than * 1000},
            }
        },
    ]
    if collection is not None:
        pipeline[1]["$match"]["ns"] = prefix + collection
    cursor = await driver.aggregate(db.client.get_database("admin"), pipeline)
    operations = []
    async for record in cursor:
        begun = record.get("cursor", {}).get("originatingCommand")
        command: dict[str, Any] = begun or record.get("command") or {}
        name = record["ns"].removeprefix(prefix)
        if name == "$cmd.aggregate" or "explain" in command:
            continue
        if begun and isinstance(begun.get("aggregate"), str):
            # Of a view's cursor it is the pipeline that the view and the query were made into.
            name = begun["aggregate"]
        operations.append(
            seen(
                name,
                command,
                query_hash=record.get("queryHash"),
                ms=record["microsecs_running"] / 1000,
                plan=record.get("planSummary"),
            )
        )
    return operations
