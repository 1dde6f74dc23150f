"""The record of applies: who changed a database's schema, when, from where and how it ended.

One document an apply, in a collection of the same database. It is a record, no state: nothing is ever
decided by it, and an apply goes on without it where the user may not write it. Never holds a connection
string.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import socket
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import pymongo
from bson import ObjectId
from pymongo.errors import OperationFailure, PyMongoError

from motorctl import __version__
from motorctl.core.driver import once, refusal
from motorctl.core.schema.compare import expand_collation, index_facts, query, shorten_creation_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.schema.change import Change
    from motorctl.core.schema.model import Collection, Index

COLLECTION = "motorctl_schema_history"

Result = Literal["running", "applied", "partly", "failed", "interrupted"]

FINISH_SECONDS = 3.0
"""What the end of a record may take, all tries together: where the connection was lost, an apply has waited already."""

UNFINISHED = "unfinished"
"""How a record is shown whose end was never written: the apply still runs, or was killed."""


async def begin(
    db: Database,
    *,
    manifest: Sequence[str],
    desired: Iterable[Collection],
    options: Mapping[str, Any],
    attempt: Attempt = once,
) -> tuple[ObjectId | None, str | None]:
    """Write the record of an apply that begins; return its id, or None and why there is none.

    `manifest` names the sources as they were given; `options` are those of the apply that matter for
    what it did, plain values. Raises the driver's error of a lost connection.
    """
    record: dict[str, Any] = {
        "_id": ObjectId(),
        "started_at": datetime.now(UTC),
        "finished_at": None,
        "user": await _user(db, attempt),
        "host": socket.gethostname(),
        "version": __version__,
        "manifest": list(manifest),
        "digest": digest(desired),
        "options": dict(options),
        "changes": [],
        "result": "running",
    }

    async def write() -> None:
        await db[COLLECTION].replace_one({"_id": record["_id"]}, record, upsert=True)

    try:
        await attempt(write)
    except OperationFailure as error:
        return None, _why(error)
    identity: ObjectId = record["_id"]
    return identity, None


async def finish(
    db: Database,
    record: ObjectId | None,
    changes: Iterable[Change],
    *,
    interrupted: bool = False,
    attempt: Attempt = once,
) -> str | None:
    """Write how an apply ended into its record, if it has one; return why that couldn't be done, or None."""
    if record is None:
        return None
    done = [_change(change) for change in changes if change.action != "keep"]
    end = {
        "finished_at": datetime.now(UTC),
        "changes": done,
        "result": "interrupted" if interrupted else _result(done),
    }

    async def write() -> None:
        await db[COLLECTION].update_one({"_id": record}, {"$set": end})

    try:
        with pymongo.timeout(FINISH_SECONDS):
            await attempt(write)
    except PyMongoError as error:
        return _why(error)
    return None


async def entries(db: Database, limit: int) -> list[dict[str, Any]]:
    """Read the newest records, the newest first. One whose end was never written has the result `unfinished`."""
    cursor = db[COLLECTION].find({}, sort=[("started_at", -1), ("_id", -1)], limit=limit)
    return [
        {**record, "result": UNFINISHED} if record["result"] == "running" else record
        async for record in cursor
    ]


def digest(desired: Iterable[Collection]) -> str:
    """Reduce what a manifest wishes to 64 hexadecimal digits (SHA-256), the same for the same wishes.

    The order of collections, indexes, options and words counts only where it does for the server.
    """
    canonical = sorted((_collection(collection) for collection in desired), key=_written)
    return hashlib.sha256(_written(canonical).encode()).hexdigest()


def _collection(collection: Collection) -> dict[str, Any]:
    collation = collection.options.get("collation")
    validator = collection.validator
    return {
        "name": collection.name,
        "absent": collection.absent,
        "renamed_from": collection.renamed_from,
        "options": {
            name: expand_collation(value) if name == "collation" else query(value)
            for name, value in shorten_creation_options(collection.options).items()
        },
        "validator": validator and [query(validator.expression), validator.level, validator.action],
        "indexes": sorted((_index(index, collation) for index in collection.indexes), key=_written),
        "absent_indexes": sorted(
            (_index(index, collation) for index in collection.absent_indexes), key=_written
        ),
        "search_indexes": collection.search_indexes
        and sorted(
            ([one.name, one.type, query(one.definition)] for one in collection.search_indexes), key=_written
        ),
    }


def _index(index: Index, collation: Mapping[str, Any] | None) -> list[Any]:
    return [index.name, index.renamed_from, index_facts(index.keys, index.options, collation)]


def _written(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=True)


def _plain(value: Any) -> Any:
    """Write a reduced value as JSON: in a mapping order doesn't count, in a sequence it does."""
    match value:
        case None | bool() | str():
            return value
        case int() | float():
            return int(value) if value == value // 1 else value
        case Decimal():
            return _plain(float(value)) if value == float(value) else str(value.normalize())
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return [type(value).__name__, repr(value)]


def _change(change: Change) -> dict[str, Any]:
    result: dict[str, Any] = {
        "collection": change.collection,
        "kind": change.kind,
        "action": change.action,
        "name": change.name,
        "status": change.status,
    }
    if change.error is not None:
        result["error"] = {key: change.error[key] for key in ("code", "code_name", "message")}
    return result


def _result(done: Sequence[Mapping[str, Any]]) -> Result:
    count = Counter(change["status"] == "applied" for change in done)
    if not count[False]:
        return "applied"
    return "partly" if count[True] else "failed"


async def _user(db: Database, attempt: Attempt) -> dict[str, Any]:
    """Tell who it is, to the server and to the machine."""
    status = await attempt(lambda: db.command({"connectionStatus": 1}))
    users = [f"{one['user']}@{one['db']}" for one in status["authInfo"]["authenticatedUsers"]]
    try:
        local = getpass.getuser()
    except (ImportError, KeyError, OSError):
        # A container may run under a number without a name, and Windows has no list of users (`pwd`) to look in.
        local = None
    return {"server": users, "system": local}


def _why(error: PyMongoError) -> str:
    if isinstance(error, OperationFailure):
        return refusal(error)
    # The driver adds its time-outs and its view of the servers.
    return f"the connection was lost: {re.split(r' [(]configured timeouts|, Timeout: ', str(error))[0]}"
