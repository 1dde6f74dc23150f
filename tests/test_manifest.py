"""Manifests: what a file says, and where it says something wrong."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId, Regex
from hypothesis import given, settings
from hypothesis import strategies as st

from motorctl import manifest
from motorctl.core import schema
from motorctl.errors import ExitCode, ManifestError, UsageError
from motorctl.manifest.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motorctl.core.schema import Collection


def read(text: str) -> list[Collection]:
    return manifest.load("-", io.BytesIO(text.encode()))


def users(body: str) -> Collection:
    (collection,) = read(f"collections:\n  users: {body}\n")
    return collection


def problem(text: str) -> ManifestError:
    with pytest.raises(ManifestError) as raised:
        read(text)
    return raised.value


WRONG: dict[str, tuple[str, int, int, str, str | None]] = {
    # text: line, column, message, hint
    "collections:\n  users:\n    indexes:\n      - keys: {email: 1}\n        uniqe: true\n": (
        "uniqe", 5, 9, "unknown key uniqe in an index", "did you mean 'unique'?",
    ),
    "colections: {}": ("colections", 1, 1, "unknown key colections in a manifest", "did you mean 'collections'?"),
    "collections: {a: {validater: {}}}": (
        "validater", 1, 19, "unknown key validater in a collection", "did you mean 'validator'?",
    ),
    "{}": ("", 1, 1, "a manifest has the key collections", None),
    "[]": ("", 1, 1, "a manifest is a document, not a list", None),
    "collections: 5": ("collections", 1, 14, "collections is a document, not 5", None),
    "collections: {a: [1]}": ("a", 1, 18, "a is a document, not a list", None),
    "collections: {a: {indexes: {email: 1}}}": ("indexes", 1, 28, "indexes is a list, not a document", None),
    "collections: {a: {indexes: [5]}}": ("indexes", 1, 29, "indexes is a document, not 5", None),
    "collections: {a: {indexes: [{}]}}": ("indexes", 1, 29, "an index needs keys", "for example keys: {email: 1}"),
    "collections: {a: {indexes: [{key: {b: 1}}]}}": (
        "key", 1, 30, "unknown key key in an index", "did you mean 'keys'?",
    ),
    "collections: {a: {indexes: [{keys: {}}]}}": ("keys", 1, 36, "an index needs at least one key", None),
    "collections: {a: {indexes: [{keys: {b: 0}}]}}": (
        "b", 1, 40, "a key of an index is 1, -1 or a word, not 0", None,
    ),
    "collections: {a: {indexes: [{keys: {b: txt}}]}}": (
        "b", 1, 40, "txt is none of 1, -1, 2d, 2dsphere, hashed, text", "did you mean 'text'?",
    ),
    "collections: {a: {indexes: [{keys: {_id: 1}}]}}": (
        "keys", 1, 36, "every collection has the index on _id", "leave it out",
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, name: _id_}]}}": (
        "name", 1, 50, "'_id_' can't be the name of an index of yours", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, unique: 1}]}}": (
        "unique", 1, 52, "unique is true or false, not 1", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, unique: yes}]}}": (
        "unique", 1, 52, 'unique is true or false, not "yes"', None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, expireAfterSeconds: -1}]}}": (
        "expireAfterSeconds", 1, 64, "expireAfterSeconds is from 0 to 2147483647, not -1", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1, c: 1}, expireAfterSeconds: 1}]}}": (
        "expireAfterSeconds", 1, 50, "an index that expires documents has one key", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, sparse: true, partialFilterExpression: {}}]}}": (
        "sparse", 1, 44, "sparse and partialFilterExpression exclude each other", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, weights: {b: 2}}]}}": (
        "weights", 1, 44, "weights is for text indexes", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, collation: {strength: 2}}]}}": (
        "collation", 1, 55, "a collation needs locale", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}}, {keys: {c: 1}, name: b_1}]}}": (
        "indexes", 1, 45, "two indexes of a have the name b_1", "give one of them another name",
    ),
    "collections: {a: {indexes: [{keys: {b: 1}}, {keys: {b: 1}, name: c}]}}": (
        "indexes", 1, 45, "c is the same index as b_1", "leave one of them out",
    ),
    "collections: {a: {indexes: [{keys: {b: text}}, {keys: {c: text}}]}}": (
        "indexes", 1, 48, "a collection has one text index at most", "join their keys",
    ),
    "collections: {system.users: {}}": (
        "system.users", 1, 15, "'system.users' can't be the name of a collection of yours", None,
    ),
    "collections: {a: {validationLevel: strict}}": (
        "validationLevel", 1, 19, "validationLevel without a validator", None,
    ),
    "collections: {a: {validator: {b: 1}, validationLevel: strickt}}": (
        "validationLevel", 1, 55, "strickt is none of off, moderate, strict", "did you mean 'strict'?",
    ),
    "collections: {a: {validator: {$jsonSchema: {bsonType: integer}}}}": (
        "bsonType", 1, 55, "integer is no bsonType", "did you mean 'int'?",
    ),
    "collections: {a: {validator: {$or: [{$jsonSchema: {formt: x}}]}}}": (
        "formt", 1, 52, "unknown keyword formt in $jsonSchema", None,
    ),
    "collections: {a: {validator: {b: {$oid: zz}}}}": (
        "b", 1, 34, "$oid needs 24 hexadecimal digits, not 'zz'", None,
    ),
    "collections: {a: {viewOn: b, indexes: []}}": ("indexes", 1, 30, "a view has no indexes", None),
    "collections: {a: {pipeline: []}}": ("pipeline", 1, 19, "pipeline without viewOn", None),
    "collections: {a: {capped: true}}": ("capped", 1, 19, "a capped collection needs a size in bytes", None),
    "collections:\n  a: {}\n  b: {}\n  a: {}\n": ("a", 4, 3, "the key a stands twice (first in line 2)", None),
    "collections: {[1]: {}}": ("", 1, 15, "a key is plain text", None),
    "collections: &a {b: *a}": ("b", 1, 18, "this alias holds itself", None),
    "collections: {a: !!binary aGk=}": ("a", 1, 18, "!!binary has no meaning in a manifest", None),
    "collections:\n  a: [1\n  b: 2\n": ("", 3, 4, "expected ',' or ']', but got ':'", None),
    "collections:\n\ta: 1\n": ("", 2, 1, "found character '\\t' that cannot start any token", None),
    "a: 1\n---\nb: 2\n": ("", 2, 1, "a second document begins here", "a file holds one"),
    # Nesting, tags and merges of YAML.
    "[" * 500: ("", 1, 91, "nested more than 180 deep", None),
    "a: " + "{b: " * 400: ("", 1, 357, "nested more than 180 deep", None),
    "x: &a {b: {<<: *a}}": ("<<", 1, 12, "this alias holds itself", None),
    "collections: {a: {validator: {<<: 5}}}": ("<<", 1, 31, "<< takes a document or a list of documents", None),
    "collections: {a: !!python/object/apply:os.system ['x']}": (
        "a", 1, 18, "!!python/object/apply:os.system has no meaning in a manifest", None,
    ),
    "collections: {!!python/name:os.system a: }": (
        "", 1, 15, "!!python/name:os.system has no meaning in a manifest", None,
    ),
    "collections: !!str {a: 1}": ("collections", 1, 14, "!!str has no meaning in a manifest", None),
    "collections: {a: !Ref b}": ("a", 1, 18, "!Ref has no meaning in a manifest", None),
    "collections: {a: !!int x}": ("a", 1, 18, "this is no int", None),
    "collections: {a: {validator: {x: \"\\ud83d\"}}}": (
        "", 1, 34, "this text holds half of a character (a lone surrogate)", None,
    ),
    "collections:\r\n  a:\r\n    sze: 1\r\n": ("sze", 3, 5, "unknown key sze in a collection", "did you mean 'size'?"),
    # What every server refuses of a collection.
    "collections: {.a: {}}": (".a", 1, 15, "'.a' can't be the name of a collection of yours", None),
    "collections: {a.system.b: {}}": (
        "a.system.b", 1, 15, "'a.system.b' can't be the name of a collection of yours", None,
    ),
    f"collections: {{{'x' * 254}: {{}}}}": (
        "x" * 254, 1, 15, "a collection's name has 253 bytes at most", None,
    ),
    "collections: {a: {storageEngine: {}}}": (
        "storageEngine", 1, 19, "storageEngine: storage stays as the server has it", "leave it out",
    ),
    "collections: {a: {capped: true, size: 1125899906842625}}": (
        "size", 1, 39, "size is from 0 to 1125899906842624, not 1125899906842625", None,
    ),
    "collections: {a: {max: 5}}": ("max", 1, 19, "max is for a capped collection", "add capped: true"),
    "collections: {a: {expireAfterSeconds: 5}}": (
        "expireAfterSeconds", 1, 19, "expireAfterSeconds of a collection is for time series and clustered ones", None,
    ),
    "collections: {a: {timeseries: {}}}": (
        "timeseries", 1, 31, "timeseries needs timeField", "The field that holds the date of a measurement",
    ),
    "collections: {a: {timeseries: {timeField: t, granularty: x}}}": (
        "granularty", 1, 46, "unknown key granularty in timeseries", "did you mean 'granularity'?",
    ),
    "collections: {a: {timeseries: {timeField: t, granularity: minute}}}": (
        "granularity", 1, 59, "minute is none of seconds, minutes, hours", "did you mean 'minutes'?",
    ),
    "collections: {a: {timeseries: {timeField: t.u}}}": (
        "timeField", 1, 43, "timeField is a field at the top, without a dot", None,
    ),
    "collections: {a: {timeseries: {timeField: t, metaField: t}}}": (
        "metaField", 1, 57, "metaField is another field than _id and the timeField", None,
    ),
    "collections: {a: {timeseries: {timeField: t, granularity: hours, bucketRoundingSeconds: 5}}}": (
        "bucketRoundingSeconds", 1, 66, "granularity and bucketRoundingSeconds exclude each other", None,
    ),
    "collections: {a: {timeseries: {timeField: t, bucketMaxSpanSeconds: 5, bucketRoundingSeconds: 6}}}": (
        "bucketRoundingSeconds", 1, 71, "bucketRoundingSeconds and bucketMaxSpanSeconds are equal", None,
    ),
    "collections: {a: {timeseries: {timeField: t, bucketMaxSpanSeconds: 5}}}": (
        "bucketMaxSpanSeconds", 1, 46,
        "bucketMaxSpanSeconds stands beside a bucketRoundingSeconds of the same value", None,
    ),
    "collections: {a: {timeseries: {timeField: t, granularity: hours, bucketMaxSpanSeconds: 5}}}": (
        "bucketMaxSpanSeconds", 1, 66, "bucketMaxSpanSeconds of granularity hours is 2592000", None,
    ),
    "collections: {a: {timeseries: {timeField: t}, validator: {b: 1}}}": (
        "validator", 1, 47, "a time series has no validator", None,
    ),
    "collections: {a: {timeseries: {timeField: t}, indexes: [{keys: {b: 1}, unique: true}]}}": (
        "unique", 1, 72, "an index of a time series can't be unique", None,
    ),
    "collections: {a: {timeseries: {timeField: t}, indexes: [{keys: {b: text}}]}}": (
        "keys", 1, 64, "a time series can't have a text index", None,
    ),
    "collections: {a: {timeseries: {timeField: t}, indexes: [{keys: {t: 1}, expireAfterSeconds: 1}]}}": (
        "expireAfterSeconds", 1, 72, "a time series expires by its own expireAfterSeconds, not by an index", None,
    ),
    "collections: {a: {clusteredIndex: {key: {_id: 1}}}}": ("clusteredIndex", 1, 35, "clusteredIndex needs unique", "true"),
    "collections: {a: {clusteredIndex: {key: {_id: 1}, unique: false}}}": (
        "unique", 1, 59, "a clustered index is unique: true", None,
    ),
    "collections: {a: {clusteredIndex: {key: {_id: -1}, unique: true}}}": (
        "_id", 1, 47, "_id is one of 1, not -1", None,
    ),
    "collections: {a: {clusteredIndex: {key: {b: 1}, unique: true}}}": (
        "b", 1, 42, "unknown key b in key", None,
    ),
    "collections: {a: {clusteredIndex: {key: {_id: 1}, unique: true}, capped: true, size: 9}}": (
        "capped", 1, 66, "clusteredIndex and capped exclude each other", None,
    ),
    "collections: {a: {clusteredIndex: {key: {_id: 1}, unique: true, name: n}, indexes: [{keys: {b: 1}, name: n}]}}": (
        "indexes", 1, 85, "n is the name of the clustered index", None,
    ),
    "collections: {a: {changeStreamPreAndPostImages: {enabled: 1}}}": (
        "enabled", 1, 59, "enabled is true or false, not 1", None,
    ),
    "collections: {a: {viewOn: b, validator: {}}}": ("validator", 1, 30, "a view has no validator", None),
    "collections: {a: {viewOn: a}}": ("viewOn", 1, 27, "the view a shows itself", None),
    "collections: {a: {viewOn: b}, b: {viewOn: a}}": (
        "viewOn", 1, 27, "views show each other in a circle: a on b on a", None,
    ),
    "collections: {a: {viewOn: b}, b: {state: absent}}": (
        "viewOn", 1, 27, "b is wanted by the view a and absent", None,
    ),
    "collections: {a: {viewOn: ''}}": ("viewOn", 1, 27, "'' can't be the name of a collection", None),
    "collections: {a: {viewOn: b, pipeline: [{$out: c}]}}": ("$out", 1, 42, "$out can't be in a view", None),
    "collections: {a: {viewOn: b, pipeline: [{match: {}}]}}": (
        "pipeline", 1, 41, "a stage of a pipeline is a document with one $ key, for example {$match: {...}}", None,
    ),
    "collections: {a: {collation: {locale: en, strength: 6}}}": (
        "strength", 1, 53, "strength is one of 1, 2, 3, 4, 5, not 6", None,
    ),
    "collections: {a: {collation: {locale: en, strength: 1, backwards: true}}}": (
        "backwards", 1, 56, "backwards needs a strength of 2 or more", None,
    ),
    "collections: {a: {collation: {locale: en, strength: 2, caseFirst: upper}}}": (
        "caseFirst", 1, 56, "caseFirst needs caseLevel, or a strength of 3 or more", None,
    ),
    "collections: {a: {collation: {locale: ''}}}": ("locale", 1, 39, "a collation needs a locale", "for example en"),
    "collections: {a: {collation: {locale: en, version: '57.1'}}}": (
        "version", 1, 43, "version: the server gives a collation its version", "leave it out",
    ),
    "collections: {a: {validator: {$oid: 0123456789abcdef01234567}}}": (
        "validator", 1, 30, "validator is a document, not a value of type ObjectId", None,
    ),
    "collections: {a: {state: absent, capped: true}}": (
        "capped", 1, 34, "an absent collection has no capped", "leave it out",
    ),
    "collections: {a: {state: absnt}}": ("state", 1, 26, "absnt is none of present, absent", "did you mean 'absent'?"),
    "collections: {a: {renamed_from: a}}": ("renamed_from", 1, 33, "a is renamed from its own name", None),
    "collections: {a: {renamed_from: b}, b: {state: absent}}": (
        "renamed_from", 1, 33, "b is in the manifest too, so a can't be renamed from it", None,
    ),
    "collections: {a: {renamed_from: b}, c: {renamed_from: b}}": (
        "renamed_from", 1, 55, "two collections are renamed from b", None,
    ),
    "collections: {a: {viewOn: b, renamed_from: c}}": ("renamed_from", 1, 30, "a view has no renamed_from", None),
    # Indexes among themselves.
    "collections: {a: {indexes: [{keys: {b: 1}}, {name: b_1, state: absent}]}}": (
        "indexes", 1, 45, "b_1 is wanted and absent", "leave one of them out",
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, name: n}, {keys: {b: 1}, state: absent}]}}": (
        "indexes", 1, 54, "n is wanted and absent", "leave one of them out",
    ),
    "collections: {a: {indexes: [{state: absent}]}}": (
        "state", 1, 30, "an absent index needs its name or its keys", None,
    ),
    "collections: {a: {indexes: [{name: n, state: absent, unique: true}]}}": (
        "unique", 1, 54, "an absent index has a name or keys, and no unique", "leave it out",
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, renamed_from: b_1}]}}": (
        "renamed_from", 1, 58, "b_1 is renamed from its own name", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, renamed_from: c_1}, {keys: {c: 1}}]}}": (
        "renamed_from", 1, 58, "c_1 is the name of an index that is wanted", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, renamed_from: o}, {keys: {c: 1}, renamed_from: o}]}}": (
        "renamed_from", 1, 91, "two indexes are renamed from o", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, renamed_from: o}, {name: o, state: absent}]}}": (
        "renamed_from", 1, 58, "o is absent, so nothing can be renamed from it", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, v: 1}]}}": (
        "v", 1, 44, "v: the server chooses the format of its indexes", "leave it out",
    ),
    "collections: {a: {indexes: [{keys: {b: geoHaystack}}]}}": (
        "b", 1, 40, "geoHaystack: servers from 5.0 on have no such index; 2d or 2dsphere does its work", None,
    ),
    "collections: {a: {indexes: [{keys: {b: 1}, name: motorctl_temporary_x}]}}": (
        "name", 1, 50, "'motorctl_temporary_x' can't be the name of an index of yours", None,
    ),
    f"collections: {{a: {{indexes: [{', '.join(f'{{keys: {{f{n:02}: 1}}}}' for n in range(64))}]}}}}": (
        "indexes", 1, 29 + 63 * 18, "a collection has 64 indexes at most, the one on _id counted", None,
    ),
    "collections: {a: {searchIndexes: [{name: b}]}}": (
        "searchIndexes", 1, 35, "a search index needs definition",
        "The search server's definition: mappings, or fields",
    ),
    "collections: {a: {searchIndexes: [{definition: {}}, {definition: {}, name: default}]}}": (
        "searchIndexes", 1, 53, "two search indexes have the name default", "give one of them another name",
    ),
    "collections:\n  a:\n    indexes: [{keys: {b: 1}, expireAfterSeconds: '${TTL}'}]": (
        "expireAfterSeconds", 3, 50, 'expireAfterSeconds is a number, not "${TTL}"', "--env puts variables in",
    ),
    "collections: {a: {validator: {}, validationLevel: '${LEVEL}'}}": (
        "validationLevel", 1, 51, "${LEVEL} is none of off, moderate, strict", "--env puts variables in",
    ),
    "collections: {a: {searchIndexes: [{definition: {}, type: vector}]}}": (
        "type", 1, 58, "vector is none of search, vectorSearch", "did you mean 'vectorSearch'?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=lambda text: WRONG[text][3])
def test_an_error_names_its_place_and_the_next_step(text: str) -> None:
    key, line, column, message, hint = WRONG[text]
    error = problem(text)
    assert error.message == f"standard input:{line}:{column}: {message}"
    assert (error.details["file"], error.details["line"], error.details["column"]) == (
        "standard input",
        line,
        column,
    )
    assert (error.details.get("key") or "") == key
    if hint is not None:
        assert error.hint == hint
    assert error.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe", "is no text: byte 9 is not UTF-8"),
        (b"collections: \x00", "special characters are not allowed"),
    ],
)
def test_a_file_that_is_no_manifest(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "schema.yaml"
    file.write_bytes(content)
    with pytest.raises(ManifestError) as raised:
        manifest.load(str(file))
    assert words in raised.value.message
    assert raised.value.details["file"] == str(file)


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="holds no manifest"):
        manifest.load(str(tmp_path))
    with pytest.raises(ManifestError, match="doesn't exist"):
        manifest.load(str(tmp_path / "absent.yaml"))


def test_a_collection_may_have_nothing_but_its_name() -> None:
    assert users("") == users("{}") == schema.Collection("users")
    assert read("collections:\n") == []


def test_extended_json_stands_for_bson() -> None:
    collection = users(
        '{validator: {a: {$oid: 0123456789abcdef01234567}, b: {$gt: {$numberDecimal: "1.50"}},'
        " c: {$regularExpression: {pattern: x, options: i}}, d: {$regex: y}}}"
    )
    assert collection.validator is not None
    assert collection.validator.expression == {
        "a": ObjectId("0123456789abcdef01234567"),
        "b": {"$gt": Decimal128("1.50")},
        "c": Regex("x", "i"),
        "d": {"$regex": "y"},
    }


def test_words_of_older_yaml_stay_text() -> None:
    collection = users("{validator: {on: no, off: 'yes', day: 2024-01-01, at: 12:30, big: 0o17}}")
    assert collection.validator is not None
    assert collection.validator.expression == {
        "on": "no",
        "off": "yes",
        "day": "2024-01-01",
        "at": "12:30",
        "big": 15,
    }


def test_json_is_a_manifest_too() -> None:
    text = json.dumps(
        {"collections": {"users": {"indexes": [{"keys": {"b": -1, "a": 1}, "name": "n"}]}}}, indent="\t"
    )
    (collection,) = read("\ufeff" + text)
    assert list(collection.indexes[0].keys.items()) == [("b", -1), ("a", 1)]
    assert collection.indexes[0].name == "n"


def test_aliases_of_aliases_cannot_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    error = problem("\n".join(lines))
    assert "more than 100,000 values, those of an alias counted wherever it stands" in error.message
    assert error.exit_code == ExitCode.USAGE


def test_anchors_may_be_used_twice() -> None:
    text = "collections: {a: {indexes: &same [{keys: {x: 1}}]}, b: {indexes: *same}}"
    first, second = read(text)
    assert first.indexes == second.indexes


def test_an_empty_validator_must_not_be_there() -> None:
    assert users("{validator: {}}").validator == schema.Validator({})
    assert users("{}").validator is None


def test_the_shipped_manifests_are_good_and_complete() -> None:
    assert manifest.builtins() == ["college", "shop"]
    (students,) = manifest.load_builtin("college")
    assert [(dict(i.keys), i.options) for i in students.indexes] == [({"email": 1}, {"unique": True})]
    shop = {collection.name: collection for collection in manifest.load_builtin("shop")}
    assert sorted(shop) == ["accounts", "inventory", "orders", "sessions", "transfers", "users"]
    assert [(dict(i.keys), dict(i.options)) for i in shop["users"].indexes] == [
        ({"email": 1}, {"unique": True}),
        ({"active": 1, "created_at": -1}, {}),
        ({"name": "text", "bio": "text"}, {}),
        ({"last_login": 1}, {"partialFilterExpression": {"active": True}}),
    ]
    assert [dict(i.options) for i in shop["sessions"].indexes] == [{"expireAfterSeconds": 0}]
    assert [(dict(i.keys), i.name) for i in shop["orders"].indexes] == [
        ({"status": 1, "created_at": 1, "user_id": 1, "amount": 1}, "revenue"),
        ({"user_id": 1}, None),
        ({"created_at": -1, "_id": -1}, None),
    ]
    assert [(dict(i.keys), dict(i.options)) for i in shop["transfers"].indexes] == [
        ({"from": 1, "created_at": 1}, {}),
        ({"to": 1, "created_at": 1}, {}),
    ]
    validator = shop["users"].validator
    assert validator is not None
    assert (validator.level, validator.action) == ("moderate", "error")
    assert validator.expression["$jsonSchema"]["required"] == ["name", "email", "created_at"]


def test_an_unknown_shipped_manifest_suggests_the_near_one() -> None:
    with pytest.raises(UsageError) as raised:
        manifest.load_builtin("shp")
    assert raised.value.hint == "did you mean 'shop'?"
    with pytest.raises(UsageError):
        manifest.builtin_text("../schemas/shop")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_what_is_written_reads_back_the_same(value: dict[str, Any]) -> None:
    # A word before each key keeps `$oid` and its like out: what they stand for is another test's.
    validator = {f"x{key}": item for key, item in value.items()}
    written = manifest.dump_yaml({"a": {"validator": validator}})
    assert Document("x", written).value == {"a": {"validator": validator}}


def test_a_comment_stands_above_its_value() -> None:
    document = {"collections": {"users": {"indexes": [{"keys": {"email": 1}}, {"keys": {"b": -1}}]}}}
    comments: dict[tuple[str | int, ...], str] = {
        ("collections", "users"): "two\nlines",
        ("collections", "users", "indexes", 1): "64 kB, never\x85 used # so far",
    }
    written = manifest.dump_yaml(document, comments)
    assert written == (
        "collections:\n  # two\n  # lines\n  users:\n    indexes:\n      - keys: {email: 1}\n"
        "      # 64 kB, never\n      #  used # so far\n      - keys: {b: -1}\n"
    )
    assert Document("x", written).value == document


@given(st.dictionaries(st.text(), PLAIN, min_size=1, max_size=4), st.text())
def test_comments_change_nothing(value: dict[str, Any], comment: str) -> None:
    document = {"a": {f"x{key}": item for key, item in value.items()}}
    comments: dict[tuple[str | int, ...], str] = {("a", key): comment for key in document["a"]}
    assert Document("x", manifest.dump_yaml(document, comments)).value == document


def test_merge_keys_give_what_is_not_there() -> None:
    first, second = read(
        "collections: {a: &a {capped: true, size: 100}, b: {<<: [{size: 7, max: 3}, *a], size: 5000}}"
    )
    assert first.options == {"capped": True, "size": 100}
    assert second.options == {"capped": True, "size": 5000, "max": 3}


def test_merges_of_merges_cannot_take_all_time() -> None:
    lines = ["x: &a0 {}"]
    lines += [f"x{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    assert "more than 100,000 values" in problem("\n".join(lines)).message


def test_a_long_list_is_no_schema() -> None:
    error = problem("[" + "1," * 210_000 + "]")
    assert "more than 100,000 values" in error.message


def test_characters_beyond_16_bits_in_json() -> None:
    collection = users(json.dumps({"validator": {"a": "\N{GRINNING FACE}"}}))
    assert collection.validator == schema.Validator({"a": "\N{GRINNING FACE}"})


def test_every_state_has_its_word() -> None:
    (gone,) = read("collections: {a: {state: absent}}")
    assert gone == schema.Collection("a", absent=True)
    collection = users(
        "{state: present, renamed_from: people, searchIndexes: [{definition: {mappings: {dynamic: true}}}],"
        " indexes: [{keys: {b: 1}, name: n, renamed_from: o, state: present}, {name: p, state: absent},"
        " {keys: {c: 1}, state: absent}]}"
    )
    assert collection.renamed_from == "people"
    assert collection.search_indexes is not None
    assert collection.search_indexes[0].document() == {
        "name": "default",
        "type": "search",
        "definition": {"mappings": {"dynamic": True}},
    }
    assert collection.indexes == (schema.Index({"b": 1}, "n", {}, "o"),)
    assert collection.absent_indexes == (schema.Index({}, "p"), schema.Index({"c": 1}))
    assert users("{}").search_indexes is None
    assert users("{searchIndexes: []}").search_indexes == ()


@pytest.mark.parametrize(
    "kind", ["clusteredIndex: {key: {_id: 1}, unique: true}", "timeseries: {timeField: t}"]
)
def test_a_collection_without_an_index_on_id_has_64_others(kind: str) -> None:
    def body(count: int) -> str:
        indexes = ", ".join(f"{{keys: {{f{n}: 1}}}}" for n in range(count))
        return f"{{{kind}, indexes: [{indexes}]}}"

    assert len(users(body(64)).indexes) == 64
    found = problem(f"collections: {{users: {body(65)}}}")
    assert found.message.endswith(": a collection has 64 indexes at most")


ODD_VALUES = [
    (
        '{capped: true, size: {$numberDecimal: "1E+6000"}}',
        "size is from 0 to 1125899906842624, not a document",
    ),
    ('{capped: true, size: {$numberDecimal: "NaN"}}', "size is a number, not a document"),
    (
        "{indexes: [{keys: {$**: 1}, wildcardProjection: {a: {$oid: 0123456789abcdef01234567}}}]}",
        "a is 1 to take it in or 0 to leave it out, not a value of type ObjectId",
    ),
    (
        "{indexes: [{keys: {$**: 1}, wildcardProjection: {a: {$timestamp: {t: 1, i: 1}}}}]}",
        "a is 1 to take it in or 0 to leave it out, not a value of type Timestamp",
    ),
    (
        "{validator: {$jsonSchema: {bsonType: {$code: x, $scope: {}}}}}",
        "bsonType takes a type or a list of types",
    ),
]


@pytest.mark.parametrize(("body", "message"), ODD_VALUES)
def test_an_odd_value_is_an_error_with_its_place(body: str, message: str) -> None:
    assert problem(f"collections: {{users: {body}}}").message.endswith(f": {message}")


def test_a_number_beyond_all_whole_ones_may_be_a_key() -> None:
    (one,) = users('{indexes: [{keys: {a: {$numberDecimal: "1E+6000"}}, name: n}]}').indexes
    assert one.keys == {"a": float("inf")}
    schema = users("{validator: {$jsonSchema: {multipleOf: .nan}}}").validator
    assert schema is not None


EVERYTHING: dict[str, Any] = {
    "users": {
        "validator": {
            "$jsonSchema": {
                "bsonType": ["object"],
                "required": ["a"],
                "additionalProperties": False,
                "patternProperties": {"^x": {"minLength": 1, "maxLength": 2}},
                "dependencies": {"a": ["b"]},
                "properties": {
                    "a": {"bsonType": "int", "minimum": 1, "exclusiveMinimum": True, "multipleOf": 2},
                    "b": {"type": "string", "pattern": "^a", "enum": ["a", 1, None], "description": "x"},
                    "c": {"items": [{"not": {}}], "additionalItems": {}, "uniqueItems": True, "minItems": 1},
                    "d": {"anyOf": [{"title": "t"}, {"allOf": [{}]}], "oneOf": [{"minProperties": 1}]},
                },
            },
            "$or": [{"a": {"$gt": 1}}, {"$and": [{"$jsonSchema": {}}]}],
        },
        "validationLevel": "moderate",
        "validationAction": "warn",
        "renamed_from": "people",
        "collation": {"locale": "simple", "strength": 1, "caseLevel": False},
        "changeStreamPreAndPostImages": {"enabled": True},
        "searchIndexes": [{"name": "s", "type": "search", "definition": {"mappings": {"dynamic": True}}}],
        "indexes": [
            {
                "keys": {"a": 1, "b": -1},
                "name": "n",
                "renamed_from": "m",
                "unique": True,
                "partialFilterExpression": {"a": {"$gt": 1}, "$and": [{"b": {"$exists": True}}]},
                "collation": {"locale": "en"},
            },
            {
                "keys": {"t": "text"},
                "weights": {"t": 2},
                "default_language": "english",
                "language_override": "l",
                "textIndexVersion": 3,
            },
            {"keys": {"p": "2d"}, "min": -1, "max": 3.5, "bits": 10},
            {"keys": {"q": "2dsphere"}, "2dsphereIndexVersion": 3, "hidden": True, "sparse": True},
            {"keys": {"$**": 1}, "wildcardProjection": {"a": 1, "b": {"c": True}}},
            {"keys": {"d": 1}, "expireAfterSeconds": 3, "prepareUnique": True},
            {"state": "absent", "name": "k"},
            {"state": "absent", "keys": {"k": 1}},
        ],
    },
    "logs": {"capped": True, "size": 4096, "max": 3},
    "series": {
        "timeseries": {
            "timeField": "t",
            "metaField": "m",
            "bucketMaxSpanSeconds": 60,
            "bucketRoundingSeconds": 60,
        },
        "expireAfterSeconds": "off",
    },
    "clustered": {
        "clusteredIndex": {"key": {"_id": 1}, "unique": True, "name": "c"},
        "expireAfterSeconds": 9,
    },
    "shown": {"viewOn": "users", "pipeline": [{"$match": {"a": 1}}]},
    "old": {"state": "absent"},
}

_EXTENDED: list[Any] = [
    *({"$numberDecimal": text} for text in ("1", "0.5", "1E+6000", "-1E+6000", "NaN", "sNaN", "Infinity")),
    *({"$numberDouble": text} for text in ("1.0", "1e300", "NaN", "-Infinity")),
    {"$numberLong": "9223372036854775807"},
    {"$numberInt": "-1"},
    {"$oid": "0123456789abcdef01234567"},
    {"$oid": "5"},
    {"$date": "2026-01-31T00:00:00Z"},
    {"$date": {"$numberLong": "99999999999999999"}},
    {"$timestamp": {"t": 1, "i": 1}},
    {"$binary": {"base64": "AA==", "subType": "00"}},
    {"$uuid": "00112233-4455-6677-8899-aabbccddeeff"},
    {"$regularExpression": {"pattern": "(", "options": "i"}},
    {"$code": "x"},
    {"$code": "x", "$scope": {}},
    {"$dbPointer": {"$ref": "a", "$id": {"$oid": "0123456789abcdef01234567"}}},
    {"$ref": "a", "$id": 1},
    {"$symbol": "s"},
    {"$undefined": True},
    {"$minKey": 1},
    {"$maxKey": 1},
]
_PLAIN: list[Any] = [
    None,
    True,
    0,
    -1,
    0.5,
    2**63,
    2**70,
    float("nan"),
    float("inf"),
    "",
    "a",
    "$x",
    "\0",
    "off",
]
_ANY_VALUE = st.recursive(
    st.sampled_from([*_EXTENDED, *_PLAIN]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["a", "$gt", "$jsonSchema", "bsonType", "", "_id"]), inner, max_size=2
        )
    ),
    max_leaves=3,
)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    steps: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, inner in steps:
        yield from _places(inner, (*path, step))


def _put(value: Any, path: tuple[str | int, ...], other: Any) -> Any:
    if not path:
        return other
    changed: Any = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = _put(value[path[0]], path[1:], other)
    return changed


def test_everything_is_a_manifest() -> None:
    assert len(read(json.dumps({"collections": EVERYTHING}))) == len(EVERYTHING)


@settings(max_examples=400)
@given(st.sampled_from(list(_places(EVERYTHING))), _ANY_VALUE)
def test_any_value_at_any_place_loads_or_is_an_error_of_the_manifest(
    place: tuple[str | int, ...], value: Any
) -> None:
    text = json.dumps({"collections": _put(EVERYTHING, place, value)})
    with contextlib.suppress(ManifestError):
        read(text)


def test_numbers_may_be_extended_json() -> None:
    collection = users(
        '{capped: true, size: {$numberLong: "4096"}, indexes: [{keys: {b: {$numberDecimal: "-1"}}}]}'
    )
    assert collection.options["size"] == 4096
    assert collection.indexes[0].keys == {"b": -1}
