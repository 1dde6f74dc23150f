"""The published JSON Schema of manifests, made of the shapes that manifests are held against.

Draft 7: the newest that the YAML and JSON servers of editors know in full. It takes everything that
`load` takes; what keys mean together is `load`'s to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.core.json_schema import BSON_TYPES, JSON_TYPES, KEYWORDS, TAKES
from motorctl.manifest.grammar import COLLATION, COLLECTION, INDEX, MANIFEST, SEARCH_INDEX

if TYPE_CHECKING:
    from motorctl.manifest.shapes import Shape

_DEFINED = {"collection": COLLECTION, "index": INDEX, "searchIndex": SEARCH_INDEX, "collation": COLLATION}
_VARIABLE = r"\$\{"
# What one key asks of others, as far as a schema can say it without hiding the names from an editor.
_TOGETHER: dict[str, dict[str, Any]] = {
    "index": {"anyOf": [{"required": ["keys"]}, {"required": ["name"]}]},
    "collection": {
        "dependencies": {
            "validationLevel": ["validator"],
            "validationAction": ["validator"],
            "pipeline": ["viewOn"],
        },
        "if": {"required": ["capped"], "properties": {"capped": {"const": True}}},
        "then": {"required": ["size"]},
    },
}
_NUMBERS = ("$numberInt", "$numberLong", "$numberDouble", "$numberDecimal")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest, as plain values."""
    body = _schema(MANIFEST)
    defined = {name: {**_schema(shape), **_TOGETHER.get(name, {})} for name, shape in _DEFINED.items()}
    defined["index"]["properties"]["keys"]["minProperties"] = 1
    defined["collection"]["properties"]["validator"]["properties"] = {
        "$jsonSchema": {"$ref": "#/definitions/jsonSchema"}
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A manifest of motorctl",
        "description": "Collections, validators and indexes of a MongoDB database",
        **body,
        "required": ["collections"],
        "definitions": {
            **defined,
            "jsonSchema": _validator_schema(),
            "variable": {"type": "string", "pattern": _VARIABLE, "description": "${VAR}, with --env"},
            "extendedNumber": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in _NUMBERS},
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        },
    }


def _validator_schema() -> dict[str, Any]:
    """Write what the body of a `$jsonSchema` may hold: MongoDB's own words, and no others."""
    return {
        "type": "object",
        "properties": {
            word: {"description": f"Takes {TAKES.get(kind, TAKES['boolean'])}", "allOf": [_kinds(word)[kind]]}
            for word, kind in KEYWORDS.items()
        },
        "patternProperties": {_VARIABLE: {}},
        "additionalProperties": False,
    }


def _kinds(word: str) -> dict[str, dict[str, Any]]:
    inner = {"$ref": "#/definitions/jsonSchema"}
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    known = {"enum": sorted(BSON_TYPES if word == "bsonType" else JSON_TYPES)}
    one_type = {"anyOf": [known, _IN_VARIABLE]}
    number = _or_variable({"type": "number"}, _EXTENDED)
    flag = _or_variable({"type": "boolean"})
    several = {"type": "array", "items": inner, "minItems": 1}
    text = {"type": "string"}
    return {
        "boolean": flag,
        "exclusion": flag,
        "boolean or schema": {"anyOf": [{"type": "boolean"}, inner, _IN_VARIABLE]},
        "string": text,
        "pattern": text,
        "document": {"type": "object"},
        "facts": {"type": "object"},
        "schema": inner,
        "schemas": several,
        "schema or schemas": {"anyOf": [inner, {"type": "array", "items": inner}]},
        "properties": {"type": "object", "additionalProperties": inner},
        "patterns": {"type": "object", "additionalProperties": inner},
        "dependencies": {"type": "object", "additionalProperties": {"anyOf": [inner, names]}},
        "names": names,
        "types": {"anyOf": [known, {"type": "array", "items": one_type, "minItems": 1}, _IN_VARIABLE]},
        "values": {"type": "array", "minItems": 1},
        "count": number,
        "number": number,
        "positive": number,
    }


def _referred(shape: Shape) -> dict[str, Any]:
    name = next((name for name, defined in _DEFINED.items() if defined is shape), None)
    return _schema(shape) if name is None else {"$ref": f"#/definitions/{name}"}


def _schema(shape: Shape) -> dict[str, Any]:
    described = {"description": shape.means} if shape.means else {}
    match shape.kind:
        case "document":
            return {**described, **_document(shape)}
        case "list":
            items = {"items": _referred(shape.values)} if shape.values else {}
            return {**described, "type": "array", **items}
        case "string" if not shape.allowed:
            return {**described, "type": "string"}
        case "string":
            return {**described, **_or_variable({"enum": list(shape.allowed)})}
        case "boolean":
            return {**described, **_or_variable({"type": "boolean"})}
        case "number":
            words = [{"enum": list(shape.words)}] if shape.words else []
            return {**described, **_or_variable(_number(shape), *words, _EXTENDED)}
        case "number or word":
            known = {"enum": [1, -1, *shape.allowed]}
            return {**described, **_or_variable(known, {"type": "number"}, _EXTENDED)}


_IN_VARIABLE = {"$ref": "#/definitions/variable"}
_EXTENDED = {"$ref": "#/definitions/extendedNumber"}


def _or_variable(*schemas: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*schemas, _IN_VARIABLE]}


def _number(shape: Shape) -> dict[str, Any]:
    if shape.allowed:
        return {"enum": list(shape.allowed)}
    limits = {"minimum": shape.least, "maximum": shape.most}
    return {"type": "number"} | {word: limit for word, limit in limits.items() if limit is not None}


def _document(shape: Shape) -> dict[str, Any]:
    kind = {"type": ["object", "null"] if shape.nullable else "object"}
    if shape.values is not None:
        return {**kind, "additionalProperties": _referred(shape.values)}
    if shape.names is None:
        return kind
    return {
        **kind,
        "properties": {name: _referred(value) for name, value in shape.names.items()},
        "patternProperties": {_VARIABLE: {}},
        "additionalProperties": False,
        **({"required": list(shape.needed)} if shape.needed else {}),
    }
