"""What an export asks the server: is it there, how many are there, and the batches of a cursor."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure, PyMongoError
from pymongo.read_preferences import make_read_preference, read_pref_mode_from_name

from motorctl.core.driver import once
from motorctl.errors import MotorctlError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt
    from motorctl.core.export.model import Query

__all__ = ["count", "look_up", "raw_batches", "reading"]

UNAUTHORIZED = 13
# The server closed the cursor (43: also after ten idle minutes), killed it or its plan, is shutting down, or
# has lost another server that it asked (6, 7, 89, 9001).
_CURSOR_GONE = frozenset({6, 7, 43, 89, 91, 136, 175, 237, 9001, 11600, 11601, 11602})
_BAD_VALUE = 2
# What is told a server at the end is a courtesy: one that is lost would be waited for in vain.
_CLOSING_SECONDS = 0.5
_SNAPSHOT_TOO_OLD = 239
# No replica set (123), one that has no such point in time (246), a command or server that knows none.
_NO_SNAPSHOT = frozenset({20, 72, 123, 246, 263, 20016})


def reading(collection: Collection, preference: str | None) -> Collection:
    """Return the collection as it is read from the members of a preference: `secondaryPreferred`, say."""
    if preference is None:
        return collection
    mode: Any = make_read_preference(read_pref_mode_from_name(preference), None)
    return collection.with_options(read_preference=mode)


async def look_up(collection: Collection) -> str | None:
    """Return what stands under a name: collection, view or timeseries; None where nothing does.

    A user who may read a collection and not list it is told that it is one.
    """
    try:
        reply = await collection.database.command(
            {
                "listCollections": 1,
                "filter": {"name": collection.name},
                "nameOnly": True,
                "authorizedCollections": True,
            }
        )
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return "collection"
    found = reply["cursor"]["firstBatch"]
    return str(found[0]["type"]) if found else None


async def count(collection: Collection) -> int | None:
    """Return how many documents the server's books say a collection has.

    None when it doesn't answer: a count is a courtesy, and no export fails for want of it.
    """
    try:
        return int(await collection.estimated_document_count())
    except PyMongoError:
        return None


async def raw_batches(
    collection: Collection, query: Query, *, attempt: Attempt = once
) -> AsyncGenerator[bytes]:
    """Yield batches of BSON documents, none of them empty; the next is on its way while one is used.

    `attempt` awaits the first of them, and may do so again. Raises `UnreachableError` when the cursor or
    the connection is lost on the way, `UsageError` when no index is the hint's, `MotorctlError` when the
    server can't show a point in time, or no longer.
    """
    async with _session(collection, query) as session:

        async def opened() -> tuple[Any, bytes | None]:
            cursor = _cursor(collection, query, session)
            return cursor, await anext(cursor, None)

        try:
            cursor, batch = await attempt(opened)
        except (ConnectionFailure, OperationFailure) as error:
            if ours := _explained(error, collection, query, begun=False):
                raise ours from error
            raise
        following: asyncio.Future[bytes | None] | None = None
        try:
            while batch is not None:
                following = asyncio.ensure_future(anext(cursor, None))
                if batch:
                    yield batch
                batch = await following
        except (ConnectionFailure, OperationFailure) as error:
            if ours := _explained(error, collection, query, begun=True):
                raise ours from error
            raise
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    if following is not None:
                        following.cancel()
                        await asyncio.gather(following, return_exceptions=True)
                    await cursor.close()


def _cursor(collection: Collection, query: Query, session: Any) -> Any:
    hint = query.hint if query.hint is None or isinstance(query.hint, str) else list(query.hint.items())
    return collection.find_raw_batches(
        query.filter,
        query.projection,
        sort=list(query.sort) or None,
        limit=query.limit,
        skip=query.skip,
        hint=hint,
        batch_size=query.batch_size,
        session=session,
    )


@asynccontextmanager
async def _session(collection: Collection, query: Query) -> AsyncIterator[Any]:
    """Open a session that reads at one point in time, if that is asked for."""
    if not query.snapshot:
        yield None
        return
    opened: Any = collection.database.client.start_session(snapshot=True)
    session = await opened if inspect.isawaitable(opened) else opened
    async with session:
        try:
            yield session
        except ConfigurationError as error:
            raise _no_snapshot(str(error)) from error


def _no_snapshot(reason: str) -> MotorctlError:
    return MotorctlError(
        f"--snapshot: this server can't read at one point in time: {reason.rstrip('.')}",
        hint="that needs MongoDB 5.0 and a replica set (`motorctl local start` runs one) or a sharded cluster",
    )


def _explained(
    error: Exception, collection: Collection, query: Query, *, begun: bool
) -> MotorctlError | None:
    """Return what a lost cursor means for an export, None where the driver's error says it all."""
    code = error.code if isinstance(error, OperationFailure) else None
    if query.snapshot and code == _SNAPSHOT_TOO_OLD:
        return MotorctlError(
            "the server no longer has the point in time that is being read: the export is not whole",
            hint="it keeps five minutes of history: raise its parameter minSnapshotHistoryWindowInSeconds, "
            "or export less at a time",
        )
    if query.snapshot and not begun and code in _NO_SNAPSHOT:
        return _no_snapshot(str(error).partition(", full error")[0])
    if query.hint is not None and code == _BAD_VALUE and "hint" in str(error):
        return UsageError(
            f"--hint: no index of {collection.name} is {_spelled(query.hint)}",
            hint=f"`motorctl indexes list {collection.name}` shows those that there are",
        )
    if code in _CURSOR_GONE and (begun or code == 43):
        return UnreachableError(
            "the server has closed the cursor: the export is not whole",
            hint="export again, without a pause of minutes: it can't go on from where it was",
        )
    if begun and isinstance(error, ConnectionFailure):
        return UnreachableError(
            "the connection was lost on the way: the export is not whole",
            hint="export again: it can't go on from where it was",
        )
    return None


def _spelled(hint: str | Mapping[str, Any]) -> str:
    return hint if isinstance(hint, str) else json.dumps(hint, default=str)
