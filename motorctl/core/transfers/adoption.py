"""What the ledger has of accounts that were there before it: their opening, summed exactly.

An account without `opening` gets one with its first transfer: its balance less what the records of other programs
have moved. Nothing is written here; `post` writes the opening in the same transaction, which has read
account and records in one snapshot. From then on balance = opening + ledger holds for it as for every other.
`opened_at` stays missing: it tells that this program hasn't opened it.

The sums are the server's, since an account may have millions of records: of decimals alone, which it adds without
rounding up to 34 digits. A sum with that many digits may have been cut and is refused; so is a record whose
amount is no number, or a double that 15 digits don't say exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from motorctl.core import driver, money
from motorctl.core.transfers.ledger import text
from motorctl.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.client import Collection
    from motorctl.core.transfers.ledger import Account


@dataclass
class Moved:
    """What records of the ledger have done to one account: the sum, and the number of the last entry (0: none)."""

    total: Decimal = Decimal(0)
    last: int = 0


async def adopted(
    transfers: Collection, accounts: Mapping[Any, Account], session: Any = None
) -> dict[Any, Account | RefusedError]:
    """Return the accounts with their opening, or with the error that says why there is none. One command."""
    groups: dict[Any, list[Mapping[str, Any]]] = {key: [] for key in accounts}
    async for group in await driver.aggregate(transfers, pipeline(list(accounts)), session=session):
        groups[group["_id"]["account"]].append(group)
    return {key: _adopted(account, groups[key]) for key, account in accounts.items()}


def pipeline(ids: list[Any]) -> list[dict[str, Any]]:
    """Return the sums of the records that name any of the accounts, by account, side and kind of amount.

    Each branch of the `$or` has an index of the shipped schema: {from, created_at} and {to, created_at}.
    """
    decimal = {"$toDecimal": "$amount"}
    # The server makes 15 digits of a double: as many as a decimal keeps on its way through one.
    inexact = {
        "$and": [{"$eq": [{"$type": "$amount"}, "double"]}, {"$ne": [{"$toDouble": decimal}, "$amount"]}]
    }
    return [
        {"$match": {"$or": [{"from": {"$in": ids}}, {"to": {"$in": ids}}]}},
        {
            "$project": {
                "amount": 1,
                "side": [
                    {"account": "$from", "entry": "$from_entry", "given": False},
                    {"account": "$to", "entry": "$to_entry", "given": True},
                ],
            }
        },
        {"$unwind": "$side"},
        {"$match": {"side.account": {"$in": ids}}},
        {
            "$group": {
                "_id": {
                    "account": "$side.account",
                    "given": "$side.given",
                    "number": {"$isNumber": "$amount"},
                    # Amounts of one sign can only grow: a sum that was cut on its way has all 34 digits.
                    "negative": {"$lt": ["$amount", 0]},
                    "inexact": inexact,
                },
                "total": {"$sum": {"$cond": [{"$isNumber": "$amount"}, decimal, 0]}},
                "last": {"$max": "$side.entry"},
                "key": {"$min": "$_id"},
            }
        },
    ]


def _adopted(account: Account, groups: Iterable[Mapping[str, Any]]) -> Account | RefusedError:
    try:
        moved = read(groups, money.digits(account.currency))
        opening = money.subtracted(account.balance, moved.total)
    except RefusedError as error:
        name = text(account.id)
        return RefusedError(
            f"account {name} can't be taken into the ledger: {error.message}", hint=error.hint, account=name
        )
    return replace(account, opening=opening, entries=max(account.entries, moved.last), adopted=True)


def read(groups: Iterable[Mapping[str, Any]], places: int) -> Moved:
    """Read the groups of one account, whose currency has so many `places`.

    Raises RefusedError (6) for what has no exact sum.
    """
    moved = Moved()
    for group in groups:
        kind = group["_id"]
        if not kind["number"] or kind["inexact"]:
            raise RefusedError(
                f"the amount of its transfer {text(group['key'])} is no exact number",
                hint="what the ledger has of it has to add up exactly: put the record right first",
            )
        total = group["total"].to_decimal()
        if not total.is_finite() or len(total.as_tuple().digits) >= money.MOST_DIGITS:
            raise RefusedError(f"what the ledger has of it adds up to {total}")
        value = money.exact(group["total"], places=places)
        sum_of = money.added if kind["given"] else money.subtracted
        moved.total = sum_of(moved.total, value)
        if isinstance(group["last"], int):
            moved.last = max(moved.last, int(group["last"]))
    return moved
