"""The commands that change a database's catalogue, each safe to send again.

An index that is already there is built, one that is already gone is dropped. Two such commands at once
make the server refuse one of them for a moment: that one is sent again, for a minute at most. No lock
is taken, so none can be left behind.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.client import Database

NAMESPACE_NOT_FOUND = 26
INDEX_NOT_FOUND = 27
NAMESPACE_EXISTS = 48

BUSY = frozenset(
    {
        24,  # LockTimeout
        112,  # WriteConflict
        117,  # ConflictingOperationInProgress
        276,  # IndexBuildAborted: somebody dropped it while it was built
        285,  # IndexBuildAlreadyInProgress
        12586,  # BackgroundOperationInProgressForDatabase
        12587,  # BackgroundOperationInProgressForNamespace
    }
)
"""What a server answers when somebody else changes the same collection."""

_LONGEST = 60.0


async def run(db: Database, command: dict[str, Any]) -> dict[str, Any]:
    """Send a command that does no harm when it is sent twice, again while the server is busy with another."""
    deadline = time.monotonic() + _LONGEST
    pause = 0.02
    while True:
        try:
            reply: dict[str, Any] = await db.command(command)
        except OperationFailure as error:
            if error.code not in BUSY or time.monotonic() + pause > deadline:
                raise
        else:
            return reply
        await asyncio.sleep(random.uniform(pause / 2, pause))
        pause = min(pause * 2, 1.0)


async def create_index(db: Database, collection: str, specification: Mapping[str, Any]) -> bool:
    """Build an index; False when the same one, under the same name, was there before."""
    reply = await run(db, {"createIndexes": collection, "indexes": [dict(specification)]})
    # A sharded cluster answers for each shard under `raw`.
    replies = list(reply.get("raw", {}).values()) or [reply]
    return any(one.get("numIndexesBefore") != one.get("numIndexesAfter") for one in replies)


async def drop_index(db: Database, collection: str, name: str) -> bool:
    """Drop an index by its name; False when it wasn't there."""
    try:
        await run(db, {"dropIndexes": collection, "index": name})
    except OperationFailure as error:
        if error.code in (NAMESPACE_NOT_FOUND, INDEX_NOT_FOUND):
            return False
        raise
    return True
