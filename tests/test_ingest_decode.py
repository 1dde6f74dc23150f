"""Records to documents: types, Extended JSON, and a reason for each reject."""

from __future__ import annotations

import pickle
import re
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Decimal128, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core import extjson
from motorctl.core.ingest.decoding.decode import decode
from motorctl.core.ingest.model import Chunk, Decoded, Plan
from motorctl.errors import UsageError

IDENTITY = bytes.fromhex("65a1b2c3") + b"xyz"


def lines(text: bytes, plan: Plan | None = None) -> Decoded:
    return decode(Chunk("f", "lines", text, 1, 0, identity=IDENTITY), plan or Plan())


def table(header: str, *rows: str, plan: Plan | None = None) -> Decoded:
    text = "".join(row + "\n" for row in rows).encode()
    header_of = tuple(header.split(","))
    return decode(Chunk("f", "delimited", text, 2, 100, header_of, identity=IDENTITY), plan or Plan())


def raws(decoded: Decoded) -> list[bytes]:
    return [decoded.cut(at, at + 1) for at in range(len(decoded.ends))]


def documents(decoded: Decoded) -> list[dict[str, Any]]:
    found = [bson.decode(raw, extjson.BSON_OPTIONS) for raw in raws(decoded)]
    for position in decoded.generated:
        identity = found[position].pop("_id")
        assert isinstance(identity, ObjectId)
        assert identity.binary.startswith(IDENTITY)
    return found


def reasons(decoded: Decoded) -> list[tuple[int, str, str | None, str]]:
    return [(r.line, r.stage, r.field, r.reason) for r in decoded.rejects]


def test_plain_documents_and_generated_ids() -> None:
    decoded = lines(b'{"a":1}\n\n{"_id":7,"a":2.5}\r\n{"a":{"b":[true,null,"x"]}}')
    assert set(decoded.generated) == {0, 2}
    assert [bson.decode(raw)["_id"] for raw in raws(decoded)] == [
        ObjectId(IDENTITY + (0).to_bytes(5)),
        7,
        ObjectId(IDENTITY + (2).to_bytes(5)),
    ]
    assert list(decoded.numbers) == [0, 1, 2]
    assert documents(decoded) == [{"a": 1}, {"_id": 7, "a": 2.5}, {"a": {"b": [True, None, "x"]}}]
    many = lines(b'{"a":1}\n' * 3000)
    assert len({bson.decode(raw)["_id"] for raw in raws(many)}) == 3000


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
    assert len(decoded.ends) == 2
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
    raw = raws(decoded)[0]
    assert b"\x10a\0" in raw
    assert b"\x12b\0" in raw
    assert b"\x01c\0" in raw
    (document,) = documents(decoded)
    assert document["d"] == [1.8446744073709552e19]
    assert str(document["e"]) == "-0.0"


def test_an_array_with_a_broken_record_keeps_the_others() -> None:
    data = b'{"a":1},\n {"a":2,}, {"a":{"b":[1,{"c":"},{"}]}},,\n{"a":"]"},'
    decoded = decode(Chunk("f", "array", data, 3, 10, identity=IDENTITY), Plan())
    assert documents(decoded) == [{"a": 1}, {"a": {"b": [1, {"c": "},{"}]}}, {"a": "]"}]
    assert [(r.line, r.byte_offset, r.record) for r in decoded.rejects] == [(4, 20, '{"a":2,}'), (4, 58, "")]


def test_upsert_finds_by_key_and_refuses_a_record_without_it() -> None:
    plan = Plan("upsert", ("e", "n.k"))
    decoded = lines(
        b'{"e":"x","n":{"k":1}}\n{"e":"x"}\n{"e":null,"n":{"k":2}}\n{"e":{"$gt":1},"n":{"k":2}}', plan
    )
    assert [bson.decode(f) for f in decoded.keys] == [
        {"e": {"$eq": "x"}, "n.k": {"$eq": 1}},
        {"e": {"$eq": {"$gt": 1}}, "n.k": {"$eq": 2}},
    ]
    assert reasons(decoded) == [(2, "type", "n.k", "lacks the key n.k"), (3, "type", "e", "lacks the key e")]
    assert not decoded.generated


def test_a_chunk_and_its_result_can_go_to_another_process_and_back() -> None:
    chunk = Chunk("f", "lines", b'{"_id":1}\nx\n{}', 1, 0, identity=IDENTITY)
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
    decoded = decode(
        Chunk("f", "delimited", b"1,2\n3,\xff\n5,6\n", 2, 4, ("a", "b"), identity=IDENTITY), Plan()
    )
    assert documents(decoded) == [{"a": 1, "b": 2}, {"a": 5, "b": 6}]
    assert reasons(decoded) == [(3, "parse", None, "not UTF-8 at byte 3 of the record")]


def test_a_type_for_no_column_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="'gap', which no column has"):
        table("gpa", "1", plan=Plan(types=(("gap", "double"),)))


# -- the quick way and the careful one --------------------------------------------------------------------


RECORDS = [
    b'{"a":1}',
    b'{"_id":{"$oid":"5f2b18467ba3bd2ed0e55c01"},"d":{"$date":"2024-01-31T00:00:00Z"}}',
    b'{"price":"$5","a":{"b":{"$numberLong":"5"}}}',
    b'{"a":[{"$oid":"5f2b18467ba3bd2ed0e55c02"}]}',
    b'{"\\u0024oid":"5f2b18467ba3bd2ed0e55c02"}',
    b'{"a":{"\\u0024oid":"5f2b18467ba3bd2ed0e55c02"}}',
    b'{"a":{"$oid":"x"}}',
    b'{"a":18446744073709551615}',
    b'{"a":NaN}',
    b'{"a":1},{"b":2}',
    b"[1]",
    b"null",
    b'{"a":1',
    b'"b":2}',
    b'{"a":"' + b"x" * 2000 + b'","b":[' + b"[1]," * 200 + b"1]}",
    b'{"a":' * 181 + b"1" + b"}" * 181,
]


@given(st.lists(st.sampled_from(RECORDS), max_size=8), st.sampled_from(["lines", "array"]))
def test_what_is_decoded_at_once_is_what_is_decoded_one_by_one(records: list[bytes], layout: Any) -> None:
    text = (b"\n" if layout == "lines" else b",").join(records)
    got = decode(Chunk("f", layout, text, 1, 0, identity=IDENTITY), Plan())
    one_by_one = Plan(strict=True)  # no record of these names a key twice
    assert got == decode(Chunk("f", layout, text, 1, 0, identity=IDENTITY), one_by_one)
    if layout == "lines":
        assert len(got.ends) + len(got.rejects) == len(records)


def test_a_repeated_key_is_the_last_or_with_strict_a_reject() -> None:
    text = b'{"a":1,"b":{"c":1,"c":2},"a":3}\n{"a":1}'
    assert documents(lines(text)) == [{"a": 3, "b": {"c": 2}}, {"a": 1}]
    decoded = lines(text, Plan(strict=True))
    assert documents(decoded) == [{"a": 1}]
    assert [(r.line, r.stage) for r in decoded.rejects] == [(1, "type")]


def test_a_document_is_shaped_before_its_key_is_looked_up() -> None:
    plan = Plan("upsert", ("email",), rename=(("mail", "email"),), omit=("secret",))
    decoded = lines(b'{"mail":"a@x","secret":1,"n":2}\n{"n":1}', plan)
    assert documents(decoded) == [{"email": "a@x", "n": 2}]
    assert bson.decode(decoded.keys[0]) == {"email": {"$eq": "a@x"}}
    assert reasons(decoded) == [(2, "type", "email", "lacks the key email")]
