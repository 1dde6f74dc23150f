"""Extended JSON v2: strict reading, and any document there and back."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import bson
import orjson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp
from bson.errors import InvalidBSON, InvalidDocument
from hypothesis import given
from hypothesis import strategies as st
from strategies import deprecated_documents, documents

from motorctl.core import extjson
from motorctl.core.extjson import (
    DBPointer,
    ExtendedJSONError,
    Symbol,
    Undefined,
    bson_to_json,
    convert_many,
    dumps,
    encode,
    lines_of,
    loads,
    text_of,
)

DOCUMENTS = documents()


@given(deprecated_documents())
def test_canonical_text_reads_back_to_the_same_bytes(document: dict[str, Any]) -> None:
    raw = encode(document)
    text = bson_to_json(raw, canonical=True)
    assert encode(loads(text, deprecated=True)) == raw
    assert orjson.loads(text) == orjson.loads(dumps(loads(text, deprecated=True), canonical=True))


@given(deprecated_documents())
def test_relaxed_text_forgets_the_width_of_an_integer_and_nothing_else(document: dict[str, Any]) -> None:
    raw = encode(document)
    text = bson_to_json(raw)
    again = loads(text, deprecated=True)
    assert bson_to_json(encode(again)) == text
    assert dumps(again) == text
    assert bson_to_json(encode(again), canonical=True) == dumps(
        _narrow(loads(bson_to_json(raw, canonical=True), deprecated=True)), canonical=True
    )


def _narrow(value: Any) -> Any:
    """Make of each Int64 what reading a bare number gives, as the specification has it."""
    if isinstance(value, Int64):
        return int(value) if -(2**31) <= value < 2**31 else value
    if isinstance(value, Code):
        return value if value.scope is None else Code(str(value), _narrow(value.scope))
    if isinstance(value, dict):
        return {key: _narrow(item) for key, item in value.items()}
    return [_narrow(item) for item in value] if isinstance(value, list) else value


@given(DOCUMENTS)
def test_the_fast_way_writes_what_the_slow_way_writes(document: dict[str, Any]) -> None:
    raw = bson.encode(document)
    decoded = bson.decode(raw, extjson.BSON_OPTIONS)
    assert bson_to_json(raw) == dumps(decoded)
    assert bson_to_json(raw, canonical=True) == dumps(decoded, canonical=True)


@given(st.lists(deprecated_documents(), max_size=5), st.integers(0, 40_000))
def test_a_batch_gives_the_lines_of_its_documents(documents: list[dict[str, Any]], padding: int) -> None:
    raws = [encode(document) for document in [*documents, {"a": "x" * padding}, *documents]]
    for canonical in (False, True):
        lines = lines_of(b"".join(raws), canonical=canonical)
        assert lines == [bson_to_json(raw, canonical=canonical) for raw in raws]
        assert text_of(b"".join(raws), b",\n", canonical=canonical) == (b",\n".join(lines), len(raws))
    assert lines_of(b"") == []
    assert text_of(b"") == (b"", 0)


@pytest.mark.parametrize(
    "batch",
    [b"\x05\0\0\0", b"\x06\0\0\0\0", b"\x04\0\0\0\0", b"\0" * 5, b"\xff" * 5, bson.encode({"a": 1})[:-1]],
)
def test_a_broken_batch_is_an_error(batch: bytes) -> None:
    with pytest.raises(InvalidBSON):
        lines_of(bson.encode({}) + batch)


def test_text_that_is_not_utf8_is_an_error_and_not_a_line() -> None:
    raw = bson.encode({"a": "xx"}).replace(b"xx", b"\xff\xfe")
    with pytest.raises(InvalidBSON):
        bson_to_json(raw)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Symbol("x"), '{"$symbol":"x"}'),
        (Undefined(), '{"$undefined":true}'),
        (
            DBPointer("d.c", ObjectId("0123456789abcdef01234567")),
            '{"$dbPointer":{"$ref":"d.c","$id":{"$oid":"0123456789abcdef01234567"}}}',
        ),
        (Code("f", {"x": Symbol("y")}), '{"$code":"f","$scope":{"x":{"$symbol":"y"}}}'),
        ([None, Undefined()], '[null,{"$undefined":true}]'),
    ],
)
@pytest.mark.parametrize("name", ["a", "", "é", "a" * 13])
def test_types_that_bson_has_given_up_are_kept(value: Any, text: str, name: str) -> None:
    document = {name: value, "next": "hello", "b": {name: value}}
    raw = encode(document)
    line = bson_to_json(raw)
    key = orjson.dumps(name).decode()
    assert line.decode() == f'{{{key}:{text},"next":"hello","b":{{{key}:{text}}}}}'
    assert loads(line, deprecated=True) == document
    assert bson_to_json(raw, canonical=True) == line
    bson.encode(loads(line))


def test_a_document_that_the_driver_cannot_write_stays_an_error() -> None:
    with pytest.raises(InvalidDocument):
        encode({"a": Symbol("x"), "b": object()})
    with pytest.raises(InvalidDocument):
        encode({"a\0": Symbol("x")})
    with pytest.raises(OverflowError):
        encode({"a": Symbol("x"), "b": 2**63})


def test_a_reference_keeps_the_order_of_its_fields() -> None:
    raw = bson.encode({"a": {"$id": 1, "x": math.inf, "$ref": "c"}, "b": {"$ref": 5, "$id": 1}})
    assert bson_to_json(raw) == (
        b'{"a":{"$id":1,"x":{"$numberDouble":"Infinity"},"$ref":"c"},"b":{"$ref":5,"$id":1}}'
    )


def test_options_of_a_regular_expression_that_python_has_no_flag_for_are_written() -> None:
    raw = bson.encode({"a": Regex("x", "im")}).replace(b"im\0", b"mg\0")
    assert bson_to_json(raw) == b'{"a":{"$regularExpression":{"pattern":"x","options":"gm"}}}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"$date":"2024-01-31T10:20:30.123Z"}', datetime(2024, 1, 31, 10, 20, 30, 123000, UTC)),
        ('{"$date":"2024-01-31T10:20:30+0230"}', DatetimeMS(1706687430000)),
        ('{"$date":{"$numberLong":"-62135596800001"}}', DatetimeMS(-62135596800001)),
        ('{"$numberLong":"5"}', Int64(5)),
        ('{"$numberDouble":"Infinity"}', math.inf),
        ('{"$numberDecimal":"1E+3"}', Decimal128("1E+3")),
        ('{"$numberInt":"-5"}', -5),
        ('{"$binary":{"base64":"AQI=","subType":"80"}}', Binary(b"\1\2", 128)),
        ('{"$undefined":true}', None),
        ('{"$symbol":"x"}', "x"),
        ('{"$regex":"x","$options":"i"}', {"$regex": "x", "$options": "i"}),
        ('{"$ref":"c","$id":{"$numberInt":"1"}}', {"$ref": "c", "$id": 1}),
        ("18446744073709551616", 1.8446744073709552e19),
        ("9223372036854775808", 9.223372036854775808e18),
    ],
)
def test_values_are_read(text: str, value: Any) -> None:
    got = loads(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"$oid":"5f2b18467ba3bd2ed0e55c0"}',
        '{"$oid":5}',
        '{"$oid":"5f2b18467ba3bd2ed0e55c01","x":1}',
        '{"x":1,"$oid":"5f2b18467ba3bd2ed0e55c01"}',
        '{"$date":"2024-01-31"}',
        '{"$date":"2024-01-31T10:20:30"}',
        '{"$date":"2024-02-30T10:20:30Z"}',
        '{"$date":1706696430000}',
        '{"$date":{"$numberLong":5}}',
        '{"$numberInt":5}',
        '{"$numberInt":"2147483648"}',
        '{"$numberLong":"9223372036854775808"}',
        '{"$numberLong":"1.5"}',
        '{"$numberLong":"' + "9" * 5000 + '"}',
        '{"$numberDouble":"x"}',
        '{"$numberDouble":1.5}',
        '{"$numberDecimal":"1_0"}',
        '{"$numberDecimal":"' + "1" * 35 + '"}',
        '{"$binary":"AQI=","$type":"00"}',
        '{"$binary":{"base64":"A","subType":"00"}}',
        '{"$binary":{"base64":"AQI=","subType":"xyz"}}',
        '{"$uuid":"nope"}',
        '{"$timestamp":{"t":-1,"i":0}}',
        '{"$timestamp":{"t":1}}',
        '{"$regularExpression":{"pattern":"x","options":"q"}}',
        '{"$code":5}',
        '{"$code":"x","$scope":5}',
        '{"$dbPointer":{"$ref":"x","$id":5}}',
        '{"$minKey":2}',
        '{"$maxKey":true}',
        '{"$undefined":1}',
        '{"$symbol":1}',
    ],
)
def test_what_is_malformed_is_an_error_and_not_a_document(text: str) -> None:
    with pytest.raises(ExtendedJSONError):
        loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"$date":1706687430000}', DatetimeMS(1706687430000)),
        ('{"$date":-1}', DatetimeMS(-1)),
        ('{"$date":"2024-01-31T10:20:30.123+0000"}', DatetimeMS(1706696430123)),
        ('{"$date":{"$numberLong":"-5"}}', DatetimeMS(-5)),
        ('{"$binary":"AQI=","$type":"00"}', b"\1\2"),
        ('{"$type":"80","$binary":"AQI="}', Binary(b"\1\2", 128)),
        ('{"$regex":"x","$options":"im"}', Regex("x", "im")),
        ('{"$numberLong":5}', Int64(5)),
        ('{"$numberLong":"5"}', Int64(5)),
        ('{"$timestamp":{"t":1,"i":2}}', Timestamp(1, 2)),
        ('{"$undefined":true}', None),
        ('{"$minKey":1}', MinKey()),
        ('{"$ref":"c","$id":{"$numberLong":1}}', {"$ref": "c", "$id": Int64(1)}),
        ('{"$code":"f","$scope":{"a":{"$numberLong":1}}}', Code("f", {"a": Int64(1)})),
        # The newer forms stay readable.
        ('{"$binary":{"base64":"AQI=","subType":"00"}}', b"\1\2"),
        ('{"$regularExpression":{"pattern":"x","options":"i"}}', Regex("x", "i")),
    ],
)
def test_legacy_forms_are_read(text: str, value: Any) -> None:
    got = loads(f'{{"a":[{text}]}}', legacy=True)["a"][0]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"$date":1.5}',
        '{"$date":true}',
        '{"$date":9223372036854775808}',
        '{"$date":"2024-01-31"}',
        '{"$binary":"A","$type":"00"}',
        '{"$binary":"AQI=","$type":"xyz"}',
        '{"$binary":"AQI=","$type":0}',
        '{"$binary":"AQI="}',
        '{"$binary":"AQI=","$type":"00","x":1}',
        '{"$regex":"x","$options":"g"}',
        '{"$regex":"x","$options":1}',
        '{"$regex":"x"}',
        '{"$numberLong":1.5}',
        '{"$numberLong":9223372036854775808}',
        '{"$numberLong":false}',
    ],
)
def test_malformed_legacy_forms_are_errors(text: str) -> None:
    with pytest.raises(ExtendedJSONError):
        loads(text, legacy=True)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"a":1,"a":2}', "a"),
        ('{"a":1,"b":[{"c":{"x":1,"y":2,"x":1}}]}', "x"),
        ('{"a":1,"\\u0061":2}', "a"),
        ('{"":1,"":1}', ""),
        ('{"a":{"$oid":"0123456789abcdef01234567","$oid":"0123456789abcdef01234567"}}', "$oid"),
        (b'{"\xc3\xa9":1,"\xc3\xa9":2}', "é"),
    ],
)
def test_a_repeated_key_is_refused_where_that_is_asked(text: str | bytes, key: str) -> None:
    loads(text)
    with pytest.raises(ExtendedJSONError, match="stands twice") as caught:
        loads(text, strict=True)
    assert repr(key) in caught.value.reason


@given(DOCUMENTS, st.booleans())
def test_strict_reading_gives_the_same(document: dict[str, Any], canonical: bool) -> None:
    text = bson_to_json(bson.encode(document), canonical=canonical)
    assert bson.encode(loads(text, strict=True)) == bson.encode(loads(text))
    assert bson.encode(loads(text.decode(), strict=True)) == bson.encode(loads(text))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{"a":NaN}', 5),
        (b'{"a":-Infinity}', 6),
        (b'{"a":1} // x', 8),
        (b'{"a":/* x */1}', 5),
        (b'{"a":1,}', 6),
        (b'{"a":[1,]}', 7),
        (b'{"a":01}', 5),
        (b'{"a":+1}', 5),
        (b'{"a":.5}', 5),
        (b'{"a":0x10}', 6),
        (b"{'a':1}", 1),
        (b'{"a":"\t"}', 6),
        (b'{"a":"\\x"}', 6),
        (b'{"a":1} x', 8),
        (b'{"a":1', 6),
        (b'\xef\xbb\xbf{"a":1}', 0),
        (b'{"a":1e400}', 5),
        (b'{"a":"\\ud800"}', 6),
        (b'{"a":"x\\udc00\\ud800"}', 7),
        (b'{"a":"\xff"}', 6),
        (b'{"\xc3\xa9":"\xed\xa0\x80"}', 6),
        (b'{"a":"\xc0\x80"}', 6),
        (b'{"a":"\xc3', 6),
    ],
)
def test_what_is_not_json_is_an_error_with_its_place(text: bytes, place: int, strict: bool) -> None:
    with pytest.raises(orjson.JSONDecodeError) as caught:
        loads(text, strict=strict)
    assert caught.value.pos == place


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 100_000,
        b"",
    ],
)
def test_endless_nesting_is_an_error_and_no_crash(text: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        loads(text)
    with pytest.raises(orjson.JSONDecodeError):
        loads(text, strict=True)


@pytest.mark.parametrize("levels", [181, 500, 1000])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]"), (b'{"$oid":', b"}")])
def test_what_is_too_deep_is_an_error(levels: int, strict: bool, opening: bytes, closing: bytes) -> None:
    with pytest.raises(ExtendedJSONError):
        loads(opening * levels + b"1" + closing * levels, strict=strict)


@pytest.mark.parametrize(
    "number", ["1" * 1_000_000, "-" + "1" * 1_000_000, "0." + "1" * 1_000_000, "1e" + "1" * 1_000_000]
)
def test_a_number_of_a_million_digits_is_answered_quickly(number: str) -> None:
    began = time.process_time()
    for strict in (False, True):
        for legacy in (False, True):
            try:
                value = loads(f'{{"a":{number}}}', strict=strict, legacy=legacy)
            except orjson.JSONDecodeError:
                continue
            assert value == {"a": 1 / 9}
    for name in ("$numberInt", "$numberLong", "$numberDouble", "$numberDecimal", "$oid", "$date"):
        text = orjson.dumps({"a": {name: number}})
        with suppress(ExtendedJSONError):
            loads(text)
        convert_many([orjson.loads(text)], 1)
    assert time.process_time() - began < 2


def test_an_error_names_the_path() -> None:
    with pytest.raises(ExtendedJSONError, match=r"a\.1\.b: \$oid needs 24") as caught:
        loads('{"a":[1,{"b":{"$oid":"x"}}]}')
    assert caught.value.field == "a.1.b"


def test_numbers_that_json_has_no_form_for_are_kept() -> None:
    raw = bson.encode({"a": [math.nan, {"b": -math.inf}], "c": 1.5})
    assert bson_to_json(raw) == b'{"a":[{"$numberDouble":"NaN"},{"b":{"$numberDouble":"-Infinity"}}],"c":1.5}'
