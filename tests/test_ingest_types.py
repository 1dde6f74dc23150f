"""What a cell becomes: guessed, of a type, by the formats of other tools; and what is refused."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core.ingest.decoding import types
from motorctl.errors import UsageError

OID = "5f2b18467ba3bd2ed0e55c01"
UUID = "c8edabc3-f738-4ca3-b68d-ab92a91478a3"

CODES = """
    007 +1 1.50 1e5 NaN inf -inf -0 1_000 0.1000000000000000055 1e+22 1.5e+22 ١
    - . -. 1. .5 9223372036854775808
"""
TEXTS = st.one_of(
    st.text(max_size=5),
    st.integers().map(str),
    st.floats().map(repr),
    st.decimals(allow_nan=False).map(str),
    st.from_regex(r"\A[-+]?[0-9.eE_ ]{0,12}\Z"),
    st.datetimes().map(str),
    st.sampled_from(
        ["true", "T", "No", OID, UUID, "AA==", "ffee", '{"a":1}', "1" * 35, "1e999", "9" * 20, "١"]
    ),
)


@given(st.text() | st.integers().map(str) | st.floats().map(repr) | st.from_regex(r"[-+]?[0-9.e_]{0,12}"))
def test_a_guess_written_back_is_the_same_text(text: str) -> None:
    value = types.infer(text)
    assert type(value) in {int, float, str}
    assert (repr(value) if isinstance(value, float) else str(value)) == text


@given(
    st.sampled_from([*types.TYPE_NAMES, "boolean", "date(%Y-%m-%d)", "date(s)", "binary(hex)"]),
    st.lists(TEXTS, min_size=1)
    | st.lists(st.integers(-(2**40), 2**40).map(str), min_size=1)
    | st.lists(st.floats().map(repr), min_size=1),
)
def test_a_column_is_its_cells(kind: str, cells: list[str]) -> None:
    converter = types.converter(kind)
    try:
        values = converter.column(list(cells))
    except ValueError:
        return
    one_by_one = [converter.cell(text) for text in cells]
    assert [(type(value), repr(value)) for value in values] == [(type(v), repr(v)) for v in one_by_one]


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("int32", [str(2**31 - 1), str(-(2**31))]),
        ("int64", [str(-(2**63)), str(2**63 - 1)]),
        ("double", ["1", "-2.5e3", ".5"]),
        ("bool", ["true", "0"]),
        ("date", ["2024-02-29T10:00:00Z", "2024-02-29T10:00:00.123Z"]),
        ("objectid", [OID, OID.upper()]),
        ("json", ["1", '{"a":[]}']),
        ("string", ["1", ""]),
    ],
)
def test_a_column_that_is_as_it_should_be_is_read_at_once(kind: str, cells: list[str]) -> None:
    assert types.converter(kind).column(cells) == [types.converter(kind).cell(text) for text in cells]


@given(
    st.from_regex(r"\A[-+]?[0-9]{1,20}(\.[0-9]{0,20})?\Z")
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
)
def test_a_decimal_is_what_the_driver_makes_of_it(text: str) -> None:
    try:
        expected = Decimal128(text)
    except ArithmeticError:
        return
    assert types.converter("decimal").cell(text).bid == expected.bid


@pytest.mark.parametrize("text", [*CODES.split(), "", " 1", "1 ", "1\n", "9" * 5000])
def test_codes_stay_text(text: str) -> None:
    assert types.infer(text) == text
    assert types.converter("auto").column([text]) == [text]
    assert types.converter("auto").column([text, "1"]) == [text, 1]
    assert types.converter("auto").column([text, "1.5"]) == [text, 1.5]


def test_a_negative_zero_keeps_its_sign() -> None:
    assert math.copysign(1, types.infer("-0.0")) == -1


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int32", "+5", 5),
        ("int32", "-2147483648", -(2**31)),
        ("int64", "-9223372036854775808", Int64(-(2**63))),
        ("int64", "5", Int64(5)),
        ("double", "1e5", 100000.0),
        ("double", "7", 7.0),
        ("double", "-Infinity", -math.inf),
        ("decimal", "0.10", Decimal128("0.10")),
        ("decimal", "1E-6176", Decimal128("1E-6176")),
        ("bool", "Yes", True),
        ("boolean", "0", False),
        ("date", "2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("date", "2024-02-29T01:00:00+02:00", datetime(2024, 2, 28, 23, tzinfo=UTC)),
        ("date", "0001-01-01T00:00:00+02:00", DatetimeMS(-62135604000000)),
        ("date(%d/%m/%Y %H:%M)", "01/02/2024 03:04", datetime(2024, 2, 1, 3, 4, tzinfo=UTC)),
        ("date(%d/%m/%Y)", "1/2/2024", datetime(2024, 2, 1, tzinfo=UTC)),
        ("date(%Y%m%d)", "20240201", datetime(2024, 2, 1, tzinfo=UTC)),
        ("date(%b %d, %Y)", "Feb 01, 2024", datetime(2024, 2, 1, tzinfo=UTC)),
        ("date(%Y-%m-%d %H:%M %z)", "2024-02-01 03:04 +0100", datetime(2024, 2, 1, 2, 4, tzinfo=UTC)),
        ("date(%d/%m/%Y %H:%M, Europe/Berlin)", "01/02/2024 03:04", datetime(2024, 2, 1, 2, 4, tzinfo=UTC)),
        ("date(%d/%m/%Y %H:%M,Europe/Berlin)", "01/07/2024 03:04", datetime(2024, 7, 1, 1, 4, tzinfo=UTC)),
        (
            "date(%d/%m/%Y %H:%M, Europe/Berlin)",
            "27/10/2024 02:30",
            datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
        ),
        ("date(America/New_York)", "2024-01-01T00:00:00", datetime(2024, 1, 1, 5, tzinfo=UTC)),
        ("date(America/New_York)", "2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC)),
        ("date(Europe/Berlin)", "0001-01-01", DatetimeMS(-62135600008000)),
        ("date(Europe/Berlin)", "9999-12-31T23:59", datetime(9999, 12, 31, 22, 59, tzinfo=UTC)),
        ("date(s)", "1", DatetimeMS(1000)),
        ("date(ms)", "-1", DatetimeMS(-1)),
        ("objectid", OID, ObjectId(OID)),
        ("uuid", UUID, Binary(bytes.fromhex(UUID.replace("-", "")), 4)),
        ("binary", "AP8=", b"\x00\xff"),
        ("binary(base64)", "", b""),
        ("binary(hex)", "00fF", b"\x00\xff"),
        ("binary(base32)", "AD7Q====", b"\x00\xff"),
        ("string", "007", "007"),
        ("auto", "5", 5),
        ("json", "[1]", [1]),
    ],
)
def test_types_read_their_cells(kind: str, text: str, value: Any) -> None:
    got = types.converter(kind).cell(text)
    assert got == value
    assert type(got) is type(value)
    assert types.converter(f"{kind}?null").cell(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("int32", "2147483648", "'2147483648' isn't an integer of 32 bits"),
        ("int32", "1.0", "isn't an integer of 32 bits"),
        ("int32", "", "an empty cell isn't an integer of 32 bits (--ignore-blanks leaves it out)"),
        ("int64", "9223372036854775808", "isn't an integer of 64 bits"),
        ("int64", "1_0", "isn't an integer of 64 bits"),
        ("double", "1_0", "isn't a number"),
        ("double", "nan", "isn't a number"),
        ("double", "1e999", "isn't a number that a double holds"),
        ("double", "-1e999", "isn't a number that a double holds"),
        ("decimal", "1" * 35, "isn't a decimal number of at most 34 digits"),
        ("decimal", "inf", "isn't a decimal number"),
        ("bool", "maybe", "isn't true or false"),
        ("date", "2024-02-30", "isn't an ISO 8601 date"),
        ("date(%d/%m/%Y)", "2024-02-01", "'2024-02-01' isn't a date like %d/%m/%Y"),
        ("date(%d/%m/%Y)", "31/02/2024", "isn't a date like %d/%m/%Y"),
        (
            "date(%d/%m/%Y %H:%M, Europe/Berlin)",
            "31/03/2024 02:30",
            "isn't a time that clocks of Europe/Berlin ever show",
        ),
        ("date(s)", "1.5", "isn't a whole number"),
        ("date(s)", "9223372036854775807", "isn't a date that 64 bits hold"),
        ("objectid", "xyz", "isn't 24 hexadecimal digits"),
        ("objectid", "5f2b18467ba3bd2ed0e55c 01", "isn't 24 hexadecimal digits"),
        ("uuid", "1", "isn't a UUID"),
        ("binary", "A", "isn't base64"),
        ("binary", "A-_=", "isn't base64"),
        ("binary(hex)", "0", "isn't pairs of hexadecimal digits"),
        ("binary(hex)", "0 0 ", "isn't pairs of hexadecimal digits"),
        ("binary(base32)", "a", "isn't base32"),
        ("json", "{", "isn't JSON"),
        ("json", '{"$oid":"1"}', "$oid needs 24 hexadecimal digits"),
        ("json", "[" * 300 + "]" * 300, "nested more than 180 deep"),
    ],
)
def test_types_refuse_what_is_not_theirs(kind: str, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        types.converter(kind).cell(text)
    with pytest.raises(ValueError):  # noqa: PT011 - no reason is asked of a column
        types.converter(kind).column([text])


def test_types_are_spelled_as_the_user_does() -> None:
    spelled = "gpa:double?null, created_at:date(%d/%m/%Y, %H:%M)?string,a.b:string,a:b:int32"
    assert types.parse_types(spelled) == {
        "gpa": "double?null",
        "created_at": "date(%d/%m/%Y, %H:%M)?string",
        "a.b": "string",
        "a:b": "int32",
    }
    assert types.converter("double?skip-field").grace == "skip-field"
    assert types.converter("double").grace == "reject"


@pytest.mark.parametrize(
    ("wrong", "sentence", "hint"),
    [
        ("gpa", "'gpa' isn't FIELD:TYPE", "gpa:double"),
        ("", "'' isn't FIELD:TYPE", "gpa:double"),
        (":int32", "isn't FIELD:TYPE", "gpa:double"),
        ("gpa:dubble", "no type 'dubble'", "did you mean 'double'?"),
        ("gpa:double(1)", "no type 'double(1)'", "double"),
        ("gpa:binary(base58)", "no type 'binary(base58)'", "binary"),
        ("gpa:double?nil", "no grace 'nil'", "reject, null, string, skip-field"),
        ("gpa:double?", "no grace ''", "reject"),
        ("a:int32,a:int64", "names 'a' twice", None),
        ("a:date(day)", "no time zone 'day'", "date(%d/%m/%Y"),
        ("a:date(%d, Europe/Atlantis)", "no time zone 'Europe/Atlantis'", "Europe/Berlin"),
        ("a:date(%d, Europe)", "no time zone 'Europe'", "Europe/Berlin"),
        ("a:date(%d, ../Berlin)", "no time zone '../Berlin'", "Europe/Berlin"),
        ("a:date(%Q)", "bad directive", "strptime"),
        ("a:date(%d %)", "stray %", "strptime"),
        ("a:date(%d %d)", "names a part twice", "strptime"),
    ],
)
def test_what_is_not_spelled_as_a_type_is_wrong_usage(wrong: str, sentence: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        types.parse_types(wrong)
    assert sentence in caught.value.message
    assert (hint or "") in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("kind", "ours", "text", "value"),
    [
        ("auto", "auto", "5", 5),
        ("string", "string", "5", "5"),
        ("int32", "int32", "5", 5),
        ("boolean", "bool", "true", True),
        ("decimal", "decimal", "5", Decimal128("5")),
        ("binary(base64)", "binary(base64)", "AA==", b"\0"),
        ("objectid", "objectid", OID, ObjectId(OID)),
        ("date(2006-01-02)", "date(%Y-%m-%d)", "2024-05-06", datetime(2024, 5, 6, tzinfo=UTC)),
        (
            "date_go(Jan 2, 2006 at 3:04pm)",
            "date(%b %d, %Y at %I:%M%p)",
            "May 6, 2024 at 7:08pm",
            datetime(2024, 5, 6, 19, 8, tzinfo=UTC),
        ),
        (
            "date(2006-01-02T15:04:05Z07:00)",
            "date",
            "2024-05-06T07:08:09+02:00",
            datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC),
        ),
        (
            "date(02/01/06 15:04:05.000 -0700)",
            "date(%d/%m/%y %H:%M:%S.%f %z)",
            "06/05/24 07:08:09.120 +0200",
            datetime(2024, 5, 6, 5, 8, 9, 120000, tzinfo=UTC),
        ),
        ("date_ms(yyyy-MM-dd)", "date(%Y-%m-%d)", "2024-05-06", datetime(2024, 5, 6, tzinfo=UTC)),
        (
            "date_ms(d MMMM yyyy 'at' h:mm tt)",
            "date(%d %B %Y at %I:%M %p)",
            "6 May 2024 at 7:08 PM",
            datetime(2024, 5, 6, 19, 8, tzinfo=UTC),
        ),
        (
            "date_ms(yyyy-MM-ddTHH:mm:ss.fff)",
            "date(%Y-%m-%dT%H:%M:%S.%f)",
            "2024-05-06T07:08:09.120",
            datetime(2024, 5, 6, 7, 8, 9, 120000, tzinfo=UTC),
        ),
        ("date_oracle(YYYY-MM-DD)", "date(%Y-%m-%d)", "2024-05-06", datetime(2024, 5, 6, tzinfo=UTC)),
        (
            'date_oracle(dd-Mon-yyyy "um" hh24:mi:ss)',
            "date(%d-%b-%Y um %H:%M:%S)",
            "06-MAY-2024 um 07:08:09",
            datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        ),
    ],
)
def test_a_typed_header_becomes_types_of_ours(kind: str, ours: str, text: str, value: Any) -> None:
    assert types.from_typed_header([("x", kind)]) == (("x", ours),)
    assert types.converter(ours).cell(text) == value


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("date(2006-01-02 MST)", "'MST' in '2006-01-02 MST' has no like here"),
        ("date(05.000000000)", "has no like here"),
        ("date()", "'' names no part of a date"),
        ("date_ms(yyyy-MM-dd g)", "'g' in"),
        ("date_oracle(YYYY-Q)", "'Q' in"),
        ("date_oracle(J)", "'J' in"),
        ("dates", "no type 'dates'"),
        ("binary(base58)", "no type 'binary(base58)'"),
        ("int32(5)", "no type 'int32(5)'"),
        ("date_ms(yyyy yyyy)", "names a part twice"),
    ],
)
def test_a_typed_header_that_has_no_like_names_its_column(kind: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        types.from_typed_header([("ok", "auto"), ("born", kind)])
    assert caught.value.message.startswith("the header's type of 'born': ")
    assert sentence in caught.value.message
