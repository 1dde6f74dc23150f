"""Index builds that a server has under way, as `$currentOp` tells of them. Only reads; starts and stops none.

A build has a thread of its own on the server, with its progress, beside the command that asked for it: it
goes on to its end when that client is gone, and ends when its indexes are dropped or its operation killed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.client import Database

_UNAUTHORIZED = 13

_PHASES = {
    "scanning collection": "scanning the collection",
    "inserting keys": "inserting keys",
    "draining writes": "catching up with writes",
}
"""What is said in the server's message, and the same in our words."""


@dataclass(frozen=True)
class Build:
    """One build: the indexes that it makes of one collection, and how far its present phase is.

    `done` and `total` count documents while it scans and keys while it inserts them, None where the
    server doesn't say; `seconds` is how long it runs. `opid` is a number, `shard:number` behind mongos.
    """

    collection: str
    names: tuple[str, ...]
    phase: str
    done: int | None
    total: int | None
    seconds: float
    opid: int | str

    @property
    def share(self) -> float | None:
        """How much of the present phase is done, from 0 to 1."""
        return None if self.done is None or not self.total else min(self.done / self.total, 1.0)

    @property
    def title(self) -> str:
        """Name its indexes: `email_1 of users`."""
        return f"{', '.join(self.names)} of {self.collection}"

    def document(self) -> dict[str, Any]:
        """Write it for machines: `collection, names, phase, done, total, share, seconds, opid`."""
        return {
            "collection": self.collection,
            "names": list(self.names),
            "phase": self.phase,
            "done": self.done,
            "total": self.total,
            "share": None if self.share is None else round(self.share, 4),
            "seconds": round(self.seconds, 1),
            "opid": self.opid,
        }


async def running(db: Database) -> list[Build]:
    """List the builds under way in this database, by collection and name; behind mongos, each shard's.

    A user who may not see the operations of others gets those of his own: see `look`.
    """
    found, _ = await look(db)
    return found


async def look(db: Database) -> tuple[list[Build], bool]:
    """List the builds as `running` does, and tell whether these are everybody's.

    Without the right to see others' operations (`inprog`) they are those that this user's commands
    wait for, without their progress.
    """
    try:
        return builds(await _operations(db, everybodys=True), db.name), True
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
    return builds(await _operations(db, everybodys=False), db.name), False


async def _operations(db: Database, *, everybodys: bool) -> list[dict[str, Any]]:
    # A build that waits for something counts as an idle connection.
    stages: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": everybodys, "idleConnections": True}},
        {"$match": {"command.createIndexes": {"$exists": True}, "opid": {"$exists": True}}},
    ]
    return [operation async for operation in await driver.aggregate(db.client.admin, stages)]


def builds(operations: Iterable[Mapping[str, Any]], database: str) -> list[Build]:
    """Take operations of `$currentOp` as builds: one for each, though several commands may wait for it."""
    own = [one for one in operations if str(one.get("ns", "")).startswith(f"{database}.")]
    found: dict[tuple[Any, ...], Build] = {}
    seen: set[tuple[Any, str, str]] = set()
    # Those that tell their progress come first: a command that only waits for one of them adds nothing.
    for operation in sorted(own, key=lambda one: ("msg" not in one, "connectionId" in one, str(one["opid"]))):
        build = _build(operation, database)
        shard = operation.get("shard")
        names = {(shard, build.collection, name) for name in build.names}
        if not names & seen:
            found[build.collection, build.names, str(shard)] = build
        seen |= names
    return [found[key] for key in sorted(found)]


def _build(operation: Mapping[str, Any], database: str) -> Build:
    progress = operation.get("progress", {})
    message = str(operation.get("msg", ""))
    collection = str(operation["ns"]).removeprefix(f"{database}.")
    if collection == "$cmd":  # the database's own namespace, while it waits to begin
        collection = str(operation["command"].get("createIndexes", collection))
    return Build(
        collection,
        tuple(sorted(str(index.get("name")) for index in operation["command"].get("indexes", ()))),
        next((words for sign, words in _PHASES.items() if sign in message), "waiting"),
        _whole(progress.get("done")),
        _whole(progress.get("total")),
        int(operation.get("microsecs_running", 0)) / 1_000_000,
        operation["opid"],
    )


def _whole(number: Any) -> int | None:
    return None if number is None else int(number)
