"""Whether the books balance: accounts and ledger held against each other, in one instant.

The server goes through all of it once and names the accounts that may be wrong (`books`); those are read
entry by entry and judged here (`examine`). Reads only, and while transfers go on: what it sees is one snapshot.
A difference is what can't be there if nobody but this program writes balances and numbered records.

    balance   not the opening and all records of the account, those of other programs too
    running   a record whose balances aren't those of the record before it and its amount
    gap twice entry entries   entries that aren't 1, 2, 3, ... up to the account's last, each once
    amount number negative    an amount or a balance that is no exact number, or below zero (an amount: zero)
    orphan self               a record of an account that isn't there, or from an account to itself
    opening closed            entries without an opening; a closed account with money on it
    reversal                  one that mirrors no transfer, or a second one
    currency                  the balances of a currency don't add up to what was opened
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bson import Decimal128
from pymongo.errors import ExecutionTimeout

from motorctl.core import driver, money, transactions
from motorctl.core.transfers import books, snapshot
from motorctl.core.transfers.examine import WIDE, Difference, Examination, number, shown
from motorctl.core.transfers.ledger import ACCOUNTS, TRANSFERS, candidates, text
from motorctl.errors import MotorctlError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.client import Database

LIMIT = 20
_MIXED_MS = 30_000
"""Without the indexes of the ledger, records between currencies would be looked for until the instant is gone."""
_SUMS = ("opened", "balance", "difference")


@dataclass
class Total:
    """What the accounts of one currency were opened with, and what they have. `moved` is None if it isn't known."""

    opened: Decimal = Decimal(0)
    balance: Decimal = Decimal(0)
    moved: Decimal | None = Decimal(0)
    accounts: int = 0

    @property
    def difference(self) -> Decimal:
        return WIDE.subtract(self.balance, self.opened)

    def add(self, opened: Decimal, balance: Decimal, moved: Decimal | None, accounts: int = 1) -> None:
        self.accounts += accounts
        self.opened, self.balance = WIDE.add(self.opened, opened), WIDE.add(self.balance, balance)
        self.moved = None if moved is None or self.moved is None else WIDE.add(self.moved, moved)


@dataclass
class Report:
    """What was looked at, and what was found. `count` are all differences; `found` as many as were asked for.

    `unread` are accounts that look wrong and weren't looked into, because enough was found before; `unsearched`:
    records between currencies weren't all found in time.
    """

    limit: int
    accounts: int = 0
    before: int = 0
    sides: int = 0
    foreign_sides: int = 0
    totals: dict[Any, Total] = field(default_factory=dict)
    found: list[Difference] = field(default_factory=list)
    count: int = 0
    unread: int = 0
    unsearched: bool = False

    @property
    def ok(self) -> bool:
        return not self.count

    @property
    def records(self) -> int:
        return self.sides // 2

    @property
    def foreign_records(self) -> int:
        return self.foreign_sides // 2

    @property
    def room(self) -> int:
        return self.limit - len(self.found)

    def add(self, *differences: Difference, count: int | None = None) -> None:
        self.count += len(differences) if count is None else count
        self.found += differences[: self.room]

    def by_currency(self) -> list[tuple[Any, Total]]:
        return sorted(self.totals.items(), key=lambda one: str(one[0] or ""))

    def row(self) -> dict[str, Any]:
        """Return it as users see it: amounts are Decimals."""
        currencies = [
            {"currency": name, **{sum_of: written(getattr(t, sum_of), name) for sum_of in _SUMS}}
            for name, t in self.by_currency()
        ]
        return {
            "ok": self.ok,
            "accounts": self.accounts,
            "before_the_ledger": self.before,
            "records": self.records,
            "foreign_records": self.foreign_records,
            "currencies": currencies,
            "differences": [one.row() for one in self.found],
            "more": self.count - len(self.found),
            "unread_accounts": self.unread,
        }


async def verify(db: Database, account: str | None = None, *, limit: int = LIMIT) -> Report:
    """Hold all accounts against the ledger, or one with the id that is typed; keep `limit` differences.

    It may run twice. Raises NotFoundError (5) for an account of which there is nothing, MotorctlError (1) for a
    server that is a standalone, too old, or that can't keep one instant for as long as this takes.
    """
    version, _ = await asyncio.gather(driver.server_version(db), transactions.require(db))
    if account is None and version < snapshot.SESSIONS:
        raise MotorctlError(
            "the whole ledger can't be seen in one instant by a server before MongoDB 5.0",
            hint="--account ID verifies one account, in a transaction",
        )

    async def look() -> Report:
        async with snapshot.instant(db, version) as session:
            if account is None:
                return await _Look(db, session, Report(limit)).all()
            return await _Look(db, session, Report(limit)).one(account)

    report: Report = await snapshot.available(look)
    return report


@dataclass
class _Look:
    """One look at one instant."""

    db: Database
    session: Any
    report: Report

    async def all(self) -> Report:
        report = self.report
        async for row in await self._aggregate(TRANSFERS, books.survey()):
            report.accounts += row["accounts"]
            report.sides += row["sides"]
            report.foreign_sides += int(row["foreign"])
            if books.SUSPECT in row["_id"]:
                await self._suspect(row["_id"][books.SUSPECT], row["row"])
            else:
                report.before += row["before"]
                opened, balance = (row[name].to_decimal() for name in ("opened", "balance"))
                moved = WIDE.subtract(balance, opened)
                self._total(row["_id"][books.CLEAN]).add(opened, balance, moved, row["accounts"])
        # In one order, whatever the server's: the same books say the same twice.
        report.found.sort(key=lambda one: one.account or "")
        await self._reversals()
        await self._currencies()
        return report

    async def one(self, typed: str) -> Report:
        """Look at one account: its records are read by their indexes, and judged here."""
        report, ids = self.report, candidates(typed)
        found = self.db[ACCOUNTS].find({"_id": {"$in": ids}}, session=self.session)
        documents = {document["_id"]: document async for document in found}
        for one in documents or ids:
            examined = await self._examine(one, documents.get(one))
            report.accounts += one in documents
            report.before += examined.before
            report.sides += 2 * (examined.own + examined.foreign + examined.orphans)
            report.foreign_sides += 2 * examined.foreign
        if not report.accounts and not report.sides:
            raise NotFoundError(f"no account {typed}", account=typed)
        await self._reversals(list(documents) or ids)
        return report

    async def _suspect(self, id: Any, row: Mapping[str, Any]) -> None:
        """Look into an account that the server's pass names; with enough found, only count it."""
        there = row if row.get("there") else None
        moved = row["moved"].to_decimal() if isinstance(row["moved"], Decimal128) else Decimal(row["moved"])
        known = moved if moved.is_finite() else None
        before = there is not None and there.get("opening") is None and not row["own"]
        if self.report.room > 0:
            examined = await self._examine(id, there)
            known, before = examined.moved, examined.before
        else:
            self.report.count += 1
            self.report.unread += 1
        if there is None:
            return
        self.report.before += before
        balance, opening = number(there.get("balance")), number(there.get("opening"))
        if before and balance is not None and known is not None:
            opening = WIDE.subtract(balance, known)
        # An account without a number stands in the differences already, and in no sum.
        if balance is not None and opening is not None:
            self._total(there.get("currency")).add(opening, balance, known)

    async def _examine(self, id: Any, account: Mapping[str, Any] | None) -> Examination:
        examined = Examination(id, account, self.report.room)
        async for record in await self._aggregate(TRANSFERS, books.entries(id)):
            examined.take(record)
        found = examined.end()
        self.report.add(*found, count=examined.count)
        return examined

    async def _reversals(self, ids: Sequence[Any] | None = None) -> None:
        async for row in await self._aggregate(TRANSFERS, books.reversals(ids)):
            if row.get("found") is None and len(forms := candidates(row["_id"])) > 1:
                # Another program's key may be an ObjectId, a number or a UUID: `reverses` is its text.
                row["found"] = await self.db[TRANSFERS].find_one(
                    {"_id": {"$in": forms}}, session=self.session
                )
            if (message := _reversal(row)) is not None:
                key, of = text(row["key"]), shown(row["_id"])
                self.report.add(Difference("reversal", f"{key} {message}", key=key, expected=of))

    async def _currencies(self) -> None:
        """Hold the sums against what was opened; if records between currencies are why, name them."""
        off = {name: total for name, total in self.report.by_currency() if total.difference}
        for name, total in off.items():
            said = name if isinstance(name, str) else "no currency" if name is None else shown(name)
            opened, has = (shown(written(one, name)) for one in (total.opened, total.balance))
            message = f"the accounts in {said} have {has}, and {opened} was opened"
            self.report.add(Difference("currency", message, currency=said, expected=opened, found=has))
        moved = {name: total for name, total in off.items() if total.moved}
        # What one currency loses another one gets: all but the one with the most accounts tell.
        for name in sorted(moved, key=lambda name: -moved[name].accounts)[1:]:
            for side in ("from", "to"):
                if self.report.room > 0:
                    await self._mixed(name, side)

    async def _mixed(self, currency: Any, side: str) -> None:
        """Name records between a currency and others, if they are found in time: the difference is told without them."""
        pipeline = books.mixed(currency, side, self.report.room)
        try:
            async for row in await self._aggregate(ACCOUNTS, pipeline, maxTimeMS=_MIXED_MS):
                key, here, other = (text(row[name]) for name in ("key", "id", "other"))
                mine, theirs = shown(currency), shown(row.get("of"))
                message = f"{key} is between {here}, in {mine}, and {other}, in {theirs}"
                if all(one.key != key or one.kind != "currency" for one in self.report.found):
                    more = Difference(
                        "currency", message, account=other, key=key, expected=mine, found=theirs
                    )
                    self.report.add(more)
        except ExecutionTimeout:
            self.report.unsearched = True

    def _total(self, currency: Any) -> Total:
        name = currency if currency is None or isinstance(currency, str) else shown(currency)
        return self.report.totals.setdefault(name, Total())

    async def _aggregate(self, collection: str, pipeline: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        return await driver.aggregate(
            self.db[collection], pipeline, session=self.session, allowDiskUse=True, **options
        )


def written(value: Decimal, currency: Any) -> Decimal:
    """Return a sum with its currency's digits behind the point, or more where it has more: 12.5000 is 12.50."""
    short = WIDE.normalize(value)
    places = max(money.digits(currency), -int(short.as_tuple().exponent))
    return WIDE.quantize(short, Decimal(1).scaleb(-places))


def _reversal(row: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a reversal that the server named; None where the amounts are the same number."""
    of, found = shown(row["_id"]), row.get("found")
    if row["count"] > 1:
        return f"and {text(row['last'])} both reverse {of}"
    if found is None:
        return f"reverses {of}, which isn't there"
    if found.get("reverses") is not None:
        return f"reverses {of}, which is a reversal itself"
    if (found.get("from"), found.get("to")) != (row.get("to"), row.get("from")):
        return f"reverses {of}, and doesn't go back the way of it"
    moved, back = number(found.get("amount")), number(row.get("amount"))
    if moved is None or moved != back:
        return f"reverses {of}, and moves {shown(row.get('amount'))} instead of {shown(found.get('amount'))}"
    return None
