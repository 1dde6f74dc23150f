"""The text of an export, without a server: import's decoder reads it back to the same BSON."""

from __future__ import annotations

import csv
import io
import math
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import bson
import pytest
import strategies
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, ObjectId, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core import extjson
from motorctl.core.export.model import Style
from motorctl.core.export.table import cell, find_columns, import_options, merged, row
from motorctl.core.export.text import block, heading, sampled
from motorctl.core.ingest.decoding.decode import decode
from motorctl.core.ingest.decoding.types import parse_types
from motorctl.core.ingest.model import Plan, Reading
from motorctl.core.ingest.reading.source import Source
from motorctl.core.ingest.reading.split import split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.core.export.model import Format
    from motorctl.core.ingest.model import Format as Reads

ID = ObjectId("5f2b18467ba3bd2ed0e55c01")
DAY = datetime(2026, 3, 25, 15, 4, 16, 863000, UTC)


def read_back(text: bytes, reads: Reads, **plan: Any) -> list[bytes]:
    """Give what `import` makes of a file; it makes no `_id`s in a mode that updates."""
    found: list[bytes] = []
    for chunk in split(Source("-", io.BytesIO(text)), Reading(reads)):
        decoded = decode(chunk, Plan(mode="merge", **plan))
        assert decoded.rejects == []
        found += [decoded.cut(number, number + 1) for number in range(len(decoded.ends))]
    return found


def in_two(batches: Sequence[bytes], style: Style) -> bytes:
    """Write documents as two batches of an export, as `engine` does."""
    half = len(batches) // 2
    before, between, after = (b"[\n", b",\n", b"\n]\n") if style.format == "json" else (b"", b"", b"")
    first, second = b"".join(batches[:half]), b"".join(batches[half:])
    if not first:
        return block(second, style, before, after).data
    return block(first, style, before, between).data + block(second, style, b"", after).data


@pytest.mark.parametrize("form", ["ndjson", "json"])
@given(st.lists(strategies.deprecated_documents(), min_size=1, max_size=6))
def test_any_documents_come_back_byte_for_byte(form: Format, documents: list[dict[str, Any]]) -> None:
    batches = [extjson.encode(document) for document in documents]
    text = in_two(batches, Style(form, canonical=True))
    assert text.endswith(b"\n")
    assert read_back(text, form) == batches


@pytest.mark.parametrize("form", ["ndjson", "json"])
@given(st.lists(strategies.documents(), min_size=1, max_size=6))
def test_relaxed_text_keeps_every_value(form: Format, documents: list[dict[str, Any]]) -> None:
    """Relaxed text doesn't tell how many bits a whole number had, by the specification; all else stays."""
    batches = [bson.encode(document) for document in documents]
    back = read_back(in_two(batches, Style(form)), form)
    assert [plain(bson.decode(raw, extjson.BSON_OPTIONS)) for raw in back] == [
        plain(bson.decode(raw, extjson.BSON_OPTIONS)) for raw in batches
    ]


def plain(value: Any) -> Any:
    """Make values comparable: types that Python takes for equal apart, NaN equal to itself."""
    match value:
        case Int64():
            return "int", int(value)
        case dict():
            return [(name, plain(inner)) for name, inner in value.items()]
        case list():
            return [plain(inner) for inner in value]
        case float():
            return "float", repr(value)
        case Code():
            return "code", str(value), plain(value.scope)
        case _:
            return type(value).__name__, value


# -- CSV --------------------------------------------------------------------------------------------------


def table(documents: Sequence[dict[str, Any]], columns: tuple[str, ...] = ()) -> tuple[bytes, str]:
    """Write documents as CSV; return the text and the options that `import` is said to need."""
    batch = b"".join(bson.encode(document) for document in documents)
    names = columns or sampled([batch], len(documents))
    found = block(batch, Style("csv", columns=names, found=not columns), heading(names))
    assert found.documents == len(documents)
    assert found.partial == 0
    options, unclear = import_options(dict(zip(names, found.columns, strict=True)))
    assert unclear == ()
    return found.data, options


def read_table(text: bytes, options: str) -> list[bytes]:
    words = shlex.split(options)
    types = parse_types(words[words.index("--types") + 1]) if "--types" in words else {}
    null = words[words.index("--null") + 1] if "--null" in words else None
    blanks = "--ignore-blanks" in words
    return read_back(text, "csv", types=tuple(types.items()), null=null, ignore_blanks=blanks)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": strategies.texts(),
    "digits": st.from_regex(r"-?[0-9.e]{1,6}", fullmatch=True),
    "bool": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1).map(Int64),
    "double": st.floats(allow_nan=False),
    "decimal": st.decimals(allow_nan=False, places=2, min_value=-1000, max_value=1000).map(Decimal128),
    "id": st.binary(min_size=12, max_size=12).map(ObjectId),
    "uuid": st.uuids().map(Binary.from_uuid),
    "day": st.datetimes(timezones=st.just(UTC)).map(lambda d: d.replace(microsecond=0)),
    "far": st.integers(2**48, 2**62).map(DatetimeMS),
    "bytes": st.binary(max_size=5),
    "list": st.lists(st.integers(0, 9) | strategies.texts() | st.just(ID), max_size=3),
    "stamp": st.builds(Timestamp, st.integers(0, 9), st.integers(0, 9)),
}


@given(st.data())
def test_a_table_comes_back_with_the_options_that_are_said(data: st.DataObject) -> None:
    """Columns of one type each, some of their cells blank, all for one reason: the same BSON."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    names = [f"{kind}{number}" if number else f"in.{kind}" for number, kind in enumerate(kinds)]
    blank = data.draw(st.sampled_from(["none", "null", "absent"]))
    documents: list[dict[str, Any]] = []
    for key in range(data.draw(st.integers(1, 5))):
        document: dict[str, Any] = {"_id": key}
        for name, kind in zip(names, kinds, strict=True):
            value = data.draw(VALUES[kind].filter(lambda found: found != ""))
            if key and blank != "none" and data.draw(st.booleans()):
                if blank == "absent":
                    continue
                value = None
            outer, dot, inner = name.partition(".")
            document[outer] = {inner: value} if dot else value
        documents.append(document)
    text, options = table(documents, ("_id", *names))
    if "\0" in text.decode():
        return
    # An inner document is absent as a whole where its one field is.
    assert read_table(text, options) == [bson.encode(document) for document in documents]


def test_blank_cells_that_stand_for_several_things_take_their_columns_grace() -> None:
    documents = [
        {"_id": 1, "name": "x", "at": DAY, "owner": ID, "n": 5},
        {"_id": 2, "name": "", "at": None, "n": 6},
        {"_id": 3, "name": "z", "at": DAY, "owner": ID},
    ]
    text, options = table(documents)
    assert options == "--types 'at:date?null,owner:objectid?skip-field,n:int32?skip-field'"
    assert read_table(text, options) == [bson.encode(document) for document in documents]


def test_what_a_table_cannot_tell_apart_is_named() -> None:
    documents = [
        {"a": 1, "b": DAY, "c": 5, "d": "x", "e": [1], "f,g": ID},
        {"a": Int64(1), "b": "2026", "c": 5.0, "d": None, "e": 5, "f,g": ID},
        {"a": 1, "b": DAY, "c": 5, "d": "", "e": 5, "f,g": ID},
    ]
    batch = b"".join(map(bson.encode, documents))
    names = sampled([batch], 3)
    held = block(batch, Style("csv", columns=names)).columns
    options, unclear = import_options(dict(zip(names, held, strict=True)))
    assert options == "--types e:json"
    assert unclear == ("a", "b", "d", "f,g")
    parts = [block(bson.encode(document), Style("csv", columns=names)).columns for document in documents]
    assert merged(merged(parts[0], parts[1]), merged((), parts[2])) == held


@given(strategies.tables())
def test_any_text_survives_csv(rows: list[list[str]]) -> None:
    text = "".join(map(row, rows))
    assert [list(found) for found in csv.reader(io.StringIO(text, newline=""), strict=True)] == rows
    documents = [dict(zip(rows[0], cells, strict=True)) for cells in rows[1:]]
    if documents:
        names = tuple(rows[0])
        batch = b"".join(map(bson.encode, documents))
        assert block(batch, Style("csv", columns=names), heading(names)).data.decode() == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (1.5, "1.5"),
        (-0.0, "-0.0"),
        (1e22, "1e+22"),
        (Int64(5), "5"),
        (Decimal128("1.10"), "1.10"),
        (ID, str(ID)),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (math.nan, "NaN"),
        (DAY, "2026-03-25T15:04:16.863Z"),
        (DAY.replace(tzinfo=None), "2026-03-25T15:04:16.863Z"),
        (DatetimeMS(2**62), '{"$date":{"$numberLong":"4611686018427387904"}}'),
        (Binary.from_uuid(UUID(int=5)), "00000000-0000-0000-0000-000000000005"),
        (b"\1", '{"$binary":{"base64":"AQ==","subType":"00"}}'),
        ({"a": 1}, '{"a":1}'),
        ({}, "{}"),
        (
            [math.nan, None, Int64(2), DAY],
            '[{"$numberDouble":"NaN"},null,2,{"$date":"2026-03-25T15:04:16.863Z"}]',
        ),
        (Code("f"), '{"$code":"f"}'),
        (Timestamp(1, 2), '{"$timestamp":{"t":1,"i":2}}'),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert cell(value) == text


def test_columns_are_the_paths_to_values() -> None:
    assert find_columns([{"_id": 1, "a": {"b": 1, "c": {"d": 2}}}, {"a": {"c": 5}, "e": {}}]) == (
        "_id",
        "a.b",
        "a.c",
        "e",
    )


def test_a_name_that_holds_a_dot_has_its_value() -> None:
    documents: list[dict[str, Any]] = [{"a.b": 1, "c": {"d.e": 2}}, {"a": {"b": 3}}]
    names = sampled([bson.encode(document) for document in documents], 2)
    parts = [block(bson.encode(document), Style("csv", columns=names, found=True)) for document in documents]
    assert names == ("a.b", "c")
    assert [part.data for part in parts] == [b'1,"{""d.e"":2}"\n', b"3,\n"]
    assert [part.partial for part in parts] == [0, 0]
    held = merged(parts[0].columns, parts[1].columns)
    assert [column.literal for column in held] == [True, False]
    assert import_options(dict(zip(names, held, strict=True))) == ("--types c:json --ignore-blanks", ("a.b",))


def test_a_field_behind_a_path_of_its_name_is_counted() -> None:
    documents: list[dict[str, Any]] = [
        {"a.b": 5, "a": {"b": 4}},
        {"a.b": 5},
        {"a": {"b": 4}},
        {"d.e": {"f": 1}, "d": {"e": {"f": 2}}},
    ]
    names = sampled([bson.encode(document) for document in documents], 4)
    found = block(b"".join(map(bson.encode, documents)), Style("csv", columns=names, found=True))
    assert names == ("a.b", "d.e.f")
    assert found.data == b"4,\n5,\n4,\n,2\n"
    assert found.partial == 2
    assert [column.literal for column in found.columns] == [True, False]


@pytest.mark.parametrize(
    "late",
    [{"a": 1, "new": 1}, {"b": {"c": 1, "new": 1}}, {"b": 5}, {"b": {}}, {"b": {"c": {"d": 1}}, "x": 1}],
)
def test_a_document_with_a_field_that_no_column_shows_is_counted(late: dict[str, Any]) -> None:
    whole: list[dict[str, Any]] = [{"a": 1, "b": {"c": 1}}, {"a": {"any": "thing"}}, {}]
    batch = b"".join(map(bson.encode, [*whole, late, late]))
    assert block(batch, Style("csv", columns=("a", "b.c"), found=True)).partial == 2
