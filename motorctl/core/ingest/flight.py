"""The batches on their way to the server: a few at a time, and no two with the same key.

Books each answer in the account. Sends nothing itself and knows no files.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from motorctl.core.ingest.writing.write import NO_ANSWER, lost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motorctl.core.ingest.account import Account, Entry
    from motorctl.core.ingest.model import Decoded, Outcome

__all__ = ["Flight"]


class _Batch(NamedTuple):
    entry: Entry
    decoded: Decoded
    start: int
    stop: int
    keys: frozenset[bytes]


class Flight:
    """At most `limit` batches on their way.

    Two records with one key in different batches would race: the older could win, or both be inserted
    where no unique index stands in the way. The one that comes later waits.
    """

    def __init__(self, account: Account, limit: int) -> None:
        self._account = account
        self._limit = limit
        self._batches: dict[asyncio.Task[Outcome], _Batch] = {}
        self._whole: set[int] = set()
        self._error: Exception | None = None

    async def send(
        self,
        write: Callable[[Decoded, int, int], Awaitable[Outcome]],
        entry: Entry,
        decoded: Decoded,
        start: int,
        stop: int,
    ) -> None:
        """Send documents `start` to `stop` as soon as there is room for them."""
        keys = frozenset(decoded.keys[start:stop])
        while len(self._batches) >= self._limit or any(
            not keys.isdisjoint(batch.keys) for batch in self._batches.values()
        ):
            await self._settle(asyncio.FIRST_COMPLETED)
        self.check()
        entry.sent(stop - start)
        task = asyncio.ensure_future(write(decoded, start, stop))
        self._batches[task] = _Batch(entry, decoded, start, stop, keys)

    def all_sent(self, entry: Entry) -> None:
        """Say that nothing more of a chunk comes: it is settled with the last answer."""
        if any(batch.entry is entry for batch in self._batches.values()):
            self._whole.add(id(entry))
        else:
            self._account.end(entry)

    async def reap(self) -> None:
        """Book the answers that have come, also while nothing is being sent."""
        if self._batches:
            await self._settle(asyncio.FIRST_COMPLETED, 0)

    def check(self) -> None:
        """Raise what keeps the import from going on, if anything does."""
        if self._error is not None:
            raise self._error
        if self._account.rejects_error is not None:
            raise self._account.rejects_error

    async def land(self, seconds: float | None = None) -> None:
        """Wait for the batches on their way and book them; what isn't answered in `seconds` is lost."""
        while self._batches:
            if not await self._settle(asyncio.ALL_COMPLETED, seconds):
                self.abandon()

    def abandon(self) -> None:
        """Book what is still on its way: by its answer if there is one, else as lost."""
        for task, (entry, decoded, start, stop, _) in self._batches.items():
            if task.done() and not task.cancelled() and task.exception() is None:
                entry.written(decoded, task.result())
            else:
                task.cancel()
                entry.written(decoded, lost(start, stop, NO_ANSWER, TimeoutError()))
        self._batches.clear()

    async def _settle(self, until: str, seconds: float | None = None) -> bool:
        done, _ = await asyncio.wait(self._batches, timeout=seconds, return_when=until)
        for task in done:
            entry, decoded, _, _, _ = self._batches.pop(task)
            outcome = task.result()
            entry.written(decoded, outcome)
            if outcome.error is not None:
                # What isn't known to be written isn't settled: a run that resumes sends it again.
                self._error = self._error or outcome.error
                self._whole.discard(id(entry))
            elif id(entry) in self._whole:
                self._whole.discard(id(entry))
                self.all_sent(entry)
        return bool(done)
