"""How an order stands in the database, whoever wrote it: found, read into plain values, shown. Writes nothing."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymongo.read_concern import ReadConcern

from motorctl.core import driver, inventory
from motorctl.errors import NotFoundError, OutcomeUnknownError, RefusedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from motorctl.client import Database
    from motorctl.core.records import Query

ORDERS = "orders"
STATUSES = ("pending", "completed", "cancelled", "refunded")
NEWEST = (("created_at", -1), ("_id", -1))

_FIRST = ("user_id", "product_id", "product", "qty", "price", "lines", "amount", "status", "replayed")
_MONEY = ("price", "amount")


@dataclass(frozen=True)
class Line:
    """So many pieces of a product, by the id that the order has for it."""

    product: Any
    qty: int


def lines(order: Mapping[str, Any]) -> list[Line]:
    """Return what an order is of: its product, else its lines.

    Raises RefusedError (6) in words where it doesn't say which product, or how many of it.
    """
    parts = [order]
    if _product(order) is None and isinstance(order.get("lines"), list) and order["lines"]:
        parts = order["lines"]
    return [_line(part, str(order["_id"])) for part in parts]


async def get(db: Database, typed: str) -> dict[str, Any]:
    """Return the order with this id, as a majority of the members has it. Raises NotFoundError (5)."""
    orders = inventory.primary(db).get_collection(ORDERS, read_concern=ReadConcern("majority"))
    found = [order async for order in orders.find({"_id": {"$in": inventory.candidates(typed)}})]
    return meant(typed, found)


def meant(typed: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return which of the orders found a typed id means. Raises NotFoundError (5) and RefusedError (6)."""
    order = inventory.meant(typed, found, "order")
    if order is None:
        raise NotFoundError(
            f"no order {typed}", hint="`motorctl orders list` shows what is there", order=typed
        )
    return dict(order)


async def find(db: Database, query: Query) -> AsyncIterator[dict[str, Any]]:
    """Yield orders as they are shown: the newest first, unless the query says another order."""
    cursor = db[ORDERS].find(query.filter, batch_size=driver.LIST_BATCH).sort(list(query.sort or NEWEST))
    async for order in cursor.skip(query.skip).limit(query.limit).allow_disk_use(True):
        yield shown(order)


@contextmanager
def named(order: str, *, again: str, untouched: str) -> Iterator[None]:
    """Put an order into the two ends of its transaction that are nobody's answer, and what to do then.

    `again` goes with an outcome that is unknown (9), `untouched` with nothing written (3).
    """
    try:
        yield
    except OutcomeUnknownError as error:
        error.message = f"order {order}: {error.message}"
        error.hint = f"`motorctl orders get {shlex.quote(order)}` tells; {again}"
        error.details["order"] = order
        raise
    except UnreachableError as error:
        error.hint = f"{untouched}: {error.hint}"
        error.details["order"] = order
        raise


def shown(order: Mapping[str, Any], *, replayed: bool | None = None) -> dict[str, Any]:
    """Return an order as users see it: {id, user_id, product_id, qty, price, lines, amount, status, ...}.

    It has the fields that the document has; amounts are exact decimals. `replayed`: nothing was written for it,
    because it was so already.
    """
    told = {name: value for name, value in order.items() if name not in ("_id", "id")}
    if replayed is not None:
        told["replayed"] = replayed
    told = {name: inventory.plain(value) if name in _MONEY else value for name, value in told.items()}
    if isinstance(told.get("lines"), list):
        told["lines"] = [_shown_line(line) for line in told["lines"]]
    own = {name: told[name] for name in _FIRST if name in told}
    # What another program calls `id` is not what finds it.
    return ({"id": str(order["_id"])} if "_id" in order else {}) | own | told


def _shown_line(line: Any) -> Any:
    if not isinstance(line, dict):
        return line
    return {name: inventory.plain(value) if name in _MONEY else value for name, value in line.items()}


def _product(part: Mapping[str, Any]) -> Any:
    return part.get("product") if part.get("product_id") is None else part["product_id"]


def _line(part: Any, order: str) -> Line:
    if not isinstance(part, dict) or _product(part) is None:
        raise RefusedError(f"order {order} doesn't say which product it is of", order=order)
    product = _product(part)
    qty = inventory.whole(part.get("qty"))
    if qty is None or qty < 1:
        said = "how many" if part.get("qty") is None else f"how many: its qty is {part['qty']}"
        raise RefusedError(
            f"order {order} doesn't say {said}, of product {product}", order=order, product=str(product)
        )
    return Line(product, qty)
