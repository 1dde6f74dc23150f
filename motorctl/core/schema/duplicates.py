"""The question to a server which documents share the key of a unique index. Pure; asking is others'.

May miss some, of arrays in arrays for example: the build finds them. Never takes for duplicates what the
server doesn't.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from motorctl.core.schema.model import Index

_GEO = ("2d", "2dsphere")

_OWN = "motorctl_"
"""How the names begin of the fields that the stages add to documents on their way."""


def can_be_asked(index: Index) -> bool:
    """Tell whether the pipeline understands an index's keys: a step that is a number may be a position."""
    parts = {part for field in index.keys for part in field.split(".")}
    return bool(index.options.get("unique")) and not index.is_text and not any(p.isdigit() for p in parts)


def stages(keys: Mapping[str, Any] | list[str], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the stages whose result is a document for each key that several documents share.

    `keys` are the index's, or just the fields where all kinds are plain.
    `_id` is the list of the key's values, `count` how often it stands in documents, `arrays` whether it
    stands in an array of one of them (a document may hold it twice then). Other fields aren't promised.
    """
    fields = list(keys)
    return [
        *_entries(keys, options),
        {
            "$group": {
                "_id": _key(fields),
                "count": {"$sum": 1},
                "arrays": {"$max": {"$or": [{"$gte": [f"${_at(n)}", 0]} for n in range(len(paths(fields)))]}},
                "first": {"$min": "$_id"},
                "last": {"$max": "$_id"},
            }
        },
        # One document may hold a value twice.
        {"$match": {"$expr": {"$ne": ["$first", "$last"]}}},
        {"$addFields": {"_id": {"$slice": ["$_id", len(fields)]}}},
    ]


def stages_without_arrays(fields: list[str], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write what `stages` does for a collection that holds no array in these fields.

    It reads nothing but them: an index that has them answers it alone.
    """
    return [
        {"$match": options.get("partialFilterExpression", {})},
        {"$group": {"_id": [_value(field) for field in fields], "count": {"$sum": 1}}},
        {"$match": {"count": {"$gt": 1}}},
    ]


def holders(
    keys: Mapping[str, Any] | list[str], options: Mapping[str, Any], values: Sequence[Any], limit: int
) -> list[dict[str, Any]]:
    """Write the stages whose result are the `_id`s of documents that hold a key which `stages` found."""
    fields = list(keys)
    # A superset that an index gives: null is left out, for to a query it isn't quite what it is to an index.
    near = {
        field: {"$eq": value}
        for field, value in zip(fields, values, strict=True)
        if value is not None and value != []
    }
    exact = {"$eq": [{"$slice": [_key(fields), len(fields)]}, {"$literal": list(values)}]}
    return [
        {"$match": near},
        *_entries(keys, options),
        {"$match": {"$expr": exact}},
        {"$group": {"_id": "$_id"}},
        {"$sort": {"_id": 1}},
        {"$limit": limit},
    ]


def _entries(keys: Mapping[str, Any] | list[str], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the stages that make of each document as many as the index has entries of it."""
    # An array has an index entry for each of its elements, at any level of a dotted name.
    fields = list(keys)
    kinds = keys if isinstance(keys, Mapping) else {}
    places = [field for field, kind in kinds.items() if kind in _GEO]
    # Beside a 2d field an array is one value, and in a place the pair of its numbers is.
    wholes = fields if "2d" in kinds.values() else places
    steps = paths(fields)
    result: list[dict[str, Any]] = [{"$match": options.get("partialFilterExpression", {})}]
    for n, path in enumerate(steps):
        if path in wholes:
            continue
        if path in fields:
            # To an index an empty array isn't the null that unwinding makes of it.
            result.append({"$addFields": {_empty(fields, path): {"$eq": [f"${path}", []]}}})
        unwind = {"path": f"${path}", "includeArrayIndex": _at(n), "preserveNullAndEmptyArrays": True}
        result.append({"$unwind": unwind})
    inner = [path for path in steps if any(field.startswith(f"{path}.") for field in fields)]
    if inner:
        # An index doesn't look into an array in an array; an expression does.
        result.append({"$match": {"$expr": {"$not": [{"$or": [{"$isArray": f"${p}"} for p in inner]}]}}})
    if places and ("2d" in kinds.values() or options.get("2dsphereIndexVersion") != 1):
        # Sparse by themselves, and to 2d what is neither an array nor a document is no place either.
        somewhere = {"$nin": [None, [], {}], "$type": ["array", "object"]}
        result.append({"$match": {"$or": [{field: somewhere} for field in places]}})
    if options.get("sparse"):
        there = [{field: {"$exists": True}} for field in fields]
        result.append({"$match": {"$or": [*there, *({_empty(fields, field): True} for field in fields)]}})
    return result


def _key(fields: list[str]) -> list[Any]:
    """Write the key of an entry: its values, and which of them are an empty array."""
    empty = [f"${_empty(fields, field)}" for field in fields]
    values = [{"$cond": [mark, [], _value(field)]} for field, mark in zip(fields, empty, strict=True)]
    return [*values, *empty]


def _value(field: str) -> dict[str, Any]:
    # What is missing is null to an index; what is `undefined` isn't.
    return {"$cond": [{"$eq": [{"$type": f"${field}"}, "missing"]}, None, f"${field}"]}


def _empty(fields: list[str], field: str) -> str:
    return f"{_OWN}empty_{fields.index(field)}"


def _at(n: int) -> str:
    return f"{_OWN}at_{n}"


def paths(fields: list[str]) -> list[str]:
    """Name what an array may stand in on the way to these fields, and they themselves."""
    return list(dict.fromkeys(path for field in fields for path in _prefixes(field)))


def _prefixes(field: str) -> Iterable[str]:
    steps = field.split(".")
    return (".".join(steps[: n + 1]) for n in range(len(steps)))
