"""Orders of several products, each counted as an order of its own: the stages that part them. Pure.

An order that names no product, but has `lines` with an amount each, is counted by them. What its amount has besides
(postage, a discount) is of no product: so the revenue by product adds up to that of the orders. One whose own amount
doesn't count, or the amount of one of its lines, stays whole.

No report asks for this before it has to: an array can't be in an index that holds all that a report reads, and
the stages take their time of each order. First it asks as for orders of one product each, and if some name none,
whether one of those has lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.revenue import selection

if TYPE_CHECKING:
    from motorctl.core.revenue.selection import Orders

# One object each: two pipelines are equal then.
_INFINITY = float("inf")


def possible(orders: Orders) -> bool:
    """Tell whether a report counts lines at all: where product, amount and quantity are in other fields, it doesn't."""
    return (orders.product, orders.amount, orders.amount_expression, orders.quantity) == (
        None,
        "amount",
        None,
        "qty",
    )


def some(orders: Orders) -> list[dict[str, Any]]:
    """Return the pipeline that finds one order which counts and may be parted; none if there is none."""
    named_by_none = {"product_id": None, "product": None, "lines.0": {"$exists": True}}
    return [*selection.matching(orders), {"$match": named_by_none}, {"$limit": 1}, {"$project": {"_id": 1}}]


def apart() -> list[dict[str, Any]]:
    """Return the stages that make an order of each line: `amount`, `qty` and `product_id` are the line's.

    `lines` is then {at, first, ...}: the place of the line, and whether its product is in none before it. Of an
    order that stays whole it is missing.
    """
    # Of a double 15 digits: what adds up for people has no rest.
    added = {"$sum": {"$map": {"input": "$lines", "in": {"$toDecimal": "$$this.amount"}}}}
    rest: dict[str, Any] = {"$subtract": [{"$toDecimal": "$amount"}, added]}
    parts = {"$concatArrays": ["$lines", {"$cond": [{"$eq": [rest, 0]}, [], [{"amount": rest}]]}]}
    line: dict[str, Any] = {"$arrayElemAt": ["$$parts", "$$at"]}
    parted = {
        "at": "$$at",
        "first": {"$eq": [{"$indexOfArray": ["$$products", "$$line_product"]}, "$$at"]},
        "product": "$$line_product",
        "qty": "$$line.qty",
        "amount": "$$line.amount",
    }
    each = {
        "$let": {
            "vars": {"line": line, "line_product": {"$arrayElemAt": ["$$products", "$$at"]}},
            "in": parted,
        }
    }
    lines = {
        "$let": {
            "vars": {"products": {"$map": {"input": "$$parts", "in": _product("$$this")}}},
            "in": {"$map": {"input": {"$range": [0, {"$size": "$$parts"}]}, "as": "at", "in": each}},
        }
    }
    lines = {"$let": {"vars": {"parts": parts}, "in": lines}}
    is_line = {"$ne": [{"$type": "$lines"}, "missing"]}
    return [
        {"$set": {"lines": {"$cond": [_parted(), lines, "$$REMOVE"]}}},
        {"$unwind": {"path": "$lines", "preserveNullAndEmptyArrays": True}},
        {
            "$set": {
                "product_id": {"$ifNull": ["$lines.product", "$product_id"]},
                "qty": {"$cond": [is_line, "$lines.qty", "$qty"]},
                "amount": {"$ifNull": ["$lines.amount", "$amount"]},
            }
        },
    ]


def counts() -> dict[str, Any]:
    """Return the accumulators `orders`, of each group's orders, and `begun`, of all: an order is in one group's only."""
    return {
        "orders": {"$sum": {"$cond": [{"$eq": ["$lines.first", False]}, 0, 1]}},
        "begun": {"$sum": {"$cond": [{"$gt": ["$lines.at", 0]}, 0, 1]}},
    }


def merged() -> dict[str, Any]:
    """Return the accumulator that adds up what `counts` has besides `orders`."""
    return {"begun": {"$sum": "$begun"}}


def _parted() -> dict[str, Any]:
    """Return the expression of whether an order is counted by its lines; the first condition is cheap, and mostly false."""
    each = {"$map": {"input": "$lines", "in": _finite("$$this.amount")}}
    return {
        "$and": [
            {"$isArray": "$lines"},
            {"$eq": [_product("$$ROOT"), None]},
            {"$ne": ["$lines", []]},
            _finite("$amount"),
            {"$allElementsTrue": [each]},
        ]
    }


def _product(of: str) -> dict[str, Any]:
    prefix = "$" if of == "$$ROOT" else f"{of}."
    return {"$ifNull": [f"{prefix}product_id", {"$ifNull": [f"{prefix}product", None]}]}


def _finite(amount: str) -> dict[str, Any]:
    return {"$and": [{"$gt": [amount, -_INFINITY]}, {"$lt": [amount, _INFINITY]}]}
