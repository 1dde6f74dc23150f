"""Bytes to records: where they begin and end, whatever the size of blocks and chunks."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core.ingest import engine, structure
from motorctl.core.ingest import source as sources
from motorctl.core.ingest import split as splitting
from motorctl.core.ingest.source import Source, open_source
from motorctl.core.ingest.split import records, split
from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from motorctl.core.ingest.model import Chunk, Record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=1, max_size=12)
SIZES = st.integers(min_value=1, max_value=200)


def chunks(
    data: bytes, wanted: str = "auto", block: int = 2**18, chunk: int = 2**19, window: int = 2**14
) -> list[Chunk]:
    with (
        mock.patch.object(sources, "BLOCK", block),
        mock.patch.object(splitting, "CHUNK", chunk),
        mock.patch.object(structure, "_WINDOW", window),
    ):
        return list(split(Source("input", io.BytesIO(data)), wanted))


def found(data: bytes, wanted: str = "auto", **sizes: int) -> list[Record]:
    return [record for chunk in chunks(data, wanted, **sizes) for record in records(chunk)]


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
def test_other_text_after_an_array_is_a_reject_a_line(block: int) -> None:
    data = b'[{"a":1}]\n,{"b":2}\n\n hello \n[{"c":3}] %b\n{"d":4}\n' % (b"x" * 5000)
    got = found(data, block=block, chunk=block)
    assert [(r.text[:20], r.line, r.broken) for r in got] == [
        (b'{"a":1}', 1, ""),
        (b',{"b":2}', 2, splitting.AFTER_ARRAY),
        (b"hello", 4, splitting.AFTER_ARRAY),
        (b'{"c":3}', 5, ""),
        (b"x" * 20, 5, splitting.AFTER_ARRAY),
        (b'{"d":4}', 6, ""),
    ]
    assert len(got[4].text) == 1000
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
        (b"\xff\xfea\0,\0b\0", "UTF-16"),
        (b"\x28\xb5\x2f\xfd1234", "zstd"),
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


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("block", [1, 7, 2**18])
def test_compressed_input_is_read_as_it_is(pack: Any, block: int) -> None:
    data = b"".join(b'{"n":%d}\n' % n for n in range(500))
    half = len(data) // 2
    # Two members in a row, as `cat a.gz b.gz` makes them.
    assert b"".join(c.data for c in chunks(pack(data[:half]) + pack(data[half:]), block=block)) == data
    for broken in (pack(data)[:-20], pack(data)[:40] + b"\0\1\2\3" * 40):
        with pytest.raises(MotorctlError, match=r"damaged|ends in the middle"):
            chunks(broken, block=block)


def test_a_small_file_that_expands_without_end_keeps_its_memory_small() -> None:
    data = gzip.compress(b" " * 60_000_000)
    tracemalloc.start()
    assert chunks(data) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000


def test_a_file_that_is_not_there_or_a_directory_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        open_source(str(tmp_path / "none"), io.BytesIO())
    with pytest.raises(UsageError, match="is a directory"):
        open_source(str(tmp_path), io.BytesIO())


def test_a_named_pipe_is_opened_once_and_loses_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b'{"a":1}\n' * 10_000,))
    writer.start()
    source = open_source(str(pipe), io.BytesIO())
    engine.check([source], engine.Options())
    assert sum(c.data.count(b"\n") for c in split(source)) == 10_000
    writer.join()
