"""Records to documents: types, Extended JSON, and a reason for each reject."""

from __future__ import annotations

import pickle
import re
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core import extjson
from motorctl.core.ingest import types
from motorctl.core.ingest.decode import decode
from motorctl.core.ingest.model import Chunk, Decoded, Plan
from motorctl.errors import UsageError


def lines(text: bytes, plan: Plan | None = None) -> Decoded:
    return decode(Chunk("f", "lines", text, 1, 0), plan or Plan())


def table(header: str, *rows: str, plan: Plan | None = None) -> Decoded:
    text = "".join(row + "\n" for row in rows).encode()
    return decode(Chunk("f", "delimited", text, 2, 100, tuple(header.split(","))), plan or Plan())


def documents(decoded: Decoded) -> list[dict[str, Any]]:
    found = [bson.decode(raw, extjson.BSON_OPTIONS) for raw in decoded.documents]
    for position in decoded.generated:
        identity = found[position].pop("_id")
        assert isinstance(identity, ObjectId)
        assert abs((identity.generation_time - datetime.now(UTC)).total_seconds()) < 60
    return found


def reasons(decoded: Decoded) -> list[tuple[int, str, str | None, str]]:
    return [(r.line, r.stage, r.field, r.reason) for r in decoded.rejects]


def test_plain_documents_and_generated_ids() -> None:
    decoded = lines(b'{"a":1}\n\n{"_id":7,"a":2.5}\r\n{"a":{"b":[true,null,"x"]}}')
    assert decoded.generated == {0, 2}
    assert decoded.numbers == [0, 1, 2]
    assert documents(decoded) == [{"a": 1}, {"_id": 7, "a": 2.5}, {"a": {"b": [True, None, "x"]}}]
    many = lines(b'{"a":1}\n' * 3000)
    assert len({bson.decode(raw)["_id"] for raw in many.documents}) == 3000


def test_each_reject_names_its_line_place_and_reason() -> None:
    text = b'{"a":1}\n{"a":}\n[1]\n5\n{"x":{"y":[{"$oid":"1"}]}}\n{"a":"\xff"}\n{"b":2}\n{"$oid":"5f2b18467ba3bd2ed0e55c01"}'
    decoded = lines(text)
    assert documents(decoded) == [{"a": 1}, {"b": 2}]
    got = reasons(decoded)
    assert [(line, stage) for line, stage, _, _ in got] == [
        (2, "parse"),
        (3, "parse"),
        (4, "parse"),
        (5, "type"),
        (6, "parse"),
        (8, "parse"),
    ]
    assert got[1][3] == "not an object"
    assert got[3][2:] == ("x.y.0", "$oid needs 24 hexadecimal digits, not '1'")
    assert [
        text[r.byte_offset :].startswith(r.record.encode()) for r in decoded.rejects if "\\" not in r.record
    ]
    assert decoded.rejects[4].record == '{"a":"\\xff"}'


def test_what_bson_can_not_hold_is_a_reject() -> None:
    deep = b"[" * 500 + b"]" * 500
    deeper = b"[" * 100_000 + b"]" * 100_000
    decoded = lines(
        b'{"a\\u0000b":1}\n{"a":%b}\n{"a":%b}\n{"a":"%b"}\n{"a":1}' % (deep, deeper, b"x" * 17_000_000)
    )
    nul, nested, endless, large = decoded.rejects
    assert [r.line for r in decoded.rejects] == [1, 2, 3, 4]
    assert "must not contain the NULL" in nul.reason
    assert (nested.stage, nested.reason) == ("type", DEEP)
    assert endless.stage == "parse"
    assert re.match(r"not JSON: .*depth", endless.reason), "in orjson's words, which change"
    assert "the server takes 16777216" in large.reason
    assert documents(decoded) == [{"a": 1}]


DEEP = "nested more than 180 deep, which the server doesn't take"


@pytest.mark.parametrize(("before", "after"), [(b'{"a":', b"}"), (b"[", b"]")])
@pytest.mark.parametrize("mode", ["insert", "upsert"])
def test_a_record_is_as_deep_as_the_server_takes(mode: Any, before: bytes, after: bytes) -> None:
    def deep(levels: int) -> bytes:
        inner = levels - 1
        return b'{"k":1,"x":%b1%b,"y":[{}]}\n' % (before * inner, after * inner)

    decoded = lines(
        deep(180) + deep(181) + deep(600) + deep(179), Plan(mode, ("k",) if mode == "upsert" else ())
    )
    assert len(decoded.documents) == 2
    assert reasons(decoded) == [(2, "type", None, DEEP), (3, "type", None, DEEP)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"$code":"x","$scope":{"a":', b"}}"),
        (b'{"$dbPointer":{"$ref":"x","$id":', b"}}"),
        (b'{"a":', b',"$oid":1}'),
        (b'{"$oid":[', b"]}"),
    ],
)
def test_nothing_nested_ends_the_decoding(before: bytes, after: bytes) -> None:
    decoded = lines(b'{"x":%b1%b}\n{"n":1}\n' % (before * 500, after * 500))
    assert [(r.line, r.stage) for r in decoded.rejects] == [(1, "type")]
    assert documents(decoded) == [{"n": 1}]


def test_what_stands_for_a_value_is_no_level() -> None:
    decoded = lines(b'{"a":' * 180 + b'{"$oid":"5f2b18467ba3bd2ed0e55c01"}' + b"}" * 180)
    assert decoded.rejects == []


def test_a_cell_of_json_may_be_too_deep() -> None:
    plan = Plan(types=(("a", "json"),))
    decoded = table("a", "[" * 300 + "]" * 300, "[" * 900 + "]" * 900, "[1]", plan=plan)
    assert documents(decoded) == [{"a": [1]}]
    assert [(r.line, r.stage) for r in decoded.rejects] == [(2, "type"), (3, "type")]


def test_integers_keep_their_width_and_beyond_64_bits_are_doubles() -> None:
    decoded = lines(
        b'{"a":2147483647,"b":2147483648,"c":9223372036854775808,"d":[18446744073709551616],"e":-0.0}'
    )
    raw = decoded.documents[0]
    assert b"\x10a\0" in raw
    assert b"\x12b\0" in raw
    assert b"\x01c\0" in raw
    (document,) = documents(decoded)
    assert document["d"] == [1.8446744073709552e19]
    assert str(document["e"]) == "-0.0"


def test_an_array_with_a_broken_record_keeps_the_others() -> None:
    data = b'{"a":1},\n {"a":2,}, {"a":{"b":[1,{"c":"},{"}]}},,\n{"a":"]"},'
    decoded = decode(Chunk("f", "array", data, 3, 10), Plan())
    assert documents(decoded) == [{"a": 1}, {"a": {"b": [1, {"c": "},{"}]}}, {"a": "]"}]
    assert [(r.line, r.byte_offset, r.record) for r in decoded.rejects] == [(4, 20, '{"a":2,}'), (4, 58, "")]


def test_upsert_finds_by_key_and_refuses_a_record_without_it() -> None:
    plan = Plan("upsert", ("e", "n.k"))
    decoded = lines(
        b'{"e":"x","n":{"k":1}}\n{"e":"x"}\n{"e":null,"n":{"k":2}}\n{"e":{"$gt":1},"n":{"k":2}}', plan
    )
    assert [bson.decode(f) for f in decoded.filters] == [
        {"e": {"$eq": "x"}, "n.k": {"$eq": 1}},
        {"e": {"$eq": {"$gt": 1}}, "n.k": {"$eq": 2}},
    ]
    assert reasons(decoded) == [(2, "type", "n.k", "lacks the key n.k"), (3, "type", "e", "lacks the key e")]
    assert decoded.generated == set()


def test_a_chunk_and_its_result_can_go_to_another_process_and_back() -> None:
    chunk = Chunk("f", "lines", b'{"_id":1}\nx', 1, 0)
    there = pickle.loads(pickle.dumps((chunk, Plan())))
    back = pickle.loads(pickle.dumps(decode(*there)))
    assert back == decode(chunk, Plan())


# -- CSV --------------------------------------------------------------------------------------------------


def test_cells_are_inferred_nested_and_typed() -> None:
    plan = Plan(types=(("d", "decimal"), ("a.when", "date(%d/%m/%Y)"), ("l", "json")))
    decoded = table(
        "n,a.b,a.when,d,l", '7,x,31/01/2024,1.50,"[1,{""$oid"":""5f2b18467ba3bd2ed0e55c01""}]"', plan=plan
    )
    assert documents(decoded) == [
        {
            "n": 7,
            "a": {"b": "x", "when": datetime(2024, 1, 31, tzinfo=UTC)},
            "d": Decimal128("1.50"),
            "l": [1, ObjectId("5f2b18467ba3bd2ed0e55c01")],
        }
    ]


def test_rows_that_do_not_fit_are_rejects() -> None:
    decoded = table("a,b", "1,2", "1", "1,2,3", 'x"y,1', "", "3,4", plan=Plan(types=(("b", "int32"),)))
    assert documents(decoded) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert [(line, reason) for line, _, _, reason in reasons(decoded)] == [
        (3, "1 cells where the header has 2"),
        (4, "3 cells where the header has 2"),
        (5, "a quote inside a cell that doesn't begin with one"),
    ]
    bad = table("a,b", "1,x", "1,", "1,99999999999", plan=Plan(types=(("b", "int32"),)))
    assert [(r.line, r.stage, r.field) for r in bad.rejects] == [
        (2, "type", "b"),
        (3, "type", "b"),
        (4, "type", "b"),
    ]
    assert "--ignore-blanks" in bad.rejects[1].reason


def test_null_and_blanks() -> None:
    assert documents(table("a,b,c", "NULL,,x")) == [{"a": "NULL", "b": "", "c": "x"}]
    assert documents(table("a,b,c", "NULL,,x", plan=Plan(null="NULL", ignore_blanks=True))) == [
        {"a": None, "c": "x"}
    ]
    assert documents(table("a,b,c", "NULL,,x", plan=Plan(null=""))) == [{"a": "NULL", "b": None, "c": "x"}]


def test_a_cell_that_is_not_utf8_is_a_reject() -> None:
    decoded = decode(Chunk("f", "delimited", b"1,2\n3,\xff\n5,6\n", 2, 4, ("a", "b")), Plan())
    assert documents(decoded) == [{"a": 1, "b": 2}, {"a": 5, "b": 6}]
    assert reasons(decoded) == [(3, "parse", None, "not UTF-8 at byte 3 of the record")]


def test_a_type_for_no_column_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="'gap', which no column has"):
        table("gpa", "1", plan=Plan(types=(("gap", "double"),)))


@given(st.text() | st.integers().map(str) | st.floats().map(repr) | st.from_regex(r"[-+]?[0-9.e_]{0,12}"))
def test_a_guess_written_back_is_the_same_text(text: str) -> None:
    value = types.infer(text)
    assert type(value) in {int, float, str}
    assert (repr(value) if isinstance(value, float) else str(value)) == text


@pytest.mark.parametrize(
    "text",
    [
        "007",
        "+1",
        "1.50",
        "1e5",
        "NaN",
        "inf",
        "-inf",
        "-0",
        "1_000",
        "0.1000000000000000055",
        "1e+22",
        "١",
        "",
        "-",
        " 1",
        "9223372036854775808",
    ],
)
def test_codes_stay_text(text: str) -> None:
    assert types.infer(text) == text


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int32", "+5", 5),
        ("int64", "5", Int64(5)),
        ("double", "1e5", 100000.0),
        ("double", "7", 7.0),
        ("decimal", "0.10", Decimal128("0.10")),
        ("bool", "Yes", True),
        ("boolean", "0", False),
        ("date", "2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("date", "2024-02-29T01:00:00+02:00", DatetimeMS(1709161200000)),
        ("date(%d/%m/%Y %H:%M)", "01/02/2024 03:04", datetime(2024, 2, 1, 3, 4, tzinfo=UTC)),
        ("date(s)", "1", DatetimeMS(1000)),
        ("date(ms)", "-1", DatetimeMS(-1)),
        ("objectid", "5f2b18467ba3bd2ed0e55c01", ObjectId("5f2b18467ba3bd2ed0e55c01")),
        ("string", "007", "007"),
        ("auto", "5", 5),
        ("json", "[1]", [1]),
    ],
)
def test_types_read_their_cells(kind: str, text: str, value: Any) -> None:
    got = types.converter(kind)(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int32", "2147483648"),
        ("int32", "1.0"),
        ("int64", "9223372036854775808"),
        ("double", "1_0"),
        ("double", "nan"),
        ("decimal", "1" * 35),
        ("bool", "maybe"),
        ("date", "2024-02-30"),
        ("date(%d/%m/%Y)", "2024-02-01"),
        ("date(s)", "1.5"),
        ("objectid", "xyz"),
        ("uuid", "1"),
        ("json", "{"),
        ("json", '{"$oid":"1"}'),
        ("int32", ""),
    ],
)
def test_types_refuse_what_is_not_theirs(kind: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"isn't|needs"):
        types.converter(kind)(text)


def test_types_are_spelled_as_the_user_does() -> None:
    assert types.parse_types("gpa:double, created_at:date(%d/%m/%Y, %H:%M),a.b:string") == {
        "gpa": "double",
        "created_at": "date(%d/%m/%Y, %H:%M)",
        "a.b": "string",
    }
    for wrong in ("gpa", "gpa:dubble", "gpa:double(1)", "a:int32,a:int64", "a:date(day)", ":int32", ""):
        with pytest.raises(UsageError):
            types.parse_types(wrong)
