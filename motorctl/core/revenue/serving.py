"""Which index serves a report, and what the collection that it reads is. Pure but for the questions.

An index that begins with the status and goes on with the date finds the orders that count (equality, then
range: MongoDB Manual, "The ESR (Equality, Sort, Range) Guideline"). If it holds the other fields of the
report too, the server reads no order at all: a covered query. Decides nothing about a plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pymongo.errors import OperationFailure

from motorctl.core import driver, field_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motorctl.client import Database
    from motorctl.core.revenue.selection import Orders

Kind = Literal["collection", "view", "timeseries", "absent"]


@dataclass(frozen=True)
class Wanted:
    """The keys of the index that a report wants, in order; none where no index can help.

    `whole`: it would hold every field that the report reads.
    """

    keys: tuple[str, ...] = ()
    whole: bool = False


def wanted(orders: Orders, grouped: Sequence[str] = ()) -> Wanted:
    """Return what a report wants; `grouped` are the fields that it reads besides status, date and amount.

    Without a condition all orders are read, whatever indexes there are. A field whose name has a dot or
    a dollar in it can't be a key.
    """
    dated = bool(orders.since or orders.until)
    if not (orders.status or dated) or (dated and not field_paths.plain(orders.date)):
        return Wanted()
    amounts = [orders.amount] if orders.amount_expression is None else list(_fields(orders.amount_expression))
    read = [*grouped, *([orders.currency] if orders.currency else []), *amounts]
    fields = [*(["status"] if orders.status else []), orders.date, *read]
    plain = dict.fromkeys(field for field in fields if field_paths.plain(field))
    return Wanted(tuple(plain), whole=all(map(field_paths.plain, fields)))


def serves(existing: Sequence[str], wanted: Wanted) -> bool:
    """Tell whether an index with these keys holds what a report wants: all fields, the first condition first."""
    return tuple(existing[:1]) == wanted.keys[:1] and set(wanted.keys) <= set(existing)


def command(collection: str, wanted: Wanted) -> str:
    """Return the line that makes the index, ready for a shell."""
    import shlex

    return shlex.join(["motorctl", "indexes", "create", collection, *wanted.keys])


async def key_lists(db: Database, collection: str) -> dict[str, list[str]]:
    """Return the keys of a collection's indexes by their names; hidden ones are left out."""
    found = await driver.list_indexes(db[collection])
    return {index["name"]: list(index["key"]) for index in found if not index.get("hidden")}


async def kind(db: Database, collection: str) -> Kind | None:
    """Tell what a name stands for; None for a user who may not ask."""
    try:
        answer = await db.command(
            {
                "listCollections": 1,
                "filter": {"name": collection},
                "nameOnly": True,
                "authorizedCollections": True,
            }
        )
    except OperationFailure:
        return None
    found = answer["cursor"]["firstBatch"]
    return found[0]["type"] if found else "absent"


async def names(db: Database) -> list[str]:
    """Return the names of the collections that the user may see."""
    found: list[str] = await db.list_collection_names(authorizedCollections=True)
    return [name for name in found if not name.startswith("system.")]


def _fields(expression: Any) -> Iterator[str]:
    """Yield the paths that an expression reads."""
    if isinstance(expression, str) and expression.startswith("$") and not expression.startswith("$$"):
        yield expression[1:]
    elif isinstance(expression, dict):
        for operator, inner in expression.items():
            if operator == "$getField":
                # no index has it: no `plain` name
                yield f"${inner}"
            elif operator != "$literal":
                yield from _fields(inner)
    elif isinstance(expression, (list, tuple)):
        for inner in expression:
            yield from _fields(inner)
