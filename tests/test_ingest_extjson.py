"""Extended JSON v2: strict reading, and any document there and back."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core import extjson
from motorctl.core.extjson import ExtendedJSONError, bson_to_json, dumps, loads

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0$"), max_size=6)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    # One NaN: JSON has no other.
    st.floats(allow_nan=False) | st.just(math.nan),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
    st.datetimes(timezones=st.just(UTC)).map(lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000)),
    st.decimals(places=3, allow_nan=False, min_value=-(10**20), max_value=10**20).map(Decimal128),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "0E-6176", "-0", "9E+6144"]).map(Decimal128),
    st.binary(max_size=8),
    st.builds(Binary, st.binary(max_size=8), st.sampled_from([2, 3, 4, 5, 6, 128])),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(Regex, st.text("ab.*", max_size=4), st.sampled_from(["", "i", "imx"])),
    st.text(st.characters(codec="utf-8"), max_size=4).map(Code),
    st.builds(Code, st.just("x"), st.dictionaries(KEYS, st.integers(0, 9), max_size=2)),
    st.just(MinKey()),
    st.just(MaxKey()),
)
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=5,
)


@given(DOCUMENTS)
def test_canonical_text_reads_back_to_the_same_bytes(document: dict[str, Any]) -> None:
    raw = bson.encode(document)
    assert bson.encode(loads(bson_to_json(raw, canonical=True))) == raw


@given(DOCUMENTS)
def test_relaxed_text_is_the_same_by_the_fast_way_and_the_slow(document: dict[str, Any]) -> None:
    raw = bson.encode(document)
    decoded = bson.decode(raw, extjson.BSON_OPTIONS)
    text = bson_to_json(raw)
    assert text == dumps(decoded)
    again = bson.encode(loads(text))
    # Relaxed text forgets the width of an integer, once.
    assert bson_to_json(again) == text


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


def test_an_error_names_the_path() -> None:
    with pytest.raises(ExtendedJSONError, match=r"a\.1\.b: \$oid needs 24") as caught:
        loads('{"a":[1,{"b":{"$oid":"x"}}]}')
    assert caught.value.field == "a.1.b"


def test_numbers_that_json_has_no_form_for_are_kept() -> None:
    raw = bson.encode({"a": [math.nan, {"b": -math.inf}], "c": 1.5})
    assert bson_to_json(raw) == b'{"a":[{"$numberDouble":"NaN"},{"b":{"$numberDouble":"-Infinity"}}],"c":1.5}'
