"""Which documents a validator refuses, and why, asked of a real server; what it says of itself agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from bson import Code, DatetimeMS, Decimal128, Int64, ObjectId, encode
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pymongo.errors import ExecutionTimeout, OperationFailure, WriteError
from strategies import documents

from motorctl.core import refusals
from motorctl.core.rules import EACH, rules
from motorctl.core.violations import Found, Tally, count, find, tally

if TYPE_CHECKING:
    from motorctl.client import Database

NON_CONFORMANT = 378
SCHEMA: dict[str, Any] = {
    "$jsonSchema": {
        "required": ["email"],
        "properties": {
            "_id": {},
            "email": {"bsonType": "string"},
            "gpa": {"bsonType": ["int", "double"], "maximum": 4},
            "tags": {"items": {"bsonType": "string"}},
            "lines": {"items": {"required": ["sku"], "properties": {"qty": {"minimum": 1}}}},
            "address": {"properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["zip"]},
        },
        "additionalProperties": False,
    }
}


async def found(db: Database, expression: dict[str, Any], **options: Any) -> list[Found]:
    return [one async for one in find(db, "c", expression, **options)]


async def sentences(db: Database, expression: dict[str, Any], document: dict[str, Any]) -> list[str]:
    await db["c"].insert_one(document)
    (one,) = await found(db, expression)
    return [rule.sentence for rule in one.rules]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"gpa": 5}, ["gpa is 5, above 4", "email is missing"]),
        ({"email": 5}, ["email is int, not string"]),
        ({"email": "a", "more": 1, "and": 2}, ["more is not allowed", "and is not allowed"]),
        ({"email": "a", "tags": ["x", 1, "y", 2]}, ["tags.1 is int, not string"]),
        (
            {"email": "a", "lines": [{"sku": 1, "qty": 1}, {"qty": 0}]},
            ["lines.1.qty is 0, below 1", "lines.1.sku is missing"],
        ),
        (
            {"email": "a", "address": {"city": "Bonn"}},
            ['address.city is "Bonn", not one of Rome, Oslo', "address.zip is missing"],
        ),
        ({"email": "a", "gpa": DatetimeMS(10**15)}, ["gpa is date, not int or double"]),
    ],
)
async def test_the_rules_are_told_in_words(db: Database, document: dict[str, Any], said: list[str]) -> None:
    assert await sentences(db, SCHEMA, document) == said


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ({"a": {"$gt": 1}}, ['a is 0: does not match ({"a": {"$gt": 1}})']),
        ({"a": 1, "b.c": {"$exists": True}}, None),
        ({"$expr": {"$eq": ["$a", 1]}}, ['the document does not match ({"$expr": {"$eq": ["$a", 1]}})']),
        ({"$or": [{"a": 1}, {"b": 1}]}, ['the document does not match ({"$or": [{"a": 1}, {"b": 1}]})']),
        ({"$nor": [{"a": 0}]}, ["the document fits what the rule forbids"]),
        ({"$and": [{"$jsonSchema": {"required": ["b"]}}, {"a": {"$gte": 0}}]}, ["b is missing"]),
        ({"$jsonSchema": {"allOf": [{"required": ["b"]}, {"minProperties": 1}]}}, ["b is missing"]),
    ],
)
async def test_expressions_without_a_schema_are_asked_too(
    db: Database, expression: dict[str, Any], said: list[str] | None
) -> None:
    told = await sentences(db, expression, {"_id": 1, "a": 0})
    assert told == said if said else len(told) == 2
    assert await count(db, "c", expression) == 1


async def test_ids_of_each_type_come_as_they_are(db: Database) -> None:
    ids = [
        *(5, Int64(2**40), 1.5, "x", ObjectId(), DatetimeMS(10**15), Decimal128("2.50"), None, True, b"\0"),
        *({"b": 1, "a": Int64(2)}, Code("f"), DatetimeMS(-(10**15))),
    ]
    await db["c"].insert_many([{"_id": one} for one in ids])
    told = await found(db, SCHEMA)
    assert [encode({"": one.id}) for one in told] == [encode({"": one}) for one in ids]
    assert {rule.sentence for one in told for rule in one.rules} == {"email is missing"}


async def test_counts(db: Database) -> None:
    await db["c"].insert_many([{"_id": n, "email": "a" if n % 3 else 1, "gpa": n} for n in range(12)])
    assert await count(db, "c", SCHEMA) == 9
    expected = [Tally("gpa", "maximum", 7), Tally("email", "bsonType", 4)]
    assert await tally(db, "c", SCHEMA) == (9, expected)
    assert await count(db, "c", SCHEMA, sample=1000) == 9
    assert await count(db, "c", SCHEMA, sample=2) <= 2
    assert len(await found(db, SCHEMA, limit=4)) == 4
    assert len(await found(db, SCHEMA, sample=1000)) == 9


async def test_nothing_breaks_no_rules(db: Database) -> None:
    assert (await count(db, "c", SCHEMA), await tally(db, "c", SCHEMA), await found(db, SCHEMA)) == (
        0,
        (0, []),
        [],
    )
    await db["c"].insert_one({"a": 1})
    assert (await count(db, "c", {}), await tally(db, "c", {}), await found(db, {})) == (0, (0, []), [])


async def test_many_rules_and_many_documents_are_asked_in_parts(db: Database) -> None:
    expression = {"$jsonSchema": {"required": [f"f{n}" for n in range(230)]}}
    whole = {f"f{n}": 1 for n in range(230)}
    await db["c"].insert_many([{"_id": n, **whole} | {f"f{n % 230}": 1, "x": "y" * 3000} for n in range(3)])
    await db["c"].insert_many([{"_id": n, "pad": "x" * 9000} for n in range(10, 1210)])
    told = await found(db, expression)
    assert (len(told), {len(one.rules) for one in told}) == (1200, {230})
    total, tallies = await tally(db, "c", expression)
    assert (total, len(tallies), {one.count for one in tallies}) == (1200, 230, {1200})


async def test_a_time_limit_is_the_servers_own(db: Database, server_uri: str) -> None:
    await db["c"].insert_many([{"n": n} for n in range(3)])
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        client.admin.command(
            {"configureFailPoint": "failCommand", "mode": {"times": 1}}
            | {"data": {"failCommands": ["aggregate"], "errorCode": 50, "namespace": f"{db.name}.c"}}
        )
    with pytest.raises(ExecutionTimeout):
        await count(db, "c", SCHEMA, seconds=5)
    with pytest.raises(ExecutionTimeout):
        await tally(db, "c", SCHEMA, seconds=-1)


async def test_what_the_server_does_not_take_is_its_error(db: Database) -> None:
    with pytest.raises(OperationFailure, match="format"):
        await count(db, "c", {"$jsonSchema": {"format": "email"}})


def test_rules_of_items_have_a_path_of_their_own() -> None:
    every = list(rules(SCHEMA, of_items=True))
    assert [(rule.field, rule.keyword) for rule in every if EACH in rule.path] == [
        ("tags[]", "bsonType"),
        ("lines[].qty", "minimum"),
        ("lines[].sku", "required"),
    ]
    assert [rule.field for rule in rules(SCHEMA) if rule.keyword == "items"] == ["tags", "lines"]


_KEYWORDS = st.one_of(
    st.sampled_from(["int", "string", "object", "array", "null", "double"]).map(
        lambda name: {"bsonType": name}
    ),
    st.integers(-3, 3).map(lambda n: {"minimum": n}),
    st.just({"enum": [1, "a", None]}),
    st.just({"pattern": "^a"}),
    st.just({"required": ["a"]}),
    st.just({"maxProperties": 1}),
    st.just({"minItems": 1, "uniqueItems": True}),
    st.just({"not": {"bsonType": "int"}}),
    st.just({"anyOf": [{"bsonType": "string"}, {"minimum": 0}]}),
    st.just({"dependencies": {"a": ["b"]}}),
    st.just({"additionalProperties": False, "properties": {"_id": {}, "a": {}}}),
)
_SCHEMAS = st.recursive(
    _KEYWORDS,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=3).map(
            lambda p: {"properties": p}
        ),
        inner.map(lambda schema: {"items": schema}),
        st.lists(inner, min_size=1, max_size=2).map(lambda schemas: {"allOf": schemas}),
    ),
    max_leaves=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_SCHEMAS, st.lists(documents().filter(lambda d: "_id" not in d), min_size=1, max_size=4))
async def test_what_is_found_is_what_an_insert_refuses(
    db: Database, schema: dict[str, Any], those: list[dict[str, Any]]
) -> None:
    """The documents found are those that an insert refuses, and each broken rule has its words."""
    expression = {"$jsonSchema": schema}
    await db.drop_collection("c")
    await db.create_collection("c", validator=expression)
    refused = {}
    for number, document in enumerate(those):
        try:
            await db["c"].insert_one({"_id": number, **document})
        except WriteError as error:
            refused[number] = refusals.violations(error.details or {})
            await db["c"].insert_one({"_id": number, **document}, bypass_document_validation=True)
        except OperationFailure as error:
            # Newer servers look into compressed columns (a subtype of binary data), and these are none.
            assume(error.code != NON_CONFORMANT)
            raise
    told = {one.id: one for one in await found(db, expression)}
    assert set(told) == set(refused)
    assert await count(db, "c", expression) == len(refused)
    for one in told.values():
        assert all(rule.reason for rule in one.rules)
        assert one.broken, "no rule of its own says what the whole does"
