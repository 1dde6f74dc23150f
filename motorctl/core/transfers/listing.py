"""The ledger, newest first, record by record: nothing is sorted, and no more is read than is shown.

Of one account: two index scans, {from, created_at} and {to, created_at}, merged from their ends. Of
all: the collection from its end, in the order in which the records were written; with `since` or
`until` every record that is passed on the way is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo.read_concern import ReadConcern

from motorctl.core import driver
from motorctl.core.transfers import ledger
from motorctl.core.transfers.ledger import ACCOUNTS, TRANSFERS
from motorctl.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from motorctl.client import Database


@dataclass(frozen=True)
class Query:
    """Which records: of an account (as it is typed), from `since` on, before `until`; at most `limit` (0: all)."""

    account: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 0


async def find(db: Database, query: Query) -> AsyncIterator[dict[str, Any]]:
    """Yield the records of a query as `ledger.shown` does, those that a majority has.

    Raises NotFoundError (5) for an account that is neither in the ledger nor among the accounts.
    """
    collection = db.get_collection(TRANSFERS, read_concern=ReadConcern("majority"))
    cursor = (
        collection.find(wanted(query), batch_size=driver.LIST_BATCH).sort(order(query)).limit(query.limit)
    )
    some = False
    async for record in cursor:
        some = True
        yield ledger.shown(record)
    if not some and query.account is not None:
        ids = ledger.candidates(query.account)
        named = {"$or": [{"from": {"$in": ids}}, {"to": {"$in": ids}}]}
        if not await db[ACCOUNTS].find_one(
            {"_id": {"$in": ids}}, {"_id": 1}
        ) and not await collection.find_one(named, {"_id": 1}):
            raise NotFoundError(
                f"no account {query.account}",
                hint="`motorctl accounts list` shows the ones that are there",
                account=query.account,
            )


def wanted(query: Query) -> dict[str, Any]:
    """Return the filter of a query; of an account one branch for each end of each index."""
    bounds = {"$gte": query.since, "$lt": query.until}
    dates = {operator: moment for operator, moment in bounds.items() if moment is not None}
    between: dict[str, Any] = {"created_at": dates} if dates else {}
    if query.account is None:
        return between
    ids = ledger.candidates(query.account)
    return {"$or": [{side: one, **between} for side in ("from", "to") for one in ids]}


def order(query: Query) -> list[tuple[str, int]]:
    """Get the sort of a list: the newest first, each by an index or none (`$natural`)."""
    return [("$natural", -1)] if query.account is None else [("created_at", -1)]
