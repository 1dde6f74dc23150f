"""What a real server's refusals are read as; and that no shape of an error document is too odd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError

from motorctl.core.refusals import Duplicate, Violation, duplicate, violations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]


def schema(**keywords: Any) -> dict[str, Any]:
    return {"$jsonSchema": keywords}


def field(**keywords: Any) -> dict[str, Any]:
    return schema(properties={"v": keywords})


# (validator, document it refuses, what is said of it)
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "required": (schema(required=["a", "b"]), {"a": 1}, ["b required: is missing"]),
    "bsonType": (field(bsonType="string"), {"v": 1}, ["v bsonType: is int, not string"]),
    "bsonTypes": (field(bsonType=["string", "null"]), {"v": 1}, ["v bsonType: is int, not string or null"]),
    "type": (field(type="string"), {"v": 1.5}, ["v type: is double, not string"]),
    "minimum": (field(minimum=3), {"v": 1}, ["v minimum: is 1, below 3"]),
    "maximum": (field(maximum=3), {"v": 9}, ["v maximum: is 9, above 3"]),
    "exclusiveMinimum": (field(minimum=3, exclusiveMinimum=True), {"v": 3}, ["v minimum: is 3, not above 3"]),
    "exclusiveMaximum": (field(maximum=3, exclusiveMaximum=True), {"v": 3}, ["v maximum: is 3, not below 3"]),
    "multipleOf": (field(multipleOf=5), {"v": 3}, ["v multipleOf: is 3, not a multiple of 5"]),
    "enum": (field(enum=["a", "b"]), {"v": "c"}, ['v enum: is "c", not one of a, b']),
    "pattern": (field(pattern="^a+$"), {"v": "é"}, ['v pattern: is "é", which does not match ^a+$']),
    "minLength": (field(minLength=3), {"v": "ab"}, ['v minLength: is "ab", shorter than 3']),
    "maxLength": (field(maxLength=1), {"v": "ab"}, ['v maxLength: is "ab", longer than 1']),
    "minItems": (field(minItems=3), {"v": [1]}, ["v minItems: has 1 items, fewer than 3"]),
    "maxItems": (field(maxItems=1), {"v": [1, 2]}, ["v maxItems: has 2 items, more than 1"]),
    "uniqueItems": (field(uniqueItems=True), {"v": [7, 7]}, ["v uniqueItems: holds 7 twice"]),
    "a long value is cut": (
        field(maxLength=1),
        {"v": "x" * 500},
        ['v maxLength: is "' + "x" * 78 + "…, longer than 1"],
    ),
    "two rules of one field": (
        field(pattern="^a", minLength=3),
        {"v": "b"},
        ['v pattern: is "b", which does not match ^a', 'v minLength: is "b", shorter than 3'],
    ),
    "nested properties": (
        field(required=["x"], properties={"y": {"properties": {"z": {"enum": [1, 2]}}}}),
        {"v": {"y": {"z": 5}}},
        ["v.y.z enum: is 5, not one of 1, 2", "v.x required: is missing"],
    ),
    "items": (
        field(items={"bsonType": "object", "required": ["sku"], "properties": {"qty": {"minimum": 1}}}),
        {"v": [{"sku": 1, "qty": 1}, {"qty": 0}]},
        ["v.1.qty minimum: is 0, below 1", "v.1.sku required: is missing"],
    ),
    "items by position": (
        field(items=[{"bsonType": "string"}, {"bsonType": "int"}], additionalItems={"bsonType": "string"}),
        {"v": [1, 5, 6]},
        ["v.0 bsonType: is int, not string", "v.2 bsonType: is int, not string"],
    ),
    "additionalItems": (
        field(items=[{"bsonType": "string"}], additionalItems=False),
        {"v": ["a", 1]},
        ['v additionalItems: found additional items ({"additionalItems": false})'],
    ),
    "additionalProperties": (
        schema(properties={"_id": {}, "a": {}}, additionalProperties=False),
        {"a": 1, "y": 1, "z": 1},
        ["y additionalProperties: is not allowed", "z additionalProperties: is not allowed"],
    ),
    "a schema for additionalProperties": (
        schema(properties={"_id": {}}, additionalProperties={"bsonType": "string"}),
        {"z": 2},
        ["z bsonType: is int, not string"],
    ),
    "patternProperties": (
        schema(patternProperties={"^n": {"bsonType": "int"}}),
        {"n1": "x"},
        ["n1 bsonType: is string, not int"],
    ),
    "anyOf of a field": (
        field(anyOf=[{"bsonType": "string"}, {"bsonType": "int", "minimum": 5}]),
        {"v": 1},
        ["v anyOf: fits no alternative: v is int, not string; or v is 1, below 5"],
    ),
    "anyOf of the document": (
        schema(anyOf=[{"required": ["a"]}, {"properties": {"b": {"bsonType": "int"}}, "required": ["b"]}]),
        {"b": "s"},
        [" anyOf: fits no alternative: a is missing; or b is string, not int"],
    ),
    "oneOf, both fit": (
        field(oneOf=[{"bsonType": "int"}, {"minimum": 0}]),
        {"v": 1},
        ["v oneOf: more than one subschema matched (oneOf)"],
    ),
    "allOf": (field(allOf=[{"bsonType": "int"}, {"minimum": 5}]), {"v": 1}, ["v minimum: is 1, below 5"]),
    "not": (field(**{"not": {"bsonType": "int"}}), {"v": 1}, ["v not: fits what the rule forbids"]),
    "not, of the document": (
        schema(**{"not": {"required": ["a"]}}),
        {"a": 1},
        [" not: fits what the rule forbids"],
    ),
    "dependencies": (
        schema(dependencies={"a": ["b"]}),
        {"a": 1},
        ["b dependencies: is missing, and a needs it"],
    ),
    "a schema for dependencies": (
        schema(dependencies={"a": {"required": ["b"]}}),
        {"a": 1},
        ["b required: is missing"],
    ),
    "a query": ({"a": {"$gt": 5}}, {"a": 1}, ['a $gt: is 1: comparison failed ({"a": {"$gt": 5}})']),
    "a dotted query": (
        {"a.b": {"$in": [5]}},
        {"a": {"b": 1}},
        ['a.b $in: is 1: no matching value found in array ({"a.b": {"$in": [5]}})'],
    ),
    "a query of two": (
        {"a": {"$gt": 5}, "b": {"$exists": True}},
        {"a": 1},
        [
            'a $gt: is 1: comparison failed ({"a": {"$gt": 5}})',
            'b $exists: path does not exist ({"b": {"$exists": true}})',
        ],
    ),
    "$or": (
        {"$or": [{"a": 1}, {"b": {"$type": "string"}}]},
        {"a": 2, "b": 3},
        [
            (
                ' $or: fits no alternative: a is 2: comparison failed ({"a": 1}); '
                'or b is 3: type did not match ({"b": {"$type": "string"}})'
            )
        ],
    ),
    "$and with a schema": (
        {"$and": [schema(required=["q"]), {"a": {"$lt": 1}}]},
        {"a": 2},
        ["q required: is missing", 'a $lt: is 2: comparison failed ({"a": {"$lt": 1}})'],
    ),
    "$nor": ({"$nor": [{"a": 1}]}, {"a": 1}, [" $nor: fits what the rule forbids"]),
    "$not": ({"a": {"$not": {"$gt": 0}}}, {"a": 2}, ["a $not: fits what the rule forbids"]),
    "$expr": (
        {"$expr": {"$gt": ["$a", "$b"]}},
        {"a": 1, "b": 2},
        [' $expr: expression did not match ({"$expr": {"$gt": ["$a", "$b"]}})'],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_validators_refusal_names_field_and_rule(name: str, sync_db: SyncDatabase) -> None:
    validator, document, said = REFUSED[name]
    sync_db.create_collection("c", validator=validator)
    with pytest.raises(WriteError) as caught:
        sync_db.c.insert_one(document)
    assert caught.value.code == 121
    found = violations(caught.value.details or {})
    assert [f"{v.field} {v.rule}: {v.reason}" for v in found] == said


def test_an_update_and_a_bulk_write_are_refused_in_the_same_words(sync_db: SyncDatabase) -> None:
    sync_db.create_collection("c", validator=field(minimum=3))
    sync_db.c.insert_one({"_id": 1, "v": 5})
    said = [Violation("v", "minimum", "is 1, below 3")]
    with pytest.raises(WriteError) as updated:
        sync_db.c.update_one({"_id": 1}, {"$set": {"v": 1}})
    assert violations(updated.value.details or {}) == said
    with pytest.raises(BulkWriteError) as many:
        sync_db.c.insert_many([{"v": 4}, {"v": 1}])
    assert violations(many.value.details["writeErrors"][0]) == said


def test_a_server_without_errinfo_leaves_nothing_to_say() -> None:
    assert violations({"code": 121, "errmsg": "Document failed validation"}) == []


def refused_twice(
    db: SyncDatabase, document: dict[str, Any], again: dict[str, Any], collection: str = "c"
) -> Duplicate:
    db[collection].insert_one(document)
    with pytest.raises(DuplicateKeyError) as caught:
        db[collection].insert_one(again)
    return duplicate(caught.value.details or {})


def test_a_duplicate_names_field_value_and_index(sync_db: SyncDatabase) -> None:
    sync_db.c.create_index("email", unique=True)
    found = refused_twice(sync_db, {"email": "a@b.co"}, {"email": "a@b.co"})
    assert found == Duplicate(f"{sync_db.name}.c", "email_1", ("email",), ('"a@b.co"',))
    assert found.sentence == 'email "a@b.co" is already in c'


def test_a_compound_duplicate_names_all_fields(sync_db: SyncDatabase) -> None:
    sync_db.c.create_index([("a", 1), ("b", -1)], unique=True)
    found = refused_twice(sync_db, {"a": 1, "b": None}, {"a": 1})
    assert (found.index, found.fields) == ("a_1_b_-1", ("a", "b"))
    assert found.sentence == "a 1, b null is already in c"


def test_a_duplicate_below_a_path_and_with_braces_in_it(sync_db: SyncDatabase) -> None:
    sync_db.c.create_index("a.b", unique=True)
    found = refused_twice(sync_db, {"a": {"b": "x } dup key: { y"}}, {"a": {"b": "x } dup key: { y"}})
    assert (found.index, found.fields, found.values) == ("a.b_1", ("a.b",), ('"x } dup key: { y"',))


def test_a_duplicate_id(sync_db: SyncDatabase) -> None:
    found = refused_twice(sync_db, {"_id": 7}, {"_id": 7})
    assert (found.index, found.sentence) == ("_id_", "_id 7 is already in c")


def test_a_duplicate_in_an_array_names_the_element(sync_db: SyncDatabase) -> None:
    sync_db.c.create_index("tags", unique=True)
    assert refused_twice(sync_db, {"tags": ["x", "y"]}, {"tags": ["y", "z"]}).values == ('"y"',)


def test_odd_names_of_collection_and_index_are_read_whole(sync_db: SyncDatabase) -> None:
    odd = "my odd index: dup key: name"
    sync_db["a b.c"].create_index("a", unique=True, name=odd)
    found = refused_twice(sync_db, {"a": 1}, {"a": 1}, "a b.c")
    assert (found.namespace, found.index) == (f"{sync_db.name}.a b.c", odd)


def test_a_collations_sort_key_is_not_shown_as_the_value(sync_db: SyncDatabase) -> None:
    sync_db.c.create_index("a", unique=True, collation={"locale": "fr", "strength": 2})
    found = refused_twice(sync_db, {"a": "ABC"}, {"a": "abc"})
    assert (found.index, found.values) == ("a_1", ("",))
    assert found.sentence == "a is already in c"


def test_the_message_alone_names_namespace_and_index() -> None:
    message = "E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: 1 }"
    found = duplicate({"code": 11000, "errmsg": message})
    assert found == Duplicate("shop.users", "email_1", (), ())
    assert found.sentence == "email_1 is already in users"


KEYS = st.sampled_from(
    """operatorName specifiedAs reason details consideredValue consideredType schemaRulesNotSatisfied
    propertiesNotSatisfied schemasNotSatisfied clausesNotSatisfied missingProperties additionalProperties
    failingDependencies conditionalProperty propertyName failingProperty itemIndex errInfo errmsg keyValue
    keyPattern hexEncoded duplicatedValue numberOfItems""".split()
)
OPERATORS = st.sampled_from(
    ["bsonType", "enum", "pattern", "minimum", "anyOf", "not", "$or", "$not", "$gt", "items"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | OPERATORS
SHAPES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=25,
)


@given(SHAPES, st.dictionaries(KEYS, SHAPES, max_size=5))
def test_no_shape_is_too_odd(details: Any, error: Mapping[str, Any]) -> None:
    for document in ({"errInfo": {"details": details}}, {"errInfo": details}, error):
        for found in violations(document):
            assert all(isinstance(text, str) for text in (found.field, found.rule, found.reason))
        assert isinstance(duplicate(document).sentence, str)
