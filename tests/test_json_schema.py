"""The words of `$jsonSchema`: what is found wrong before a real server is asked, and that it agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import Code, Decimal128
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import OperationFailure
from strategies import documents

from motorctl.core.json_schema import BSON_TYPES, JSON_TYPES, problems, traps

if TYPE_CHECKING:
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]

WRONG: list[tuple[dict[str, Any], tuple[str | int, ...], str, str | None]] = [
    ({"bsonType": "integer"}, ("bsonType",), "integer is no bsonType", "did you mean 'int'?"),
    ({"bsonType": "boolean"}, ("bsonType",), "boolean is no bsonType", "did you mean 'bool'?"),
    ({"bsonType": ["int", "flot"]}, ("bsonType", 1), "flot is no bsonType", None),
    ({"type": "integer"}, ("type",), "integer is no type", "write bsonType: int (or long), or type: number"),
    ({"type": "objectId"}, ("type",), "objectId is no type", None),
    ({"bsonType": []}, ("bsonType",), "bsonType takes a type or a list of types", None),
    ({"bsonType": 5}, ("bsonType",), "bsonType takes a type or a list of types", None),
    ({"type": "string", "bsonType": "string"}, ("type",), "type and bsonType can't stand in one schema", "keep bsonType"),
    ({"format": "email"}, ("format",), "format is not supported in $jsonSchema", "write a pattern instead"),
    ({"$ref": "#/a"}, ("$ref",), "$ref is not supported in $jsonSchema", None),
    ({"default": 1}, ("default",), "default is not supported in $jsonSchema", None),
    ({"requird": ["a"]}, ("requird",), "unknown keyword requird in $jsonSchema", "did you mean 'required'?"),
    ({"$comment": "x"}, ("$comment",), "unknown keyword $comment in $jsonSchema", None),
    ({"required": []}, ("required",), "required takes a list of names, at least one", None),
    ({"required": "a"}, ("required",), "required takes a list of names, at least one", None),
    ({"required": ["a", 1]}, ("required",), "required takes a list of names, at least one", None),
    ({"required": ["a", "a"]}, ("required", 1), "a stands twice in required", None),
    ({"enum": []}, ("enum",), "enum takes a list of values, at least one", None),
    ({"minimum": "1"}, ("minimum",), "minimum takes a number", None),
    ({"minimum": True}, ("minimum",), "minimum takes a number", None),
    ({"minLength": -1}, ("minLength",), "minLength takes a whole number, 0 or more", None),
    ({"minLength": 1.5}, ("minLength",), "minLength takes a whole number, 0 or more", None),
    ({"pattern": 1}, ("pattern",), "pattern takes a string", None),
    ({"pattern": Code("a")}, ("pattern",), "pattern takes a string", None),
    ({"title": Code("a")}, ("title",), "title takes a string", None),
    ({"required": [Code("a")]}, ("required",), "required takes a list of names, at least one", None),
    ({"bsonType": Code("int")}, ("bsonType",), "bsonType takes a type or a list of types", None),
    ({"bsonType": Code("int", {})}, ("bsonType",), "bsonType takes a type or a list of types", None),
    ({"type": ["string", Code("null", {})]}, ("type", 1), "type takes a type or a list of types", None),
    ({"uniqueItems": 1}, ("uniqueItems",), "uniqueItems takes true or false", None),
    ({"properties": []}, ("properties",), "properties takes a document of schemas", None),
    ({"properties": {"a": 1}}, ("properties", "a"), "a schema is a document of keywords", None),
    ({"properties": {"a": {"type": "int"}}}, ("properties", "a", "type"), "int is no type", None),
    ({"patternProperties": {"a": {"formt": 1}}}, ("patternProperties", "a", "formt"), "unknown keyword formt in $jsonSchema", None),
    ({"dependencies": {"a": []}}, ("dependencies", "a"), "dependencies takes a list of names, at least one", None),
    ({"allOf": []}, ("allOf",), "allOf takes a list of schemas, at least one", None),
    ({"anyOf": [{}, {"x": 1}]}, ("anyOf", 1, "x"), "unknown keyword x in $jsonSchema", None),
    ({"not": 1}, ("not",), "not takes a schema", None),
    ({"items": 1}, ("items",), "items takes a schema or a list of schemas", None),
    ({"items": [{"bsonType": "x"}]}, ("items", 0, "bsonType"), "x is no bsonType", None),
    ({"additionalProperties": 1}, ("additionalProperties",), "additionalProperties takes true, false or a schema", None),
    ({"const": 1}, ("const",), "unknown keyword const in $jsonSchema", "write enum: [VALUE]"),
    ({"if": {}}, ("if",), "unknown keyword if in $jsonSchema", "write anyOf: [{not: IF}, THEN], and [IF, ELSE] in another"),
    ({"contains": {}}, ("contains",), "unknown keyword contains in $jsonSchema", "write not: {items: {not: SCHEMA}}"),
    ({"propertyNames": {}}, ("propertyNames",), "unknown keyword propertyNames in $jsonSchema", "write patternProperties, and additionalProperties: false"),
    ({"$defs": {}}, ("$defs",), "unknown keyword $defs in $jsonSchema", "write the schema itself where it is needed"),
    ({"examples": [1]}, ("examples",), "unknown keyword examples in $jsonSchema", "leave it out, or say it in description"),
    ({"$schema": "x"}, ("$schema",), "$schema is not supported in $jsonSchema", "leave it out: MongoDB knows draft 4 alone"),
    ({"nullable": True}, ("nullable",), "unknown keyword nullable in $jsonSchema", "write bsonType: [TYPE, 'null']"),
    ({"prefixItems": []}, ("prefixItems",), "unknown keyword prefixItems in $jsonSchema", "write items with the list of schemas"),
    ({"properties": {"a": {"required": True}}}, ("properties", "a", "required"), "required takes a list of names, at least one", "name the field in the list required, which stands beside properties"),
    ({"exclusiveMinimum": 5}, ("exclusiveMinimum",), "exclusiveMinimum takes true or false", "write minimum: 5, and exclusiveMinimum: true beside it"),
    ({"exclusiveMaximum": True}, ("exclusiveMaximum",), "exclusiveMaximum needs maximum beside it", None),
    ({"multipleOf": 0}, ("multipleOf",), "multipleOf takes a number above 0", None),
    ({"multipleOf": Decimal128("-1")}, ("multipleOf",), "multipleOf takes a number above 0", None),
    ({"minLength": 1e20}, ("minLength",), "minLength takes a whole number, 0 or more", None),
    ({"minLength": float("nan")}, ("minLength",), "minLength takes a whole number, 0 or more", None),
    ({"minLength": float("inf")}, ("minLength",), "minLength takes a whole number, 0 or more", None),
    ({"enum": [1, True, 1.0]}, ("enum", 2), "1.0 stands twice in enum", None),
    ({"enum": [{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]}, ("enum", 1), "{'b': [2.0], 'a': 1} stands twice in enum", None),
    ({"bsonType": ["int", "int"]}, ("bsonType", 1), "int stands twice in bsonType", None),
    ({"properties": {"a": True}}, ("properties", "a"), "a schema is a document of keywords", "write {} for a schema that all fit"),
    ({"items": [False]}, ("items", 0), "a schema is a document of keywords", "write not: {} for one that nothing fits"),
    ({"encryptMetadata": {}}, ("encryptMetadata",), "encryptMetadata takes a document that is not empty", None),
    ({"encrypt": {}, "bsonType": "string"}, ("encrypt",), "encrypt and bsonType can't stand in one schema", None),
    ({"patternProperties": {"[": {}}}, ("patternProperties", "["), "this pattern is no regular expression: unterminated character set", None),
    *[
        ({"properties": {"a": {"pattern": pattern}}}, ("properties", "a", "pattern"), f"this pattern is no regular expression: {reason}", None)
        for pattern, reason in {
            "a(": "missing )",
            "a)": "unbalanced parenthesis",
            "*a": "nothing to repeat",
            "a{2,1}": "min repeat greater than max repeat",
            "a\\": "bad escape (end of pattern)",
            "a\0": "it holds a zero byte",
        }.items()
    ],
]  # fmt: skip

RIGHT: list[dict[str, Any]] = [
    {},
    {"bsonType": ["int", "number", "objectId"], "title": "t", "description": "d"},
    {"type": ["string", "null"], "enum": [None, 1, {"a": 1}]},
    {"required": ["a"], "properties": {"a": {}, "required": {"bsonType": "int"}, "bsonType": {"minimum": 1}}},
    {"minimum": 1, "exclusiveMinimum": True, "maximum": 2.5, "multipleOf": 0.5},
    {"minLength": 0, "maxLength": 5.0, "pattern": "^a"},
    {
        "items": [{"type": "string"}],
        "additionalItems": False,
        "uniqueItems": True,
        "minItems": 1,
        "maxItems": 2,
    },
    {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}, "minProperties": 1, "maxProperties": 9},
    {
        "allOf": [{}],
        "anyOf": [{}],
        "oneOf": [{}],
        "not": {"required": ["x"]},
        "additionalProperties": {"type": "null"},
    },
    {"items": [], "enum": [True, 1, "1", None, 0, [1], [2]], "minLength": 2**40, "maximum": float("nan")},
    {"properties": {"a": {"encrypt": {}}}, "multipleOf": Decimal128("0.1"), "minimum": 5, "maximum": 1},
    *[{"multipleOf": number} for number in (float("nan"), Decimal128("NaN"), Decimal128("sNaN"), Decimal128("1E+6000"))],
    {"properties": {"_id": {}}, "additionalProperties": False},
    {"patternProperties": {"^_": {}}, "additionalProperties": False, "required": ["_x"]},
    *[
        {"properties": {"a": {"pattern": pattern}}}
        for pattern in (
            r"\p{L}+", "(?<n>a)", "(?>a)b++", r"\Qa[\E", "[[:alpha:]]", "[]x]", "(a)(?1)", r"\h", "(*UCP)a", r"[\w-a]", "",
        )
    ],
]  # fmt: skip


@pytest.mark.parametrize(("schema", "path", "message", "hint"), WRONG)
def test_what_a_server_refuses_is_found_before(
    sync_db: SyncDatabase, schema: dict[str, Any], path: tuple[str | int, ...], message: str, hint: str | None
) -> None:
    found = problems({"$jsonSchema": schema})
    assert [(p.path, p.message) for p in found] == [(("$jsonSchema", *path), message)]
    if hint is not None:
        assert found[0].hint == hint
    with pytest.raises(OperationFailure):
        sync_db.create_collection("c", validator={"$jsonSchema": schema})


@pytest.mark.parametrize("schema", RIGHT)
def test_what_a_server_takes_is_no_problem(sync_db: SyncDatabase, schema: dict[str, Any]) -> None:
    assert problems({"$jsonSchema": schema}) == []
    sync_db.create_collection("c", validator={"$jsonSchema": schema})


def test_schemas_inside_a_query_are_found_too() -> None:
    (problem,) = problems({"$and": [{"a": 1}, {"$or": [{"$jsonSchema": {"x": 1}}]}]})
    assert problem.path == ("$and", 1, "$or", 0, "$jsonSchema", "x")
    assert problems({"a": {"$gt": 5}}) == []
    (bare,) = traps({"bsonType": "object", "properties": {}})
    assert "under $jsonSchema" in bare.message


@pytest.mark.parametrize("name", sorted(BSON_TYPES | JSON_TYPES | {"any", "integer", "Int"}))
def test_the_names_of_types_are_the_servers(sync_db: SyncDatabase, name: str) -> None:
    for keyword in ("bsonType", "type"):
        schema = {"$jsonSchema": {keyword: name}}
        taken = True
        try:
            sync_db.command({"find": "c", "filter": schema})
        except OperationFailure:
            taken = False
        assert (problems(schema) == []) is taken, keyword


def test_what_refuses_every_document_is_found(sync_db: SyncDatabase) -> None:
    schema = {"$jsonSchema": {"properties": {"a": {}}, "additionalProperties": False}}
    (found,) = traps(schema)
    assert problems(schema) == []
    assert found.path == ("$jsonSchema", "additionalProperties")
    assert "_id is not among properties" in found.message
    assert found.hint == "add _id: {} to properties"
    # The server takes it, and then nothing more.
    sync_db.create_collection("c", validator=schema)
    with pytest.raises(OperationFailure):
        sync_db["c"].insert_one({"a": 1})
    assert traps({"$jsonSchema": {"properties": {"b": {"additionalProperties": False}}}}) == []
    assert traps({"$nor": [schema]}) == traps({"$or": [schema, {"a": 1}]}) == []
    assert len(traps({"$and": [schema]})) == 1


def test_a_required_field_that_is_not_allowed_is_found() -> None:
    schema = {"properties": {"a": {}}, "required": ["a", "b"], "additionalProperties": False}
    (found,) = traps({"$jsonSchema": {"properties": {"inner": schema}}})
    assert found.path == ("$jsonSchema", "properties", "inner", "required", 1)
    assert found.message == "b is required, and additionalProperties: false doesn't allow it"


_WORDS = st.sampled_from(
    [
        *"""bsonType type properties required items enum minimum maximum pattern additionalProperties allOf not
    multipleOf exclusiveMinimum minLength uniqueItems dependencies patternProperties const""".split()
    ]
)


@given(
    st.dictionaries(
        _WORDS, documents() | st.lists(documents(), max_size=2) | st.text() | st.floats(), max_size=4
    )
)
def test_nothing_is_too_odd_to_be_looked_at(schema: dict[str, Any]) -> None:
    for problem in problems({"$jsonSchema": schema}):
        assert problem.path[0] == "$jsonSchema"
        assert problem.message
