"""The question to a server which documents share the key of a unique index. Pure; asking is others'.

May miss some, of arrays in arrays for example: the build finds them. Never takes for duplicates what the
server doesn't.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from motorctl.core.schema.model import Index


def can_be_asked(index: Index) -> bool:
    """Tell whether the pipeline understands an index's keys: a step that is a number may be a position."""
    parts = {part for field in index.keys for part in field.split(".")}
    return bool(index.options.get("unique")) and not index.is_text and not any(p.isdigit() for p in parts)


def stages(fields: list[str], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the stages whose result is a document for each key that several documents share.

    `_id` is the list of the key's values; `first` and `last` are two of the documents' `_id`s.
    """
    # An array has an index entry for each of its elements, at any level of a dotted name.
    paths = list(dict.fromkeys(path for field in fields for path in _prefixes(field)))
    result: list[dict[str, Any]] = [
        {"$match": options.get("partialFilterExpression", {})},
        # To an index an empty array isn't the null that unwinding makes of it.
        {"$match": {path: {"$ne": []} for path in paths}},
        *({"$unwind": {"path": f"${path}", "preserveNullAndEmptyArrays": True}} for path in paths),
    ]
    if options.get("sparse"):
        result.append({"$match": {"$or": [{field: {"$exists": True}} for field in fields]}})
    return [
        *result,
        {
            "$group": {
                "_id": [{"$ifNull": [f"${field}", None]} for field in fields],
                "first": {"$min": "$_id"},
                "last": {"$max": "$_id"},
            }
        },
        # One document may hold a value twice.
        {"$match": {"$expr": {"$ne": ["$first", "$last"]}}},
    ]


def _prefixes(field: str) -> Iterable[str]:
    steps = field.split(".")
    return (".".join(steps[: n + 1]) for n in range(len(steps)))
