"""The shape of a query: what it looks like with every value cut out. Pure.

Two queries of one shape differ in their values alone, so that one index serves both. Names of fields,
operators, orders of sorting and what a projection keeps are shape; everything else may be somebody's
data, and is a `?`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.core.explain.query import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

CUT = "?"

_NAMES = {
    "$lookup": {"from", "localField", "foreignField", "as"},
    "$graphLookup": {"from", "connectFromField", "connectToField", "as", "depthField"},
    "$unionWith": {"coll"},
    "$merge": {"into", "db", "coll", "on", "whenNotMatched"},
    "$out": {"db", "coll"},
    "$geoNear": {"distanceField", "includeLocs", "key", "spherical"},
    "$unwind": {"path", "includeArrayIndex", "preserveNullAndEmptyArrays"},
    "$densify": {"field"},
}
"""Stages that hold names of collections and fields, and under which keys."""

_NAME_ALONE = frozenset({"$count", "$unwind", "$out", "$merge", "$unionWith", "$unset"})
"""Stages that are a name, or a list of names."""

_KEPT = frozenset({"$sort", "$indexStats", "$collStats", "$planCacheStats"})
"""Stages that hold no value of anybody's."""

_ALTERNATIVES = frozenset({"$and", "$or", "$nor"})
_INNER = frozenset({"$elemMatch", "$not"})
"""Operators of a query under which another query stands: a list of them, or one."""

_QUERIES = (
    "find",
    "aggregate",
    "count",
    "distinct",
    "findAndModify",
    "findandmodify",
    "mapReduce",
    "mapreduce",
)
"""The commands that look for documents; the others (createIndexes, dropDatabase) are nobody's query."""

_FIRST_WORD = re.compile(r"\{ (\w+):")


def shape(query: Query) -> dict[str, Any]:
    """Return a query's shape: as its command, values cut out. `$in` of any length is one shape."""
    parts: dict[str, Any] = {}
    if query.kind == "distinct":
        parts["key"] = query.key
    if query.filter:
        parts["filter"] = _filter(query.filter)
    if query.kind == "aggregate":
        parts["pipeline"] = _pipeline(query.pipeline)
    if query.sort:
        parts["sort"] = dict(query.sort)
    if query.projection:
        parts["projection"] = _projection(query.projection)
    if query.limit:
        parts["limit"] = CUT
    if query.skip:
        parts["skip"] = CUT
    if query.collation:
        parts["collation"] = dict(query.collation)
    return parts


def text(query: Query) -> str:
    """Return a query's shape as one line of JSON."""
    return json.dumps(shape(query), ensure_ascii=False, default=str)


def words(shape: Mapping[str, Any]) -> str:
    """Return a shape as people read it: `{n: {$gt: ?}} sort {s: 1}`, `$match {s: ?} | $limit ?`."""
    parts = []
    for name, part in shape.items():
        if name == "filter":
            parts.append(_shell(part))
        elif name == "pipeline" and isinstance(part, list):
            parts.append(" | ".join(_stage_words(stage) for stage in part))
        else:
            parts.append(f"{name} {_shell(part)}")
    return " ".join(parts)


def _stage_words(stage: Any) -> str:
    if not isinstance(stage, dict) or len(stage) != 1:
        return _shell(stage)
    ((operator, body),) = stage.items()
    return f"{operator} {_shell(body)}"


def _shell(value: Any) -> str:
    """Write a value as the shell does, names without quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shell(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shell, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def is_cut(command: Mapping[str, Any]) -> bool:
    """Tell whether the server has kept only the beginning of a command, as text: it was too long."""
    return "$truncated" in command


def verb(command: Mapping[str, Any]) -> str | None:
    """Return the name of the command that looks for documents, None for any other."""
    if is_cut(command):
        begun = _FIRST_WORD.match(str(command["$truncated"]))
        return begun[1] if begun and begun[1] in _QUERIES else None
    return next((word for word in _QUERIES if word in command), None)


def of_command(command: Mapping[str, Any], collection: str) -> tuple[str, Query | None]:
    """Return what a server's record of a command is: its operation, and what it looks for.

    The query is None for what looks for nothing (an insert), for a command that the server has cut
    because it is too long, and for one that is none of the reads and writes of documents.
    """
    if is_cut(command):
        return verb(command) or "unknown", None
    write = command.get("q")
    if isinstance(write, Mapping):
        operation = "update" if "u" in command else "delete"
        return operation, _sought(command, collection, write)
    match verb(command):
        case "find" | "aggregate" | "count" | "distinct" as operation:
            return operation, _read(operation, command, collection)
        case "findAndModify" | "findandmodify":
            sought = _sought(command, collection, command.get("query"))
            return "findAndModify", replace(sought, sort=_object(command.get("sort")), limit=1)
        case "mapReduce" | "mapreduce":
            sought = _sought(command, collection, command.get("query"))
            limit = command.get("limit") or None
            return "mapReduce", replace(sought, sort=_object(command.get("sort")), limit=limit)
    return next((str(key) for key in command if not key.startswith("$")), "unknown"), None


def _sought(command: Mapping[str, Any], collection: str, sought: Any) -> Query:
    """Return the documents that a write looks for, as a find."""
    return Query(
        "find",
        collection,
        filter=_object(sought),
        hint=command.get("hint") or None,
        collation=_object(command.get("collation")) or None,
        let=_object(command.get("let")) or None,
    )


def _read(operation: str, command: Mapping[str, Any], collection: str) -> Query | None:
    options: dict[str, Any] = {
        "hint": command.get("hint") or None,
        "collation": _object(command.get("collation")) or None,
    }
    if operation == "aggregate":
        pipeline = command.get("pipeline")
        if not isinstance(pipeline, list):
            return None
        let = _object(command.get("let")) or None
        return Query("aggregate", collection, pipeline=pipeline, let=let, **options)
    if operation == "distinct":
        sought = _object(command.get("query"))
        return Query("distinct", collection, filter=sought, key=str(command.get("key")), **options)
    if operation == "count":
        return Query(
            "count",
            collection,
            filter=_object(command.get("query")),
            skip=command.get("skip") or None,
            limit=command.get("limit") or None,
            **options,
        )
    return Query(
        "find",
        collection,
        filter=_object(command.get("filter")),
        sort=_object(command.get("sort")),
        projection=_object(command.get("projection")),
        skip=command.get("skip") or None,
        limit=command.get("limit") or None,
        let=_object(command.get("let")) or None,
        **options,
    )


def _object(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _filter(filter: Mapping[str, Any]) -> dict[str, Any]:
    """Cut a filter: a text that begins with a dollar is a value here, but in `$expr`."""
    return {key: _condition(key, value) for key, value in filter.items()}


def _condition(key: str, value: Any) -> Any:
    if key == "$expr":
        return _expression(value)
    if key in _ALTERNATIVES and isinstance(value, list):
        return _alike([_filter(item) if isinstance(item, Mapping) else CUT for item in value])
    if key in _INNER and isinstance(value, Mapping):
        return _filter(value)
    if isinstance(value, Mapping):
        # Operators are shape; a document that is compared as a whole is a value.
        return _filter(value) if all(name.startswith("$") for name in value) and value else CUT
    if isinstance(value, list):
        # $all may hold conditions; a document in a list is a value, its fields' names with it.
        return _alike([_condition("", item) for item in value])
    return CUT


def _pipeline(pipeline: Sequence[Any]) -> list[Any]:
    return [_stage(stage) if isinstance(stage, Mapping) else CUT for stage in pipeline]


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {operator: _body(operator, body) for operator, body in stage.items()}


def _body(operator: str, body: Any) -> Any:
    if operator == "$match" and isinstance(body, Mapping):
        return _filter(body)
    if operator in _KEPT:
        return body
    if operator == "$facet" and isinstance(body, Mapping):
        return {name: _pipeline(inner) if isinstance(inner, list) else CUT for name, inner in body.items()}
    if operator == "$project" and isinstance(body, Mapping):
        return _projection(body)
    if operator == "$merge" and isinstance(body, Mapping) and isinstance(body.get("whenMatched"), str):
        # A word of the server's; else it is a pipeline.
        return {
            **_body(operator, {k: v for k, v in body.items() if k != "whenMatched"}),
            "whenMatched": body["whenMatched"],
        }
    if operator in _NAME_ALONE and isinstance(body, (str, list)):
        return body
    names = _NAMES.get(operator, set())
    if isinstance(body, Mapping):
        return {
            key: value
            if key in names or key == "sortBy"
            else _pipeline(value)
            if key in ("pipeline", "whenMatched") and isinstance(value, list)
            else _filter(value)
            if key in ("query", "restrictSearchWithMatch") and isinstance(value, Mapping)
            else _expression(value)
            for key, value in body.items()
        }
    return _expression(body)


def _projection(projection: Mapping[str, Any]) -> dict[str, Any]:
    """Cut a projection: what is kept and left out is shape, what is computed is an expression."""
    return {
        key: value
        if isinstance(value, (bool, int, float)) and value in (0, 1)
        else _projection(value)
        if isinstance(value, Mapping) and not any(inner.startswith("$") for inner in value)
        else _expression(value)
        for key, value in projection.items()
    }


def _expression(value: Any) -> Any:
    """Cut an expression: texts with a dollar are paths of fields and names of variables."""
    if isinstance(value, Mapping):
        return {
            key: CUT
            if key == "$literal"
            else dict(inner)
            if key == "sortBy" and isinstance(inner, Mapping)
            else _expression(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return _alike([_expression(item) for item in value])
    return value if isinstance(value, str) and value.startswith("$") else CUT


def _alike(values: list[Any]) -> list[Any]:
    """Cut repetitions of what looks alike next to each other, so that three ids look like thirty.

    A field's path or a variable is no value: each stands there.
    """
    return [
        value
        for number, value in enumerate(values)
        if not number or value != values[number - 1] or (isinstance(value, str) and value != CUT)
    ]
