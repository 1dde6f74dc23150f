"""A batch, joined: rows in, chunks of them posted in parallel, every row accounted for.

    reader thread -> rows -> what the ledger holds already -> schedule -> a transaction a chunk -> books

Memory is bounded by the schedule's window. Whatever ends a batch, the chunks on their way are waited for and
booked before it ends. Nothing here decides whether money may move.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bson.errors import BSONError
from pymongo.errors import ConnectionFailure, DocumentTooLarge, OperationFailure

from motorctl.core.driver import once, refusal
from motorctl.core.ingest.model import Failure
from motorctl.core.ingest.writing.send import failure
from motorctl.core.transfers import post
from motorctl.core.transfers.batch.rows import BLOCK
from motorctl.core.transfers.batch.schedule import Chunk, Schedule
from motorctl.core.transfers.batch.sent import Sent
from motorctl.core.transfers.plan import Outcome
from motorctl.errors import (
    MotorctlError,
    NotFoundError,
    OutcomeUnknownError,
    RefusedError,
    UnreachableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.transfers.batch.books import Books
    from motorctl.core.transfers.batch.model import Row
    from motorctl.core.transfers.batch.rows import Rows
    from motorctl.core.transfers.request import Request

LAST_REPLY_SECONDS = 5.0
"""After Ctrl-C nobody waits longer than this for the answers to the chunks on their way."""
CHUNK = 250
"""Rows in a transaction: against 100, a fifth less work a row; 500 save another tenth, but others wait twice as
long for the accounts, and the more accounts a chunk has, the less is left that could be sent beside it."""
WORKERS = 2
"""Transactions at the same time: while the server works on one, the next is made. A third brought nothing on two
cores; where the server is far away, more do."""
WINDOW = 8
"""Rows that wait, in chunks a worker: enough to find some that touch none of the accounts under way."""
PAUSE = 0.2
"""Seconds before a chunk whose end isn't known is run again."""
WEIGHT = 4 * 1024 * 1024
"""Bytes of input in one transaction: notes may be long."""

PATIENCE = 95.0
"""Seconds in which a chunk is run again while others have its accounts. A program that was killed leaves its
transaction to the server, where this program can't end it: for `transactionLifetimeLimitSeconds`, 60 unless it is told
otherwise, and until the server looks, every 30 s."""

_WRITE_CONFLICT = 112
_ABOUT_ROWS = frozenset({2, 121, 10334, 11000, 17280, 17419, 17420})
"""Codes of a server that refuses a record and not the connection or a right: a value, a validator, a
duplicate of a unique index of somebody's own, a document or key that is too large."""

_OF_ROWS = (
    BSONError, DocumentTooLarge, OverflowError, UnicodeEncodeError, RefusedError, NotFoundError, UsageError
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """How a batch goes about it. A chunk without a known outcome is run `attempts` times."""

    workers: int = WORKERS
    chunk: int = CHUNK
    seconds: float = 30.0
    attempts: int = 3
    patience: float = PATIENCE
    last_reply_seconds: float = LAST_REPLY_SECONDS


async def run(
    db: Database,
    rows: Rows,
    batch: str | None,
    options: Options,
    books: Books,
    *,
    attempt: Attempt = once,
    progress: Callable[[], None] = lambda: None,
    busy: Callable[[], None] = lambda: None,
) -> None:
    """Carry out the rows and book each in `books`, which are right whether this returns, raises or is cancelled.

    `progress` is called now and then, `busy` each time that a chunk has to wait for transactions of others.
    Raises OutcomeUnknownError (9) when the answer of a commit stayed out as often as it was asked for,
    UnreachableError (3) when the server is lost; nothing that was sent is done twice by another run.
    """
    try:
        await _Batch(db, rows, Sent(db, batch, attempt), options, books, progress, busy).run()
    finally:
        books.close()


@dataclass(slots=True, eq=False)
class _Flight:
    """A chunk on its way, and what is known of its rows, from the first one on."""

    chunk: Chunk[Row]
    decided: list[Outcome | Failure] = field(default_factory=list)


class _Batch:
    def __init__(
        self,
        db: Database,
        rows: Rows,
        sent: Sent,
        options: Options,
        books: Books,
        progress: Callable[[], None],
        busy: Callable[[], None],
    ) -> None:
        self._db = db
        self._rows = rows
        self._sent = sent
        self._options = options
        self._books = books
        self._progress = progress
        self._busy = busy
        window = max(options.workers * options.chunk * WINDOW, 2 * BLOCK)
        self._schedule: Schedule[Row] = Schedule(size=options.chunk, window=window, weight=WEIGHT)
        self._flights: dict[asyncio.Task[None], _Flight] = {}
        self._reading: asyncio.Task[bool] | None = None
        self._error: Exception | None = None
        self._stopping = False

    async def run(self) -> None:
        limit = None
        try:
            await self._carry_out()
        except asyncio.CancelledError:
            limit = self._options.last_reply_seconds
            raise
        finally:
            self._stopping = True
            if self._reading is not None:
                self._reading.cancel()
            # A second Ctrl-C doesn't wait for the chunks on their way.
            try:
                await self._wait_for_all(limit)
            finally:
                self._abandon()
        self._check()

    async def _carry_out(self) -> None:
        more = True
        while not self._books.too_many:
            self._check()
            if more and self._reading is None and self._schedule.room >= BLOCK:
                self._reading = asyncio.create_task(self._read())
            if self._reading is None:
                # With the window full, or all of the input in it: there is the most to choose from.
                self._send()
            if not self._flights and self._reading is None:
                return
            waited = {*self._flights, *((self._reading,) if self._reading else ())}
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            self._land(done)
            if self._reading in done:
                assert self._reading is not None
                more, self._reading = self._reading.result(), None
            self._progress()

    async def _read(self) -> bool:
        """Take the next rows in, and book those that ask for nothing or were sent before; False at the end."""
        rows = await self._rows.next()
        asking = [row for row in rows if row.fault is None]
        found = await self._sent.look(asking)
        for row in rows:
            if row.fault is not None:
                self._books.refuse(row, *row.fault.why)
            elif row.number in found:
                self._books.settle([row], [found[row.number]])
            else:
                self._schedule.add(row, touched(row), len(row.record.text))
        return bool(rows)

    def _send(self) -> None:
        while len(self._flights) < self._options.workers and (chunk := self._schedule.next()):
            flight = _Flight(chunk)
            self._flights[asyncio.create_task(self._decide(chunk.rows, flight.decided))] = flight

    async def _decide(self, rows: Sequence[Row], decided: list[Outcome | Failure]) -> None:
        """Carry out rows; one that spoils a whole transaction is found by halves, and refused."""
        try:
            decided += await posted(
                self._db,
                [row.request for row in rows if row.request is not None],
                self._options,
                self._books,
                busy=self._busy,
                stopping=lambda: self._stopping,
            )
        except Exception as error:
            if not about_rows(error):
                raise
            if len(rows) == 1:
                decided.append(_refused(rows[0], error))
                return
            middle = len(rows) // 2
            await self._decide(rows[:middle], decided)
            await self._decide(rows[middle:], decided)

    def _land(self, done: Collection[asyncio.Task[Any]]) -> None:
        for task in [task for task in self._flights if task in done]:
            flight = self._flights.pop(task)
            self._schedule.done(flight.chunk)
            self._book(flight)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, OutcomeUnknownError):
                self._books.lose(flight.chunk.rows[len(flight.decided) :])
            # The first one is told; but one that leaves something in doubt goes before it.
            if isinstance(error, Exception) and (
                self._error is None
                or (
                    isinstance(error, OutcomeUnknownError)
                    and not isinstance(self._error, OutcomeUnknownError)
                )
            ):
                self._error = error

    def _book(self, flight: _Flight) -> None:
        rows: list[Row] = []
        outcomes: list[Outcome] = []
        for row, fate in zip(flight.chunk.rows, flight.decided, strict=False):
            if isinstance(fate, Outcome):
                rows.append(row)
                outcomes.append(fate)
            else:
                self._books.refuse(row, fate.stage, fate.field, fate.reason)
        self._books.settle(rows, outcomes)

    def _check(self) -> None:
        """Raise what keeps the batch from going on, if anything does."""
        if isinstance(self._error, OutcomeUnknownError):
            raise in_doubt(self._error, self._books) from self._error
        if self._error is not None:
            raise self._error
        if self._books.error is not None:
            raise self._books.error

    async def _wait_for_all(self, seconds: float | None) -> None:
        """Wait for the chunks on their way; after `seconds` those that aren't committing are given up."""
        if self._flights:
            _, late = await asyncio.wait(self._flights, timeout=seconds)
            for task in late:
                task.cancel()
            done, _ = await asyncio.wait(self._flights)
            self._land(done)

    def _abandon(self) -> None:
        """Leave what is still on its way alone: whether it is committed isn't known."""
        for task, flight in self._flights.items():
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            task.cancel()
            self._book(flight)
            self._books.lose(flight.chunk.rows[len(flight.decided) :])
        self._flights.clear()


async def posted(
    db: Database,
    requests: Sequence[Request],
    options: Options,
    books: Books,
    *,
    whole: bool = False,
    busy: Callable[[], None],
    stopping: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Post requests as one transaction, again while its end isn't known: the keys make that safe.

    Raises what `post.post` does; but OutcomeUnknownError (9) whenever an answer stayed out and no later try, nor
    a stop, has told what became of it.
    """
    unknown: OutcomeUnknownError | None = None
    left, end = options.attempts, time.monotonic() + options.patience
    try:
        while True:
            try:
                return await post.post(db, requests, seconds=options.seconds, whole=whole)
            except (OutcomeUnknownError, UnreachableError, ConnectionFailure) as error:
                if isinstance(error, OutcomeUnknownError):
                    unknown = error
                    books.asked_again = True
                if is_busy(error):
                    again = time.monotonic() < end
                    busy()
                else:
                    left -= 1
                    # All rows at once have had a minute for it.
                    again = left > 0 and not (whole and isinstance(error, UnreachableError))
                if stopping() or not again:
                    raise
            await asyncio.sleep(PAUSE)
    except (Exception, asyncio.CancelledError) as error:
        # What was unknown once isn't made known by a later try that didn't come through; the rows' own fault is
        # found by one that looked their keys up, and didn't find them.
        if unknown is None or unknown is error or about_rows(error):
            raise
        raise unknown from error


def touched(row: Row) -> set[str]:
    """Return what no two transactions may touch at the same time: the accounts, and a key of the row's own."""
    request = row.request
    assert request is not None
    names = {_account(request.source), _account(request.target)}
    return names | {f"key {row.key}"} if row.own else names


def _account(typed: str) -> str:
    # An ObjectId and a UUID have one value and many spellings.
    return f"account {typed.lower() if len(typed) in {24, 36} else typed}"


def in_doubt(error: OutcomeUnknownError, books: Books) -> OutcomeUnknownError:
    """Say of how many rows it isn't known whether they are committed, and what tells."""
    return OutcomeUnknownError(
        f"of {books.unknown_rows:,} rows it is not known whether they are committed: "
        f"{error.details.get('reason', 'the answer of the commit stayed out')}",
        hint="run the same command again: it finds out, and does nothing twice",
        **{**error.details, "rows": books.unknown_rows, "keys": books.unknown},
    )


def is_busy(error: BaseException) -> bool:
    """Tell whether a transaction came to nothing because another one has the same accounts."""
    return isinstance(error, UnreachableError) and getattr(error.__cause__, "code", None) == _WRITE_CONFLICT


def about_rows(error: BaseException) -> bool:
    """Tell whether it is the rows that the server refuses, and not the connection or a right."""
    if isinstance(error, OperationFailure):
        code = first["code"] if (first := _first(error)) else error.code
        return code in _ABOUT_ROWS and not error.has_error_label("TransientTransactionError")
    return isinstance(error, _OF_ROWS)


def _refused(row: Row, error: Exception) -> Outcome | Failure:
    if isinstance(error, MotorctlError):
        assert row.request is not None
        return Outcome(row.request, refused=error)
    if isinstance(error, OperationFailure):
        return failure(_first(error) or {"code": error.code, "errmsg": refusal(error)}, 0)
    return Failure(0, "server", None, str(error), None)


def _first(error: OperationFailure) -> Any:
    """Return the entry of a reply's `writeErrors` that spoiled a transaction."""
    return next(iter((error.details or {}).get("writeErrors", ())), None)
