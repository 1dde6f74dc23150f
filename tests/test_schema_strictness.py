"""What loosens a validator: decided on paper, held against a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motorctl.core.schema.compare import literal
from motorctl.core.schema.model import Validator
from motorctl.core.schema.planning.strictness import loosens, query_loosens, schema_loosens

if TYPE_CHECKING:
    from pymongo.database import Database

    SyncDatabase = Database[dict[str, Any]]

LOOSER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"required": ["a", "b"]}, {"required": ["b"]}),
    ({"required": ["a"]}, {}),
    ({"required": ["a"]}, {"title": "anything"}),
    ({"properties": {"a": {"enum": [1, 2]}}}, {"properties": {"a": {"enum": [2.0, 1, "x"]}}}),
    ({"properties": {"a": {"bsonType": "int"}}}, {"properties": {"a": {"bsonType": ["string", "number"]}}}),
    ({"properties": {"a": {"bsonType": "bool"}}}, {"properties": {"a": {"type": "boolean"}}}),
    ({"properties": {"a": {"minimum": 2}}}, {"properties": {"a": {"minimum": Decimal128("1.5")}}}),
    ({"properties": {"a": {"minimum": 2}}}, {"properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}}),
    (
        {"properties": {"a": {"maximum": 4, "exclusiveMaximum": True}}},
        {"properties": {"a": {"maximum": Int64(4)}}},
    ),
    ({"properties": {"a": {"maxLength": 3}}}, {"properties": {"a": {"maxLength": 4, "minLength": 0}}}),
    ({"properties": {"a": {"multipleOf": 6}}}, {"properties": {"a": {"multipleOf": 3}}}),
    ({"properties": {"a": {"pattern": "^x"}, "b": {"minimum": 1}}}, {"properties": {"a": {"pattern": "^x"}}}),
    ({"additionalProperties": False, "properties": {"a": {}}}, {"properties": {"a": {}}}),
    (
        {"additionalProperties": False, "properties": {"a": {}}},
        {"additionalProperties": False, "properties": {"a": {}, "b": {"minimum": 1}}},
    ),
    (
        {"additionalProperties": False, "properties": {"a": {"bsonType": "int"}}},
        {"additionalProperties": {"bsonType": "int"}},
    ),
    ({"properties": {"a": {"items": {"minimum": 2}}}}, {"properties": {"a": {"items": {"minimum": 1}}}}),
    ({"properties": {"a": {"items": {"minimum": 2}}}}, {"properties": {"a": {"items": [{"minimum": 1}]}}}),
    (
        {"properties": {"a": {"items": [{"minimum": 2}], "additionalItems": False}}},
        {"properties": {"a": {"items": [{}, {"minimum": 9}], "additionalItems": {"maximum": 1}}}},
    ),
    (
        {"properties": {"a": {"items": [{}, {"maximum": 1}], "additionalItems": {"maximum": 0}}}},
        {"properties": {"a": {"items": [{}], "additionalItems": {"maximum": 1}}}},
    ),
    (
        {"properties": {"a": {"items": [{}], "additionalItems": False}}},
        {"properties": {"a": {"items": [{}, {}], "additionalItems": False}}},
    ),
    (
        {"properties": {"a": {"items": [{"minimum": 2}, {"minimum": 3}]}}},
        {"properties": {"a": {"items": [{"minimum": 1}]}}},
    ),
    ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"required": ["b"]}),
    ({"required": ["a", "b"]}, {"allOf": [{"required": ["a"]}, {"required": ["b"]}]}),
    ({"required": ["a"]}, {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
    (
        {"oneOf": [{"required": ["a"]}, {"required": ["b", "c"]}]},
        {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    ),
    ({"anyOf": [{"required": ["a", "b"]}, {"required": ["b"]}]}, {"required": ["b"]}),
    ({"not": {"required": ["a"]}}, {"not": {"required": ["a", "b"]}}),
    (
        {"properties": {"a": {"bsonType": "int"}}},
        {"properties": {"a": {"maxLength": 3, "items": {"not": {}}}}},
    ),
    ({"required": ["a"]}, {"bsonType": "object", "required": ["a"]}),
    ({"not": {}}, {"required": ["a"]}),
    ({"dependencies": {"a": ["b", "c"]}}, {"dependencies": {"a": ["b"]}}),
    ({"dependencies": {"a": {"required": ["b", "c"]}}}, {"dependencies": {"a": {"required": ["b"]}}}),
    (
        {"patternProperties": {"^a": {"minimum": 2}}, "additionalProperties": False},
        {"patternProperties": {"^a": {"minimum": 1}}},
    ),
    ({"minProperties": 2, "maxProperties": 4}, {"minProperties": 1, "maxProperties": 5}),
    ({"properties": {"a": {"uniqueItems": True, "minItems": 1}}}, {"properties": {"a": {"minItems": 1}}}),
]


@pytest.mark.parametrize(("before", "after"), LOOSER)
def test_a_schema_that_takes_more_is_known_and_so_is_the_way_back(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert query_loosens({"$jsonSchema": before}, {"$jsonSchema": after})
    back = query_loosens({"$jsonSchema": after}, {"$jsonSchema": before})
    # Two ways to write the same.
    same: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"required": ["a"]}, {"bsonType": "object", "required": ["a"]}),
        ({"properties": {"a": {"bsonType": "bool"}}}, {"properties": {"a": {"type": "boolean"}}}),
        ({"anyOf": [{"required": ["a", "b"]}, {"required": ["b"]}]}, {"required": ["b"]}),
    ]
    assert back is ((before, after) in same)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"properties": {"a": {"pattern": "^x"}}}, {"properties": {"a": {"pattern": "x"}}}),
        ({"oneOf": [{"required": ["a"]}]}, {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
        ({"properties": {"a": {"multipleOf": 3}}}, {"properties": {"a": {"multipleOf": 6}}}),
        ({"properties": {"a": {"minimum": float("nan")}}}, {"properties": {"a": {"minimum": 1}}}),
        ({}, {"additionalProperties": False}),
        (
            {"properties": {"a": {"items": [{}, {"maximum": 5}], "additionalItems": {"maximum": 1}}}},
            {"properties": {"a": {"items": [{}], "additionalItems": {"maximum": 1}}}},
        ),
        (
            {"properties": {"a": {"items": [{}], "additionalItems": {"maximum": 5}}}},
            {"properties": {"a": {"items": [{}], "additionalItems": {"maximum": 1}}}},
        ),
        (
            {"properties": {"a": {"patternProperties": {"^a": {}}}}},
            {"properties": {"a": {"patternProperties": {"^a": {"minimum": 1}}}}},
        ),
        ({"properties": {"a": {}}}, {"additionalProperties": False, "properties": {"a": {}}}),
        (
            {"patternProperties": {"^a": {}}, "additionalProperties": False},
            {"properties": {"ab": {"minimum": 1}}},
        ),
        (
            {"additionalProperties": False, "properties": {"a": {}, "b": {}}},
            {"additionalProperties": False, "properties": {"a": {}}},
        ),
    ],
)
def test_what_nobody_can_tell_does_not_loosen(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert not schema_loosens(before, after)


@pytest.mark.parametrize(
    ("before", "after", "looser"),
    [
        ({"a": {"$gt": 5}}, {"a": {"$gte": 5}}, True),
        ({"a": {"$gte": 5}}, {"a": {"$gt": 5}}, False),
        ({"a": {"$lt": 5}}, {"a": {"$lt": 6.5}}, True),
        ({"a": {"$lte": 5}}, {"a": {"$lt": 5}}, False),
        ({"a": {"$gt": 5}}, {"a": {"$lt": 9}}, False),
        ({"a": {"$gt": "5"}}, {"a": {"$gt": "4"}}, False),
        ({"a": {"$in": [1, 2]}}, {"a": {"$in": [2, 3, 1]}}, True),
        ({"a": {"$in": [1, 4]}}, {"a": {"$in": [2, 3, 1]}}, False),
        ({"a": 1, "b": 2}, {"b": 2}, True),
        ({"b": 2}, {"a": 1, "b": 2}, False),
        ({"$and": [{"a": 1}, {"b": {"$gt": 1, "$lt": 4}}]}, {"b": {"$lt": 5}}, True),
        ({"a": 1}, {"$or": [{"a": 1}, {"b": 1}]}, True),
        ({"$or": [{"a": 1}, {"b": 1}]}, {"$or": [{"b": 1}, {"c": 1}, {"a": 1}]}, True),
        ({"$or": [{"a": 1}, {"b": 1}]}, {"a": 1}, False),
        ({"$or": [{"a": 1, "b": 1}, {"a": 1}]}, {"a": 1}, True),
        ({"$expr": {"$gt": ["$a", 1]}}, {"$expr": {"$gt": ["$a", 0]}}, False),
        ({"a": {"$regex": "x", "$options": "i"}}, {"a": {"$regex": "x"}}, False),
        ({"$jsonSchema": {"required": ["a"]}, "b": 1}, {"$jsonSchema": {}}, True),
        ({"a": {"$exists": True}}, {"a": {"$exists": True}}, True),
    ],
)
def test_queries(before: dict[str, Any], after: dict[str, Any], looser: bool) -> None:
    assert query_loosens(before, after) is looser


STRICT, MODERATE = Validator({"a": 1, "b": 1}), Validator({"a": 1, "b": 1}, "moderate")


@pytest.mark.parametrize(
    ("before", "after", "looser"),
    [
        (STRICT, None, True),
        (STRICT, Validator({}), True),
        (None, STRICT, False),
        (STRICT, MODERATE, True),
        (MODERATE, STRICT, False),
        (STRICT, Validator({"a": 1}), True),
        (STRICT, Validator({"a": 2}, "moderate"), False),
        (STRICT, Validator({"a": 2}, "off"), True),
        (STRICT, Validator({"a": 2}, "strict", "warn"), True),
        (Validator({"a": 1}, "strict", "warn"), Validator({}, "moderate"), True),
        (Validator({"a": 1}, "off"), Validator({"a": 1}), False),
        (Validator({"a": 1}, "strict", "warn"), Validator({"a": 1}), False),
        (MODERATE, Validator({"b": 1}, "moderate"), True),
    ],
)
def test_levels_and_actions(before: Validator | None, after: Validator | None, looser: bool) -> None:
    assert loosens(before, after) is looser


# -- a real server ----------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([0, 1, 2, 3, -1, 1.5, 2.0, Int64(2), Decimal128("2.5")])
VALUES = st.one_of(
    NUMBERS, st.sampled_from(["", "x", "xy", True, None, [], [1], [1, 1], [2, "x"], {}, {"a": 1}])
)
TYPES = st.sampled_from(["int", "number", "string", "object", "array", "bool", "null", "double", "decimal"])
NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True)
COUNTS = st.integers(0, 3)


def _keywords(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(inner, min_size=1, max_size=2)
    fields = st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "bsonType": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3, unique_by=literal),
        "required": NAMES,
        "properties": fields,
        "patternProperties": st.dictionaries(st.sampled_from(["a", "^[bc]"]), inner, min_size=1, max_size=1),
        "additionalProperties": st.booleans() | inner,
        "minimum": NUMBERS,
        "maximum": NUMBERS,
        "minLength": COUNTS,
        "maxLength": COUNTS,
        "multipleOf": st.sampled_from([1, 2, 3, 6]),
        "pattern": st.sampled_from(["x", "^x"]),
        "items": inner | several,
        "additionalItems": st.booleans() | inner,
        "minItems": COUNTS,
        "maxItems": COUNTS,
        "uniqueItems": st.booleans(),
        "minProperties": COUNTS,
        "maxProperties": COUNTS,
        "allOf": several,
        "anyOf": several,
        "oneOf": several,
        "not": inner,
        "dependencies": st.dictionaries(st.sampled_from("abc"), NAMES | inner, min_size=1, max_size=1),
    }
    chosen = st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True)
    made = chosen.flatmap(lambda words: st.fixed_dictionaries({word: optional[word] for word in words}))
    return st.tuples(made, st.booleans(), st.booleans()).map(_with_exclusives)


def _with_exclusives(drawn: tuple[dict[str, Any], bool, bool]) -> dict[str, Any]:
    schema, low, high = drawn
    schema = dict(schema)
    if low and "minimum" in schema:
        schema["exclusiveMinimum"] = True
    if high and "maximum" in schema:
        schema["exclusiveMaximum"] = True
    return schema


SCHEMAS = st.recursive(st.just({}) | _keywords(st.just({})), _keywords, max_leaves=6)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two schemas of which the second is often a loosened first."""
    before = draw(SCHEMAS)
    after = draw(st.just(None) | SCHEMAS)
    if after is not None:
        return before, after
    return before, _loosened(before, draw)


def _loosened(schema: dict[str, Any], draw: st.DrawFn) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for word, value in schema.items():
        match draw(st.integers(0, 4)), value:
            case 0, _:
                continue
            case 1, dict() if word in ("properties", "patternProperties"):
                result[word] = {name: _loosened(one, draw) for name, one in value.items()}
            case 1, dict() if word in ("items", "additionalItems", "additionalProperties", "not"):
                result[word] = _loosened(value, draw)
            case 1, list() if word in ("anyOf", "allOf", "oneOf"):
                result[word] = [_loosened(one, draw) for one in value]
            case 1, int() if not isinstance(value, bool):
                result[word] = value + draw(st.sampled_from([-1, 1])) if value > 1 else value
            case _:
                result[word] = value
    for word, needed in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if needed not in result:
            result.pop(word, None)
    return result


def _documents() -> list[dict[str, Any]]:
    values = [
        0, 1, 2, 3, 6, -1, 1.5, 2.5, float("nan"), Int64(2), Decimal128("2"), Decimal128("NaN"),
        "", "x", "xy", "yx", "xxxx", True, False, None, [], [1], [1, 1], [1, 2], [2, "x"], [1, 2, 3, 4], ["x"], [{}],
        {}, {"a": 1}, {"b": "x"}, {"a": 1, "b": 2}, {"c": [1]}, {"a": {"a": 1}}, {"a": 1, "b": 1, "c": 1, "d": 1},
    ]  # fmt: skip
    singles = [{name: value} for name in ("a", "b", "c", "d", "ab") for value in values]
    doubles = [{"a": one, "b": other} for one in values[::3] for other in values[::4]]
    return [{}, *singles, *doubles, *({"a": one, "b": 1, "c": one} for one in values)]


@pytest.fixture(scope="module")
def documents(server_uri: str) -> Any:
    import uuid

    import pymongo

    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        name = f"test_{uuid.uuid4().hex[:12]}"
        collection = client[name]["documents"]
        collection.insert_many(_documents())
        yield collection
        client.drop_database(name)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs())
def test_what_loosens_refuses_no_document_that_was_taken(
    documents: Any, pair: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    before, after = ({"$jsonSchema": schema} for schema in pair)
    if query_loosens(before, after):
        refused = documents.find_one({"$and": [before, {"$nor": [after]}]})
        assert refused is None, refused


@pytest.mark.parametrize(("before", "after"), LOOSER)
def test_the_server_agrees(documents: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    refused = documents.find_one({"$and": [{"$jsonSchema": before}, {"$nor": [{"$jsonSchema": after}]}]})
    assert refused is None
