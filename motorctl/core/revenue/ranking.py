"""Revenue by customer and by product: the best of them, and all others as one row, in one pass over the orders.

The server groups the orders, sorts the groups, cuts them and looks the names up after the cut: as many
look-ups as there are rows. What comes back is as small as the report. Without currencies a `$facet` behind the
`$sort` cuts: the groups go through it once, and it holds none but the first. With them every currency has ranks of
its own, counted by `$setWindowFields` (from 5.0); an older server collects the groups of a currency in an array,
which it allows 100 MB. Decides nothing about how money is added: that is `amounts`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from bson import Binary, DatetimeMS
from bson.decimal128 import Decimal128

from motorctl.core import driver, extjson, field_paths
from motorctl.core.revenue import amounts, lines, selection
from motorctl.core.revenue.amounts import Sum
from motorctl.core.revenue.report import Question, Report, ask
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from motorctl.client import Database
    from motorctl.core.revenue.selection import Orders

MOST = 10_000
"""How many rows a report ranks at most: they pass through one document of the server, which has 16 MB."""

_HAS_WINDOWS = (5, 0)
_FLOAT_DIGITS = 15


@dataclass(frozen=True)
class Ranking:
    """What is ranked by its revenue, and how many of them have a row of their own.

    `by_line`: orders of several products are counted by product line by line, and not as orders of none.
    """

    noun: Literal["customer", "product"]
    top: int = 10
    by_line: bool = False


def question(orders: Orders, ranking: Ranking, version: tuple[int, int] | None = None) -> Question:
    """Return the aggregation of the report. Without a `version` it is one that servers from 4.4 on take.

    Raises UsageError (2) for a `top` beyond 1 to 10,000, and for names of fields that need `$getField` on a
    server that is older.
    """
    if not 1 <= ranking.top <= MOST:
        raise UsageError(f"{ranking.top} is not from 1 to {MOST:,}: so many have a row of their own")
    _check_names(orders, ranking, version)
    key = _key(orders, ranking)
    grouped = (
        {"k": key, "c": {"$ifNull": [field_paths.path(orders.currency), None]}} if orders.currency else key
    )
    when = _when(orders)
    group = {
        "_id": amounts.keyed(orders, grouped),
        **amounts.sums(orders),
        **({"quantity": {"$sum": _quantity(orders)}} if ranking.noun == "product" else {}),
        "first": {"$min": when},
        "last": {"$max": when},
        **(lines.counts() if ranking.by_line else {}),
    }
    return Question(
        orders.collection,
        [
            *selection.matching(orders),
            *(lines.apart() if ranking.by_line else []),
            *amounts.prepare(orders),
            {"$group": group},
            *(_cut_by_currency(orders, ranking, version) if orders.currency else _cut(orders, ranking)),
        ],
    )


async def ranked(
    db: Database, orders: Orders, ranking: Ranking, version: tuple[int, int] | None = None
) -> Report:
    """Rank customers or products by revenue, the highest first, and the rest as one row.

    Rows by customer: {user_id, user_name, total, count, avg, share, first_order, last_order, customers}; by
    product: {product, name, revenue, quantity, orders, share, first_order, last_order, products}; both with
    {currency} when that is asked for, and then ranked in each currency for itself. `read` says what they hold.
    May run twice. Raises UsageError (2). Orders of several products are counted by line, in a second question
    which is asked only if there are some.
    """
    if version is None:
        version = await driver.server_version(db)
    groups = await ask(db, question(orders, ranking, version))
    if _has_nameless(groups) and (wanted := await by_line(db, orders, ranking)).by_line:
        ranking = wanted
        groups = await ask(db, question(orders, ranking, version))
    return read(groups, orders, ranking)


async def by_line(db: Database, orders: Orders, ranking: Ranking) -> Ranking:
    """Return the ranking that counts lines, if that is by product and some order has any; else the one given."""
    if ranking.noun != "product" or ranking.by_line or not lines.possible(orders):
        return ranking
    cursor = await driver.aggregate(db[orders.collection], lines.some(orders))
    return replace(ranking, by_line=bool([one async for one in cursor]))


def read(groups: Iterable[Mapping[str, Any]], orders: Orders, ranking: Ranking) -> Report:
    """Return the report that an answer makes.

    The row of the rest is the last; its id is null, and `customers` (or `products`) says how many it stands
    for. Orders without a customer are a row of their own with a null id, which stands for 0, at its place
    among the others. In all other rows that is 1. An order of several products is one of `orders` in the row of each
    of them, and in that of the rest once for each. `share` is in per cent of what is counted (of the
    currency), one digit, half-even; null when that is zero. Ids are text, whatever type they have; a name
    is null where the id isn't in the other collection, "" where it is there and has none. Dates are null where no order's date is a date.
    """
    report, answer = Report(), _taken(groups)
    report.skipped = amounts.reasons(answer.skipped)
    for currency in sorted(answer.parts, key=lambda value: (value is None, str(value))):
        entries = list(answer.parts[currency].entries())
        sums = [amounts.read(group) for _, _, group in entries]
        whole = sum(sums, Sum())
        for (key, members, group), found in zip(entries, sums, strict=True):
            row = _row(key, members, group, found, whole, ranking)
            report.rows.append(_with_currency(row, currency) if orders.currency else row)
        report.rounded |= whole.rounded
        report.cut |= any(found.cut for found in sums)
        if orders.currency and currency is None:
            begun = "begun" if ranking.by_line else "orders"
            report.without_currency += sum(int(group[begun]) for _, _, group in entries)
    return report


# ---- the pipeline


def _key(orders: Orders, ranking: Ranking) -> dict[str, Any]:
    """Return the expression of who an order is of: null where it is of nobody."""
    if ranking.noun == "customer":
        return {"$ifNull": [field_paths.path(orders.customer), None]}
    if orders.product is not None:
        return {"$ifNull": [field_paths.path(orders.product), None]}
    return {"$ifNull": ["$product_id", {"$ifNull": ["$product", None]}]}


def _quantity(orders: Orders) -> dict[str, Any]:
    # One NaN or infinity would be the whole sum.
    quantity = field_paths.path(orders.quantity)
    finite = {"$and": [{"$gt": [quantity, float("-inf")]}, {"$lt": [quantity, float("inf")]}]}
    return {"$cond": [finite, quantity, 0]}


def _when(orders: Orders) -> dict[str, Any]:
    """Return an order's date, and null, which $min and $max pass over, where it is none."""
    when = field_paths.path(orders.date)
    return {"$cond": [{"$eq": [{"$type": when}, "date"]}, when, None]}


def _merged(ranking: Ranking) -> dict[str, Any]:
    """Return the accumulators that make one group of many."""
    return {
        **amounts.merged(),
        **({"quantity": {"$sum": "$quantity"}} if ranking.noun == "product" else {}),
        "first": {"$min": "$first"},
        "last": {"$max": "$last"},
        "members": {"$sum": 1},
        **(lines.merged() if ranking.by_line else {}),
    }


def _named(orders: Orders, ranking: Ranking, key: str) -> list[dict[str, Any]]:
    """Return the stages that give a row its name: `$lookup` can't project before 5.0, so that it is cut after it."""
    source = orders.customers if ranking.noun == "customer" else orders.products
    return [
        {"$lookup": {"from": source, "localField": key, "foreignField": "_id", "as": "found"}},
        # Who has no name is still there: only of one who isn't it is null.
        {
            "$set": {
                "name": {
                    "$ifNull": [{"$first": "$found.name"}, {"$cond": [{"$eq": ["$found", []]}, None, ""]}]
                }
            }
        },
        {"$unset": "found"},
    ]


def _cut(orders: Orders, ranking: Ranking) -> list[dict[str, Any]]:
    """Return the stages that make {top, rest, aside} of the groups; their `_id` is the key, or what was skipped."""
    somebody = {"$match": {"_id": {"$ne": None}, "_id.skipped": {"$exists": False}}}
    nobody = {"$match": {"$or": [{"_id": None}, {"_id.skipped": {"$exists": True}}]}}
    return [
        {"$sort": {"total": -1, "_id": 1}},
        {
            "$facet": {
                "top": [somebody, {"$limit": ranking.top}, *_named(orders, ranking, "_id")],
                "rest": [somebody, {"$skip": ranking.top}, {"$group": {"_id": None, **_merged(ranking)}}],
                "aside": [nobody],
            }
        },
    ]


def _cut_by_currency(
    orders: Orders, ranking: Ranking, version: tuple[int, int] | None
) -> list[dict[str, Any]]:
    """Return the stages that leave the groups {k, c} of the best in each currency, and {rest} for all others of it."""
    somebody = {"$ne": [{"$ifNull": ["$_id.k", None]}, None]}
    if version is not None and version >= _HAS_WINDOWS:
        # Nobody's orders take no rank. (To part them by an expression takes a third longer.)
        counted = {"$sum": {"$cond": [somebody, 1, 0]}, "window": {"documents": ["unbounded", "current"]}}
        window = {"partitionBy": "$_id.c", "sortBy": {"total": -1, "_id.k": 1}, "output": {"rank": counted}}
        ranks: list[dict[str, Any]] = [{"$setWindowFields": window}]
    else:
        apart = {"currency": "$_id.c", "somebody": somebody}
        ranks = [
            {"$sort": {"total": -1, "_id.k": 1}},
            {"$group": {"_id": apart, "group": {"$push": "$$ROOT"}}},
            {"$unwind": {"path": "$group", "includeArrayIndex": "index"}},
            {"$replaceWith": {"$mergeObjects": ["$group", {"rank": {"$add": ["$index", 1]}}]}},
        ]
    others = {"$and": [somebody, {"$gt": ["$rank", ranking.top]}]}
    return [
        *ranks,
        {"$group": {"_id": {"$cond": [others, {"rest": "$_id.c"}, "$_id"]}, **_merged(ranking)}},
        {"$sort": {"total": -1, "_id.k": 1}},
        *_named(orders, ranking, "_id.k"),
    ]


def _check_names(orders: Orders, ranking: Ranking, version: tuple[int, int] | None) -> None:
    if version is None:
        return
    names = [orders.date, orders.currency, None if orders.amount_expression is not None else orders.amount]
    names += [orders.customer] if ranking.noun == "customer" else [orders.product, orders.quantity]
    field_paths.check(names, version)


# ---- the answer

Group = dict[str, Any]
_Entry = tuple[Any, int, Group]


@dataclass
class _Part:
    """The groups of a currency: the best in order, those of nobody, and the rest."""

    top: list[Group] = field(default_factory=list)
    nobody: Group | None = None
    rest: Group | None = None

    def entries(self) -> Iterator[_Entry]:
        """Yield (key, how many it stands for, group) in the order of the rows."""
        nobody = self.nobody
        for group in self.top:
            if nobody is not None and _total(nobody) > _total(group):
                yield None, 0, nobody
                nobody = None
            yield group["key"], 1, group
        if nobody is not None:
            yield None, 0, nobody
        if self.rest is not None:
            yield None, int(self.rest["members"]), self.rest


@dataclass
class _Answer:
    """The groups of an answer by what they are."""

    parts: dict[Any, _Part] = field(default_factory=lambda: defaultdict(_Part))
    skipped: list[tuple[str, int]] = field(default_factory=list)

    def take(self, group: Mapping[str, Any]) -> None:
        if "aside" in group:
            # what the `$facet` made of groups that have no currency
            for one in group["aside"]:
                self._take_one(one, {"k": None} if one["_id"] is None else one["_id"])
            for one in group["top"]:
                self._take_one(one, {"k": one["_id"]})
            for one in group["rest"]:
                self._take_one(one, {"rest": None})
        else:
            self._take_one(group, group["_id"])

    def _take_one(self, group: Mapping[str, Any], place: Mapping[str, Any]) -> None:
        if "skipped" in place:
            self.skipped.append((place["skipped"], int(group["orders"])))
        elif "rest" in place:
            self.parts[_text(place["rest"])].rest = dict(group)
        elif place["k"] is None:
            self.parts[_text(place.get("c"))].nobody = dict(group)
        else:
            self.parts[_text(place.get("c"))].top.append({**group, "key": place["k"]})


def _taken(groups: Iterable[Mapping[str, Any]]) -> _Answer:
    answer = _Answer()
    for group in groups:
        answer.take(group)
    return answer


def _has_nameless(groups: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether some orders that count are of nobody: without a customer, or without a product."""
    return any(part.nobody is not None for part in _taken(groups).parts.values())


def _total(group: Group) -> Decimal:
    return amounts.read(group).total


def _row(key: Any, members: int, group: Group, found: Sum, whole: Sum, ranking: Ranking) -> dict[str, Any]:
    total, average = amounts.shown(found), amounts.average(found)
    # A $lookup finds the documents of an array's members, and for null those without the field.
    name = None if key is None or isinstance(key, list) else _text(group.get("name"))
    dates = {
        "share": _share(found, whole),
        "first_order": _moment(group["first"]),
        "last_order": _moment(group["last"]),
    }
    if ranking.noun == "customer":
        who = {"user_id": _text(key), "user_name": name}
        return {**who, "total": total, "count": found.orders, "avg": average, **dates, "customers": members}
    what = {"product": _text(key), "name": name}
    quantity = _number(group["quantity"])
    return {
        **what,
        "revenue": total,
        "quantity": quantity,
        "orders": found.orders,
        **dates,
        "products": members,
    }


def _with_currency(row: dict[str, Any], currency: str | None) -> dict[str, Any]:
    items = list(row.items())
    return dict([*items[:2], ("currency", currency), *items[2:]])


def _share(found: Sum, whole: Sum) -> Decimal | None:
    if not whole.total:
        return None
    return Decimal(f"{round(Fraction(found.total) / Fraction(whole.total) * 1000)}E-1")


def _number(value: Any) -> int | Decimal:
    """Return a quantity: an integer where it is whole; of a double the digits that it is sure to hold."""
    number = value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)
    if isinstance(value, float):
        number = Decimal(f"{value:.{_FLOAT_DIGITS}g}")
    return int(number) if number == number.to_integral_value() else number.normalize()


def _moment(value: Any) -> datetime | None:
    # A date beyond the years 1 to 9999 comes as DatetimeMS: no calendar here has it.
    return value if isinstance(value, datetime) else None


def _text(value: Any) -> str | None:
    """Return an id, a name or a currency as text; the same for numbers that are equal, which are one group."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Binary) and value.subtype == 4 and len(value) == 16:
        return str(value.as_uuid())
    if isinstance(value, (int, float, Decimal128)) and not isinstance(value, bool):
        number = value.to_decimal() if isinstance(value, Decimal128) else Decimal(str(value))
        if not number.is_finite():
            return str(number)
        return f"{number.normalize() if number else Decimal(0):f}"
    if isinstance(value, DatetimeMS):
        return str(int(value))
    if isinstance(value, date):
        return (
            value.astimezone(UTC).isoformat().replace("+00:00", "Z")
            if isinstance(value, datetime)
            else str(value)
        )
    if isinstance(value, (bool, bytes, dict, list)):
        return extjson.dumps({"_": value}).decode()[5:-1]
    return str(value)
