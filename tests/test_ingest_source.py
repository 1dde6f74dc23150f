"""Files, directories and stdin to UTF-8 text: opened once, decompressed, decoded, read from any offset."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core.ingest.model import Reading
from motorctl.core.ingest.reading import compressed, source
from motorctl.core.ingest.reading.source import Source, check_names, open_source, open_sources
from motorctl.core.ingest.reading.split import records, split
from motorctl.errors import MotorctlError, UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from motorctl.core.ingest.model import Place, Record

PACKS = [gzip.compress, bz2.compress, zstd.compress]
SKIPPABLE = b"\x53\x2a\x4d\x18\x04\x00\x00\x00skip"
LINES = b"".join(b'{"n":%d}\n' % n for n in range(500))


def text(data: bytes, block: int = 2**18, encoding: str | None = None) -> bytes:
    with mock.patch.object(source, "BLOCK", block), mock.patch.object(compressed, "BLOCK", block):
        return b"".join(Source("input", io.BytesIO(data)).blocks(encoding=encoding))


def found(given: Source, reading: Reading | None = None, start: Place | None = None) -> list[Record]:
    return [record for chunk in split(given, reading, start) for record in records(chunk)]


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("block", [1, 7, 2**18])
def test_compressed_input_is_read_as_it_is(pack: Callable[[bytes], bytes], block: int) -> None:
    # Two members in a row, as `cat a.gz b.gz` makes them.
    assert text(pack(LINES[:1000]) + pack(LINES[1000:]), block) == LINES
    for broken in (
        pack(LINES)[:-5],
        pack(LINES)[:12],
        pack(LINES)[:30] + b"\0\1\2\3" * 40,
        pack(LINES) + b"x",
    ):
        with pytest.raises(MotorctlError, match=r"damaged|ends in the middle"):
            text(broken, block)


@pytest.mark.parametrize("block", [1, 2**18])
def test_what_tapes_and_parallel_compressors_put_between_frames_is_passed_over(block: int) -> None:
    half = len(LINES) // 2
    zeros = b"\0" * 700
    assert text(gzip.compress(LINES[:half]) + zeros + gzip.compress(LINES[half:]) + zeros, block) == LINES
    frames = SKIPPABLE + zstd.compress(LINES[:half]) + SKIPPABLE + zstd.compress(LINES[half:]) + SKIPPABLE
    assert text(frames, block) == LINES


@pytest.mark.parametrize(("data", "words"), [(b"\xfd7zXZ\0\0", "is xz"), (b"PK\3\4\x14\0", "is zip")])
def test_another_archive_is_refused_with_what_opens_it(data: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        text(data)
    assert caught.value.hint is not None
    assert "| motorctl import -" in caught.value.hint


ENCODINGS = [
    "utf-16",
    "utf-16-le",
    "utf-32",
    "utf-32-be",
    "latin-1",
    "cp1252",
    "shift_jis",
    "utf-7",
    "gb18030",
]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(ENCODINGS), st.integers(1, 9))
def test_any_encoding_becomes_utf_8(written: str, encoding: str, block: int) -> None:
    data = written.encode(encoding, errors="ignore")
    expected = data.decode(encoding)
    assert text(data, block, encoding).decode() == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("block", [1, 5, 2**18])
def test_a_byte_order_mark_says_the_encoding(encoding: str, block: int) -> None:
    data = 'a,b\n1,"ü\n€"\n'.encode(encoding)
    with mock.patch.object(source, "BLOCK", block):
        got = found(Source("input", io.BytesIO(data)))
    assert [(r.text.decode(), r.line) for r in got] == [('1,"ü\n€"', 2)]
    for start, stop in ((8, None), (8, 12), (0, 3)):
        whole = text(data)
        assert b"".join(Source("input", io.BytesIO(data)).blocks(start, stop)) == whole[start:stop]


@pytest.mark.parametrize("block", [1, 2, 3, 2**18])
def test_a_sequence_that_its_encoding_does_not_know_spoils_its_own_line_only(block: int) -> None:
    lone_surrogate = b"\x00\xd8"
    lines = [b"".join(b"%c\0" % c for c in line) for line in (b"a,b\n", b"1,", b"\n", b"3,4\n")]
    data = lines[0] + lines[1] + lone_surrogate + lines[2] + lines[3] + b"\x35"
    assert text(data, block, "utf-16-le") == b"a,b\n1,\xff\n3,4\n\xff"
    assert text(b"a\xc3\xa9\n", block, "ascii") == b"a\xff\xff\n"
    assert text("ü\n".encode() + b"\xff\n", block, "UTF8") == "ü\n".encode() + b"\xff\n"


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "base64", "a\0b", "undefined"])
def test_an_encoding_that_is_none_says_so(encoding: str) -> None:
    with pytest.raises(UsageError, match="no such encoding"):
        text(b"{}", encoding=encoding)


def test_reading_goes_on_from_any_offset(tmp_path: Path) -> None:
    plain, packed, wide = (tmp_path / name for name in ("plain.ndjson", "packed.ndjson.gz", "wide.ndjson"))
    plain.write_bytes(b"\xef\xbb\xbf" + LINES)
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + LINES))
    wide.write_bytes(LINES.decode().encode("utf-16"))
    for path, seekable, whole in (
        (plain, True, b"\xef\xbb\xbf" + LINES),
        (packed, False, b"\xef\xbb\xbf" + LINES),
        (wide, False, LINES),
    ):
        given = open_source(str(path), io.BytesIO())
        assert given.is_seekable() is seekable
        for start, stop in ((0, None), (1, 2), (700, 1400), (len(whole) - 1, None), (len(whole), None)):
            assert b"".join(given.blocks(start, stop)) == whole[start:stop]
        with pytest.raises(MotorctlError, match="ends before byte"):
            list(given.blocks(len(whole) + 1))
    given = open_source(str(plain), io.BytesIO())
    next(given.blocks(4000))
    assert given.consumed == 3 + len(LINES)
    assert given.read == 3 + len(LINES) - 4000
    assert not given.is_seekable("latin-1")
    assert given.is_seekable("UTF-8")


def test_lines_before_an_offset_are_counted_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(LINES)
    given = open_source(str(path), io.BytesIO())
    with mock.patch.object(source, "BLOCK", 100):
        for offset in (0, 1, 8, 250, 3000, 2000, 2000, len(LINES)):
            assert given.lines_before(offset) == LINES.count(b"\n", 0, offset)
    assert given.consumed == 0


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 40])
@given(
    st.lists(st.sampled_from([b"", b" ", b"\r", b'{"a":1}', b"x" * 30, b"\xc3\xa9"]), max_size=12),
    st.booleans(),
)
def test_ranges_of_lines_are_the_whole_file_once(
    tmp_path_factory: pytest.TempPathFactory, parts: int, lines: list[bytes], mark: bool
) -> None:
    data = b"\xef\xbb\xbf" * mark + b"\n".join(lines)
    path = tmp_path_factory.mktemp("parts") / "input.ndjson"
    path.write_bytes(data)
    reading = Reading(format="ndjson")
    ranges = []
    for part in range(1, parts + 1):
        given = open_source(str(path), io.BytesIO())
        pieces = list(split(given, reading, None, (part, parts)))
        ranges += pieces
        for number, piece in enumerate(pieces, 1):
            assert given.lines_before(piece.offset) == data.count(b"\n", 0, piece.offset)
            assert list(split(given, reading, piece.end, (part, parts))) == pieces[number:]
    assert all(data.startswith(piece.data, piece.offset) for piece in ranges)
    got = [record for piece in ranges for record in records(piece)]
    whole = found(Source("input", io.BytesIO(data)), reading)
    assert [(r.text, r.offset) for r in got] == [(r.text, r.offset) for r in whole]


def test_a_range_reads_nothing_of_what_is_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    line = b'{"n": 1}\n'
    path.write_bytes(line * 1_000_000)
    given = open_source(str(path), io.BytesIO())
    got = list(split(given, None, None, (9, 10)))
    assert got[0].line == 1
    assert abs(sum(len(piece.data) for piece in got) - 900_000) < len(line)
    # The beginning of the file says how it is laid out.
    assert given.read <= 900_000 + 3 * compressed.BLOCK
    total = sum(
        piece.data.count(b"\n")
        for part in range(1, 11)
        for piece in split(open_source(str(path), io.BytesIO()), None, None, (part, 10))
    )
    assert total == 1_000_000


def sources(names: Sequence[str]) -> list[str]:
    return [given.name for given in open_sources(names, io.BytesIO())]


def test_patterns_and_directories_stand_for_files(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "deep" / "er").mkdir(parents=True)
    for name in ("b.json", "a.NDJSON.gz", "c.csv.zst", "d.tsv.bz2", "e.jsonl", "notes.txt", "x.json.bak"):
        (data / name).touch()
    (data / "deep" / "er" / "f.json").touch()
    (data / "[odd]*.json").touch()
    (data / "g.json").mkdir()
    at = str(data)
    everything = [
        f"{at}/{n}" for n in ("[odd]*.json", "a.NDJSON.gz", "b.json", "c.csv.zst", "d.tsv.bz2", "e.jsonl")
    ]
    assert sources([at]) == everything
    assert sources([at + "/"]) == everything
    assert sources([f"{at}/[a-c].*"]) == [f"{at}/a.NDJSON.gz", f"{at}/b.json", f"{at}/c.csv.zst"]
    assert sources([f"{at}/**/f*.json", "-"]) == [f"{at}/deep/er/f.json", "-"]
    assert sources([f"{at}/[odd]*.json"]) == [f"{at}/[odd]*.json"]
    with pytest.raises(UsageError, match=r"no file matches .*\*\.xml"):
        sources([f"{at}/*.xml"])
    with pytest.raises(UsageError, match="a directory without any file to import"):
        sources([f"{at}/deep"])
    with pytest.raises(UsageError, match="no such file"):
        sources([f"{at}/none.json"])


def test_a_file_is_named_once_and_never_written_over(tmp_path: Path) -> None:
    one, other, link = (tmp_path / name for name in ("one.json", "other.json", "link.json"))
    one.touch()
    other.touch()
    link.symlink_to(one)
    names: Any = [str(one), str(other)]
    with one.open("rb") as stdin:
        check_names(names, str(tmp_path / "rejects"), io.BytesIO())
        check_names(["-", "/dev/null"], "/dev/null2", io.BytesIO())
        for named in ([*names, str(link)], [str(one), str(one)], [str(one), "-"], ["-", "-"]):
            with pytest.raises(UsageError, match="is named twice"):
                check_names(named, None, stdin)
        for rejects in (str(other), str(link)):
            with pytest.raises(UsageError, match="would overwrite an input"):
                check_names(names, rejects, stdin)


def test_a_file_that_can_not_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        open_source(str(tmp_path), io.BytesIO())
    with pytest.raises(UsageError, match="can't read"):
        open_source("a\0b", io.BytesIO())
    gone = Source(str(tmp_path / "gone"))
    with pytest.raises(MotorctlError, match="can't read"):
        list(gone.blocks())


def test_a_named_pipe_in_a_directory_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "file.json").touch()
    assert sources([str(tmp_path)]) == [str(tmp_path / "file.json")]
