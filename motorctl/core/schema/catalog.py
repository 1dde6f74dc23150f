"""The commands that change a database's catalogue, each safe to send again.

An index that is already there is built, one that is already gone is dropped. Two such commands at once
make the server refuse one of them for a moment: that one is sent again, for seconds. What else is worth
another try is for the caller's `Attempt` to say. No lock is taken, so none can be left behind.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core.driver import once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.client import Database
    from motorctl.core.driver import Attempt

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

_LONGEST = 15.0


@dataclass(frozen=True)
class Catalog:
    """A database whose schema is to be changed, and the policy by which a command is sent again."""

    db: Database
    attempt: Attempt = once

    async def run(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command that does no harm when it is sent twice."""
        reply: dict[str, Any] = await self.attempt(partial(self._while_busy, command))
        return reply

    async def _while_busy(self, command: Mapping[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + _LONGEST
        pause = 0.02
        while True:
            try:
                reply: dict[str, Any] = await self.db.command(dict(command))
            except OperationFailure as error:
                if error.code not in BUSY or time.monotonic() + pause > deadline:
                    raise
            else:
                return reply
            await asyncio.sleep(random.uniform(pause / 2, pause))
            pause = min(pause * 2, 1.0)

    async def create_collection(self, name: str, options: Mapping[str, Any]) -> None:
        """Create a collection or a view, unless one of its name is there."""
        try:
            await self.run({"create": name, **options})
        except OperationFailure as error:
            if error.code != NAMESPACE_EXISTS:
                raise

    async def create_index(self, collection: str, specification: Mapping[str, Any]) -> None:
        """Build an index, unless the same one is there under the same name."""
        await self.run({"createIndexes": collection, "indexes": [dict(specification)]})

    async def drop_index(self, collection: str, name: str) -> None:
        """Drop an index by its name, if it is there."""
        try:
            await self.run({"dropIndexes": collection, "index": name})
        except OperationFailure as error:
            if error.code not in (NAMESPACE_NOT_FOUND, INDEX_NOT_FOUND):
                raise

    async def drop_collection(self, name: str) -> None:
        """Drop a collection, if it is there."""
        try:
            await self.run({"drop": name})
        except OperationFailure as error:
            if error.code != NAMESPACE_NOT_FOUND:
                raise
