"""A batch as one transaction: all of its rows, or none of them.

A server bounds what one transaction may be; `MOST` keeps far enough away from that, and what is refused all the
same is said in words. Nothing here decides whether money may move.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core.driver import once
from motorctl.core.transfers import post
from motorctl.core.transfers.batch.engine import in_doubt, is_busy, posted
from motorctl.core.transfers.batch.sent import Sent
from motorctl.errors import MotorctlError, OutcomeUnknownError, RefusedError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from motorctl.client import Database
    from motorctl.core.driver import Attempt
    from motorctl.core.transfers.batch.books import Books
    from motorctl.core.transfers.batch.engine import Options
    from motorctl.core.transfers.batch.model import Row
    from motorctl.core.transfers.batch.rows import Rows
    from motorctl.core.transfers.plan import Outcome

MOST = 20_000
"""Rows that one transaction takes."""
MOST_BYTES = 32 * 1024 * 1024
"""Bytes of input: notes may be long."""
SECONDS = 60.0
"""As long as a server lets a transaction live (`transactionLifetimeLimitSeconds`)."""

_TOO_LARGE = {
    257: "is too large for this server's oplog",
    290: "took longer than this server lets a transaction live",
    388: "does not fit into this server's cache",
}


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
    """Carry out all rows as one transaction and book each.

    Raises RefusedError (6) when a row is refused, or the transaction is too large for the server: nothing is
    written then, and the refused rows are booked. UsageError (2) for more than `MOST` rows.
    """
    try:
        asking = await _all(rows, Sent(db, batch, attempt), books, progress)
        outcomes = await _post(db, asking, options, books, busy) if asking else []
        if not books.rejected:
            books.settle(asking, outcomes)
    finally:
        books.close()
    if refused := books.rejected:
        raise RefusedError(
            f"nothing was written: {refused:,} of {books.taken:,} {'row was' if refused == 1 else 'rows were'} refused",
            hint="mend the file and send it again, or send it without --all-or-nothing",
            rejected=refused,
        )


async def _all(rows: Rows, sent: Sent, books: Books, progress: Callable[[], None]) -> list[Row]:
    """Take all rows, book those that ask for nothing or were sent before, and return the others."""
    asking: list[Row] = []
    size = 0
    while block := await rows.next():
        size += sum(len(row.record.text) for row in block)
        if books.taken > MOST or size > MOST_BYTES:
            raise UsageError(
                f"--all-or-nothing takes at most {MOST:,} rows and {MOST_BYTES // 1024**2} MB, and there are more",
                hint="send the file without it: rows are done once each, however often it is run",
            )
        able = [row for row in block if row.fault is None]
        found = await sent.look(able)
        for row in block:
            if row.fault is not None:
                books.refuse(row, *row.fault.why)
            elif row.number in found:
                books.settle([row], [found[row.number]])
            else:
                asking.append(row)
        progress()
    return asking


async def _post(
    db: Database, rows: Sequence[Row], options: Options, books: Books, busy: Callable[[], None]
) -> list[Outcome]:
    """Post the rows if none of the batch is refused, and book those that are."""
    requests = [row.request for row in rows if row.request is not None]
    try:
        if books.rejected:
            outcomes = (await post.prepare(db, requests)).outcomes
        else:
            patient = replace(options, seconds=max(options.seconds, SECONDS))
            outcomes = await posted(db, requests, patient, books, whole=True, busy=busy)
    except OutcomeUnknownError as error:
        books.lose(rows)
        raise in_doubt(error, books) from error
    except (OperationFailure, MotorctlError) as error:
        raise _in_words(error, len(rows)) from error
    refused = [(row, outcome) for row, outcome in zip(rows, outcomes, strict=True) if outcome.refused]
    books.settle([row for row, _ in refused], [outcome for _, outcome in refused])
    return outcomes


def _in_words(error: Exception, rows: int) -> Exception:
    """Return the error that says that a transaction is too large for the server, or may be."""
    found: BaseException | None = error
    while found is not None:
        code: Any = getattr(found, "code", None)
        if code in _TOO_LARGE:
            return RefusedError(
                f"nothing was written: a transaction of {rows:,} rows {_TOO_LARGE[code]}",
                hint="send the file in parts, or without --all-or-nothing",
                server_code=code,
            )
        found = found.__cause__
    if isinstance(error, UnreachableError) and not is_busy(error):
        # One that the server has ended for its age looks like one that a lost primary has ended.
        return UnreachableError(
            error.message,
            hint="the same command may be run again; in parts, or without --all-or-nothing, it needs less time",
            **error.details,
        )
    return error
