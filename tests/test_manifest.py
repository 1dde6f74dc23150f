"""Manifests: what a file says, and where it says something wrong."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId, Regex
from hypothesis import given
from hypothesis import strategies as st

from motorctl import manifest
from motorctl.core import schema
from motorctl.errors import ExitCode, ManifestError, UsageError

if TYPE_CHECKING:
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
        "b", 1, 40, "a key of an index is 1, -1 or one of 2d, 2dsphere, hashed, text", None,
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
        "expireAfterSeconds", 1, 64, "expireAfterSeconds is from 0 to 2147483647", None,
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
        "collation", 1, 55, "a collation needs a locale", None,
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
    "collections: {a: !!binary aGk=}": ("a", 1, 18, "tag:yaml.org,2002:binary has no meaning in a manifest", None),
    "collections:\n  a: [1\n  b: 2\n": ("", 3, 4, "expected ',' or ']', but got ':'", None),
    "collections:\n\ta: 1\n": ("", 2, 1, "found character '\\t' that cannot start any token", None),
    "a: 1\n---\nb: 2\n": ("", 2, 1, "but found another document", None),
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
    with pytest.raises(ManifestError, match="is a directory"):
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


def test_an_empty_validator_is_none() -> None:
    assert users("{validator: {}}").validator is None


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
    assert [dict(i.keys) for i in shop["orders"].indexes] == [{"status": 1, "created_at": 1}, {"user_id": 1}]
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
    assert manifest._Document("x", written).value == {"a": {"validator": validator}}
