"""Whether a ledger can be worked with: transactions, and the indexes that it leans on.

Asks the server once, before anything is tried, both questions at the same time. Creates nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core import driver, transactions
from motorctl.core.transfers.ledger import TRANSFERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.client import Database

INDEXES = (("from", "created_at"), ("to", "created_at"))
"""Fields of the indexes that statements, lists and a first transfer read; the manifest `shop` has them."""


async def check(db: Database) -> list[str]:
    """Return a sentence that names the indexes that the ledger lacks; [] if none, or if it may not be known.

    May run twice. Raises the error in words of `transactions.require` where the server has no transactions.
    """
    _, found = await asyncio.gather(transactions.require(db), _indexes(db))
    if found is None:
        return []
    missing = [fields for fields in INDEXES if not any(keys[: len(fields)] == fields for keys in found)]
    if not missing:
        return []
    named = ", and none on ".join(" and ".join(fields) for fields in missing)
    make = "`motorctl schema apply --builtin shop` makes them"
    if len(missing) == 1:
        make = f"`motorctl indexes create {TRANSFERS} {' '.join(missing[0])}` makes it"
    return [f"{TRANSFERS} has no index on {named}: {make}"]


async def _indexes(db: Database) -> list[tuple[str, ...]] | None:
    """Return the fields of each index that finds all of an account's records, or None where the user may not ask.

    A collection that isn't there has none: the first transfer makes it, and no index with it.
    """
    try:
        found = await driver.list_indexes(db[TRANSFERS])
        return [tuple(index["key"]) for index in found if _serves(index)]
    except OperationFailure as error:
        if error.code in (driver.UNAUTHORIZED, 166):  # a view: the engine says so in words
            return None
        raise


def _serves(index: Mapping[str, Any]) -> bool:
    """Tell whether the planner may use an index for every account: it is no part of one, not hidden, not hashed."""
    parts = ("partialFilterExpression", "sparse", "hidden", "collation")
    return all(direction in (1, -1) for direction in index["key"].values()) and not any(map(index.get, parts))
