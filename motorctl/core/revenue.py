"""Revenue: sums of money over orders, by period and by customer.

Amounts may be Decimal128, double, int or long, mixed: each is turned into a decimal before it is added,
so that a sum of cents is the sum that a person would write down; it is rounded half-even to cents at
the end. Of a double the server takes the first 15 digits: cents are exact below 10 trillion. What is not a number is left out of every figure and counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING, Any

from bson.decimal128 import Decimal128

from motorctl.core import driver, periods

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from motorctl.client import Database

CENT = Decimal("0.01")
_TICK = timedelta(milliseconds=1)
# Decimal128 reaches 10^6144: cents of that are the most digits that a rounding can need.
_MONEY = Context(prec=6200, rounding=ROUND_HALF_EVEN)
_AVERAGE = Context(prec=40, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True)
class Orders:
    """Which orders count, and what their fields are called. `since` <= date < `until`; no status: any."""

    collection: str = "orders"
    amount: str = "amount"
    date: str = "created_at"
    customer: str = "user_id"
    customers: str = "users"
    status: Sequence[str] = ("completed",)
    since: datetime | None = None
    until: datetime | None = None


@dataclass
class Report:
    """Rows, and how many orders could not be counted for want of a number or a date."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    without_amount: int = 0
    without_date: int = 0


async def over_time(db: Database, orders: Orders, by: str, tz: str = "UTC", *, fill: bool = False) -> Report:
    """Sum revenue by period: rows {period, revenue, orders, average} in time order.

    With `fill`, periods without an order are there with zero, from the first that has one (or `since`)
    to the last (or `until`).
    """
    label = periods.label_expression(orders.date, by, tz)
    groups = await _collect(db, [*_matching(orders), *_grouped(orders, label), {"$sort": {"_id": 1}}], orders)
    report = Report()
    for group in groups:
        if group["_id"] is None:
            report.without_date += group["orders"] + group["without_amount"]
            continue
        report.without_amount += group["without_amount"]
        if group["orders"]:
            total = _money(group["total"])
            average = cents(_AVERAGE.divide(total, group["orders"]))
            report.rows.append(
                {
                    "period": group["_id"],
                    "revenue": cents(total),
                    "orders": group["orders"],
                    "average": average,
                }
            )
    if fill:
        report.rows = _filled(report.rows, orders, by, tz)
    return report


async def by_customer(db: Database, orders: Orders, top: int) -> Report:
    """Sum revenue by customer, the highest first: rows {user_id, user_name, total, count, avg}.

    The join with the customers comes after the grouping and the cut, so it looks up `top` documents;
    a customer who is gone has user_name None.
    """
    pipeline = [
        *_matching(orders),
        *_grouped(orders, f"${orders.customer}"),
        {
            "$facet": {
                "rows": [
                    {"$match": {"orders": {"$gt": 0}}},
                    {"$sort": {"total": -1, "_id": 1}},
                    {"$limit": top},
                    {
                        "$lookup": {
                            "from": orders.customers,
                            "localField": "_id",
                            "foreignField": "_id",
                            "as": "user",
                        }
                    },
                    {"$set": {"name": {"$first": "$user.name"}}},
                    {"$unset": "user"},
                ],
                "left_out": [{"$group": {"_id": None, "count": {"$sum": "$without_amount"}}}],
            }
        },
    ]
    (found,) = await _collect(db, pipeline, orders)
    report = Report(without_amount=sum(group["count"] for group in found["left_out"]))
    for group in found["rows"]:
        total = _money(group["total"])
        report.rows.append(
            {
                "user_id": None if group["_id"] is None else str(group["_id"]),
                "user_name": group.get("name"),
                "total": cents(total),
                "count": group["orders"],
                "avg": cents(_AVERAGE.divide(total, group["orders"])),
            }
        )
    return report


def cents(amount: Decimal) -> Decimal:
    """Round to cents, half to even."""
    return amount.quantize(CENT, context=_MONEY)


def _matching(orders: Orders) -> list[dict[str, Any]]:
    conditions: dict[str, Any] = {}
    if orders.status:
        conditions["status"] = orders.status[0] if len(orders.status) == 1 else {"$in": list(orders.status)}
    limits = {"$gte": orders.since, "$lt": orders.until}
    if limits := {operator: limit for operator, limit in limits.items() if limit is not None}:
        conditions[orders.date] = limits
    return [{"$match": conditions}] if conditions else []


def _grouped(orders: Orders, key: Any) -> list[dict[str, Any]]:
    amount = f"${orders.amount}"
    # $isNumber is true of NaN and the infinities; both would swallow the whole sum.
    finite = {
        "$and": [{"$isNumber": amount}, {"$gt": [amount, float("-inf")]}, {"$lt": [amount, float("inf")]}]
    }
    return [
        {"$project": {"_id": 0, "key": key, "amount": {"$cond": [finite, {"$toDecimal": amount}, None]}}},
        {
            "$group": {
                "_id": "$key",
                "total": {"$sum": "$amount"},
                "orders": {"$sum": {"$cond": [{"$eq": ["$amount", None]}, 0, 1]}},
                "without_amount": {"$sum": {"$cond": [{"$eq": ["$amount", None]}, 1, 0]}},
            }
        },
    ]


async def _collect(db: Database, pipeline: list[dict[str, Any]], orders: Orders) -> list[dict[str, Any]]:
    cursor = await driver.aggregate(db[orders.collection], pipeline, allowDiskUse=True)
    return [group async for group in cursor]


def _filled(rows: list[dict[str, Any]], orders: Orders, by: str, tz: str) -> list[dict[str, Any]]:
    zone = periods.zone(tz)
    first = (
        periods.label(orders.since.astimezone(zone), by)
        if orders.since
        else rows[0]["period"]
        if rows
        else None
    )
    last = rows[-1]["period"] if rows else None
    if orders.until:
        # half-open: the last period is the one that the moment before `until` lies in
        last = periods.label((orders.until - _TICK).astimezone(zone), by)
    if first is None or last is None:
        return rows
    known = {row["period"]: row for row in rows}
    empty = {"revenue": cents(Decimal(0)), "orders": 0, "average": cents(Decimal(0))}
    return [known.get(label) or {"period": label, **empty} for label in periods.labels(first, last, by)]


def _money(value: Any) -> Decimal:
    return value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)
