"""What a manifest refuses of an index, held against a real server: it refuses the same."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import OperationFailure

from motorctl import manifest
from motorctl.errors import ManifestError

if TYPE_CHECKING:
    import pymongo.database

# keys, options, the key of the error, its message
Rule = tuple[dict[str, Any], dict[str, Any], str, str]
PARTIAL = "can't be in a partialFilterExpression"
REFUSED: list[Rule] = [
    ({"a": "hashed"}, {"unique": True}, "unique", "a hashed index can't be unique"),
    ({"a": "hashed", "b": "hashed"}, {}, "b", "an index has one hashed field at most"),
    ({"a": "hashed", "b": "text"}, {}, "b", "hashed and text can't be in one index"),
    ({"a": "2dsphere", "b": "2d"}, {}, "b", "2dsphere and 2d can't be in one index"),
    ({"a": "2d", "b": "2d"}, {}, "b", "an index has one 2d field at most"),
    ({"a": 1, "b": "2d"}, {}, "b", "the 2d field of an index is its first"),
    ({"a": "text", "b": 1, "c": "text"}, {}, "c", "the text fields of an index stand side by side"),
    ({"a": "text"}, {"collation": {"locale": "fr"}}, "collation", "a text index can't have a collation"),
    ({"a": "2d"}, {"collation": {"locale": "fr"}}, "collation", "a 2d index can't have a collation"),
    ({"a.$**": "text"}, {}, "a.$**", "a.$** can't be text"),
    ({"$**": "hashed"}, {}, "$**", "$** can't be hashed"),
    ({"a": "text"}, {"weights": {"a": 0}}, "a", "a is from 1 to 99999, not 0"),
    ({"a": "text"}, {"weights": {"a": 100_000}}, "a", "a is from 1 to 99999, not 100000"),
    ({"a": "text"}, {"weights": {"$x": 1}}, "$x", "'$x' can't have a weight"),
    ({"a": "text"}, {"default_language": "englsh"}, "default_language",
     "englsh is no language that text indexes know"),
    ({"a": "text"}, {"language_override": "$a"}, "language_override",
     "language_override is the name of one field, without a dot"),
    ({"a": "text"}, {"language_override": "a.b"}, "language_override",
     "language_override is the name of one field, without a dot"),
    ({"a": "text"}, {"textIndexVersion": 4}, "textIndexVersion", "textIndexVersion is one of 1, 2, 3, not 4"),
    ({"a": "2dsphere"}, {"2dsphereIndexVersion": 4}, "2dsphereIndexVersion",
     "2dsphereIndexVersion is one of 1, 2, 3, not 4"),
    ({"a": "2d"}, {"bits": 33}, "bits", "bits is from 1 to 32, not 33"),
    ({"a": "2d"}, {"min": 10, "max": 10}, "min",
     "min of a 2d index is less than its max (-180 and 180 if not given)"),
    ({"a": "2d"}, {"max": -200}, "max", "min of a 2d index is less than its max (-180 and 180 if not given)"),
    ({"$**": 1}, {"unique": True}, "unique", "a wildcard index can't have unique"),
    ({"a.$**": 1}, {"sparse": True}, "sparse", "a wildcard index can't have sparse"),
    ({"$**": 1}, {"expireAfterSeconds": 0}, "expireAfterSeconds",
     "a wildcard index can't have expireAfterSeconds"),
    ({"$**": 1, "a.$**": 1}, {}, "a.$**", "an index has one wildcard at most"),
    ({"a.$**": 1}, {"wildcardProjection": {"b": 1}}, "wildcardProjection",
     "wildcardProjection is for an index on $**"),
    ({"$**": 1}, {"wildcardProjection": {}}, "wildcardProjection",
     "wildcardProjection needs at least one field"),
    ({"$**": 1}, {"wildcardProjection": {"b": 1, "c": 0}}, "c",
     "wildcardProjection takes fields in or leaves fields out, not both"),
    ({"$**": 1}, {"wildcardProjection": {"b": "x"}}, "b", 'b is 1 to take it in or 0 to leave it out, not "x"'),
    ({"$**.a": 1}, {}, "$**.a", "$** can't be in the key of an index"),
    ({"$a": 1}, {}, "$a", "$a can't be in the key of an index"),
    ({"$id": 1}, {}, "$id", "$id can't be in the key of an index"),
    ({"a..b": 1}, {}, "a..b", "'a..b' has an empty part"),
    ({"_fts": 1}, {}, "_fts", "_fts is the server's own"),
    ({f"a{n}": 1 for n in range(33)}, {}, "keys",
     "an index has 32 keys at most, its text fields counted as two"),
    ({**{f"a{n}": 1 for n in range(31)}, "t": "text"}, {}, "keys",
     "an index has 32 keys at most, its text fields counted as two"),
    ({"a": 1}, {"name": "*"}, "name", "'*' can't be the name of an index of yours"),
    ({"a": 1}, {"name": ""}, "name", "'' can't be the name of an index of yours"),
    ({"_id": -1}, {}, "keys", "every collection has the index on _id"),
    ({"_id": 1}, {"hidden": True}, "keys", "every collection has the index on _id"),
    ({"a": 1, "b": 1}, {"expireAfterSeconds": 3}, "expireAfterSeconds",
     "an index that expires documents has one key"),
    ({"a": 1}, {"expireAfterSeconds": 2**31}, "expireAfterSeconds",
     "expireAfterSeconds is from 0 to 2147483647, not 2147483648"),
    ({"a": 1}, {"sparse": True, "partialFilterExpression": {"b": 1}}, "sparse",
     "sparse and partialFilterExpression exclude each other"),
    ({"a": 1}, {"unique": True, "prepareUnique": True}, "prepareUnique",
     "unique and prepareUnique exclude each other"),
    ({"a": 1}, {"partialFilterExpression": {"b": {"$exists": False}}}, "$exists", f"$exists: false {PARTIAL}"),
    ({"a": 1}, {"partialFilterExpression": {"b": {"$ne": 1}}}, "$ne", f"$ne {PARTIAL}"),
    ({"a": 1}, {"partialFilterExpression": {"$and": [{"b": {"$regex": "x"}}]}}, "$regex", f"$regex {PARTIAL}"),
    ({"a": 1}, {"partialFilterExpression": {"$nor": [{"b": 1}]}}, "$nor", f"$nor {PARTIAL}"),
    ({"a": 1}, {"partialFilterExpression": {"$expr": {"$eq": ["$b", 1]}}}, "$expr", f"$expr {PARTIAL}"),
    ({"a": 1}, {"collation": {"locale": "en", "strength": 1, "backwards": True}}, "backwards",
     "backwards needs a strength of 2 or more"),
]  # fmt: skip

TAKEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"a": "hashed", "b": 1}, {"sparse": True, "expireAfterSeconds": None}),
    ({"a": "hashed"}, {"unique": False, "expireAfterSeconds": 3}),
    ({"a": "2dsphere", "b": "2dsphere"}, {"unique": True, "collation": {"locale": "fr"}}),
    ({"a": "2d", "b": 1}, {"unique": True, "collation": {"locale": "simple"}, "bits": 1}),
    (
        {"x": 1, "a": "text", "b": "text", "y": -1},
        {"collation": {"locale": "simple"}, "default_language": "EN"},
    ),
    ({"a": "text"}, {"weights": {"b": 99_999}, "sparse": True, "default_language": "none"}),
    ({"a": "text"}, {"textIndexVersion": 1, "default_language": "of no land"}),
    ({"a": 1}, {"default_language": "english", "bits": 3, "textIndexVersion": 3}),
    ({"$**": 1}, {"wildcardProjection": {"b": 1, "_id": 0}, "hidden": True}),
    ({"$**": 1}, {"wildcardProjection": {"b": {"c": 0}}, "partialFilterExpression": {"a": {"$gt": 1}}}),
    ({"a.$id": 1, "a$b": -7, "c": 0.5}, {}),
    ({"_id": "hashed"}, {"expireAfterSeconds": 3}),
    ({f"a{n}": 1 for n in range(32)}, {"name": "$n" * 400}),
    ({**{f"a{n}": 1 for n in range(30)}, "t": "text"}, {}),
    ({f"t{n}": "text" for n in range(40)}, {}),
    ({"a": 1}, {"partialFilterExpression": {"$and": [{"b": {"$exists": True}}, {"c": {"$type": "int"}}]}}),
    ({"a": 1}, {"sparse": False, "partialFilterExpression": {}}),
]


def read(keys: dict[str, Any], options: dict[str, Any]) -> None:
    document = {"collections": {"c": {"indexes": [{"keys": keys, **options}]}}}
    manifest.load("-", io.BytesIO(json.dumps(document).encode()))


def build(
    db: pymongo.database.Database[dict[str, Any]], keys: dict[str, Any], options: dict[str, Any]
) -> None:
    db.drop_collection("c")
    db.command({"createIndexes": "c", "indexes": [{"key": keys, "name": "n", **options}]})


@pytest.mark.parametrize("rule", REFUSED, ids=lambda rule: rule[3])
def test_what_is_refused_the_server_refuses(
    sync_db: pymongo.database.Database[dict[str, Any]], rule: Rule
) -> None:
    keys, options, key, message = rule
    with pytest.raises(ManifestError) as raised:
        read(keys, options)
    assert raised.value.message.partition(": ")[2] == message
    assert raised.value.details["key"] == key
    with pytest.raises(OperationFailure):
        build(sync_db, keys, options)


@pytest.mark.parametrize(("keys", "options"), TAKEN, ids=str)
def test_what_the_server_takes_is_read(
    sync_db: pymongo.database.Database[dict[str, Any]], keys: dict[str, Any], options: dict[str, Any]
) -> None:
    given = {name: value for name, value in options.items() if value is not None}
    build(sync_db, keys, given)
    read(keys, given)


def test_a_text_index_below_a_collation_needs_a_word(
    sync_db: pymongo.database.Database[dict[str, Any]],
) -> None:
    text = "collections:\n  c:\n    collation: {locale: fr}\n    indexes:\n      - keys: {a: text}\n"
    with pytest.raises(ManifestError) as raised:
        manifest.load("-", io.BytesIO(text.encode()))
    assert raised.value.message == "standard input:5:9: a text index can't have its collection's collation"
    assert raised.value.hint == "give it collation: {locale: simple}"
    sync_db.create_collection("c", collation={"locale": "fr"})
    with pytest.raises(OperationFailure):
        sync_db.command({"createIndexes": "c", "indexes": [{"key": {"a": "text"}, "name": "n"}]})
    manifest.load("-", io.BytesIO(f"{text}        collation: {{locale: simple}}\n".encode()))


COLLECTIONS_REFUSED: list[dict[str, Any]] = [
    {"capped": True},
    {"size": 9},
    {"capped": True, "size": 2**50 + 1},
    {"expireAfterSeconds": 9},
    {"viewOn": "c"},
    {"viewOn": ""},
    {"viewOn": "b", "pipeline": [{"$out": "x"}]},
    {"viewOn": "b", "pipeline": [{}]},
    {"timeseries": {"timeField": "a.b"}},
    {"timeseries": {"timeField": "t", "metaField": "t"}},
    {"timeseries": {"timeField": "t", "metaField": "_id"}},
    {"timeseries": {"timeField": "t"}, "validator": {}},
    {"timeseries": {"timeField": "t"}, "changeStreamPreAndPostImages": {"enabled": False}},
    {"timeseries": {"timeField": "t", "granularity": "hours", "bucketMaxSpanSeconds": 5}},
    {"timeseries": {"timeField": "t"}, "expireAfterSeconds": 2**31},
    {"clusteredIndex": {"key": {"_id": 1}, "unique": False}},
    {"clusteredIndex": {"key": {"_id": 1}, "unique": True}, "capped": True, "size": 9},
    {"clusteredIndex": {"key": {"_id": 1}, "unique": True}, "viewOn": "b"},
    {"collation": {"locale": "en", "strength": 2, "caseFirst": "upper"}},
]


@pytest.mark.parametrize("options", COLLECTIONS_REFUSED, ids=str)
def test_what_is_refused_of_a_collection_the_server_refuses(
    sync_db: pymongo.database.Database[dict[str, Any]], options: dict[str, Any]
) -> None:
    with pytest.raises(ManifestError):
        manifest.load("-", io.BytesIO(json.dumps({"collections": {"c": options}}).encode()))
    with pytest.raises(OperationFailure):
        sync_db.command({"create": "c", **options})
