"""Bytes to records: where they begin and end, whatever the size of blocks and chunks."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
import tracemalloc
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from motorctl.core.ingest.model import Reading
from motorctl.core.ingest.reading import compressed, delimited, structure
from motorctl.core.ingest.reading import source as sources
from motorctl.core.ingest.reading import split as splitting
from motorctl.core.ingest.reading.source import Source, open_source
from motorctl.core.ingest.reading.split import records, split
from motorctl.errors import UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from motorctl.core.ingest.model import Chunk, Format, Record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=1, max_size=12)
SIZES = st.integers(min_value=1, max_value=200)


@contextmanager
def sizes(block: int = 2**18, chunk: int = 2**19, window: int = 2**12) -> Iterator[None]:
    with (
        mock.patch.object(sources, "BLOCK", block),
        mock.patch.object(compressed, "BLOCK", block),
        mock.patch.object(splitting, "CHUNK", chunk),
        mock.patch.object(splitting, "_GLANCE", window),
        mock.patch.object(structure, "_WINDOW", window),
    ):
        yield


def how(wanted: str | Reading) -> Reading:
    return wanted if isinstance(wanted, Reading) else Reading(format=cast("Format", wanted))


def chunks(data: bytes, wanted: str | Reading = "auto", **given: int) -> list[Chunk]:
    with sizes(**given):
        return list(split(Source("input", io.BytesIO(data)), how(wanted)))


def found(data: bytes, wanted: str | Reading = "auto", **given: int) -> list[Record]:
    return [record for chunk in chunks(data, wanted, **given) for record in records(chunk)]


def check_places(data: bytes, got: list[Record]) -> None:
    """Each record's text stands at its offset, on its line."""
    for record in got:
        assert data[record.offset : record.offset + len(record.text)] == record.text
        assert data[: record.offset].count(b"\n") + 1 == record.line


@given(DOCUMENTS, SIZES, SIZES, SIZES, st.booleans())
def test_each_json_layout_gives_the_same_records_at_any_size(
    documents: list[dict[str, Any]], block: int, chunk: int, window: int, ascii_only: bool
) -> None:
    texts = {
        "ndjson": "\n".join(json.dumps(d, ensure_ascii=ascii_only) for d in documents),
        "json": json.dumps(documents, ensure_ascii=ascii_only),
        "pretty": json.dumps(documents, indent=2, ensure_ascii=ascii_only),
        "objects": "\n".join(json.dumps(d, indent=1, ensure_ascii=ascii_only) for d in documents),
        "one line": " ".join(json.dumps(d, ensure_ascii=ascii_only) for d in documents),
    }
    for layout, text in texts.items():
        if layout == "one line" and len(documents) == 1:
            continue
        data = text.encode("utf-8", "surrogatepass")
        wanted = "ndjson" if layout == "ndjson" else "json"
        got = found(data, wanted, block=block, chunk=chunk, window=window)
        assert [json.loads(r.text) for r in got] == json.loads(json.dumps(documents)), layout
        check_places(data, got)


# Text that is wrong in every way that brackets, quotes and line ends can be.
ANYTHING = st.lists(
    st.sampled_from(
        [
            b'{"a":1}',
            b'{"b":"x"}',
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b'"',
            b"\\",
            b'\\"',
            b"\n",
            b" ",
            b"1",
            b"x,",
            b";",
        ]
    ),
    max_size=40,
).map(b"".join)
FORMATS = st.sampled_from(["json", "ndjson", "csv"])
WIDTHS = st.integers(min_value=1, max_value=40)


@given(ANYTHING, FORMATS, WIDTHS, WIDTHS, st.integers(1, 64))
@example(b'[{"a":1},{"b":2}', "json", 1, 3, 4)
@example(b'[{"a":1}],[{"b":2}] x [\n', "json", 7, 9, 4)
@example(b"{}" + b" " * 30 + b"[{},", "json", 7, 9, 4)
def test_chunks_hang_on_the_bytes_alone_and_reading_goes_on_from_each_end(
    text: bytes, wanted: str, block: int, chunk: int, window: int
) -> None:
    data = b"a,b\n" + text if wanted == "csv" else text
    limits = (mock.patch.object(splitting, name, 4 * chunk) for name in ("RECORD_LIMIT", "CELL_LIMIT"))
    with ExitStack() as stack:
        for limit in limits:
            stack.enter_context(limit)
        try:
            whole = chunks(data, wanted, chunk=chunk, window=len(data) + 1)
        except UsageError:
            assert wanted == "csv"  # a header line longer than the limit
            return
        assert chunks(data, wanted, block=block, chunk=chunk, window=window) == whole
        with sizes(block, chunk, window):
            for number, piece in enumerate(whole, 1):
                rest = split(Source("input", io.BytesIO(data)), how(wanted), piece.end)
                assert list(rest) == whole[number:]
            for n in (1, 2, 3):
                parts = [
                    list(split(Source("input", io.BytesIO(data)), how(wanted), None, (i, n)))
                    for i in range(1, n + 1)
                ]
                assert sorted((c for part in parts for c in part), key=lambda c: c.offset) == whole
                for i, part in enumerate(parts, 1):
                    for number, piece in enumerate(part, 1):
                        rest = split(Source("input", io.BytesIO(data)), how(wanted), piece.end, (i, n))
                        assert list(rest) == part[number:]
    # Nothing is lost between two chunks but blanks and what encloses an array.
    position = 4 if wanted == "csv" else 0
    for piece in whole:
        assert piece.offset >= position
        assert data[position : piece.offset].strip(b" \t\r\n[]") == b""
        assert data.startswith(piece.data, piece.offset)
        assert data.count(b"\n", 0, piece.offset) + 1 == piece.line
        assert piece.end is not None
        assert piece.end.line == data.count(b"\n", 0, piece.end.offset) + 1
        position = piece.end.offset
        if not piece.broken:
            assert position == piece.offset + len(piece.data)
    assert data[position:].strip(b" \t\r\n[]") == b""


@given(ANYTHING, st.booleans(), WIDTHS)
@example(b",[1][2]{}{}", False, 4)
@example(b",[}", False, 1)
def test_the_fast_way_to_a_border_is_the_exact_one(text: bytes, commas: bool, window: int) -> None:
    with mock.patch.object(structure, "_WINDOW", window):
        got = structure.last_border(text, commas=commas)
    assert got == structure._walk(text, 0, structure.State(), commas=commas)[:2]


@given(ANYTHING, st.booleans(), st.integers(0, 30))
def test_a_long_record_is_followed_in_pieces_of_any_size(text: bytes, commas: bool, at: int) -> None:
    data = b'{"long": "\\\\\\"' + text.replace(b"\n", b"")
    end, closed, state = structure._walk(data, 0, structure.State(), commas=commas, first=True)
    expected = end if end or closed else -1
    first, between = structure.follow(data[:at], structure.State(), commas=commas)
    if first < 0:
        first, between = structure.follow(data[at:], between, commas=commas)
        first = first + at if first >= 0 else -1
    assert first == expected
    if first < 0 and state.depth:
        assert between == state


@given(
    st.lists(st.sampled_from([b"a", b",", b'"', b'""', b"\n", b"\r\n", b'"a"', b'"\n"', b"|"]), max_size=40),
    st.sampled_from([",", "|"]),
    st.sampled_from(['"', "a", "", "\N{LEFT DOUBLE QUOTATION MARK}"]),
)
def test_the_fast_way_to_the_last_row_is_the_exact_one(text: list[bytes], delimiter: str, quote: str) -> None:
    data = b"".join(text)
    if quote and ord(quote) > 127:
        data = data.replace(b'"', quote.encode())
    rows = list(delimited.rows(data, delimiter, quote=quote, final=False))
    cut = delimited.last_row(data, delimiter, quote=quote)
    end = rows[-1].end if rows else 0
    # Blank lines are no rows, and may be cut off with those before them or not.
    assert cut >= end
    assert not data[end:cut].strip(b"\r\n")
    again = list(delimited.rows(data[:cut], delimiter, quote=quote, final=True))
    assert [(*row[:3], bool(row.broken)) for row in again] == [(*row[:3], bool(row.broken)) for row in rows]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=8), SIZES, SIZES, st.sampled_from(["\n", "\r\n"]))
def test_any_table_of_quoted_cells_is_read_back(
    table: list[tuple[str, str]], block: int, chunk: int, end: str
) -> None:
    def quote(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"'

    data = "".join(f"{quote(a)},{quote(b)}{end}" for a, b in [("a", "b"), *table]).encode()
    got = found(data, "csv", block=block, chunk=chunk)
    assert [r.broken for r in got] == [""] * len(table)
    assert [r.text.decode() for r in got] == [f"{quote(a)},{quote(b)}" for a, b in table]
    check_places(data, got)


def test_a_bare_quote_spoils_its_own_line_only() -> None:
    got = found(b'a,b\n1,x"y\n"2"z,3\n4,"5\n6"\n7,8\n')
    assert [(r.text, r.line, bool(r.broken)) for r in got] == [
        (b'1,x"y', 2, True),
        (b'"2"z,3', 3, True),
        (b'4,"5\n6"', 4, False),
        (b"7,8", 6, False),
    ]


def test_a_quote_that_nothing_closes_spoils_its_own_line_only() -> None:
    got = found(b'a,b\n1,2\n3,"4\n5,6\n7,8\n')
    assert [(r.text, r.line, bool(r.broken)) for r in got] == [
        (b"1,2", 2, False),
        (b'3,"4', 3, True),
        (b"5,6", 4, False),
        (b"7,8", 5, False),
    ]


def test_a_quote_that_nothing_closes_does_not_take_the_file_into_memory() -> None:
    with mock.patch.object(splitting, "CELL_LIMIT", 1000):
        got = found(b'a,b\n3,"4\n' + b"5,6\n" * 2000, block=256, chunk=256)
    assert [r.line for r in got if r.broken] == [2]
    assert len(got) == 2001


def test_a_line_that_is_too_long_is_one_reject() -> None:
    data = b'{"a":1}\n{"b":"' + b"x" * 5000 + b'"}\n{"c":3}\n'
    with mock.patch.object(splitting, "RECORD_LIMIT", 1000), mock.patch.object(splitting, "_HEAD", 100):
        got = found(data, "ndjson", block=100, chunk=100)
    assert [(r.line, r.broken) for r in got] == [(1, ""), (2, splitting.TOO_LONG), (3, "")]
    assert got[2].offset == data.index(b'{"c"')
    assert len(got[1].text) <= 1000


@pytest.mark.parametrize("final_line_end", [b"", b"\n"])
def test_an_object_that_is_never_closed_leaves_the_next_ones(final_line_end: bytes) -> None:
    data = b'[\n{"a": {"b": 1},\n{"c": 2},\n{"d": 3}\n]' + final_line_end
    got = found(data)
    assert [(r.line, r.broken) for r in got] == [(2, splitting.NEVER_CLOSED), (3, ""), (4, "")]


def test_a_missing_quote_in_an_array_spoils_one_record() -> None:
    data = b'[\n{"a": "x},\n{"c": 2},\n{"d": 3}\n]'
    got = found(data)
    assert b'{"d": 3}' in [r.text for r in got]
    assert got[0].line == 2


def test_an_array_that_is_cut_off_is_noticed() -> None:
    got = found(b'[{"a":1},{"b":2}')
    assert [(r.text, r.broken) for r in got] == [
        (b'{"a":1}', ""),
        (b'{"b":2}', ""),
        (b"", splitting.OPEN_ARRAY),
    ]
    got = found(b'[{"a":1},{"b":')
    assert [r.broken for r in got] == ["", splitting.NEVER_CLOSED]


@pytest.mark.parametrize("block", [1, 7, 300, 2**18])
def test_what_follows_an_array_is_read_on(block: int) -> None:
    """As `cat a.json b.json` makes them, whatever the size of blocks and chunks."""
    first = [{"a": n, "t": "] [ x", "l": [[n], []]} for n in range(40)]
    second = [{"b": n, "l": []} for n in range(40)]
    for after in (
        json.dumps(second),
        " \n" + json.dumps(second, indent=1) + "\n",
        "[" + json.dumps(second)[1:],
        "".join(json.dumps(d) for d in second),
        "[]\n" + "\n".join(json.dumps([d]) for d in second),
    ):
        data = (json.dumps(first) + after).encode()
        got = found(data, block=block, chunk=block, window=128)
        assert [json.loads(r.text) for r in got] == first + second, after[:20]
        check_places(data, got)


@pytest.mark.parametrize("block", [1, 7, 2**18])
def test_other_text_after_an_array_is_a_reject_of_its_own(block: int) -> None:
    data = b'[{"a":1}]\n,{"b":2}[]\n\n hello \n[{"c":3}] %b\n{"d":4}\n' % (b"x" * 5000)
    got = found(data, block=block, chunk=block)
    assert [(r.text[:20], r.line, r.broken) for r in got] == [
        (b'{"a":1}', 1, ""),
        (b",", 2, splitting.AFTER_ARRAY),
        (b'{"b":2}', 2, ""),
        (b"hello", 4, splitting.AFTER_ARRAY),
        (b'{"c":3}', 5, ""),
        (b"x" * 20, 5, splitting.AFTER_ARRAY),
        (b'{"d":4}', 6, ""),
    ]
    assert len(got[5].text) == 1000
    check_places(data, got)


@pytest.mark.parametrize("data", [b"", b"\n \n\n", b"[]", b"[\n]\n", b"\xef\xbb\xbf"])
def test_nothing_is_no_record(data: bytes) -> None:
    assert found(data) == []


def test_a_byte_order_mark_is_no_part_of_the_first_record() -> None:
    for text in (b'{"a":1}', b"a,b\n1,2"):
        data = b"\xef\xbb\xbf" + text
        got = found(data)
        check_places(data, got)
        assert not got[0].text.startswith(b"\xef")


@pytest.mark.parametrize(
    ("data", "layout", "delimiter"),
    [
        (b'{"a":1}\n{"a":2}', "lines", ""),
        (b'{"a":1', "objects", ""),
        (b'{\n "a": 1\n}\n{\n "a": 2\n}', "objects", ""),
        (b'{"a":1}{"a":2}', "objects", ""),
        (b'{"a":}\n{"a":2}', "lines", ""),
        (b'\n\n  [\n{"a":1}]', "array", ""),
        (b"a,b\n1,2", "delimited", ","),
        (b"a\tb\n1\t2", "delimited", "\t"),
        (b"a;b|c;d\n1;2|3;4", "delimited", ";"),
        (b"a|b\n1,5|2", "delimited", "|"),
        (b'{\n "a": [\n  {"b":1},\n  {"b":2}\n ]\n}\n', "objects", ""),
        (b'{"a":1}\n{\n"a": 2\n}', "objects", ""),
        (b'{"a": "x\n{"a":2}\n{"a":3}\n', "lines", ""),
        (b'"b":1,"c":2}\n{"a":2}\n', "lines", ""),
        (b"5\n6\n", "lines", ""),
        (b'{"a":1}', "lines", ""),
    ],
)
def test_auto_looks_at_the_bytes(data: bytes, layout: str, delimiter: str) -> None:
    (chunk, *_) = chunks(data)
    assert chunk.layout == layout
    if delimiter:
        assert chunk.delimiter == delimiter


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x7fELF\0\0\0", "binary"),
        (b"a\0,\0b\0", "binary"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"PK\x03\x04\x14\0", "zip"),
        (b"hello", "can't tell the format"),
        (b"a,,b\n", "name 2 is empty"),
        (b"a,b,a\n", "names 'a' twice"),
        (b"a,a.b\n", "both 'a' and 'a.b'"),
        (b"a.b.c,a\n", "both 'a' and 'a.b.c'"),
        (b"a,\xff\n", "isn't UTF-8"),
        (b'a,"b\n1,2\n', "never closed"),
    ],
)
def test_what_can_not_be_read_says_so(data: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        chunks(data)


def peak_of(data: Iterator[bytes], wanted: str = "auto") -> tuple[list[Record], int]:
    """Read a stream without end in sight: the records, of which no text is kept, and the memory it took."""

    class Endless(io.RawIOBase):
        def read(self, _: int = -1) -> bytes:
            return next(data, b"")

    tracemalloc.start()
    got = [
        record._replace(text=record.text[:20])
        for piece in split(Source("input", Endless()), how(wanted))
        for record in records(piece)
    ]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return got, peak


def test_a_small_file_that_expands_without_end_keeps_its_memory_small() -> None:
    for pack in (gzip.compress, zstd.compress):
        got, peak = peak_of(iter([pack(b" " * 60_000_000)]))
        assert got == []
        assert peak < 8_000_000
    got, peak = peak_of(chain([b"[]"], (b" " * 2**18 for _ in range(200)), [b'{"a":1}']))
    assert [r.text for r in got] == [b'{"a":1}']
    assert peak < 8_000_000


@pytest.mark.parametrize(
    ("begin", "end", "wanted", "text"),
    [
        (b'{"a":1}\n{"b":"', b'"}\n{"c":3}\n', "ndjson", b'{"b":"xxx'),
        (b'[{"a":1},{"b":"', b'\\\\"},\n{"c":3}]', "auto", b'{"b":"xxx'),
        (b'[{"a":1},{"b":"', b'\n,{\n{"c":3}]', "auto", b'{"b":"xxx'),
        (b'{"a":1}{"b":"', b'"}{"c":3}', "json", b'{"b":"xxx'),
        (b"h\na\nb", b"\nc\n", "csv", b"bxxx"),
        (b'h\na\n"b', b"\nc\n", "csv", b'"bxxx'),
        (b"[1] ", b"\n[2]", "auto", b"xxx"),
    ],
)
def test_a_record_of_a_gigabyte_is_one_reject_in_flat_memory(
    begin: bytes, end: bytes, wanted: str, text: bytes
) -> None:
    limit = 600_000
    with (
        mock.patch.object(splitting, "RECORD_LIMIT", limit),
        mock.patch.object(splitting, "CELL_LIMIT", limit),
    ):
        got, peak = peak_of(chain([begin], (b"x" * 2**18 for _ in range(150)), [end]), wanted)
    assert len(got) == 3
    assert [bool(r.broken) for r in got] == [False, True, False]
    assert got[1].text.startswith(text)
    assert peak < 6_000_000


@pytest.mark.parametrize(
    "deep", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000]
)
def test_deep_nesting_is_one_record(deep: bytes) -> None:
    got = found(b"[" + deep + b',{"b":1}]', "json")
    assert [r.text for r in got] == [deep, b'{"b":1}']
    got = found(b'[{"b":1},' + deep[:150_000], "json")
    assert [(r.text, r.broken) for r in got] == [(b'{"b":1}', ""), (deep[:150_000], splitting.NEVER_CLOSED)]


def test_an_unclosed_quote_takes_no_more_than_its_limit() -> None:
    with mock.patch.object(splitting, "CELL_LIMIT", 2**20):
        got, peak = peak_of(
            chain([b'a,b\n1,2\n3,"4\n'], ((b"5," + b"6" * 1021 + b"\n") * 256 for _ in range(80))), "csv"
        )
    assert [(r.line, r.text, r.broken) for r in got if r.broken] == [(3, b'3,"4', delimited.UNCLOSED)]
    assert len(got) == 2 + 80 * 256
    # The records that are kept here to be counted are half of it.
    assert peak < 14_000_000


def test_an_unclosed_quote_leaves_the_rows_up_to_the_next_quoted_cell() -> None:
    got = found(b'a,b\n1,"2\n3,4\n5,"6\n7"\n8,9\n', "csv")
    assert [(r.text, r.line, r.broken) for r in got] == [
        (b'1,"2', 2, delimited.UNCLOSED),
        (b"3,4", 3, ""),
        (b'5,"6\n7"', 4, ""),
        (b"8,9", 6, ""),
    ]


def test_arrays_in_a_row_and_behind_objects_are_all_read() -> None:
    """However they are joined, in a buffer that is larger than all of them."""
    many = [{"n": n, "t": "],[", "l": [[n], []]} for n in range(2000)]
    array = json.dumps(many).encode()
    for data, rejects in (
        (array + b"," + array, [b","]),
        (array + array, []),
        (b"".join(json.dumps(d).encode() for d in many) + array, []),
        (b" ".join(json.dumps(d, indent=1).encode() for d in many) + b"\n" + array, []),
    ):
        got = found(data, "json")
        assert [r.text for r in got if r.broken] == rejects
        assert [json.loads(r.text) for r in got if not r.broken] == many * 2
        check_places(data, got)


def test_a_top_level_value_is_a_record_of_its_own() -> None:
    assert [r.text for r in found(b'5\n"x"\n{"a":1}\nnull')] == [b"5", b'"x"', b'{"a":1}', b"null"]
    assert [(r.text, r.broken) for r in found(b"12")] == [(b"12", "")]
    assert [r.text for r in found(b'{"a":1} nonsense', "json")] == [b'{"a":1}', b"nonsense"]


def test_a_typed_header_names_columns_and_types() -> None:
    data = b'zip.string(),a.age.int32(),"d.date(Jan 2, 2006)",b.binary(base64)\n1,2,3,4\n'
    (chunk,) = chunks(data, Reading(typed_header=True))
    assert chunk.header == ("zip", "a.age", "d", "b")
    assert chunk.types == (
        ("zip", "string"),
        ("a.age", "int32"),
        ("d", "date(Jan 2, 2006)"),
        ("b", "binary(base64)"),
    )
    assert chunk.end is not None
    assert (chunk.end.header, chunk.end.types) == (chunk.header, chunk.types)
    for bad in (b"a.int32", b"a.text()", b"int32()"):
        with pytest.raises(UsageError, match="doesn't spell a name and a type"):
            chunks(bad + b",b.auto()\n1,2", Reading(typed_header=True))
    with pytest.raises(UsageError, match="names 'a' twice"):
        chunks(b"a.int32(),a.auto()\n1,2", Reading(typed_header=True))


def test_a_header_may_be_given() -> None:
    (chunk,) = chunks(b"1,2\n3,4\n", Reading(header=("x", "y")))
    assert (chunk.header, chunk.line, chunk.data) == (("x", "y"), 1, b"1,2\n3,4\n")
    (chunk,) = chunks(b"1\t2\n", Reading(header=("x.int32()", "y.auto()"), typed_header=True))
    assert (chunk.header, chunk.types, chunk.delimiter) == (("x", "y"), (("x", "int32"), ("y", "auto")), "\t")
    (chunk,) = chunks(b"1\n2\n", Reading(header=("x",)))
    assert [r.text for r in records(chunk)] == [b"1", b"2"]
    with pytest.raises(UsageError, match=r"both 'a' and 'a\.b'"):
        chunks(b"1,2\n", Reading(header=("a", "a.b")))


def test_a_header_may_have_a_hundred_thousand_columns() -> None:
    names = ",".join(f"c{n}.x" for n in range(100_000)).encode()
    (chunk,) = chunks(names + b"\n" + b"1," * 99_999 + b"1\n")
    assert len(chunk.header) == 100_000


@pytest.mark.parametrize(
    ("reading", "data", "cells"),
    [
        (Reading(delimiter=";"), 'a;b\n1;"2;\n3"\n', [["1", "2;\n3"]]),
        (Reading(delimiter="\x01", quote="'"), "a\x01b\n'it''s'\x01\"2\n", [["it's", '"2']]),
        (Reading(quote=""), 'a,b\n"1,2"\n', [['"1', '2"']]),
        (Reading(delimiter="¦", quote="«"), "a¦b\n«1¦\n««»«¦¬\n", [["1¦\n«»", "¬"]]),
        (Reading(delimiter="]", quote="^"), "a]b\n^1]^]2\n", [["1]", "2"]]),
    ],
)
@pytest.mark.parametrize("chunk", [3, 2**19])
def test_delimiter_and_quote_may_be_any_character(
    reading: Reading, data: str, cells: list[list[str]], chunk: int
) -> None:
    got = [
        delimited.cells(record.text.decode(), piece.delimiter, piece.quote)
        for piece in chunks(data.encode(), reading, chunk=chunk)
        for record in records(piece)
        if not record.broken
    ]
    assert got == cells


@pytest.mark.parametrize(
    "reading",
    [
        Reading(delimiter=",,"),
        Reading(delimiter="\n"),
        Reading(quote="''"),
        Reading(quote=","),
        Reading(delimiter="|", quote="|"),
    ],
)
def test_a_delimiter_or_quote_that_can_not_be_told_is_wrong_usage(reading: Reading) -> None:
    with pytest.raises(UsageError, match=r"one character|both the delimiter and the quote"):
        chunks(b"a,b\n1,2\n", reading)


def test_a_named_pipe_is_opened_once_and_loses_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b'{"a":1}\n' * 10_000,))
    writer.start()
    source = open_source(str(pipe), io.BytesIO())
    assert sum(c.data.count(b"\n") for c in split(source)) == 10_000
    writer.join()
