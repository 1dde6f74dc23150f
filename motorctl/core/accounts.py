"""Accounts: opened, looked up, listed, frozen and closed.

Owns what an account's document looks like when it is opened, what is shown of one, and which steps of its status
are legal. Never changes a balance: what does is `transfers.post`. A change of status is one update of one
document, so a transfer that is under way goes before it or is made again after it, and never past it.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pymongo
from bson import ObjectId
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError, PyMongoError

from motorctl import errors
from motorctl.core import abandoned, driver, money
from motorctl.core.currencies import MINOR_UNITS
from motorctl.core.transactions import LONGEST
from motorctl.core.transfers.ledger import ACCOUNTS, candidates, text
from motorctl.errors import MotorctlError, NotFoundError, RefusedError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from motorctl.client import Collection, Database

OPEN, FROZEN, CLOSED = STATUSES = ("open", "frozen", "closed")
FIELDS = ("id", "owner", "currency", "balance", "status", "entries", "opening", "opened_at")
"""What is shown of every account, in this order."""

_CURRENCY = re.compile(r"[A-Z][A-Z0-9]{2,11}")
_LONGEST_ID = 200
# An account that a failover takes back would be one that somebody was told of.
_WRITTEN = WriteConcern("majority", wtimeout=10_000)
_WAIT = 1.0
"""Seconds that an update waits for who has the account, before it is looked whether they live."""


def new(
    *,
    id: str | None = None,
    owner: str | None = None,
    currency: str | None = None,
    balance: Decimal | None = None,
) -> dict[str, Any]:
    """Return the document of an account that is opened now: 24 hexadecimal digits are an ObjectId, as is no id.

    Raises UsageError (2). A currency is a word of 3 to 12 letters and digits, in capitals then: those of
    ISO 4217, and points, coins or miles.
    """
    code = None if currency is None else _currency(currency)
    opening = money.stored(money.fitting(Decimal(0) if balance is None else balance, code))
    if owner is not None and not owner.strip():
        raise UsageError("--owner: the name is empty")
    moment = datetime.now(UTC)
    document = {
        "_id": ObjectId() if id is None else _id(id),
        "owner": owner,
        "currency": code,
        "balance": opening,
        "status": OPEN,
        "entries": 0,
        "opening": opening,
        # whole milliseconds: what comes back from the server
        "opened_at": moment.replace(microsecond=moment.microsecond // 1000 * 1000),
    }
    return {name: value for name, value in document.items() if value is not None}


def unlisted(currency: str) -> bool:
    """Tell whether ISO 4217 has no such currency: a word of somebody's own, or a slip of the finger."""
    return bool(currency) and currency.upper() not in MINOR_UNITS


async def create(db: Database, document: Mapping[str, Any], *, write: bool = True) -> dict[str, Any]:
    """Insert a document made by `new` and return it as shown. Raises DuplicateKeyError (6) for an id that is taken.

    May run twice: an account that has this document's id and its moment is this one. Its balance may be
    another already.
    """
    collection = _collection(db)
    own = document["_id"]
    twins = candidates(text(own))
    if not write or len(twins) > 1:
        # An ObjectId or a number and its digits as a text are one id to whoever types it.
        found = await collection.find_one({"_id": {"$in": twins}})
        if found is not None and not _same(found, document):
            raise _taken(own)
    if write:
        try:
            await collection.insert_one(dict(document))
        except DuplicateKeyError as error:
            if "_id" not in (error.details or {}).get("keyPattern", {}):
                raise
            found = await collection.find_one({"_id": own})
            if found is None or not _same(found, document):
                raise _taken(own) from error
    return shown(document)


async def look_up(db: Database, id: str, *, session: Any = None) -> dict[str, Any]:
    """Return the document of a typed id; of ids that read alike (a text, an ObjectId, a number), the text's.

    Raises NotFoundError (5).
    """
    found: dict[Any, dict[str, Any]] = {
        document["_id"]: document
        async for document in db[ACCOUNTS].find({"_id": {"$in": candidates(id)}}, session=session)
    }
    for candidate in candidates(id):
        if candidate in found:
            return found[candidate]
    raise NotFoundError(
        f"no account {id}", hint="`motorctl accounts list` shows those that there are", account=id
    )


async def get(db: Database, id: str) -> dict[str, Any]:
    """Return one account as shown, and behind it the fields that other programs have given it."""
    document = await look_up(db, id)
    row = shown(document)
    others = {name: value for name, value in document.items() if name not in ("_id", "problem", *row)}
    return {**row, **others}


async def find(
    db: Database,
    filter: Mapping[str, Any],
    *,
    sort: Sequence[tuple[str, int]] = (),
    skip: int = 0,
    limit: int = 0,
) -> AsyncIterator[dict[str, Any]]:
    """Yield the accounts of a filter as shown, by id unless sorted otherwise."""
    cursor = db[ACCOUNTS].find(filter, batch_size=driver.LIST_BATCH).sort(list(sort) or [("_id", 1)])
    async for document in cursor.skip(skip).limit(limit):
        yield shown(document)


def selection(
    filter: Mapping[str, Any], *, status: str | None, currency: str | None, owner: str | None
) -> dict[str, Any]:
    """Return the filter of a list's options. Raises UsageError (2) for a status that there is none of."""
    if status is not None and status not in STATUSES:
        raise UsageError(f"--status: {status!r} is not one of {', '.join(STATUSES)}")
    parts = [dict(filter)] if filter else []
    if status is not None:
        # Other programs' accounts have no status: they are open.
        parts.append({"status": {"$in": [OPEN, None]} if status == OPEN else status})
    if currency is not None:
        parts.append({"currency": {"$in": [currency.upper(), currency]}})
    if owner is not None:
        parts.append({"owner": owner})
    return parts[0] if len(parts) == 1 else {"$and": parts} if parts else {}


def step(document: Mapping[str, Any], to: str) -> str | None:
    """Return the status that an account is to get, None where it has it already. Pure.

    open <-> frozen, and from both of them to closed, which is final and asks for a balance of zero.
    Raises RefusedError (6) for all else.
    """
    name, status = text(document["_id"]), document.get("status") or OPEN
    if status == to:
        return None
    if status == CLOSED:
        raise RefusedError(f"account {name} is closed, and that is final", account=name, status=status)
    if status not in STATUSES:
        raise RefusedError(
            f"account {name} has a status of somebody else's: {status}",
            hint=f"here it is one of {', '.join(STATUSES)}",
            account=name,
        )
    if to == CLOSED:
        held = balance(document)
        if held:
            raise RefusedError(
                f"account {name} has {_priced(held, document)}: only an empty one can be closed",
                hint="move it with `motorctl transfer send`, then close it",
                account=name,
                balance=money.shown(held),
            )
    return to


async def set_status(
    db: Database, id: str, to: str, *, write: bool = True, seconds: float = LONGEST
) -> tuple[dict[str, Any], bool]:
    """Take the step of `step`; return the account as shown after it, and whether it changed.

    The update is guarded by what the step was decided on: the status, and for a close the balance. It waits for a
    transfer that has the account, and ends one that a dead process left open; a transfer that read the account before is
    made again and finds it changed. Raises UnreachableError (3) when others have the account for `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        document = await look_up(db, id)
        status = step(document, to)
        if status is None:
            return shown(document), False
        if not write:
            return shown({**document, "status": status}), True
        guard = {"_id": document["_id"], "status": document.get("status")}
        if status == CLOSED:
            guard["balance"] = document["balance"]
        try:
            # The server would wait without a limit.
            with pymongo.timeout(_WAIT):
                after = await _collection(db).find_one_and_update(
                    guard, {"$set": {"status": status}}, return_document=ReturnDocument.AFTER
                )
        except PyMongoError as error:
            if not error.timeout:
                raise
            if time.monotonic() >= deadline:
                raise UnreachableError(
                    f"account {id} was not to be had within {seconds:g} s: others change it, or left it locked",
                    hint=f"the same command may be run again; `motorctl accounts get {id}` shows how it is",
                    account=id,
                ) from error
            with suppress(PyMongoError):
                await abandoned.end(db)
            continue
        if after is not None:
            return shown(after), True


def balance(document: Mapping[str, Any]) -> Decimal:
    """Return the balance of an account's document. Raises RefusedError (6) for one that is no exact amount."""
    places = money.digits(document.get("currency"))
    return money.exact(
        document.get("balance"), places=places, of=f"the balance of account {text(document['_id'])}"
    )


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an account as users see it: `FIELDS`, amounts as decimals with the digits of its currency.

    `opening` is None before the first transfer of one that was there before. An amount that can't be read
    exactly is shown as it stands there, and `problem` says why.
    """
    row: dict[str, Any] = {"id": text(document["_id"])}
    row |= {name: document.get(name) for name in FIELDS[1:]}
    row["status"] = row["status"] or OPEN
    row["entries"] = row["entries"] or 0
    places = money.digits(row["currency"])
    problems = []
    for name in ("balance", "opening"):
        if name == "opening" and row[name] is None:
            continue
        try:
            row[name] = money.exact(row[name], places=places, of=f"the {name} of account {row['id']}")
        except RefusedError as error:
            problems.append(error.message)
            row[name] = None if row[name] is None else str(row[name])
    return {**row, "problem": "; ".join(problems)} if problems else row


def _priced(held: Decimal, document: Mapping[str, Any]) -> str:
    return f"{money.shown(held)} {document.get('currency') or ''}".rstrip()


def _collection(db: Database) -> Collection:
    return db[ACCOUNTS].with_options(write_concern=_WRITTEN)


def _id(typed: str) -> Any:
    if not typed or typed != typed.strip() or not typed.isprintable() or len(typed) > _LONGEST_ID:
        raise UsageError(
            f"--id: {typed[:40]!r} can't be an id",
            hint=f"1 to {_LONGEST_ID} characters that can be seen, without blanks around them",
        )
    if typed.startswith("-"):
        raise UsageError(f"--id: {typed!r} would be taken for an option wherever it is typed")
    return ObjectId(typed) if ObjectId.is_valid(typed) else typed


def _currency(typed: str) -> str:
    code = typed.strip().upper()
    if not _CURRENCY.fullmatch(code):
        raise UsageError(
            f"--currency: {typed!r} is not a currency",
            hint="a code as EUR, or a word of 3 to 12 letters and digits",
        )
    return code


def _same(found: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    names = ("_id", "owner", "currency", "opening", "opened_at")
    return all(found.get(name) == document.get(name) for name in names)


def _taken(id: Any) -> MotorctlError:
    return errors.DuplicateKeyError(
        f"account {text(id)} is there already",
        hint=f"`motorctl accounts get {text(id)}` shows it",
        account=text(id),
        field="_id",
    )
