"""The published JSON Schema against `load`: what it refuses, `load` refuses; what `load` takes, it takes."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from test_manifest import WRONG

from motorctl import manifest
from motorctl.core.schema.model import CREATION_OPTIONS, INDEX_OPTIONS
from motorctl.errors import ManifestError
from motorctl.manifest.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core import schema

SCHEMA = manifest.json_schema()
VALIDATOR = Draft7Validator(SCHEMA)


def loads(document: Any) -> list[schema.Collection] | None:
    """Load a plain document, None where it is refused."""
    try:
        return manifest.load("-", io.BytesIO(json.dumps(document).encode()))
    except ManifestError:
        return None


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("name", manifest.builtins())
def test_the_shipped_manifests_fit(name: str) -> None:
    assert list(VALIDATOR.iter_errors(manifest.builtin_document(name))) == []


def test_every_key_of_the_models_is_in_it() -> None:
    definitions = SCHEMA["definitions"]
    validation = {"validator", "validationLevel", "validationAction"}
    assert definitions["collection"]["properties"].keys() == {
        *CREATION_OPTIONS, *validation, "indexes", "searchIndexes", "state", "renamed_from",
    }  # fmt: skip
    assert definitions["index"]["properties"].keys() == {
        *INDEX_OPTIONS, "keys", "name", "state", "renamed_from",
    }  # fmt: skip
    kinds = {
        "document": "object",
        "array": "array",
        "string": "string",
        "boolean": "boolean",
        "number": "number",
    }
    for definition, options in (("collection", CREATION_OPTIONS), ("index", INDEX_OPTIONS)):
        for name, kind in options.items():
            found = definitions[definition]["properties"][name]
            if "$ref" in found:
                found = definitions[found["$ref"].rpartition("/")[2]]
            first = found.get("anyOf", [found])[0]
            types = {"number"} if "enum" in first else {first["type"]}
            assert types == {kinds[kind]}, name


def test_every_key_says_what_it_means() -> None:
    def silent(body: dict[str, Any], path: str) -> Iterator[str]:
        for name, one in body.get("properties", {}).items():
            if "$ref" not in one and "description" not in one:
                yield f"{path}.{name}"
            yield from silent(one, f"{path}.{name}")

    definitions = {name: one for name, one in SCHEMA["definitions"].items() if name != "extendedNumber"}
    assert [
        *silent(SCHEMA, ""),
        *(path for name, one in definitions.items() for path in silent(one, name)),
    ] == []


REFUSED_BY_BOTH = [
    [],
    {},
    {"colections": {}},
    {"collections": 5},
    {"collections": {"a": []}},
    {"collections": {"a": {"capped": "yes"}}},
    {"collections": {"a": {"size": -1}}},
    {"collections": {"a": {"timeseries": {}}}},
    {"collections": {"a": {"timeseries": {"timeField": "t", "granularity": "x"}}}},
    {"collections": {"a": {"timeseries": {"timeField": "t", "bucketMaxSpanSeconds": 0}}}},
    {"collections": {"a": {"clusteredIndex": {"key": {"_id": -1}, "unique": True}}}},
    {"collections": {"a": {"changeStreamPreAndPostImages": {}}}},
    {"collections": {"a": {"collation": {"strength": 2}}}},
    {"collections": {"a": {"collation": {"locale": "en", "strength": 6}}}},
    {"collections": {"a": {"validationLevel": "x", "validator": {}}}},
    {"collections": {"a": {"state": "gone"}}},
    {"collections": {"a": {"storageEngine": {}}}},
    {"collections": {"a": {"indexes": {}}}},
    {"collections": {"a": {"indexes": [{"keys": {"b": "txt"}}]}}},
    {"collections": {"a": {"indexes": [{"keys": {"b": True}}]}}},
    {"collections": {"a": {"indexes": [{"keys": {"b": 1}, "uniqe": True}]}}},
    {"collections": {"a": {"indexes": [{"keys": {"b": "text"}, "weights": {"b": 0}}]}}},
    {"collections": {"a": {"indexes": [{"keys": {"b": "2d"}, "bits": 33}]}}},
    {"collections": {"a": {"indexes": [{"keys": {"b": 1}, "expireAfterSeconds": {"$date": "x"}}]}}},
    {"collections": {"a": {"searchIndexes": [{"name": "x"}]}}},
    {"collections": {"a": {"viewOn": 5}}},
    {"collections": {"a": {"validationLevel": "off"}}},
    {"collections": {"a": {"capped": True}}},
    {"collections": {"a": {"indexes": [{"unique": True}]}}},
    {"collections": {"a": {"indexes": [{"keys": {}}]}}},
    *(
        {"collections": {"a": {"validator": {"$jsonSchema": schema}}}}
        for schema in cast(
            "tuple[dict[str, Any], ...]",
            (
                {"bsonType": "integer"},
                {"bsontype": "string"},
                {"propertys": {}},
                {"properties": {"a": {"format": "email"}}},
                {"required": []},
                {"required": "a"},
                {"items": [{"type": "text"}]},
                {"enum": []},
                {"minimum": "1"},
                {"exclusiveMinimum": 5, "minimum": 5},
            ),
        )
    ),
]


@pytest.mark.parametrize("document", REFUSED_BY_BOTH, ids=json.dumps)
def test_both_refuse(document: Any) -> None:
    assert not VALIDATOR.is_valid(document)
    assert loads(document) is None


TAKEN_BY_BOTH = [
    {"collections": None},
    {"$schema": "https://example.com/manifest.json", "collections": {"a": None, "b": {}}},
    {"collections": {"a": {"state": "absent"}, "b": {"renamed_from": "c", "state": "present"}}},
    {"collections": {"a": {"capped": True, "size": {"$numberLong": "4096"}, "max": 5.0}}},
    {"collections": {"a": {"timeseries": {
        "timeField": "t", "metaField": "m", "bucketMaxSpanSeconds": 60, "bucketRoundingSeconds": 60,
    }, "expireAfterSeconds": 9}}},
    {"collections": {"a": {"timeseries": {"timeField": "t", "granularity": "hours", "bucketMaxSpanSeconds": 2592000}}}},
    {"collections": {"a": {"clusteredIndex": {"key": {"_id": 1}, "unique": True, "name": "n"}}}},
    {"collections": {"a": {"changeStreamPreAndPostImages": {"enabled": True}}}},
    {"collections": {"a": {"viewOn": "b", "pipeline": [{"$match": {"c": {"$oid": "0" * 24}}}]}}},
    {"collections": {"a": {"collation": {
        "locale": "fr_CA", "strength": 1, "caseLevel": True, "caseFirst": "lower", "numericOrdering": True,
        "alternate": "shifted", "maxVariable": "space", "normalization": True, "backwards": False,
    }}}},
    {"collections": {"a": {"validator": {}}}},
    {"collections": {"a": {
        "validator": {"$jsonSchema": {"bsonType": "object"}}, "validationLevel": "off", "validationAction": "warn",
    }}},
    {"collections": {"a": {"validator": {"$jsonSchema": {
        "bsonType": ["object", "null"], "title": "t", "required": ["a"], "additionalProperties": {"type": "number"},
        "properties": {"a": {"bsonType": "int", "minimum": {"$numberLong": "1"}, "exclusiveMinimum": True},
                       "b": {"items": [{"bsonType": "string", "pattern": "^x", "maxLength": 5}], "additionalItems": False},
                       "c": {"enum": [1, None, {"$oid": "0" * 24}]}, "d": {"not": {"anyOf": [{}, {"minItems": 1}]}}},
        "patternProperties": {"^z": {}}, "dependencies": {"a": ["b"], "b": {"required": ["c"]}},
    }, "e": {"$gt": 5}}}}},
    {"collections": {"a": {"indexes": [
        {"keys": {"a": 1, "b.c": -1}, "name": "x", "renamed_from": "y", "unique": True, "hidden": True},
        {"keys": {"a": "text", "$**": "text", "x": 1}, "weights": {"a": 9}, "default_language": "none",
         "language_override": "l", "textIndexVersion": 3},
        {"keys": {"g": "2d", "h": 1}, "bits": 20, "min": -5, "max": 5},
        {"keys": {"s": "2dsphere", "t": "2dsphere"}, "2dsphereIndexVersion": 2},
        {"keys": {"h": "hashed", "i": 1}},
        {"keys": {"$**": 1}, "wildcardProjection": {"a": 0, "b": {"c": False}}},
        {"keys": {"w.$**": 1}},
        {"keys": {"x": 1, "w.$**": 1}},
        {"keys": {"e": 1}, "expireAfterSeconds": {"$numberInt": "0"}},
        {"keys": {"p": 1}, "partialFilterExpression": {"p": {"$exists": True}}},
        {"keys": {"q": 1}, "sparse": True, "prepareUnique": True},
        {"keys": {"r": 1}, "collation": {"locale": "en"}},
        {"name": "gone", "state": "absent"},
        {"keys": {"gone": 1}, "state": "absent"},
    ]}}},
    {"collections": {"a": {"searchIndexes": [
        {"definition": {"mappings": {"dynamic": True}}},
        {"name": "v", "type": "vectorSearch", "definition": {"fields": []}},
    ]}}},
]  # fmt: skip


@pytest.mark.parametrize("document", TAKEN_BY_BOTH, ids=json.dumps)
def test_both_take(document: Any) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    manifest.load("-", io.BytesIO(json.dumps(document).encode()))


def test_what_the_schema_refuses_is_refused_by_hand_too() -> None:
    refused = 0
    for text in WRONG:
        try:
            document = Document("x", text).value
        except ManifestError:
            continue
        refused += not VALIDATOR.is_valid(document)
    # The others are combinations of keys, each of which may stand for itself.
    assert refused > 25


def test_variables_fit_before_they_are_put_in() -> None:
    text = "collections:\n  a:\n    capped: ${C}\n    size: ${S}\n    validationLevel: ${L:-off}\n    validator: {}\n"
    assert VALIDATOR.is_valid(Document("x", text).value)


WORDS = sorted(
    {
        *SCHEMA["definitions"]["collection"]["properties"],
        *SCHEMA["definitions"]["index"]["properties"],
        *SCHEMA["definitions"]["collation"]["properties"],
        "timeField", "metaField", "granularity", "enabled", "key", "_id", "$**", "a", "b.c", "$numberInt", "$oid",
    }
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.sampled_from([0.5, 2**31, 2**53, 1e300])
    | st.sampled_from(
        [
            "a",
            "",
            "en",
            "text",
            "hashed",
            "2d",
            "seconds",
            "error",
            "strict",
            "absent",
            "present",
            "1",
            "${X}",
        ]
    )
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(WORDS), ANYTHING, max_size=3))
def test_what_is_loaded_fits_the_schema(body: dict[str, Any]) -> None:
    for document in ({"collections": {"c": body}}, {"collections": {"c": {"indexes": [body]}}}, body):
        if loads(document) is not None:
            assert [error.message for error in VALIDATOR.iter_errors(document)] == []


def _fitting(body: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Make values that fit a schema: strategies from the very schema that editors use."""
    if "$ref" in body:
        return _fitting(SCHEMA["definitions"][body["$ref"].rpartition("/")[2]])
    if "anyOf" in body and "properties" not in body:
        return st.one_of([_fitting(one) for one in body["anyOf"] if "variable" not in one.get("$ref", "")])
    if "enum" in body:
        return st.sampled_from(body["enum"])
    match body.get("type"):
        case "boolean":
            return st.booleans()
        case "number":
            return st.integers(body.get("minimum", -9), min(body.get("maximum", 99), 2**40))
        case "string":
            return st.sampled_from(["a", "b", "en", "english"])
        case "array":
            return st.lists(
                _fitting(body["items"]) if "items" in body else st.just({"$match": {}}), max_size=2
            )
    if "patternProperties" in body:
        needed = {name: _fitting(body["properties"][name]) for name in body.get("required", ())}
        other = {name: _fitting(one) for name, one in body["properties"].items() if name not in needed}
        return st.fixed_dictionaries(needed, optional=other)
    if body.get("additionalProperties"):
        return st.dictionaries(
            st.sampled_from(["a", "b", "$**"]),
            _fitting(body["additionalProperties"]),
            min_size=body.get("minProperties", 0),
            max_size=2,
        )
    return st.sampled_from([{"$numberInt": "1"}]) if "maxProperties" in body else st.just({"a": 1})


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(_fitting(SCHEMA["definitions"]["index"]).filter(lambda body: "keys" in body or "name" in body))
def test_an_index_that_fits_is_refused_only_for_its_combination(body: dict[str, Any]) -> None:
    document = {"collections": {"c": {"indexes": [body]}}}
    assert VALIDATOR.is_valid(document)
    try:
        (collection,) = manifest.load("-", io.BytesIO(json.dumps(document).encode()))
    except ManifestError as error:
        refused = error.message
    else:
        refused = ""
        assert len(collection.indexes) + len(collection.absent_indexes) == 1
    assert "unknown key" not in refused
