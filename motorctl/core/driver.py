"""The few calls in which Motor and PyMongo's async API differ, made alike; who may repeat a call; what a refusal says.

Motor returns a cursor from `aggregate` and `list_indexes` at once; PyMongo's `AsyncMongoClient` (and
mongomock-motor, for some) returns a coroutine of one. Core goes through these functions, so that it
runs on each of them unchanged. `Attempt` is how a caller hands in its policy of trying again, and
`RETRYABLE_CODES` say where that may help. `refusal` is the sentence of a command that the server refused.
Nothing else belongs here.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from motorctl.core.privileges import lack
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from pymongo.errors import OperationFailure

    from motorctl.client import Collection, Database

RETRYABLE_CODES = frozenset({6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
"""The server's codes that say "again, please": mongodb/specifications, retryable-reads.md, "Retryable Error"."""

LIST_BATCH = 1_000
"""Documents in a reply to a list. By default it holds 16 MB, and the driver decodes all of it at once."""

UNAUTHORIZED = 13
NAMESPACE_NOT_FOUND = 26

_QUOTED = re.compile(r"(?P<said> to execute command) \{ (?P<command>\w+):.*| Command request: .*", re.DOTALL)
"""Where a sentence of the server quotes the whole command, the session and its signature with it."""
_QUERY = re.compile(r"error processing query: .* planner returned error :: caused by :: ", re.DOTALL)
"""Where it quotes a query that can't be planned, its values with it."""

Attempt: TypeAlias = "Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]"
"""Awaits an operation, and may await it again where that helps: only for what may run twice."""


async def once(operation: Callable[[], Awaitable[Any]]) -> Any:
    """Await an operation, and never again: the `Attempt` of those who have no policy."""
    return await operation()


async def aggregate(
    collection: Collection | Database, pipeline: Sequence[Mapping[str, Any]], **options: Any
) -> AsyncIterator[dict[str, Any]]:
    """Open a cursor over a pipeline's result; `options` are those of the driver's `aggregate`."""
    cursor: AsyncIterator[dict[str, Any]] = await _settled(collection.aggregate(pipeline, **options))
    return cursor


def refusal(error: OperationFailure) -> str:
    """Return the server's sentence of an error; of a command that it does not permit, which privilege it needs."""
    said = str((error.details or {}).get("errmsg", error))
    lacking = lack(said) if error.code == UNAUTHORIZED else None
    return lacking.sentence if lacking else without_values(said)


def without_values(sentence: str) -> str:
    """Return a server's sentence without the query, or the command, that it quotes: the values are somebody's."""
    return _QUOTED.sub(
        lambda quoted: f"{quoted['said']} {quoted['command']}" if quoted["said"] else "",
        _QUERY.sub("", sentence),
    )


async def list_indexes(collection: Collection) -> list[dict[str, Any]]:
    """List a collection's index documents; an absent collection has none."""
    return await _documents(collection.list_indexes())


async def list_collections(db: Database) -> list[dict[str, Any]]:
    """List the collection and view documents of a database, as `listCollections` has them."""
    return await _documents(db.list_collections())


async def change_stream(collection: Collection, pipeline: Sequence[Mapping[str, Any]], **options: Any) -> Any:
    """Open the drivers' change stream, which is to be closed; `options` are those of their `watch`."""
    return await _settled(collection.watch(pipeline, **options))


async def start_session(client: Any, **options: Any) -> Any:
    """Open a session, which is to be ended by `end_session`. Nothing is sent, so Motor needs no thread for it."""
    if "delegate" in vars(client):  # asked for as an attribute, PyMongo's client has a database of that name
        return client.wrap(client.delegate.start_session(**options))
    return await _settled(client.start_session(**options))


async def end_session(session: Any) -> None:
    """End a session whose transaction is over: it only goes back to its pool, so nothing is sent.

    Motor's own `end_session` takes a thread for that.
    """
    await session.__aexit__(None, None, None)


async def start_transaction(session: Any, **options: Any) -> None:
    """Begin a transaction in a session; `options` are those of the drivers' `start_transaction`."""
    await _settled(session.start_transaction(**options))


async def close(client: Any) -> None:
    """Close a client, which tells the server of its sessions."""
    closing = client.close()
    if inspect.isawaitable(closing):
        await closing


async def server_version(db: Database) -> tuple[int, int]:
    """Ask the server for its version: major and minor. Every user may. Raises MotorctlError (1) where it tells none."""
    reply = await db.command({"buildInfo": 1})
    match reply.get("versionArray"):
        case [int(major), int(minor), *_]:
            return major, minor
    raise MotorctlError(
        "the server doesn't tell its version", hint="is it MongoDB? `motorctl doctor` walks the road to it"
    )


async def server_time(db: Database) -> datetime:
    """Ask the server for its clock: what several hosts compare must be one's. Every user may."""
    # Commands don't take the database's way of reading dates by themselves.
    found: datetime = (await db.command({"hello": 1}, codec_options=db.codec_options))["localTime"]
    return found


async def _documents(cursor: Any) -> list[dict[str, Any]]:
    settled = await _settled(cursor)
    return [dict(document) async for document in settled]


async def _settled(cursor: Any) -> Any:
    return await cursor if inspect.isawaitable(cursor) else cursor
