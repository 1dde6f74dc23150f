"""What is sent to compute the periods of a kept report: each written over an earlier one, and never over a later. Pure.

The figures stay on the server: what `amounts.read` and `shown` do to a sum is an expression here. Why
`as_of` decides who writes is told in `refresh`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bson.decimal128 import Decimal128
from pymongo import UpdateOne

from motorctl.core import periods
from motorctl.core.field_paths import path
from motorctl.core.revenue import amounts
from motorctl.core.revenue.selection import matching

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from bson.timestamp import Timestamp

    from motorctl.core.revenue.over_time import Series
    from motorctl.core.revenue.selection import Orders

_CLOCK_CHANGE = timedelta(hours=3)
"""No zone has put its clocks back by more: two hours of double summer time."""


def stages(
    orders: Orders, series: Series, labels: Sequence[str] | None, as_of: Timestamp, into: str
) -> list[dict[str, Any]]:
    """Return the pipeline that computes periods (all: None) and merges them into the kept report. Pure."""
    # Labels are made by the server whatever its version: here they are the documents' _id.
    key: dict[str, Any] = {"period": periods.label_expression(orders.date, series.by, series.tz)}
    if series.by_status:
        key["status"] = {"$ifNull": ["$status", None]}
    if orders.currency:
        key["currency"] = {"$ifNull": [path(orders.currency), None]}
    parts: list[dict[str, Any]] = []
    if labels is not None:
        zone = periods.zone(series.tz)
        ranges = [
            {orders.date: {"$gte": begin, "$lt": end}}
            for begin, end in joined([_around(label, series.by, zone) for label in labels])
        ]
        parts.append({"$match": ranges[0] if len(ranges) == 1 else {"$or": ranges}})
    parts += [
        *matching(orders),
        *amounts.prepare(orders),
        {"$group": {"_id": {**key, "skipped": amounts.skipped(orders)}, **amounts.sums(orders)}},
        {"$match": {"_id.period": {"$ne": None} if labels is None else {"$in": list(labels)}}},
    ]
    counted = {"$eq": [{"$type": "$_id.skipped"}, "missing"]}
    zero = Decimal128("0.00")
    told_apart = {name: f"$_id.{name}" for name in key if name != "period"}
    figures: dict[str, Any] = {
        **told_apart,
        "revenue": amounts.kept("$total", "$doubles"),
        "orders": "$orders",
        "average": {"$round": [{"$divide": ["$total", "$orders"]}, 2]},
    }
    # Integers whose sum is beyond 2^63 are a double, too.
    doubles = {"$or": ["$doubles", {"$eq": [{"$type": "$total"}, "double"]}]}
    # What is no number is in no figure, and in a group of its own.
    parts += [
        {"$set": {"total": amounts.exact("$total", "$doubles"), "doubles": doubles}},
        {"$sort": {"_id": 1}},
        {
            "$group": {
                "_id": "$_id.period",
                "groups": {"$push": {"$cond": [counted, figures, "$$REMOVE"]}},
                "skipped": {"$sum": {"$cond": [counted, 0, "$orders"]}},
            }
        },
    ]
    stamp = {"as_of": as_of, "computed_at": "$$NOW"}
    if told_apart:
        return [*parts, {"$set": stamp}, _merge(into)]
    one = {"$ifNull": [{"$first": "$groups"}, {"revenue": zero, "orders": 0, "average": zero}]}
    document = {"$mergeObjects": [{"_id": "$_id"}, one, {"skipped": "$skipped", **stamp}]}
    return [*parts, {"$replaceWith": document}, _merge(into)]


def _merge(into: str) -> dict[str, Any]:
    newer = {"$cond": [{"$gt": ["$$new.as_of", "$as_of"]}, "$$new", "$$ROOT"]}
    return {
        "$merge": {
            "into": into,
            "on": "_id",
            "whenMatched": [{"$replaceWith": newer}],
            "whenNotMatched": "insert",
        }
    }


def emptied(label: str, series: Series, as_of: Timestamp, orders: Orders) -> UpdateOne:
    """Return the write of a period that no order is left in: zero, unless somebody newer found one."""
    zero = Decimal128("0.00")
    figures: dict[str, Any] = {"revenue": zero, "orders": 0, "average": zero, "skipped": 0}
    if series.by_status or orders.currency:
        figures = {"groups": [], "skipped": 0}
    empty = {"_id": label, **figures, "as_of": as_of, "computed_at": "$$NOW"}
    newer = {"$cond": [{"$gt": [as_of, "$as_of"]}, empty, "$$ROOT"]}
    return UpdateOne({"_id": label}, [{"$replaceWith": newer}], upsert=True)


def _around(label: str, by: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return a range that no moment of a period is outside of.

    A period needn't be one range: in Newfoundland the clock went back from 0:01 to 23:01 until 2011, so
    that a day began, stopped and began again. The label decides, after the grouping.
    """
    begin, end = periods.bounds(label, by, zone)
    first, last = periods.BEGINNING + _CLOCK_CHANGE, periods.END - _CLOCK_CHANGE
    return max(begin, first) - _CLOCK_CHANGE, min(end, last) + _CLOCK_CHANGE


def joined(ranges: Sequence[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Join ranges, in time order, that touch or overlap: one scan for neighbours. Pure."""
    found: list[tuple[datetime, datetime]] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found
