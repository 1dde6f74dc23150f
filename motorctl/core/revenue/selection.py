"""Which orders a report counts, and what their fields are called. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motorctl.core.field_paths import path, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True)
class Orders:
    r"""Which orders count, and what their fields are called. `since` <= date < `until`; no status: any.

    A field is a path: `a.b` is `b` in `a`, and `a\.b` one field with a dot in its name (`\\` is a backslash
    before a dot or another one; alone it needs none). `amount_expression` is an aggregation expression that
    takes the place of the field `amount`. No `product`: `product_id`, and `product` where that is missing.
    With `since` or `until`, an order whose date is no date isn't there.
    """

    collection: str = "orders"
    amount: str = "amount"
    amount_expression: Mapping[str, Any] | None = None
    date: str = "created_at"
    customer: str = "user_id"
    product: str | None = None
    quantity: str = "qty"
    currency: str | None = None
    customers: str = "users"
    products: str = "inventory"
    status: Sequence[str] = ("completed",)
    since: datetime | None = None
    until: datetime | None = None


def matching(orders: Orders) -> list[dict[str, Any]]:
    """Return the stages that keep the orders that count: one `$match`, or none.

    A condition on a path can use an index. A name with a dot in it needs an expression, which can't.
    """
    conditions: dict[str, Any] = {}
    if orders.status:
        conditions["status"] = orders.status[0] if len(orders.status) == 1 else {"$in": list(orders.status)}
    limits = {
        operator: limit
        for operator, limit in (("$gte", orders.since), ("$lt", orders.until))
        if limit is not None
    }
    if limits and plain(orders.date):
        conditions[orders.date] = limits
    elif limits:
        date = path(orders.date)
        # Expressions compare across types: a string is after every date, and null before.
        conditions["$expr"] = {
            "$and": [
                {"$eq": [{"$type": date}, "date"]},
                *({operator: [date, limit]} for operator, limit in limits.items()),
            ]
        }
    return [{"$match": conditions}] if conditions else []
