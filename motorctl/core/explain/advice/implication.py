"""Whether every document that a query finds is one that a partial index holds. Pure.

Three answers: True and False are proven, None is neither. The server's own test is `expression::isSubsetOf` (its
source, `expression_algo.cpp`): it looks at one condition at a time, as this does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from motorctl.core.explain.advice.conditions import UNKNOWN, Condition, Filter, take_apart
from motorctl.core.schema.compare import same

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPARISONS = frozenset({"$eq", "$gt", "$gte", "$lt", "$lte"})
_THERE = frozenset({"$regex", "$type", "$mod", "$size"})
"""Operators that are true of a field only where it is there."""


def implies(query: Filter, partial: Mapping[str, Any], *, collated: bool = False) -> bool | None:
    """Tell whether a filter asks for what the filter of a partial index demands.

    `collated`: strings are compared by other rules than those of their code points.
    """
    demanded = take_apart(partial)
    answer = _implies(query, demanded, collated=collated)
    if answer is True or not query.choices:
        return answer
    for branches in query.choices:
        outer = replace(query, choices=tuple(one for one in query.choices if one is not branches))
        answers = [implies(outer & branch, partial, collated=collated) for branch in branches]
        if all(one is True for one in answers):
            return True
        if any(one is None for one in answers):
            answer = None
    return answer


def _implies(query: Filter, demanded: Filter, *, collated: bool) -> bool | None:
    if demanded.choices or demanded.opaque:
        return None
    answers = [_met(query, one, collated=collated) for one in demanded.conditions]
    if all(one is True for one in answers):
        return True
    return False if any(one is False for one in answers) else None


def _met(query: Filter, demand: Condition, *, collated: bool) -> bool | None:
    about = query.of(demand.path)
    answers = [_follows(one, demand, collated=collated) for one in about]
    if any(one is True for one in answers):
        return True
    # Two together may say what none says alone; so may what isn't understood.
    certain = all(one is False for one in answers) and not query.opaque and len(about) < 2
    return False if certain else None


def _follows(known: Condition, demand: Condition, *, collated: bool) -> bool | None:
    """Tell whether one condition on a field follows from another."""
    if known.expression or known.value is UNKNOWN or (known.element and known.operator != "$eq"):
        return None
    if demand.operator == "$exists":
        return _is_there(known) if demand.value else None
    if known.operator == demand.operator and same(known.value, demand.value):
        return True
    if demand.operator == "$in":
        return _each(known, lambda value: _any_same(value, demand.values, collated=collated))
    if demand.operator not in _COMPARISONS:
        return None
    if known.operator == "$in":
        return _each(
            known,
            lambda value: _ordered(
                replace(known, operator="$eq", value=value, role="equality"), demand, collated=collated
            ),
        )
    return _ordered(known, demand, collated=collated)


def _is_there(known: Condition) -> bool | None:
    match known.operator:
        case "$exists":
            return bool(known.value)
        case "$eq" | "$gt" | "$gte" | "$lt" | "$lte":
            return known.value is not None
        case "$in":
            return all(value is not None for value in known.values)
        case "$ne":
            return known.value is None
        case "$nin":
            return True if None in known.values else None
        case operator if operator in _THERE:
            return True
    return None


def _each(known: Condition, test: Any) -> bool | None:
    if known.operator not in ("$eq", "$in"):
        return None if known.operator in _COMPARISONS else False
    answers = [test(value) for value in known.values]
    if all(answer is True for answer in answers):
        return True
    return False if any(answer is False for answer in answers) else None


def _any_same(value: Any, others: list[Any], *, collated: bool) -> bool | None:
    if any(same(value, other) for other in others):
        return True
    return None if collated or isinstance(value, list | dict) or value is None else False


def _ordered(known: Condition, demand: Condition, *, collated: bool) -> bool | None:
    if known.operator not in _COMPARISONS:
        # No value is given: nothing definite follows.
        return False if known.operator in ("$exists", "$ne", "$nin", "$mod", "$size") else None
    one, other = _comparable(known.value), _comparable(demand.value)
    if one is None or other is None or (collated and one[0] == "string"):
        return None
    if one[0] != other[0]:
        return False
    have, want = one[1], other[1]
    match known.operator, demand.operator:
        case "$eq", "$eq":
            return bool(have == want)
        case _, "$eq":
            return False
        case ("$eq", "$gt") | ("$gte", "$gt"):
            return bool(have > want)
        case ("$eq" | "$gt" | "$gte", "$gte") | ("$gt", "$gt"):
            return bool(have >= want)
        case ("$eq", "$lt") | ("$lte", "$lt"):
            return bool(have < want)
        case ("$eq" | "$lt" | "$lte", "$lte") | ("$lt", "$lt"):
            return bool(have <= want)
    return False


def _comparable(value: Any) -> tuple[str, Any] | None:
    """Return a value with the group of types that the server compares it among; None: not known here."""
    match value:
        case bool():
            return "bool", value
        case int() | float() | Decimal128():
            number = value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)
            return None if number.is_nan() else ("number", number)
        case str():
            # Python orders code points, the server bytes of UTF-8: the same order.
            return "string", value
        case datetime() if value.tzinfo is not None:
            return "date", value
        case ObjectId():
            return "objectId", value
    return None
