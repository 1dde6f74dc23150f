"""Run one callback as one transaction, by the drivers' specification of convenient transactions.

Owns when a callback, or a commit alone, is tried again, for how long, and what a stop (Ctrl-C) in the middle means;
what is written is the callback's. It never says "not written" of what may have been committed.

Motor's own `with_transaction` tries again without a pause (two that want the same document keep each other busy),
for 120 seconds whatever the caller wants, aborts while a cancelled operation is still under way in its thread, and
has no end at all when an answer stays out. PyMongo's has the pauses, and neither the limit nor that end. That is
why this one exists.

Nothing hangs. The callback's operations get the time that is left by `pymongo.timeout`, which sets `maxTimeMS` for
the server and the socket's time-out for the network; Motor hands it on to its threads. A commit gets
`maxCommitTimeMS` and is waited for by the clock here: under `pymongo.timeout` the driver repeats a commit without a
pause until the end (2,700 in a second, for error 89) and leaves `wtimeout` out. `socketTimeoutMS` would end the
wait of every command of the client, long reports included.

Source: mongodb/specifications, transactions-convenient-api.md (2026-07-08), transactions.md, and
client-side-operations-timeout.md. Errors of an overloaded server are the driver's: it pauses and repeats the one
command (client-backpressure.md), and what is left of them has the labels that are read here.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pymongo
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_concern import ReadConcern

from motorctl.core import abandoned, driver
from motorctl.errors import MotorctlError, OutcomeUnknownError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motorctl.client import Database

T = TypeVar("T")

LONGEST = 120.0
"""Seconds after which nothing is tried again, whatever `--timeout` says: the specification's limit."""

COMMIT_SECONDS = 1.0
"""What a commit is given at least: one that is sent just before the limit would else be in doubt for nothing."""

ABORT_SECONDS = 1.0
"""What the abort is given, when the limit is over too: locks that are left behind are the others' wait."""

STOP_SECONDS = 3.0
"""How long a stop waits: for the answer of a commit, or for the operation after which there is an abort."""

STANDALONE = "this server has no transactions: it is a standalone"
REPLICA_SET_HINT = (
    "transactions need a replica set: `motorctl local start` runs one here, "
    "or start mongod with --replSet rs0 and run rs.initiate() once"
)

LOOK_AFTER, LOOK_EVERY = 0.25, 2.0
"""Seconds of write conflicts after which a dead process is looked for that left them; and from one look to the next."""

BUSY_HINT = "what a process held that was killed is free after 90 s at most: --timeout 100 waits for that"

_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.010, 2.0, 0.2
"""The specification's formula with numbers of our own. With its own (5 ms, 1.5, 500 ms) 4 and 16 senders between two
accounts reached 0.53 to 0.58 and 0.27 to 0.30 of one sender's throughput; with these 0.96 to 0.98 and 0.50 to 0.60
(5 s each, two runs): who comes back too soon disturbs those who are at it, and who sleeps long keeps nobody busy."""

_EXPIRED = 50


@dataclass
class Tally:
    """What trying again took."""

    reruns: int = 0
    """Times that the callback ran after its first."""


async def require(db: Database) -> None:
    """Raise a MotorctlError (1) in words if the server has no transactions: a standalone. One `hello`."""
    from pymongo.read_preferences import Nearest

    from motorctl.core.hello import topology

    hello = await db.client.get_database("admin", read_preference=Nearest()).command("hello")
    if topology(hello) == "standalone":
        raise MotorctlError(STANDALONE, hint=REPLICA_SET_HINT)
    if hello.get("isreplicaset") and not hello.get("setName"):
        raise UnreachableError(
            "this server has no transactions yet: its replica set was not initiated, or it has just started",
            hint="wait a moment (--wait 30), or run rs.initiate() there once",
        )


async def run(
    db: Database, callback: Callable[[Any], Awaitable[T]], *, seconds: float, tally: Tally | None = None
) -> T:
    """Await `callback(session)` as one transaction and return what it returns.

    Snapshot reads, on the primary, committed by a majority. The callback may run again: it changes nothing but
    the database, through its session only, and lets the driver's errors pass (an error has ended the
    transaction on the server). `seconds` is the limit, at most `LONGEST`; what is under way then is given up.

    Raises what the callback raises, after aborting; UnreachableError (3) when the limit passed before a commit
    was sent: nothing is written; OutcomeUnknownError (9) when a commit was sent and its answer stayed out, with
    the `reason` in its details: the caller adds the key, and how to look it up.

    A cancellation before the commit aborts and goes on. One while the commit is under way waits for the answer,
    `STOP_SECONDS` at most: committed, the result is returned **and the task is cancelled at its next await**, so
    that the caller can say what was done first; in doubt, it is OutcomeUnknownError.
    """
    transaction = _Transaction(db, callback, min(seconds, LONGEST), tally or Tally())
    work = asyncio.create_task(transaction.through())
    try:
        await asyncio.wait({work})
    except asyncio.CancelledError:
        await _stop(transaction, work)
    return work.result()


async def _stop(transaction: _Transaction[T], work: asyncio.Task[T]) -> None:
    """Bring a transaction to its end because the caller is cancelled; return if it was committed.

    The callback isn't cancelled: an operation that Motor has given to a thread goes on there, and one that is
    still waiting for its connection after an abort is sent without the transaction, as a write of its own.
    """
    transaction.stop.set_result(None)
    with suppress(asyncio.CancelledError):  # asked twice, it doesn't wait
        await asyncio.wait({work}, timeout=STOP_SECONDS)
    if not work.done():
        transaction.left_alone = True
        work.cancel()
    elif not work.cancelled() and isinstance(error := work.exception(), OutcomeUnknownError):
        raise error
    if transaction.left_alone:
        with suppress(asyncio.CancelledError):
            await transaction.kill()
    if transaction.committing:  # the second Ctrl-C cancels the work itself, wherever it is
        raise OutcomeUnknownError(
            "the commit was sent, and it is not known whether it was carried out: stopped before its answer",
            reason="stopped before its answer",
        )
    if not transaction.committed:
        raise asyncio.CancelledError
    if (task := asyncio.current_task()) is not None:
        task.uncancel()
        task.cancel()


class OvertakenError(PyMongoError):
    """Somebody else was faster, and the server doesn't call it transient: the label is ours, to begin again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_labels=["TransientTransactionError"])


class _Transaction(Generic[T]):
    """One callback on its way into the database: its clock, and how far it is."""

    def __init__(
        self, db: Database, callback: Callable[[Any], Awaitable[T]], seconds: float, tally: Tally
    ) -> None:
        self.stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the caller is cancelled: nothing is begun any more."""
        self.committing = False
        """A commit is sent, and it is not known yet what became of it."""
        self.committed = False
        self.left_alone = False
        """An operation of it may still be under way in a thread: its session is touched no more."""
        self._db = db
        self._callback = callback
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._tally = tally
        self._session: Any = None
        self._look_at: float | None = None
        """When to look for what a dead process left open; None before the first write conflict."""
        self._failure: PyMongoError | None = None
        """Why the last try failed."""
        self._sent = False
        """A commit of this try was sent: the driver aborts no more."""

    async def through(self) -> T:
        """Run the callback and commit, again as often as it takes; see `run`."""
        self._session = await driver.start_session(self._db.client)
        try:
            return await self._through()
        except (OutcomeUnknownError, UnreachableError):
            if self._sent:
                # Where the commit didn't arrive the transaction is open still, and would be for a minute.
                await self.kill()
            raise
        finally:
            if not self.left_alone:
                await driver.end_session(self._session)

    async def _through(self) -> T:
        tries = 0
        while True:
            await driver.start_transaction(
                self._session,
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern("majority"),
                read_preference=ReadPreference.PRIMARY,
                max_commit_time_ms=max(1, round(self._seconds * 1000)),
            )
            self._sent = False
            tries += 1
            try:
                with pymongo.timeout(max(self._left(), 0.001)):
                    result = await self._callback(self._session)
            except BaseException as error:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    # By the end of the loop: the callback's operation goes on in its thread.
                    self.left_alone = True
                await self._abort()
                if not isinstance(error, PyMongoError):
                    raise
                if _expired(error):
                    raise self._too_late(error) from error
                if not error.has_error_label("TransientTransactionError") and not _unready(error):
                    raise
                failure = error
            else:
                if self.stop.done():
                    await self._abort()
                    raise asyncio.CancelledError
                # A callback may have ended its transaction itself, and known why.
                lost = await self._commit() if self._session.in_transaction else None
                if lost is None:
                    self.committing, self.committed = False, True
                    return result
                failure = lost
            self._failure = failure
            await self._rest(tries, failure)
            self._tally.reruns += 1

    async def _commit(self) -> PyMongoError | None:
        """Commit, again while the answer is unknown; return the error if all is to be run again."""
        tries = 0
        self._sent = self.committing = True
        while True:
            try:
                async with asyncio.timeout(max(self._left(), COMMIT_SECONDS)):
                    await self._session.commit_transaction()
            except TimeoutError as error:
                self.left_alone = True
                raise self._in_doubt("no answer in time") from error
            except asyncio.CancelledError:
                self.left_alone = True
                raise
            except PyMongoError as error:
                if error.has_error_label("UnknownTransactionCommitResult"):
                    tries += 1
                    # At once, as specified; the driver has asked twice by then, so what follows has pauses.
                    pause = _pause(tries) if tries > 1 else 0.0
                    if _expired(error) or pause >= self._left():
                        raise self._in_doubt(_reason(error)) from error
                    await asyncio.sleep(pause)
                elif error.has_error_label("TransientTransactionError"):
                    self.committing = False
                    return error
                else:
                    # The specification hands it on as it is. That doesn't mean that nothing was committed: an attempt
                    # before this one may have been, and a write concern that can't be met comes after the commit.
                    raise self._in_doubt(_reason(error)) from error
            else:
                return None

    async def _abort(self) -> None:
        if not self.left_alone and self._session.in_transaction:
            # The driver swallows the server's errors; a session that lives no longer has nothing to abort.
            with suppress(PyMongoError), pymongo.timeout(ABORT_SECONDS):
                await self._session.abort_transaction()

    async def kill(self) -> None:
        """Abort from outside, while an operation may be under way in the session. Every user may, for their own."""
        if self._session is not None:
            with suppress(PyMongoError), pymongo.timeout(ABORT_SECONDS):
                admin = self._db.client.get_database("admin")
                await admin.command({"killSessions": [self._session.session_id]})

    async def _rest(self, tries: int, error: PyMongoError) -> None:
        """Wait before the next try; a pause that would pass the limit ends it at once, and so does a stop."""
        pause = _pause(tries)
        if pause >= self._left():
            raise self._too_late(error) from error
        if isinstance(error, OperationFailure) and error.code == 112:
            await self._end_abandoned()
        await asyncio.wait([self.stop], timeout=pause)
        if self.stop.done():
            raise asyncio.CancelledError

    async def _end_abandoned(self) -> None:
        """End what a dead process has left open, if conflicts last: the server itself would take a minute or more."""
        now = time.monotonic()
        if self._look_at is None:
            self._look_at = now + LOOK_AFTER
        elif now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            with suppress(PyMongoError), pymongo.timeout(ABORT_SECONDS):
                await abandoned.end(self._db)

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _too_late(self, error: PyMongoError) -> UnreachableError:
        if _expired(error) and self._failure is not None:
            error = self._failure  # what kept it busy all the time, not what the end of it met
        busy = isinstance(error, OperationFailure) and error.code == 112
        return UnreachableError(
            f"the transaction was not through within {self._seconds:g} s, nothing is written: {_reason(error)}",
            hint=f"the same command may be run again; {BUSY_HINT if busy else '--timeout gives it longer'}",
            **self._facts(_reason(error)),
        )

    def _in_doubt(self, reason: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"the commit was sent, and it is not known whether it was carried out: {reason}",
            **self._facts(reason),
        )

    def _facts(self, reason: str) -> dict[str, Any]:
        return {"reason": reason, "timeout_seconds": self._seconds, "reruns": self._tally.reruns}


def _pause(tries: int) -> float:
    """Return how long to wait after so many tries, in seconds: the specification's formula, with full jitter."""
    # Bounded before the power is taken: a float has an end.
    return random.random() * min(_FIRST_PAUSE * _GROWTH ** min(tries, 32), _LONGEST_PAUSE)


def _unready(error: PyMongoError) -> bool:
    """Tell whether a member that has just started said in its handshake that it has no sessions yet.

    The driver took it for the primary still, and sent nothing. A standalone has sessions, and fails otherwise.
    """
    return isinstance(error, ConfigurationError) and "essions are not supported" in str(error)


def _expired(error: PyMongoError) -> bool:
    """Tell whether it is MaxTimeMSExpired, of the server or of the driver's own clock; a write concern's error too."""
    return isinstance(error, OperationFailure) and error.code == _EXPIRED


def _reason(error: PyMongoError) -> str:
    match error:
        case NotPrimaryError():
            return "the server is no longer primary"
        case ServerSelectionTimeoutError():
            return "no primary was found"
        case NetworkTimeout():
            return "no answer in time"
        case ConnectionFailure():
            return "the connection was lost"
        case OperationFailure() if _expired(error):
            return "no answer in time"
        case OperationFailure(code=112):
            return "others changed the same documents"
        case OperationFailure():
            name = (error.details or {}).get("codeName")
            return f"{driver.refusal(error).rstrip('.')} ({name or 'code'} {error.code})"
        case _:
            return str(error)
