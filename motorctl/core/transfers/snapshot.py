"""One instant of the database, to look at it for longer than a query: several pipelines see the same data.

A snapshot session, which MongoDB has from 5.0 on and which locks nothing; before that a transaction, which may
last a minute. Says in words when the server can't hold an instant any longer. Writes nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from pymongo import ReadPreference
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from motorctl.core import driver
from motorctl.errors import MotorctlError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from motorctl.client import Database

SESSIONS = (5, 0)
"""The first version with snapshots outside of transactions."""

_UNAVAILABLE = 246
"""A collection or an index was made just now: the majority's instant is before it."""
_TRIES, _PAUSE = 20, 0.1
_TOO_OLD = 239
_TOO_LONG = frozenset({251, 290})


@asynccontextmanager
async def instant(db: Database, version: tuple[int, int]) -> AsyncIterator[Any]:
    """Yield a session whose reads all see the same instant.

    Raises MotorctlError (1) with the way out when the server doesn't keep an instant for as long as was needed.
    """
    sessions = version >= SESSIONS
    async with await driver.start_session(db.client, snapshot=sessions) as session:
        try:
            if not sessions:
                await driver.start_transaction(
                    session, read_concern=ReadConcern("snapshot"), read_preference=ReadPreference.PRIMARY
                )
            yield session
        except OperationFailure as error:
            raise _in_words(error) from error
        finally:
            if session.in_transaction:
                with suppress(OperationFailure):
                    await session.abort_transaction()


async def available(look: Callable[[], Awaitable[Any]]) -> Any:
    """Await a look at an instant, again while a collection of it is too new to be in one: for 2 s."""
    for _ in range(_TRIES - 1):
        try:
            return await look()
        except OperationFailure as error:
            if error.code != _UNAVAILABLE:
                raise
        await asyncio.sleep(_PAUSE)
    try:
        return await look()
    except OperationFailure as error:
        if error.code != _UNAVAILABLE:
            raise
        raise UnreachableError(
            "an index or a collection is being changed: no instant can be read",
            hint="the same command may be run again",
        ) from error


def _in_words(error: OperationFailure) -> Exception:
    if error.code == _TOO_OLD:
        return MotorctlError(
            "the server doesn't keep the instant that is looked at for as long as this takes",
            hint="it keeps 300 s unless it is told otherwise, on each member: "
            "db.adminCommand({setParameter: 1, minSnapshotHistoryWindowInSeconds: 3600})",
        )
    if error.code in _TOO_LONG:
        return MotorctlError(
            "the transaction in which it is looked at took longer than the server permits",
            hint="60 s unless it is told otherwise: "
            "db.adminCommand({setParameter: 1, transactionLifetimeLimitSeconds: 600})",
        )
    return error
