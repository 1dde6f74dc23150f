"""The database profiler: what it has recorded, and turning it on and back to what it was.

The profiler is a setting of one server (not of the replica set) and one database; the limit in
milliseconds and the sample rate are those of the whole server, and rule its log, too. Source: MongoDB
manual, "Database Profiler" and the command `profile`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver
from motorctl.core.hello import only_host
from motorctl.core.slow import shapes
from motorctl.core.slow.groups import Groups, Operation, seen
from motorctl.errors import AuthorizationError, MotorctlError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from motorctl.client import Database

COLLECTION = "system.profile"
_COMMAND_NOT_FOUND = 59
# What advice is taken from: a sample of the collection, whose command says so.
_OWN = "motorctl explain"
# Records may have 50 KB each: a reply is to be no 16 MB of them.
_BATCH = 500
_NOT_ON_A_ROUTER = frozenset({_COMMAND_NOT_FOUND, 115, 72})


class NoProfilerError(MotorctlError):
    """A router (mongos) has no profiler of its own."""

    code = "no_profiler"


@dataclass(frozen=True)
class State:
    """What the profiler is set to: level 0 is off, 1 records what is slower than `slow_ms`, 2 all.

    A `filter` (servers from 4.4.2) takes the place of limit and sample rate.
    """

    level: int
    slow_ms: int
    sample_rate: float
    filter: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> State:
        """Read it back; raises KeyError, TypeError or ValueError on what is none."""
        chosen = document.get("filter")
        return cls(
            int(document["level"]),
            int(document["slow_ms"]),
            float(document["sample_rate"]),
            None if chosen is None else dict(chosen),
        )


@dataclass(frozen=True)
class Server:
    """One server: `HOST:PORT`, and its process, which has another mark after each start."""

    name: str
    process: str


async def state(db: Database) -> State:
    """Ask what the profiler is set to. Raises AuthorizationError, NoProfilerError."""
    answer = await _profile(db, {"profile": -1})
    chosen = answer.get("filter")
    return State(
        int(answer["was"]),
        int(answer["slowms"]),
        float(answer.get("sampleRate", 1)),
        None if chosen is None else dict(chosen),
    )


async def change(db: Database, before: State, after: State) -> None:
    """Set the profiler. May run twice. Raises AuthorizationError, NoProfilerError."""
    command: dict[str, Any] = {
        "profile": after.level,
        "slowms": after.slow_ms,
        "sampleRate": after.sample_rate,
    }
    if after.filter is not None:
        command["filter"] = after.filter
    elif before.filter is not None:
        command["filter"] = "unset"
    await _profile(db, command)


async def server(db: Database) -> Server:
    """Ask which server it is whose profiler is meant: the one that writes go to."""
    hello = await db.command("hello")
    name = str(hello.get("me") or only_host(db))
    # Servers from 4.4 on tell their process; what stands in front of one, perhaps, doesn't.
    return Server(name, str(hello.get("topologyVersion", {}).get("processId") or name))


async def read(
    db: Database, *, since: datetime | None = None, slower_than: float = 0, collection: str | None = None
) -> Groups:
    """Read what the profiler of this database has recorded and still has: it keeps the newest.

    `slower_than` in milliseconds. Holds the shapes, however large the record is. Raises AuthorizationError.
    """
    conditions: dict[str, Any] = {
        "op": {"$in": ["query", "getmore", "command", "update", "remove", "insert"]},
        # What was read to make this report is none of its subjects, nor is what explained a query.
        "ns": {"$ne": f"{db.name}.{COLLECTION}"} if collection is None else f"{db.name}.{collection}",
        "command.explain": {"$exists": False},
        "command.profile": {"$exists": False},
        "command.comment": {"$ne": _OWN},
        "originatingCommand.comment": {"$ne": _OWN},
    }
    if since is not None:
        conditions["ts"] = {"$gte": since}
    if slower_than:
        conditions["millis"] = {"$gte": slower_than}
    # The figures and the command only: a record also holds lock statistics and the whole plan.
    fields = (
        "op", "ns", "command", "originatingCommand", "millis", "keysExamined", "docsExamined", "nreturned",
        "nMatched", "ndeleted", "planSummary", "ts", "cursorid", "cursorExhausted", "queryHash",
    )  # fmt: skip
    cursor = db[COLLECTION].find(conditions, dict.fromkeys(fields, 1) | {"_id": 0}, batch_size=_BATCH)
    found = Groups()
    try:
        async for record in cursor:
            if (one := operation(db.name, record)) is not None:
                found.add(one)
    except OperationFailure as error:
        if error.code == driver.UNAUTHORIZED:
            raise AuthorizationError(
                f"no right to read {db.name}.{COLLECTION}",
                hint=f"the role dbAdmin on {db.name} has it; --source current shows what runs now",
            ) from error
        raise
    return found


_NAMES = {"insert": "insert", "update": "update", "remove": "delete"}
"""What a write is called where its record doesn't say it: `op` and our word."""


def operation(database: str, record: Mapping[str, Any]) -> Operation | None:
    """Return what a record says, or None where it is of a command that looks for no documents. Pure."""
    command = record.get("originatingCommand") or record.get("command") or {}
    collection = str(record["ns"]).removeprefix(f"{database}.")
    op = record["op"]
    if shapes.verb(command) is None:
        if op == "command":
            return None
        if op in _NAMES and not isinstance(command.get("q"), dict) and not shapes.is_cut(command):
            command = {_NAMES[op]: collection}
    if op == "getmore" and isinstance(command.get("aggregate"), str):
        # Of a view's cursor it is the pipeline that the view and the query were made into, and its collection.
        collection = command["aggregate"]
    returned = record.get("nreturned", record.get("nMatched", record.get("ndeleted")))
    one = seen(
        "." if collection == "$cmd.aggregate" else collection,
        command,
        query_hash=record.get("queryHash"),
        ms=float(record.get("millis", 0)),
        keys=record.get("keysExamined"),
        docs=record.get("docsExamined"),
        returned=returned,
        plan=record.get("planSummary"),
        at=record.get("ts"),
        continues=op == "getmore",
        cursor=record.get("cursorid") or None,
        ends=bool(record.get("cursorExhausted")),
    )
    return replace(one, name=_NAMES[op]) if one.name == "unknown" and op in _NAMES else one


async def _profile(db: Database, command: dict[str, Any]) -> Mapping[str, Any]:
    try:
        answer: Mapping[str, Any] = await db.command(command)
    except OperationFailure as error:
        if error.code == driver.UNAUTHORIZED:
            raise AuthorizationError(
                f"no right to set the profiler of {db.name}: {driver.refusal(error)}",
                hint=f"the role dbAdmin on {db.name} has it; `motorctl ping` tells who you are",
            ) from error
        if error.code in _NOT_ON_A_ROUTER:
            raise NoProfilerError(
                "a router (mongos) records no operations",
                hint="connect to a member of the shard that holds the data, with directConnection=true",
            ) from error
        raise
    return answer
