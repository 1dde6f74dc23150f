"""Transactions that a process of this program left open when it died: found, and ended.

A connection that breaks doesn't end a transaction. What `kill -9`, the out-of-memory killer or a power cut leaves in
the middle of a transfer keeps its documents for `transactionLifetimeLimitSeconds` (60) and the server's next look
(every 30 s): until then everybody who wants the same account or key is told of a write conflict. Whoever meets
such a conflict for longer than a moment asks here.

Ended is only what nobody can go on with: an open transaction between two commands, whose connection the server
no longer has, of our user and our appName. A process that lives, or is only stopped, keeps its own. Were one ended
wrongly, it would be run again by its process: a transaction is written whole or not at all, whoever aborts it.

Every user may see and kill what is their own: `$currentOp` without allUsers, `killSessions`. Behind mongos the
connections seen are those of mongos: nothing is ended there.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from pymongo import ReadPreference

from motorctl.core import driver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.client import Database

_QUIET = 100_000
"""Microseconds that a transaction has to be idle: a connection may be younger than the list of connections."""


async def end(db: Database) -> int:
    """End the abandoned transactions on the primary and return how many there were. Two commands at most.

    Raises the driver's errors; a caller that has better things to do lets them pass.
    """
    admin = db.client.get_database("admin", read_preference=ReadPreference.PRIMARY)
    mark = uuid.uuid4().hex
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"idleConnections": True, "idleSessions": True}},
        {
            "$project": {
                "type": 1,
                "shard": 1,
                "connectionId": 1,
                "appName": 1,
                "lsid.id": 1,
                "transaction.timeInactiveMicros": 1,
                "mark": "$command.comment",
            }
        },
    ]
    rows = [row async for row in await driver.aggregate(admin, pipeline, comment=mark)]
    if found := abandoned(rows, mark):
        await admin.command({"killSessions": found})
    return len(found)


def abandoned(rows: Iterable[Mapping[str, Any]], mark: str) -> list[dict[str, Any]]:
    """Pure: what `$currentOp` shows -> the sessions to end. `mark` is the comment of the one who asks."""
    operations: list[Mapping[str, Any]] = []
    sessions: list[Mapping[str, Any]] = []
    for row in rows:
        (sessions if row.get("type") == "idleSession" else operations).append(row)
    alive = {row["connectionId"] for row in operations if "connectionId" in row}
    ours = {row["appName"] for row in operations if row.get("mark") == mark and row.get("appName")}
    return [
        {"id": row["lsid"]["id"]}
        for row in sessions
        if "shard" not in row
        and row.get("appName") in ours
        and row.get("connectionId") not in alive
        and row.get("transaction", {}).get("timeInactiveMicros", 0) >= _QUIET
    ]
