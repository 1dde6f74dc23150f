"""What became of a key: committed, absent, or in doubt. Changes nothing.

- **committed**: a linearizable read finds its record. The server answers such a read only after a majority
  has confirmed what it has read, and that it is still the primary: what is found can't be rolled back.
- **absent**: it finds none, and a probe shows that no open transaction holds the key. The probe inserts a
  record with the key in a transaction of its own, which is always aborted: while another one holds the key,
  the server answers with a write conflict. Without it "absent" could be overtaken by a commit on its way.
- **in doubt**: neither can be said yet. The majority doesn't answer, or the key is held; the server ends an
  open transaction by itself (`transactionLifetimeLimitSeconds`, 60 s, looked at every 30 s). It is asked again
  until the time is over.

Sending the same transfer again with the same key is safe in each of these states.
Sources: MongoDB's manual, Read Concern "linearizable" and In-progress Transactions and Write Conflicts.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pymongo
from bson import Decimal128
from pymongo import ReadPreference
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern

from motorctl.core import abandoned, transactions
from motorctl.core.transfers import ledger
from motorctl.core.transfers.ledger import REVERSAL, TRANSFERS
from motorctl.errors import NotFoundError, OutcomeUnknownError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.client import Database

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_LEAST = 0.5
"""Seconds that a question is given at least."""
_LOCAL = 1.0
"""Seconds for the question to the primary alone, when the majority hasn't answered."""
_UNCONFIRMED = (50, 148)
"""MaxTimeMSExpired, LinearizableReadConcernError."""
_NOT_IN_A_SET, _UNTRANSACTED, _UNAUTHORIZED = 123, 263, 13
_CONFLICT, _INVALID, _DUPLICATE = 112, 121, 11000


async def show(db: Database, key: str, *, seconds: float) -> dict[str, Any]:
    """Return the record of a key as `ledger.shown` does, with `reversed_by` where it was taken back.

    Raises NotFoundError (5) for one that is absent; OutcomeUnknownError (9) for one that is still in doubt
    after `seconds`; UnreachableError (3) when nobody answers. A record of another program is found by the
    text of its `_id`, too.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        left = max(deadline - time.monotonic(), _LEAST)
        found, standalone = await _confirmed(db, key, left)
        if found is not None:
            return found
        if standalone:
            raise absent(key)
        try:
            held = await _held(db, key, left)
        except UnreachableError as error:
            raise _in_doubt(key, error.details.get("reason", error.message)) from error
        if not held:
            raise absent(key, certain=held is False)
        # What a dead process holds, nobody would let go of for a minute.
        with suppress(PyMongoError):
            await abandoned.end(db)
        if time.monotonic() + pause >= deadline:
            raise _in_doubt(key, "a transaction that has this key is still open")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def absent(key: str, *, certain: bool = True) -> NotFoundError:
    """Return the error for a key without a record; `certain` where no transaction can hold it, either."""
    hint = "nothing was sent with this key: it is safe to send it again with it"
    if not certain:
        hint = (
            "sending it again with the same key is safe. Whether a transaction that is still open has it can't "
            "be seen without the right to insert: 90 s after the sender's end there is none"
        )
    return NotFoundError(f"no transfer {key} in the ledger", hint=hint, key=key, status="absent")


def _in_doubt(key: str, reason: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"the transfer {key} is in doubt: {reason}",
        hint=f"ask again in a minute: `motorctl transfer show {shlex.quote(key)}`. "
        "Sending it again with the same key is safe",
        key=key,
        status="in_doubt",
        reason=reason,
    )


async def _confirmed(db: Database, key: str, seconds: float) -> tuple[dict[str, Any] | None, bool]:
    """Return the record that a majority confirms, if there is one, and whether the server is in no replica set.

    Raises OutcomeUnknownError (9) when the primary answers and the majority doesn't, in time; UnreachableError
    (3) when nobody does.
    """
    try:
        with pymongo.timeout(seconds):
            return await _record(db, key, ReadConcern("linearizable")), False
    except PyMongoError as error:
        code = error.code if isinstance(error, OperationFailure) else None
        if code == _NOT_IN_A_SET:
            return await _record(db, key, ReadConcern("local")), True
        late = error.timeout or isinstance(error, ConnectionFailure) or code in _UNCONFIRMED
        if not late or isinstance(error, ServerSelectionTimeoutError):
            raise
    try:
        with pymongo.timeout(_LOCAL):
            there = await _record(db, key, ReadConcern("local"))
    except PyMongoError as error:
        raise UnreachableError(
            f"the server gave no answer about the transfer {key}",
            hint=f"ask again: `motorctl transfer show {shlex.quote(key)}`. "
            "Sending it again with the same key is safe",
            key=key,
            status="in_doubt",
        ) from error
    written = "it is written on the primary, and a majority" if there else "a majority of the members"
    raise _in_doubt(key, f"{written} hasn't confirmed that within {seconds:.2g} s")


async def _record(db: Database, key: str, read_concern: ReadConcern) -> dict[str, Any] | None:
    """Read the record of a key, the one with the text itself before another form of it, and of its reversal."""
    collection = db.get_collection(
        TRANSFERS, read_concern=read_concern, read_preference=ReadPreference.PRIMARY
    )
    back = f"{key}{REVERSAL}"
    found: Mapping[str, Any] | None = None
    reversed_by: str | None = None
    async for record in collection.find({"_id": {"$in": [*ledger.candidates(key), back]}}):
        if record["_id"] == back:
            reversed_by = back
        elif found is None or isinstance(record["_id"], str):
            found = record
    if found is None:
        return None
    row = ledger.shown(found)
    return {**row, "reversed_by": reversed_by} if reversed_by else row


async def _held(db: Database, key: str, seconds: float) -> bool | None:
    """Tell whether an open transaction, or by now a record, has the key; None where this user may not ask.

    A sender that is stopped by the probe for its few milliseconds begins again, as after every conflict.
    """
    # What the shipped validator wants; of a stricter one they are free who may pass it by.
    record = {"_id": key, "from": "", "to": "", "amount": Decimal128("1"), "created_at": datetime.now(UTC)}
    for bypass in (False, True):
        code = await _refused(db, record, seconds, bypass=bypass)
        if code != _INVALID:
            break
    if code in (None, _CONFLICT, _DUPLICATE):
        return code is not None
    return None


async def _refused(db: Database, record: Mapping[str, Any], seconds: float, *, bypass: bool) -> int | None:
    """Insert a record in a transaction, abort it, and return the code of the refusal; None if there was none."""
    command = {"insert": TRANSFERS, "documents": [record], "bypassDocumentValidation": bypass}

    async def insert(session: Any) -> None:
        try:
            reply = await db.command(command, session=session)
        except OperationFailure as error:
            if error.code in (_CONFLICT, _UNAUTHORIZED, _UNTRANSACTED):
                raise _AnswerError(error.code) from error
            raise
        raise _AnswerError(next((one["code"] for one in reply.get("writeErrors", ())), None))

    try:
        await transactions.run(db, insert, seconds=seconds)
    except _AnswerError as answer:
        return answer.code
    raise AssertionError


class _AnswerError(Exception):
    """Carries the server's answer out of a transaction which it ends: one is aborted for any error."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code
