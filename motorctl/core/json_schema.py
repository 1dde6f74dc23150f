"""The words of `$jsonSchema` as MongoDB knows them, and what is wrong with a validator before a server sees it.

Pure. The operators of other expressions are the server's to judge; whether documents obey is asked of the data.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bson.code import Code
from bson.decimal128 import Decimal128

from motorctl.near import near

BSON_TYPES = frozenset(
    """double string object array binData undefined objectId bool date null regex dbPointer javascript symbol
    javascriptWithScope int timestamp long decimal minKey maxKey number""".split()
)
JSON_TYPES = frozenset(["object", "array", "number", "boolean", "string", "null"])

_UNSUPPORTED = frozenset({"$ref", "$schema", "default", "definitions", "format", "id"})
_COPY = "write the schema itself where it is needed"
_NO_ID = "leave it out: a validator has no address"
_NO_CONDITION = "write anyOf: [{not: IF}, THEN], and [IF, ELSE] in another"
_NO_EFFECT = "leave it out, or say it in description"
_INSTEAD = {
    "$ref": _COPY,
    "definitions": _COPY,
    "$defs": _COPY,
    "$anchor": _NO_ID,
    "$id": _NO_ID,
    "id": _NO_ID,
    "$schema": "leave it out: MongoDB knows draft 4 alone",
    "format": "write a pattern instead",
    "const": "write enum: [VALUE]",
    "if": _NO_CONDITION,
    "then": _NO_CONDITION,
    "else": _NO_CONDITION,
    "contains": "write not: {items: {not: SCHEMA}}",
    "propertyNames": "write patternProperties, and additionalProperties: false",
    "dependentRequired": "write dependencies: {NAME: [NAMES]}",
    "dependentSchemas": "write dependencies: {NAME: SCHEMA}",
    "prefixItems": "write items with the list of schemas",
    "unevaluatedProperties": "write additionalProperties",
    "unevaluatedItems": "write additionalItems",
    "nullable": "write bsonType: [TYPE, 'null']",
    "default": _NO_EFFECT,
    "examples": _NO_EFFECT,
    "$comment": _NO_EFFECT,
    "deprecated": _NO_EFFECT,
    "readOnly": _NO_EFFECT,
    "writeOnly": _NO_EFFECT,
    "contentEncoding": _NO_EFFECT,
    "contentMediaType": _NO_EFFECT,
}
"""What to write in the place of words that other JSON Schemas have."""
# Found wrong by Python's regular expressions and by the server's alike; others only one of them takes.
_NO_PATTERN = (
    "unterminated character set",
    "missing ), unterminated subpattern",
    "unbalanced parenthesis",
    "min repeat greater than max repeat",
    "bad escape (end of pattern)",
)
_MOST = 2**63 - 1
_MEANT = {
    "integer": "int",
    "boolean": "bool",
    "float": "double",
    "Int32": "int",
    "Int64": "long",
    "ObjectID": "objectId",
    "oid": "objectId",
    "dict": "object",
    "document": "object",
    "list": "array",
    "str": "string",
    "text": "string",
    "Decimal128": "decimal",
    "datetime": "date",
    "timestampz": "date",
    "uuid": "binData",
}

KEYWORDS: dict[str, str] = {
    "additionalItems": "boolean or schema",
    "additionalProperties": "boolean or schema",
    "allOf": "schemas",
    "anyOf": "schemas",
    "bsonType": "types",
    "dependencies": "dependencies",
    "description": "string",
    "encrypt": "document",
    "encryptMetadata": "facts",
    "enum": "values",
    "exclusiveMaximum": "exclusion",
    "exclusiveMinimum": "exclusion",
    "items": "schema or schemas",
    "maxItems": "count",
    "maxLength": "count",
    "maxProperties": "count",
    "maximum": "number",
    "minItems": "count",
    "minLength": "count",
    "minProperties": "count",
    "minimum": "number",
    "multipleOf": "positive",
    "not": "schema",
    "oneOf": "schemas",
    "pattern": "pattern",
    "patternProperties": "patterns",
    "properties": "properties",
    "required": "names",
    "title": "string",
    "type": "types",
    "uniqueItems": "boolean",
}
"""The words that a server takes, and the kind of value of each."""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a validator: where, and why.

    `path` is keys and positions from its top; `at_key` says that the last key of `path` is wrong, not its value.
    One that isn't `refused` is a trap: servers take it, and then no document fits.
    """

    path: tuple[str | int, ...]
    message: str
    hint: str | None = None
    at_key: bool = False
    refused: bool = True


def problems(expression: Mapping[str, Any]) -> list[Problem]:
    """List what a server would refuse in a validator, before one is asked.

    Words and shapes of `$jsonSchema`, wherever it stands; the operators of other expressions are the
    server's to judge.
    """
    return [problem for problem in _in_query(expression, ()) if problem.refused]


def traps(expression: Mapping[str, Any]) -> list[Problem]:
    """List what servers take in a validator, though no document can be meant by it."""
    return [problem for problem in _in_query(expression, ()) if not problem.refused]


def _in_query(value: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        return
    if (
        not path
        and not any(key.startswith("$") for key in value)
        and {"bsonType", "properties"} & value.keys()
    ):
        yield Problem(
            (),
            "a validator's schema stands under $jsonSchema: as it is, it asks for fields of these names",
            "put it as the value of $jsonSchema",
            refused=False,
        )
    for key, item in value.items():
        if key == "$jsonSchema":
            yield from _in_schema(item, (*path, key))
            yield from _without_id(item, (*path, key))
        elif key in ("$and", "$or", "$nor") and isinstance(item, list):
            for position, clause in enumerate(item):
                yield from _in_query(clause, (*path, key, position))


def _without_id(schema: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    """Find what forbids `_id`, which every document has: no document would pass."""
    match schema:
        case {"additionalProperties": False, **others}:
            named, patterns = (others.get(key, {}) for key in ("properties", "patternProperties"))
            if (
                isinstance(named, Mapping)
                and "_id" not in named
                and not patterns
                and not {"$nor", "$or"} & set(path)
            ):
                yield Problem(
                    (*path, "additionalProperties"),
                    "additionalProperties: false refuses every document: _id is not among properties",
                    "add _id: {} to properties",
                    at_key=True,
                    refused=False,
                )


def _in_schema(schema: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if not isinstance(schema, Mapping):
        hint = {True: "write {} for a schema that all fit", False: "write not: {} for one that nothing fits"}
        shown = hint.get(schema) if isinstance(schema, bool) else None
        yield Problem(path, "a schema is a document of keywords", shown)
        return
    for other in ("type", "encrypt"):
        if other in schema and "bsonType" in schema:
            keep = "keep bsonType" if other == "type" else "keep encrypt: its bsonType stands in it"
            message = f"{other} and bsonType can't stand in one schema"
            yield Problem((*path, other), message, keep, at_key=True)
    yield from _in_contradiction(schema, path)
    for keyword, value in schema.items():
        place = (*path, keyword)
        if keyword in _UNSUPPORTED:
            yield Problem(place, f"{keyword} is not supported in $jsonSchema", _INSTEAD[keyword], at_key=True)
        elif keyword not in KEYWORDS:
            hint_ = _INSTEAD.get(keyword) or near(keyword, KEYWORDS)
            yield Problem(place, f"unknown keyword {keyword} in $jsonSchema", hint_, at_key=True)
        elif KEYWORDS[keyword] == "exclusion":
            yield from _in_exclusion(schema, keyword, place)
        else:
            yield from _in_value(keyword, KEYWORDS[keyword], value, place)


def _in_contradiction(schema: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Problem]:
    match schema:
        case {"additionalProperties": False, "required": list() as names, **others}:
            known = others.get("properties", {})
            if not isinstance(known, Mapping) or others.get("patternProperties"):
                return
            for position, name in enumerate(names):
                if isinstance(name, str) and name not in known:
                    yield Problem(
                        (*path, "required", position),
                        f"{name} is required, and additionalProperties: false doesn't allow it",
                        f"add {name}: {{}} to properties",
                        refused=False,
                    )


def _in_exclusion(schema: Mapping[str, Any], keyword: str, place: tuple[str | int, ...]) -> Iterator[Problem]:
    bound = keyword.removeprefix("exclusive").lower()
    value = schema[keyword]
    if not isinstance(value, bool):
        hint = f"write {bound}: {value}, and {keyword}: true beside it" if _is_number(value) else None
        yield Problem(place, f"{keyword} takes true or false", hint)
    elif bound not in schema:
        yield Problem(place, f"{keyword} needs {bound} beside it", at_key=True)


def _in_value(keyword: str, kind: str, value: Any, place: tuple[str | int, ...]) -> Iterator[Problem]:
    match kind, value:
        case ("boolean" | "boolean or schema", bool()) | ("document", Mapping()):
            return
        case "string", _ if _is_string(value):
            return
        case ("schema" | "schema or schemas" | "boolean or schema", Mapping()):
            yield from _in_schema(value, place)
        case ("schemas", list()) if value:
            yield from _in_schemas(value, place)
        case ("schema or schemas", list()):
            yield from _in_schemas(value, place)
        case ("properties" | "patterns" | "dependencies", Mapping()):
            for name, schema in value.items():
                if kind == "patterns":
                    yield from _in_pattern(name, (*place, name), at_key=True)
                if kind == "dependencies" and isinstance(schema, list):
                    yield from _in_names(keyword, schema, (*place, name))
                else:
                    yield from _in_schema(schema, (*place, name))
        case "names", list():
            yield from _in_names(keyword, value, place)
        case "types", _ if _is_string(value):
            yield from _in_type(keyword, value, place)
        case "types", list() if value:
            for position, one in enumerate(value):
                yield from _in_type(keyword, one, (*place, position))
                if one in value[:position]:
                    yield Problem((*place, position), f"{one} stands twice in {keyword}")
        case "values", list() if value:
            yield from _in_values(keyword, value, place)
        case "pattern", _ if _is_string(value):
            yield from _in_pattern(value, place)
        case "facts", Mapping() if value:
            return
        case "count", int() | float() if _is_number(value) and 0 <= value <= _MOST and value == int(value):
            return
        case "number", _ if _is_number(value):
            return
        case "positive", _ if _is_number(value) and (_plain(value).is_nan() or _plain(value) > 0):
            return
        case _:
            hint = None
            if keyword == "required" and isinstance(value, bool):
                hint = "name the field in the list required, which stands beside properties"
            yield Problem(place, f"{keyword} takes {TAKES[kind]}", hint)


def _in_schemas(schemas: list[Any], place: tuple[str | int, ...]) -> Iterator[Problem]:
    for position, schema in enumerate(schemas):
        yield from _in_schema(schema, (*place, position))


def _in_values(keyword: str, values: list[Any], place: tuple[str | int, ...]) -> Iterator[Problem]:
    seen: set[Hashable] = set()
    for position, value in enumerate(values):
        if (own := _known(value)) in seen:
            yield Problem((*place, position), f"{value} stands twice in {keyword}")
        seen.add(own)


def _known(value: Any) -> Hashable:
    """Return what is equal for two values that the server takes for equal."""
    match value:
        case bool():
            return "bool", value
        case Mapping():
            return "object", frozenset((name, _known(inner)) for name, inner in value.items())
        case list():
            return "array", tuple(map(_known, value))
        case _ if _is_number(value):
            return "number", str(_plain(value)) if _plain(value).is_nan() else _plain(value)
        case _:
            return type(value).__name__, value if type(value) in (str, bytes) else repr(value)


def _in_pattern(pattern: str, place: tuple[str | int, ...], *, at_key: bool = False) -> Iterator[Problem]:
    reason = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except re.error as error:
        known = error.msg in _NO_PATTERN or (error.msg == "nothing to repeat" and error.pos == 0)
        reason = error.msg.partition(",")[0] if known else None
    except (OverflowError, RecursionError):
        reason = "too large"
    if "\0" in pattern:
        reason = "it holds a zero byte"
    if reason is not None:
        yield Problem(place, f"this pattern is no regular expression: {reason}", at_key=at_key)


TAKES = {
    "boolean": "true or false",
    "boolean or schema": "true, false or a schema",
    "string": "a string",
    "pattern": "a string",
    "document": "a document",
    "facts": "a document that is not empty",
    "schema": "a schema",
    "schema or schemas": "a schema or a list of schemas",
    "schemas": "a list of schemas, at least one",
    "properties": "a document of schemas",
    "patterns": "a document of schemas",
    "dependencies": "a document of schemas or lists of names",
    "names": "a list of names, at least one",
    "types": "a type or a list of types",
    "values": "a list of values, at least one",
    "count": "a whole number, 0 or more",
    "number": "a number",
    "positive": "a number above 0",
}


def _in_names(keyword: str, names: list[Any], place: tuple[str | int, ...]) -> Iterator[Problem]:
    if not names or not all(_is_string(name) for name in names):
        yield Problem(place, f"{keyword} takes {TAKES['names']}")
        return
    for position, name in enumerate(names):
        if name in names[:position]:
            yield Problem((*place, position), f"{name} stands twice in {keyword}")


def _in_type(keyword: str, name: Any, place: tuple[str | int, ...]) -> Iterator[Problem]:
    known = BSON_TYPES if keyword == "bsonType" else JSON_TYPES
    if not _is_string(name):
        yield Problem(place, f"{keyword} takes {TAKES['types']}")
        return
    if name in known:
        return
    if keyword == "type" and name == "integer":
        hint: str | None = "write bsonType: int (or long), or type: number"
    elif keyword == "bsonType" and name in _MEANT:
        hint = f"did you mean {_MEANT[name]!r}?"
    else:
        hint = near(str(name), sorted(known))
    yield Problem(place, f"{name} is no {keyword}", hint or f"known: {', '.join(sorted(known))}")


def _is_string(value: Any) -> bool:
    # JavaScript is of another type to the server.
    return isinstance(value, str) and not isinstance(value, Code)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal128) and not isinstance(value, bool)


def _plain(number: Any) -> Decimal:
    return number.to_decimal() if isinstance(number, Decimal128) else Decimal(number)
