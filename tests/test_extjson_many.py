"""Many documents at once: exactly as strict as one by one, and the same values."""

from __future__ import annotations

import copy
from typing import Any

import bson
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import deprecated_documents, documents

from motorctl.core.extjson import (
    DEPTH_LIMIT,
    ExtendedJSONError,
    bson_to_json,
    convert_many,
    encode,
    loads,
    to_bson_values,
)

OID = {"$oid": "0123456789abcdef01234567"}
# Right, wrong and nearly right insides of typed objects.
INNER: st.SearchStrategy[Any] = st.sampled_from(
    [
        "0123456789abcdef01234567",
        "0123456789ABCDEF01234567",
        "0123456789abcdef0123456",
        "0123456789abcdef 1234567",
        "0123456789abcdef0123456７",
        "2024-01-31T10:20:30.123Z",
        "2024-01-31T10:20:30Z",
        "2024-01-31T24:00:00.000Z",
        "2024-02-30T10:20:30.123Z",
        "2024-W05-3T10:20:30.123Z",
        "2024-01-31T10:20:30.1+0Z",
        "2024-01-31T10:20:30.123Z\n",
        "1",
        "-1",
        "+1",
        "1,2",
        "1_0",
        " 1",
        "1\n",
        "",
        "-",
        ".",
        "1e5",
        "1.5",
        "NaN",
        "nan",
        "-Infinity",
        "٣",
        "2147483648",
        "9223372036854775808",
        "9" * 5000,
        5,
        1.5,
        True,
        None,
        [],
        {},
        {"$numberLong": "5"},
        {"$numberLong": 5},
        {"base64": "AQI=", "subType": "00"},
        {"t": 1, "i": 2},
        {"$ref": "c", "$id": OID},
    ]
)
NAMES = st.sampled_from(
    """$oid $date $numberInt $numberLong $numberDouble $numberDecimal $binary $timestamp $code $symbol
    $undefined $dbPointer $minKey $uuid $other""".split()
)
TYPED = st.one_of(
    st.dictionaries(NAMES, INNER, min_size=1, max_size=1),
    st.just(OID),
    st.just({"$date": "2024-01-31T10:20:30.123Z"}),
    st.builds(lambda number: {"$numberInt": str(number)}, st.integers(-5, 5)),
    st.dictionaries(NAMES | st.sampled_from("a b".split()), INNER, min_size=1, max_size=2),
)
JSON = st.dictionaries(
    st.sampled_from("a b c d $e".split()),
    st.recursive(
        TYPED | st.sampled_from([1, "x", "$5", 'say "$oid"', None, 1.5]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("a b".split()), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


def _read(texts: list[bytes], layout: Any = None) -> tuple[list[Any], bool]:
    parsed = [orjson.loads(text) for text in texts]
    return parsed, convert_many(parsed, sum(text.count(b'"$') for text in texts), layout)


def _one_by_one(parsed: list[Any]) -> list[Any]:
    """Give of each document its canonical text, as values' types count too, or why it is malformed."""
    result: list[Any] = []
    for document in parsed:
        try:
            value = to_bson_values(document, deprecated=True)
            result.append(bson_to_json(encode(value), canonical=True) if type(value) is dict else repr(value))
        except ExtendedJSONError as error:
            result.append(str(error))
    return result


@given(st.lists(JSON, max_size=8))
def test_what_is_converted_is_what_one_by_one_gives(documents: list[dict[str, Any]]) -> None:
    texts = [orjson.dumps(document) for document in documents]
    parsed, done = _read(texts)
    expected = _one_by_one([orjson.loads(text) for text in texts])
    if done:
        converted = copy.deepcopy(parsed)
        assert [to_bson_values(document) for document in converted] == parsed
        assert [bson_to_json(bson.encode(document), canonical=True) for document in parsed] == expected
    else:
        # What was converted before it gave up is no harm.
        assert _one_by_one(parsed) == expected


@given(st.lists(documents(), max_size=8), st.booleans())
def test_documents_that_were_exported_are_converted(documents: list[dict[str, Any]], canonical: bool) -> None:
    raws = [bson.encode(document) for document in documents]
    texts = [bson_to_json(raw, canonical=canonical) for raw in raws]
    parsed, done = _read(texts)
    if done and canonical:
        assert [bson.encode(document) for document in parsed] == raws
    assert _one_by_one(parsed) == _one_by_one([orjson.loads(text) for text in texts])


@given(st.lists(deprecated_documents(), min_size=1, max_size=5), st.lists(JSON, max_size=5))
def test_what_was_learned_from_other_documents_changes_nothing(
    documents: list[dict[str, Any]], others: list[dict[str, Any]]
) -> None:
    layout: dict[Any, None] = {}
    for group in (documents, others, documents):
        texts = [
            bson_to_json(encode(document), canonical=True) if group is documents else orjson.dumps(document)
            for document in group
        ]
        parsed, _ = _read(texts, layout)
        assert _one_by_one(parsed) == _one_by_one([orjson.loads(text) for text in texts])


@pytest.mark.parametrize(
    "rows",
    [
        ['{"a":{"$oid":"0123456789abcdef01234567"}}'] * 9,
        ['{"a":[{"b":{"$numberInt":"5"}},{"b":{"$numberInt":"6"}}]}', '{"a":[[{"$numberDouble":"-0.0"}]]}'],
        ['{"a":{"$date":{"$numberLong":"5"}}}', '{"a":{"$date":"2024-01-31T10:20:30Z"}}'],
        # The field comes late, and text has dollars.
        ['{"a":"$5"}'] * 20 + ['{"b":{"c":{"$numberLong":"5"}}}'],
        ['{"a":{"$numberDouble":"NaN"}}', '{"a":{"$numberDouble":"1e5"}}'],
        ['{ "a" : { "$oid" : "0123456789abcdef01234567" } }'],
        ["{}"],
        [],
    ],
)
def test_the_usual_is_converted_without_a_walk(rows: list[str]) -> None:
    parsed, done = _read([row.encode() for row in rows])
    assert done
    # repr, as a NaN equals nothing.
    assert repr(parsed) == repr([loads(row) for row in rows])


@pytest.mark.parametrize(
    "row",
    [
        '{"a":{"$oid":"0123456789abcdef0123456"}}',
        '{"a":{"$oid":"0123456789abcdef01234567","b":1}}',
        '{"a":{"b":1,"$oid":"0123456789abcdef01234567"}}',
        '{"a":{"$oid":"x"},"a":{"$oid":"0123456789abcdef01234567","b":2}}',
        '{"a":{"$numberInt":"1\\n"}}',
        '{"a":{"$numberDouble":"1\\n"}}',
        '{"a":{"$date":"2024-01-31T24:00:00.000Z"}}',
        '{"a":{"$date":"2024-W05-3T10:20:30.123Z"}}',
        '{"$oid":"0123456789abcdef01234567"}',
        "5",
        "[]",
        "null",
    ],
)
def test_what_is_malformed_is_left_to_the_walk(row: str) -> None:
    rows = ['{"a":{"$oid":"0123456789abcdef01234567"}}'] * 5
    assert not _read([text.encode() for text in [*rows, row, *rows]])[1]


def test_fields_in_ever_other_places_are_left_to_the_walk() -> None:
    rows = [orjson.dumps({str(100 * row + field): OID for field in range(50)}) for row in range(20)]
    parsed, done = _read(rows)
    assert not done
    assert _one_by_one(parsed) == _one_by_one([orjson.loads(row) for row in rows])


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_what_is_too_deep_is_left_to_the_walk(opening: str, closing: str) -> None:
    row = '{"a":' + opening * 1000 + '{"$oid":"0123456789abcdef01234567"}' + closing * 1000 + "}"
    parsed, done = _read([b"{}", row.encode()])
    assert not done
    with pytest.raises(ExtendedJSONError, match="nested more than 180"):
        to_bson_values(parsed[1])


def test_no_shorter_document_is_too_deep() -> None:
    arrays: Any = {}
    names: Any = {}
    for level in range(DEPTH_LIMIT):
        arrays = {"": arrays} if level == DEPTH_LIMIT - 1 else [arrays]
        names = {"": names}
    for document in (arrays, names):
        assert len(orjson.dumps(document)) >= 362
        assert len(bson.encode(document)) >= 1265
        with pytest.raises(ExtendedJSONError, match="nested more than 180"):
            to_bson_values(document)
