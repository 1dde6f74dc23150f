"""The commands that change a database's catalogue, each safe to send again.

What is already as a command says counts as done: an index that is there is built, one that is gone is
dropped. A collection that is there counts as created if it has the options of the command, a search
index by its name alone. Of two commands at once the server may refuse one for a moment: that one is sent
again, for seconds, or as long as another's index build lasts. What else is worth another try is for the
caller's `Attempt` to say. No lock is taken, so none can be left behind.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core.driver import NAMESPACE_NOT_FOUND, once
from motorctl.core.schema.fetch import fetch, fetch_indexes
from motorctl.core.schema.planning.collections import differences

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from motorctl.client import Database
    from motorctl.core.driver import Attempt

__all__ = ["NAMESPACE_NOT_FOUND", "Catalog"]

INDEX_NOT_FOUND = 27
NAMESPACE_EXISTS = 48
INDEX_ALREADY_EXISTS = 68
COLLECTION_IN_PLACE_OF_VIEW = 17399  # before MongoDB 6.0, for NAMESPACE_EXISTS

_BUILDING = frozenset(
    {
        285,  # IndexBuildAlreadyInProgress
        12586,  # BackgroundOperationInProgressForDatabase
        12587,  # BackgroundOperationInProgressForNamespace
    }
)
"""What a server answers while an index is built there: that may take hours, and ends."""

BUSY = _BUILDING | {
    24,  # LockTimeout
    112,  # WriteConflict
    117,  # ConflictingOperationInProgress
    276,  # IndexBuildAborted: somebody dropped it while it was built
}
"""What a server answers when somebody else changes the same collection."""

_OVERTAKEN = "modified by another thread. Please try to rerun"
"""What collMod says, with a code that stands for anything (125), when two of them make an index unique."""

_LONGEST = 15.0

_DONE: dict[str, frozenset[int]] = {
    "create": frozenset({NAMESPACE_EXISTS, COLLECTION_IN_PLACE_OF_VIEW}),
    "drop": frozenset({NAMESPACE_NOT_FOUND}),
    "dropIndexes": frozenset({NAMESPACE_NOT_FOUND, INDEX_NOT_FOUND}),
    "createSearchIndexes": frozenset({INDEX_ALREADY_EXISTS}),
    "dropSearchIndex": frozenset({NAMESPACE_NOT_FOUND, INDEX_NOT_FOUND}),
}
"""The answers by which a server says that a command has nothing left to do."""


@dataclass(frozen=True)
class Catalog:
    """A database whose schema is to be changed, and the policy by which a command is sent again.

    `commit_quorum` goes with each index build: how many members must be ready, or the name of a rule.
    """

    db: Database
    attempt: Attempt = once
    commit_quorum: int | str | None = None

    async def run(self, command: Mapping[str, Any]) -> None:
        """Send a command of a plan. Raises the driver's error unless it is done, now or before."""
        name = next(iter(command))
        if name == "renameCollection":
            await self._rename(command[name], command["to"])
            return
        if name == "createIndexes" and self.commit_quorum is not None:
            command = {**command, "commitQuorum": self.commit_quorum}
        try:
            await self.attempt(partial(_while_busy, self.db, command))
        except OperationFailure as error:
            if error.code not in _DONE.get(name, ()):
                raise
            if name == "create":
                options = {option: value for option, value in command.items() if option != name}
                await self._refuse_another(command[name], options)

    async def _refuse_another(self, name: str, options: Mapping[str, Any]) -> None:
        """Raise unless the collection that has taken a name is the one that was to be created."""
        there = (await self.attempt(partial(fetch, self.db, {name}))).get(name)
        if there is None:
            message = f"{name} was created and dropped meanwhile"
        else:
            differing = differences(there.options, options)
            if there.is_view and "viewOn" not in options:
                differing.append("viewOn")
            if not differing:
                return
            message = f"{name} was created meanwhile, and differs in {', '.join(differing)}"
        details = {"code": NAMESPACE_EXISTS, "codeName": "NamespaceExists", "errmsg": message}
        raise OperationFailure(message, NAMESPACE_EXISTS, details)

    async def _rename(self, old: str, new: str) -> None:
        """Rename a collection, unless that has happened. Both are names within the database."""
        command = {"renameCollection": f"{self.db.name}.{old}", "to": f"{self.db.name}.{new}"}
        try:
            await self.attempt(partial(_while_busy, self.db.client.admin, command))
        except OperationFailure as error:
            if error.code not in (NAMESPACE_NOT_FOUND, NAMESPACE_EXISTS):
                raise
            if await self.collections({"$in": [old, new]}) != {new}:
                raise

    async def create_collection(self, name: str, options: Mapping[str, Any]) -> None:
        """Create a collection or a view, unless the same one is there under its name."""
        await self.run({"create": name, **options})

    async def create_index(self, collection: str, specification: Mapping[str, Any]) -> None:
        """Build an index, unless the same one is there under the same name."""
        await self.run({"createIndexes": collection, "indexes": [dict(specification)]})

    async def drop_index(
        self, collection: str, name: str, *, provided: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        """Drop an index by its name, if it is there; `provided` is asked each time before it is sent."""
        command = {"dropIndexes": collection, "index": name}
        try:
            await self.attempt(partial(_while_busy, self.db, command, provided))
        except OperationFailure as error:
            if error.code not in _DONE["dropIndexes"]:
                raise

    async def drop_collection(self, name: str) -> None:
        """Drop a collection, if it is there."""
        await self.run({"drop": name})

    async def collections(self, condition: Mapping[str, Any]) -> set[str]:
        """List the collections whose names meet a condition, written as a query's operators."""
        found: set[str] = await self.attempt(partial(_names, self.db, condition))
        return found

    async def indexes(self, collection: str) -> dict[str, dict[str, Any]]:
        """List the documents of a collection's indexes by their names, without those still being built."""
        listed = await self.attempt(partial(fetch_indexes, self.db, collection))
        return {document["name"]: document for document in listed or ()}


async def _while_busy(
    db: Database, command: Mapping[str, Any], provided: Callable[[], Awaitable[bool]] | None = None
) -> None:
    deadline = time.monotonic() + _LONGEST
    pause = 0.02
    while provided is None or await provided():
        try:
            await db.command(dict(command))
        except OperationFailure as error:
            busy = error.code in BUSY or _OVERTAKEN in str(error)
            late = error.code not in _BUILDING and time.monotonic() + pause > deadline
            if late or not busy:
                raise
        else:
            return
        await asyncio.sleep(random.uniform(pause / 2, pause))
        pause = min(pause * 2, 1.0)


async def _names(db: Database, condition: Mapping[str, Any]) -> set[str]:
    return set(await db.list_collection_names(filter={"name": dict(condition)}))
