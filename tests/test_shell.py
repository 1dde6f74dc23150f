"""Pipelines as text for mongosh.

The forms here were run in mongosh 2.12 against a server: it sent the same bytes as the driver, for documents of every
type. Here the exact text is held, so that no form changes unnoticed.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from hypothesis import given
from strategies import documents

from motorctl.core.extjson import DBPointer, Symbol, Undefined
from motorctl.core.shell import WIDTH, aggregate_text, value_text
from motorctl.errors import UsageError

SUM = {"$cond": [{"$eq": ["$kind", "exact"]}, {"$toDecimal": "$amount"}, None]}


def test_a_report_is_pasted_as_it_is() -> None:
    pipeline: list[dict[str, Any]] = [
        {"$match": {"status": "completed", "created_at": {"$gte": datetime(2026, 1, 1, tzinfo=UTC)}}},
        {
            "$group": {
                "_id": "$user_id",
                "total": {"$sum": SUM},
                "count": {"$sum": 1},
                "first": {"$min": "$created_at"},
            }
        },
        {"$sort": {"total": -1, "_id": 1}},
    ]

    assert aggregate_text(
        "orders", pipeline, {"allowDiskUse": True}, ["on the shards", None, "on the merger"]
    ) == (
        """\
db.getCollection("orders").aggregate([
  // on the shards
  {$match: {status: "completed", created_at: {$gte: ISODate("2026-01-01T00:00:00Z")}}},
  {$group: {
    _id: "$user_id",
    total: {$sum: {$cond: [{$eq: ["$kind", "exact"]}, {$toDecimal: "$amount"}, null]}},
    count: {$sum: 1},
    first: {$min: "$created_at"}
  }},
  // on the merger
  {$sort: {total: -1, _id: 1}}
], {allowDiskUse: true})"""
    )


def test_without_stages_options_or_a_collection() -> None:
    assert aggregate_text("orders", []) == 'db.getCollection("orders").aggregate([])'
    assert (
        aggregate_text('a"b\n', [], {"maxTimeMS": 5})
        == r'db.getCollection("a\"b\n").aggregate([], {maxTimeMS: 5})'
    )
    assert aggregate_text(None, [{"$documents": []}]) == "db.aggregate([\n  {$documents: []}\n])"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (5, "5"),
        (-(2**31), "-2147483648"),
        (2**31, 'NumberLong("2147483648")'),
        (Int64(5), 'NumberLong("5")'),
        (0.1, "0.1"),
        (5.0, "Double(5.0)"),
        (-0.0, "Double(-0.0)"),
        (1e300, "Double(1e+300)"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (Decimal128("12.50"), 'NumberDecimal("12.50")'),
        (Decimal128("NaN"), 'NumberDecimal("NaN")'),
        ('it\'s "so"\\', r'"it' + "'" + r's \"so\"\\"'),
        ("a\u2028b\x00\x1b\x7f\x9b\u202e\ufeff", r'"a\u2028b\u0000\u001b\u007f\u009b\u202e\ufeff"'),
        ("é日\U0001f600\U000e0001", r'"é日😀\u{e0001}"'),
        (ObjectId("65a000000000000000000001"), 'ObjectId("65a000000000000000000001")'),
        (datetime(2026, 2, 3, 4, 5, 6, 7000, tzinfo=UTC), 'ISODate("2026-02-03T04:05:06.007Z")'),
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))), 'ISODate("2025-12-31T23:00:00Z")'),
        (datetime(26, 1, 1, tzinfo=UTC), 'ISODate("0026-01-01T00:00:00Z")'),
        (DatetimeMS(253402300800000), "new Date(253402300800000)"),
        (b"ab", 'BinData(0, "YWI=")'),
        (Binary(b"ab", 128), 'BinData(128, "YWI=")'),
        (Binary(bytes(16), 3), 'BinData(3, "AAAAAAAAAAAAAAAAAAAAAA==")'),
        (Binary(bytes(range(16)), 4), 'UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")'),
        (Binary(b"ab", 4), 'BinData(4, "YWI=")'),
        (uuid.UUID(int=1), 'UUID("00000000-0000-0000-0000-000000000001")'),
        (Regex("^a b$", "im"), "/^a b$/im"),
        (Regex("a/b", ""), 'BSONRegExp("a/b", "")'),
        (Regex(r"(?i)\d", "sx"), r'BSONRegExp("(?i)\\d", "sx")'),
        (Regex("", "i"), 'BSONRegExp("", "i")'),
        (re.compile("é", re.ASCII), 'BSONRegExp("é", "")'),
        (Timestamp(5, 6), "Timestamp({t: 5, i: 6})"),
        (MinKey(), "MinKey()"),
        (MaxKey(), "MaxKey()"),
        (Code("f()"), 'Code("f()")'),
        (Code("f()", {"a": 1}), 'Code("f()", {a: 1})'),
        (DBRef("a.b", 1), '{$ref: "a.b", $id: 1}'),
        (DBRef("c", 1, "d"), '{$ref: "c", $id: 1, $db: "d"}'),
        (Symbol("x"), 'BSONSymbol("x")'),
        ([1, [], {}, (2,)], "[1, [], {}, [2]]"),
    ],
)
def test_every_type_has_its_form(value: Any, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "_b2": 2, "$c": 3}, "{a: 1, _b2: 2, $c: 3}"),
        ({"a b": 1, "a.b": 2, "": 3, "é": 4, "a-b": 5}, '{"a b": 1, "a.b": 2, "": 3, "é": 4, "a-b": 5}'),
        ({"__proto__": 1}, '{["__proto__"]: 1}'),
        ({"2": 1, "10": 2, "a": 3}, '{"2": 1, "10": 2, a: 3}'),
        ({"a": 1, "0": 2}, 'new Map([["a", 1], ["0", 2]])'),
        ({"10": 1, "2": {"x": 5}}, 'new Map([["10", 1], ["2", {x: 5}]])'),
        ({"01": 1, "a": 2}, '{"01": 1, a: 2}'),
    ],
)
def test_keys_keep_their_names_and_their_order(value: dict[str, Any], text: str) -> None:
    """Objects of JavaScript put `0` before `a`, and `$sort` would sort by another field first."""
    assert value_text(value) == text


@pytest.mark.parametrize(
    "value",
    [
        Undefined(),
        DBPointer("a", ObjectId()),
        DatetimeMS(8_640_000_000_000_001),
        DatetimeMS(-(2**63)),
        object(),
    ],
)
def test_what_mongosh_can_not_hold_is_an_error_and_no_other_value(value: Any) -> None:
    with pytest.raises(UsageError, match="mongosh"):
        aggregate_text("c", [{"$match": {"a": value}}])


def test_long_stages_are_broken_at_their_members() -> None:
    long = {"$match": {"$expr": {"$in": ["$field", [f"value number {n}" for n in range(7)]]}}}
    last = {"$merge": {"into": {"db": "reports", "coll": "x" * 60}, "on": "_id", "whenMatched": "replace"}}

    assert aggregate_text("orders", [long, last], {"comment": "c" * 70, "hint": {"status": 1, "b": -1}}) == (
        """\
db.getCollection("orders").aggregate([
  {$match: {$expr: {$in: [
    "$field",
    [
      "value number 0",
      "value number 1",
      "value number 2",
      "value number 3",
      "value number 4",
      "value number 5",
      "value number 6"
    ]
  ]}}},
  {$merge: {
    into: {db: "reports", coll: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    on: "_id",
    whenMatched: "replace"
  }}
], {
  comment: "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
  hint: {status: 1, b: -1}
})"""
    )


def test_comments_are_wrapped_and_stay_comments() -> None:
    text = aggregate_text("c", [{"$limit": 1}], comments=["one\n{$out: 1} two\u2028three\r " + "word " * 40])

    lines = text.splitlines()
    assert lines[0] == 'db.getCollection("c").aggregate(['
    assert lines[1].startswith("  // one {$out: 1} two three word word")
    assert all(line.startswith("  // ") for line in lines[1:-2])
    assert max(map(len, lines)) <= WIDTH
    assert lines[-2:] == ["  {$limit: 1}", "])"]


@given(documents())
def test_any_stage_is_balanced_and_narrow(document: dict[str, Any]) -> None:
    """Without its texts the text has as many brackets that open as close, and only one value a line may be too wide."""
    try:
        text = aggregate_text("c", [{"$match": document}, {"$limit": 1}], {"allowDiskUse": True})
    except UsageError:
        return  # a date beyond JavaScript's

    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "s", text)
    bare = re.sub(r"/[^/\n]+/[im]*", "r", bare)
    open_brackets: list[str] = []
    for letter in bare:
        if letter in "([{":
            open_brackets.append(letter)
        elif letter in ")]}":
            assert "([{".index(open_brackets.pop()) == ")]}".index(letter)
    assert open_brackets == []
    assert '"' not in bare
    assert text.replace("\n", "").isprintable()
    for line in text.splitlines():
        if len(line) > WIDTH:
            # no comma between members: it could not be broken
            assert ", " not in re.sub(r"\([^()]*\)|r", "v", re.sub(r'"(?:[^"\\]|\\.)*"', "s", line)), line
