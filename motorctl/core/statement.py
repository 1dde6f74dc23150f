"""The statement of an account: what it was opened with, each entry with the balance after it, and the balance.

Owns how an account's records are found, put in order and added up. All of it is read at one point in time, so that
the entries add up to the balance whatever is sent meanwhile. Holds a thousand records at a time; writes nothing.
"""

from __future__ import annotations

import contextlib
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bson import Decimal128
from pymongo import ReadPreference
from pymongo.errors import OperationFailure

from motorctl.core import accounts, driver, money
from motorctl.core.transfers import snapshot
from motorctl.core.transfers.ledger import TRANSFERS, text
from motorctl.errors import MotorctlError, RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from motorctl.client import Database

OPENING, ENTRY, CLOSING = "opening", "entry", "closing"
"""The kinds of lines: one, any number, one."""

_BATCH = 1000
_RECORD = ("from", "to", "amount", "note", "reverses", "created_at", "from_entry", "to_entry")
_INFINITY = float("inf")


@dataclass(frozen=True)
class Window:
    """Which entries: from `since` on, before `until`, and of those the last `limit`."""

    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Sum:
    """What some records move: into the account less out of it, how many they are."""

    moved: Decimal
    count: int


async def lines(db: Database, id: str, window: Window) -> AsyncGenerator[dict[str, Any]]:
    """Yield an account's statement line by line, each with its `line`: opening, entry or closing.

    opening: account (as `accounts.shown`), balance, before_ledger (its first balance isn't recorded: it is the
    balance less all that the ledger moved). entry: created_at, entry (its number; None in a record of another
    program), key, counterparty, amount (below zero where it went out), balance (after it), note, reverses.
    closing: balance, difference (what the account has above it; None where entries after `until` are left
    out), entries, foreign (how many of them have no number), late (how many are dated before an earlier entry).

    Raises NotFoundError (5), RefusedError (6) for an amount that can't be read exactly, MotorctlError (1) where
    the server doesn't keep one point in time for that long.
    """
    version = await driver.server_version(db)

    async def begin() -> tuple[AsyncExitStack, AsyncGenerator[dict[str, Any]], dict[str, Any]]:
        async with AsyncExitStack() as opened:
            session = await opened.enter_async_context(snapshot.instant(db, version))
            found = await opened.enter_async_context(aclosing(_lines(db, id, window, session)))
            first = await anext(found)
            return opened.pop_all(), found, first

    try:
        opened, found, line = await snapshot.available(begin)
        async with opened:
            yield line
            async for line in found:
                yield line
    except MotorctlError as error:
        if isinstance(error.__cause__, OperationFailure):  # the server's instant is over
            error.hint = f"ask for less at a time, --since 30d or --limit 1000; or: {error.hint}"
        raise


async def _lines(db: Database, id: str, window: Window, session: Any) -> AsyncGenerator[dict[str, Any]]:
    document = await accounts.look_up(_primary(db), id, session=session)
    account, own = accounts.shown(document), document["_id"]
    if "problem" in account:
        accounts.balance(document)
        raise RefusedError(account["problem"], account=account["id"])
    places = money.digits(account["currency"])
    opening, before_ledger = account["opening"], account["opening"] is None
    if opening is None:
        everything = await total(db, own, places, session=session)
        opening = money.subtracted(account["balance"], everything.moved)
    ledger = Records(db, own, places, session)
    if window.limit is not None:
        earlier = await total(db, own, places, until=window.until, session=session)
        last = await ledger.last(window, window.limit)
        opening = money.added(opening, earlier.moved)
        for entry in last:
            opening = money.subtracted(opening, entry["amount"])
        entries = _each(last)
    else:
        if window.since is not None:
            earlier = await total(db, own, places, until=window.since, session=session)
            opening = money.added(opening, earlier.moved)
        entries = ledger.read(window)
    balance, count, foreign, late, highest = opening, 0, 0, 0, 0
    begun = False
    head = {"line": OPENING, "account": account, "balance": opening, "before_ledger": before_ledger}
    async with aclosing(entries):
        async for entry in entries:
            if not begun:
                # Not before the first entry is here: up to then all of it can be begun again.
                yield head
                begun = True
            balance = money.added(balance, entry["amount"])
            count += 1
            if entry["entry"] is None:
                foreign += 1
            else:
                late += entry["entry"] < highest
                highest = max(highest, entry["entry"])
            yield {"line": ENTRY, **entry, "balance": balance}
    if not begun:
        yield head
    difference = None if window.until is not None else money.subtracted(account["balance"], balance)
    yield {
        "line": CLOSING,
        "balance": balance,
        "difference": difference,
        "entries": count,
        "foreign": foreign,
        "late": late,
    }


def selection(id: Any, *, since: datetime | None = None, until: datetime | None = None) -> dict[str, Any]:
    """Return the filter of an account's records: two branches, each the whole of one index's range.

    The server walks `{from, created_at}` and `{to, created_at}` side by side and merges them in order of time
    (SORT_MERGE). A record whose date is no date is before all others, and before every `until`.
    """
    dates: dict[str, Any] = {}
    if since is not None:
        dates["$gte"] = since
        if until is not None:
            dates["$lt"] = until
    elif until is not None:
        dates["$not"] = {"$gte": until}
    dated = {"created_at": dates} if dates else {}
    return {"$or": [{"from": id, **dated}, {"to": id, **dated}]}


async def total(
    db: Database, id: Any, places: int, *, until: datetime | None = None, session: Any = None
) -> Sum:
    """Add up on the server what an account's records before `until` move, exactly.

    Raises RefusedError (6) for a sum of more digits than the server adds without rounding, and for an amount
    that can't be read exactly, with its key.
    """
    pipeline = [{"$match": selection(id, until=until)}, {"$group": _sums(id)}]
    async for group in await driver.aggregate(_primary(db)[TRANSFERS], pipeline, session=session):
        if group["unreadable"] is not None:
            raise RefusedError(
                f"transfer {text(group['unreadable'])} has an amount that can't be read exactly",
                key=text(group["unreadable"]),
            )
        # An int where nothing was added. `all` only grows: where it has 34 digits, any of the sums may have been
        # rounded on its way.
        into, out, everything = (Decimal128(str(group[side])) for side in ("into", "out", "all"))
        if len(everything.to_decimal().as_tuple().digits) >= money.MOST_DIGITS:
            raise RefusedError(
                f"the records of account {text(id)} add up to more than {money.MOST_DIGITS} digits",
                account=text(id),
            )
        moved = money.subtracted(money.exact(into, places=places), money.exact(out, places=places))
        return Sum(moved, int(group["count"]))
    return Sum(Decimal(0), 0)


class Records:
    """The records of one account in the order of time, as entries of its statement."""

    def __init__(self, db: Database, id: Any, places: int, session: Any) -> None:
        self._db = db
        self._id = id
        self._places = places
        self._session = session

    async def read(self, window: Window) -> AsyncGenerator[dict[str, Any]]:
        """Yield the entries of a window; of one moment (a batch has one) foreign records, then by number."""
        moment: Any = None
        together: list[dict[str, Any]] = []
        async with aclosing(self._cursor(window, 1)) as found:
            async for entry in found:
                if together and entry["created_at"] != moment:
                    for one in sorted(together, key=_number):
                        yield one
                    together.clear()
                if entry["entry"] is None:
                    # At once: of these any number may have one date, or none.
                    yield entry
                else:
                    moment = entry["created_at"]
                    together.append(entry)
        for one in sorted(together, key=_number):
            yield one

    async def last(self, window: Window, limit: int) -> list[dict[str, Any]]:
        """Return the last entries of a window, in the order of `read`."""
        found: list[dict[str, Any]] = []
        moment: Any = None
        numbered: list[dict[str, Any]] = []
        foreign: list[dict[str, Any]] = []
        async with aclosing(self._cursor(window, -1)) as entries:
            async for entry in entries:
                if (numbered or foreign) and entry["created_at"] != moment:
                    found += sorted(numbered, key=_number, reverse=True) + foreign
                    numbered, foreign = [], []
                    if len(found) >= limit:
                        break
                moment = entry["created_at"]
                if entry["entry"] is not None:
                    numbered.append(entry)
                elif len(foreign) < limit:
                    foreign.append(entry)
        found += sorted(numbered, key=_number, reverse=True) + foreign
        return found[:limit][::-1]

    async def _cursor(self, window: Window, direction: int) -> AsyncGenerator[dict[str, Any]]:
        chosen = selection(self._id, since=window.since, until=window.until)
        # Without the indexes the server has to sort: on disk then, slowly, rather than not at all.
        cursor = _primary(self._db)[TRANSFERS].find(
            chosen,
            _RECORD,
            sort=[("created_at", direction)],
            batch_size=_BATCH,
            allow_disk_use=True,
            session=self._session,
        )
        try:
            async for record in cursor:
                yield self._entry(record)
        finally:
            with contextlib.suppress(Exception):
                await cursor.close()

    def _entry(self, record: Mapping[str, Any]) -> dict[str, Any]:
        key, stored = text(record["_id"]), record.get("amount")
        of = f"the amount of transfer {key}"
        if isinstance(stored, float):
            # Another program's, with more digits than its currency has: shown as it is, and counted.
            stored = money.stored(money.exact(stored, of=of))
        amount = money.exact(stored, places=self._places, of=of)
        into, out = record.get("to") == self._id, record.get("from") == self._id
        if not into and not out:
            # To the server it is the account's: an id in an array, or as another type of number.
            raise RefusedError(
                f"transfer {key} names account {text(self._id)} in another form than the account has its id",
                key=key,
            )
        if into and out:
            amount = Decimal(0)  # another program's, from the account to itself
        elif out and amount:
            amount = amount.copy_negate()
        number = record.get("to_entry" if into else "from_entry")
        return {
            "created_at": record.get("created_at"),
            "entry": int(number) if isinstance(number, int) else None,
            "key": key,
            "counterparty": text(record.get("from" if into else "to")),
            "amount": amount,
            "note": record.get("note"),
            "reverses": record.get("reverses"),
        }


def _number(entry: Mapping[str, Any]) -> int:
    number: int = entry["entry"]
    return number


async def _each(entries: list[dict[str, Any]]) -> AsyncGenerator[dict[str, Any]]:
    for entry in entries:
        yield entry


def _sums(id: Any) -> dict[str, Any]:
    """Return the `$group` that adds up what came in, what went out, and both without their signs.

    `$sum` adds decimals exactly up to 34 digits. A double is made the decimal of 15 digits that it stands for,
    as `money.exact` does, and one that doesn't read back as that double is unreadable.
    """
    amount: dict[str, Any] = {
        "$convert": {"input": "$amount", "to": "decimal", "onError": None, "onNull": None}
    }
    readable = {
        "$and": [
            {"$isNumber": "$amount"},
            {"$gt": ["$amount", -_INFINITY]},
            {"$lt": ["$amount", _INFINITY]},
            {
                "$or": [
                    {"$ne": [{"$type": "$amount"}, "double"]},
                    {
                        "$and": [
                            {"$eq": [{"$toDouble": amount}, "$amount"]},
                            {"$lt": [{"$abs": "$amount"}, 10**money.DOUBLE_DIGITS]},
                        ]
                    },
                ]
            },
        ]
    }

    def side(name: str) -> dict[str, Any]:
        is_it = {"$eq": [f"${name}", {"$literal": id}]}
        return {"$sum": {"$cond": [{"$and": [is_it, readable]}, amount, 0]}}

    return {
        "_id": None,
        "into": side("to"),
        "out": side("from"),
        "all": {"$sum": {"$cond": [readable, {"$abs": amount}, 0]}},
        "count": {"$sum": 1},
        "unreadable": {"$max": {"$cond": [readable, None, "$_id"]}},
    }


def _primary(db: Database) -> Database:
    return db.with_options(read_preference=ReadPreference.PRIMARY)
