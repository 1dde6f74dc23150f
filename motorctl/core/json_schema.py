"""The words of `$jsonSchema` as MongoDB knows them, and what is wrong with a validator before a server sees it.

Pure. The operators of other expressions are the server's to judge; whether documents obey is asked of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from motorctl.near import near

BSON_TYPES = frozenset(
    [
        "double",
        "string",
        "object",
        "array",
        "binData",
        "undefined",
        "objectId",
        "bool",
        "date",
        "null",
        "regex",
        "dbPointer",
        "javascript",
        "symbol",
        "javascriptWithScope",
        "int",
        "timestamp",
        "long",
        "decimal",
        "minKey",
        "maxKey",
        "number",
    ]
)
JSON_TYPES = frozenset(["object", "array", "number", "boolean", "string", "null"])

_UNSUPPORTED = frozenset({"$ref", "$schema", "default", "definitions", "format", "id"})
_MEANT = {
    "integer": "int",
    "boolean": "bool",
    "float": "double",
    "datetime": "date",
    "timestampz": "date",
    "uuid": "binData",
}

# Keyword -> the kind of value it takes, as the server checks it.
_KEYWORDS: dict[str, str] = {
    "additionalItems": "boolean or schema",
    "additionalProperties": "boolean or schema",
    "allOf": "schemas",
    "anyOf": "schemas",
    "bsonType": "types",
    "dependencies": "dependencies",
    "description": "string",
    "encrypt": "document",
    "encryptMetadata": "document",
    "enum": "values",
    "exclusiveMaximum": "boolean",
    "exclusiveMinimum": "boolean",
    "items": "schema or schemas",
    "maxItems": "count",
    "maxLength": "count",
    "maxProperties": "count",
    "maximum": "number",
    "minItems": "count",
    "minLength": "count",
    "minProperties": "count",
    "minimum": "number",
    "multipleOf": "number",
    "not": "schema",
    "oneOf": "schemas",
    "pattern": "string",
    "patternProperties": "properties",
    "properties": "properties",
    "required": "names",
    "title": "string",
    "type": "types",
    "uniqueItems": "boolean",
}


@dataclass(frozen=True)
class Problem:
    """Something in a validator that a server refuses: where (keys and positions from its top), and why.

    `at_key` says that the last key of `path` is wrong, not its value.
    """

    path: tuple[str | int, ...]
    message: str
    hint: str | None = None
    at_key: bool = False


def problems(expression: Mapping[str, Any]) -> list[Problem]:
    """List what a server would refuse in a validator, before one is asked.

    Words and shapes of `$jsonSchema`, wherever it stands; the operators of other expressions are the
    server's to judge.
    """
    return list(_in_query(expression, ()))


def _in_query(value: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        return
    if (
        not path
        and not any(key.startswith("$") for key in value)
        and {"bsonType", "properties"} & value.keys()
    ):
        yield Problem(
            (), "a validator's schema stands under $jsonSchema", "put it as the value of $jsonSchema"
        )
    for key, item in value.items():
        if key == "$jsonSchema":
            yield from _in_schema(item, (*path, key))
        elif key in ("$and", "$or", "$nor") and isinstance(item, list):
            for position, clause in enumerate(item):
                yield from _in_query(clause, (*path, key, position))


def _in_schema(schema: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if not isinstance(schema, Mapping):
        yield Problem(path, "a schema is a document of keywords")
        return
    if "type" in schema and "bsonType" in schema:
        yield Problem(
            (*path, "type"), "type and bsonType can't stand in one schema", "keep bsonType", at_key=True
        )
    for keyword, value in schema.items():
        place = (*path, keyword)
        if keyword in _UNSUPPORTED:
            yield Problem(place, f"{keyword} is not supported in $jsonSchema", _instead(keyword), at_key=True)
        elif keyword not in _KEYWORDS:
            yield Problem(
                place, f"unknown keyword {keyword} in $jsonSchema", near(keyword, _KEYWORDS), at_key=True
            )
        else:
            yield from _in_value(keyword, _KEYWORDS[keyword], value, place)


def _in_value(keyword: str, kind: str, value: Any, place: tuple[str | int, ...]) -> Iterator[Problem]:
    match kind, value:
        case ("boolean" | "boolean or schema", bool()) | ("string", str()) | ("document", Mapping()):
            return
        case ("schema" | "schema or schemas" | "boolean or schema", Mapping()):
            yield from _in_schema(value, place)
        case ("schemas" | "schema or schemas", list()) if value:
            for position, schema in enumerate(value):
                yield from _in_schema(schema, (*place, position))
        case ("properties" | "dependencies", Mapping()):
            for name, schema in value.items():
                if kind == "dependencies" and isinstance(schema, list):
                    yield from _in_names(keyword, schema, (*place, name))
                else:
                    yield from _in_schema(schema, (*place, name))
        case "names", list():
            yield from _in_names(keyword, value, place)
        case "types", str():
            yield from _in_type(keyword, value, place)
        case "types", list() if value:
            for position, one in enumerate(value):
                yield from _in_type(keyword, one, (*place, position))
        case "values", list() if value:
            return
        case "count", int() | float() if not isinstance(value, bool) and value >= 0 and value == int(value):
            return
        case "number", _ if _is_number(value):
            return
        case _:
            yield Problem(place, f"{keyword} takes {_TAKES[kind]}")


_TAKES = {
    "boolean": "true or false",
    "boolean or schema": "true, false or a schema",
    "string": "a string",
    "document": "a document",
    "schema": "a schema",
    "schema or schemas": "a schema or a list of schemas",
    "schemas": "a list of schemas, at least one",
    "properties": "a document of schemas",
    "dependencies": "a document of schemas or lists of names",
    "names": "a list of names, at least one",
    "types": "a type or a list of types",
    "values": "a list of values, at least one",
    "count": "a whole number, 0 or more",
    "number": "a number",
}


def _in_names(keyword: str, names: list[Any], place: tuple[str | int, ...]) -> Iterator[Problem]:
    if not names or not all(isinstance(name, str) for name in names):
        yield Problem(place, f"{keyword} takes {_TAKES['names']}")
        return
    for position, name in enumerate(names):
        if name in names[:position]:
            yield Problem((*place, position), f"{name} stands twice in {keyword}")


def _in_type(keyword: str, name: Any, place: tuple[str | int, ...]) -> Iterator[Problem]:
    known = BSON_TYPES if keyword == "bsonType" else JSON_TYPES
    if name in known:
        return
    if keyword == "type" and name == "integer":
        hint: str | None = "write bsonType: int (or long), or type: number"
    elif keyword == "bsonType" and name in _MEANT:
        hint = f"did you mean {_MEANT[name]!r}?"
    else:
        hint = near(str(name), sorted(known))
    yield Problem(place, f"{name} is no {keyword}", hint or f"known: {', '.join(sorted(known))}")


def _is_number(value: Any) -> bool:
    from bson.decimal128 import Decimal128

    return isinstance(value, int | float | Decimal128) and not isinstance(value, bool)


def _instead(keyword: str) -> str | None:
    return "write a pattern instead" if keyword == "format" else None
