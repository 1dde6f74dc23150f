"""How the live data is asked: few questions at a time, none beyond the time limit, each fact once.

Only reads. What a question is about, the other modules of this package know.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pymongo.errors import ExecutionTimeout

from motorctl.core import driver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.schema.change import Blocker, Change
    from motorctl.core.schema.model import Collection, Index
    from motorctl.core.schema.server import Server

_T = TypeVar("_T")

SAMPLES = 3
"""How many values or documents a blocker shows."""

_AT_ONCE = 8
"""Questions under way at a time: each may read a whole collection."""

_TIME_LIMIT = 50


class Unanswerable(Exception):  # noqa: N818 - a question's outcome
    """There are no words in which a server could be asked; says why."""


@dataclass(frozen=True)
class Step:
    """A planned change, its place in the plan, and the collection that has its data now (None: there is none)."""

    position: int
    change: Change
    collection: str | None

    @property
    def builds(self) -> bool:
        """Tell whether an index is built, be it in another's place."""
        return self.change.kind == "index" and self.change.action in ("create", "rebuild")


@dataclass(frozen=True)
class Question:
    """Something to find out about a step; `what` is the plural noun of what is looked for."""

    what: str
    ask: Callable[[Asking, Step], Awaitable[Blocker | None]]


class Asking:
    """A database, and the time that is left for all questions together."""

    def __init__(
        self,
        db: Database,
        server: Server,
        attempt: Attempt,
        seconds: float,
        steps: Sequence[Step],
        current: Mapping[str, Collection],
    ) -> None:
        self.db = db
        self._current = current
        self.server = server
        self.steps = steps
        self._of_collection: dict[str, list[Step]] = {}
        for step in steps:
            self._of_collection.setdefault(step.change.collection, []).append(step)
        self.seconds = seconds
        self._attempt = attempt
        self._end = time.monotonic() + seconds
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._facts: dict[tuple[str, str], asyncio.Task[Any]] = {}

    def earlier(self, step: Step) -> Iterator[Change]:
        """Yield the changes to the same collection that come before a step."""
        same = self._of_collection[step.change.collection]
        return (other.change for other in same if other.position < step.position)

    def left(self) -> float:
        """Return the seconds that are left; raises ExecutionTimeout, as the server would, without any."""
        if (seconds := self._end - time.monotonic()) <= 0:
            raise ExecutionTimeout("operation exceeded time limit", _TIME_LIMIT)
        return seconds

    async def sent(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        """Await an operation in its turn, by the caller's policy."""
        async with self._gate:
            return await self._attempt(operation)

    async def rows(
        self, collection: str, pipeline: Sequence[Mapping[str, Any]], **options: Any
    ) -> list[dict[str, Any]]:
        """Return a pipeline's result. Raises the driver's errors; ExecutionTimeout when the time is over."""

        async def read() -> list[dict[str, Any]]:
            limit = max(1, round(self.left() * 1000))
            cursor = await driver.aggregate(
                self.db[collection], pipeline, allowDiskUse=True, maxTimeMS=limit, **options
            )
            return [row async for row in cursor]

        found: list[dict[str, Any]] = await self.sent(read)
        return found

    async def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command that reads, to a server that the client may read from."""

        async def send() -> Any:
            limit = max(1, round(self.left() * 1000))
            return await self.db.command(
                {**command, "maxTimeMS": limit}, read_preference=self.db.read_preference
            )

        reply: dict[str, Any] = await self.sent(send)
        return reply

    async def matching(
        self, collection: str, query: Mapping[str, Any], **options: Any
    ) -> tuple[int, list[Any]]:
        """Count the documents that match, and return the `_id`s of a few."""
        pipeline: list[dict[str, Any]] = [
            {"$match": query},
            {"$project": {"_id": 1}},
            {"$facet": {"count": [{"$count": "n"}], "ids": [{"$limit": SAMPLES}]}},
        ]
        for row in await self.rows(collection, pipeline, **options):
            return sum(one["n"] for one in row["count"]), [one["_id"] for one in row["ids"]]
        return 0, []

    async def in_time(self, found: Awaitable[list[_T]]) -> list[_T]:
        """Await what only adds to an answer: nothing when the time is over before."""
        try:
            return await found
        except ExecutionTimeout:
            return []

    def indexes(self, collection: str) -> Sequence[Index]:
        """Return the indexes that a collection had when the plan was made, without `_id_`."""
        return self._current[collection].indexes if collection in self._current else ()

    def options(self, step: Step) -> Mapping[str, Any]:
        """Return a collection's creation options, those that the plan gives it first where it is new."""
        one = self._current.get(step.collection or "")
        return one.options if one else self.created(step.change.collection)

    def created(self, name: str) -> Mapping[str, Any]:
        """Return the options that the plan creates a collection with; nothing where it doesn't."""
        steps = self._of_collection.get(name, ())
        made = (
            one.change for one in steps if (one.change.kind, one.change.action) == ("collection", "create")
        )
        return next((change.after or {} for change in made), {})

    def present(self, name: str) -> Mapping[str, Any]:
        """Return the options of a collection or view as it will be when the plan was carried out."""
        return self.created(name) or (self._current[name].options if name in self._current else {})

    def series(self, collection: str | None) -> Mapping[str, Any]:
        """Return what makes a collection a time series; of another kind, nothing."""
        one = self._current.get(collection or "")
        return (one.options.get("timeseries") if one else None) or {}

    async def fact(self, key: tuple[str, str], find: Callable[[], Awaitable[Any]]) -> Any:
        """Find something out the first time that somebody wants to know."""
        if key not in self._facts:
            self._facts[key] = asyncio.ensure_future(find())
        return await asyncio.shield(self._facts[key])

    def stop(self) -> None:
        """Give up what is still under way."""
        for task in self._facts.values():
            task.cancel()


def documents(count: int) -> str:
    """Write a number of documents in words."""
    return "1 document" if count == 1 else f"{count} documents"


def identified(ids: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Write the samples of a blocker that are documents."""
    return tuple({"id": one} for one in ids)
