"""A query that compares a field with a value of another type than it holds: it finds nothing. Pure.

The server compares only within a group of types (MongoDB's manual, "Comparison/Sort Order"): a string is
never equal to an ObjectId, and no range of strings has a date in it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from motorctl.core.explain.advice.conditions import UNKNOWN, Condition, is_regex
from motorctl.core.explain.advice.model import NUMBERS, Facts, Sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from motorctl.core.explain.advice.shape import Look

_COMPARED = frozenset({"$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$regex"})
_ENOUGH = 5
"""Values in a sample from which something is said of all of them."""

_WORDS = {"objectId": "an ObjectId", "int": "an integer", "object": "a document", "array": "an array"}


def mismatches(one: Look, facts: Facts) -> Iterator[Sentence]:
    """Yield a sentence for each field that the query compares with values of a type that the field hasn't."""
    said: set[str] = set()
    for condition in one.filter.every():
        held = facts.types.get(condition.path)
        if held is None or condition.path in said or condition.operator not in _COMPARED:
            continue
        counts = {name: count for name, count in held.counts.items() if name not in ("null", "undefined")}
        asked = {_group(value) for value in condition.values}
        if not asked or None in asked or (condition.expression and condition.operator != "$eq"):
            continue
        groups = {_group_of(name) for name in counts}
        # What is in an array of arrays nobody has looked at.
        nested = len(held.arrays) > 1 or (held.arrays and condition.path not in held.arrays)
        if asked & groups or sum(counts.values()) < _ENOUGH or ("array" in groups and nested):
            continue
        said.add(condition.path)
        yield Sentence("type_mismatch", _text(condition, counts, facts.sampled))


def _text(condition: Condition, counts: Mapping[str, int], sampled: int) -> str:
    given = " or ".join(sorted({_word(_group(value) or "") for value in condition.values}))
    # An array is told by what is in it.
    held = [name for name in sorted(counts, key=lambda name: -counts[name]) if name != "array"] or ["array"]
    others = " or ".join(dict.fromkeys(_word(name) for name in held[:3]))
    text = (
        f"{condition.path} is {others} in every one of {sampled:,} sampled documents that has it, and the query "
        f"compares it with {given}: such values never match, with an index or without"
    )
    way_out = _written(condition.values[0], held[0])
    return f"{text}; write {way_out}" if way_out else text


def _written(value: Any, wanted: str) -> str | None:
    """Say how the value would be written as the type that the field has."""
    if isinstance(value, str):
        if wanted == "objectId" and re.fullmatch(r"[0-9a-fA-F]{24}", value):
            return 'it as {"$oid": "..."}'
        if wanted == "date":
            return 'it as {"$date": "..."}'
        if wanted in NUMBERS and re.fullmatch(r"-?\d+(\.\d+)?", value):
            return "the number without quotes"
        if wanted == "bool" and value in ("true", "false"):
            return f"{value} without quotes"
    if wanted == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return "the number in quotes"
    if wanted == "date" and isinstance(value, int) and not isinstance(value, bool):
        return 'it as {"$date": "..."}'
    return (
        'the id in quotes, not as {"$oid": ...}'
        if wanted == "string" and isinstance(value, ObjectId)
        else None
    )


def _word(name: str) -> str:
    if name in NUMBERS or name == "number":
        return "a number"
    return _WORDS.get(name, f"a {name}")


def _group_of(name: str) -> str:
    return "number" if name in NUMBERS else name


def _group(value: Any) -> str | None:
    """Name the group of types that a value is compared with; None: with several, or nobody knows."""
    if value is UNKNOWN or value is None:
        return None
    if is_regex(value):
        return "string"
    match value:
        case bool():
            return "bool"
        case int() | float() | Decimal128():
            return "number"
        case str():
            return "string"
        case ObjectId():
            return "objectId"
        case datetime() | DatetimeMS():
            return "date"
        case Timestamp():
            return "timestamp"
        case Binary() | bytes():
            return "binData"
    return None
