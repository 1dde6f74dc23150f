"""Bytes to chunks: whole records, cut at their borders without being parsed.

Where a chunk ends depends on where it begins and on the bytes from there on, and on nothing else: not on
the blocks they come in, nor on what was read before. So an import that goes on from a `Place` gets the very
chunks it would have got. Memory is bounded by CHUNK and, for one record that is longer, by a limit: what
is longer still is one reject, of which only the beginning is kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson

from motorctl.core.ingest.model import Chunk, Place, Reading, Record
from motorctl.core.ingest.reading import delimited, structure
from motorctl.core.ingest.reading.feed import Feed
from motorctl.core.ingest.reading.layout import check_reading, entry, header, header_cells, tell_layout
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from motorctl.core.ingest.reading.source import Source

__all__ = ["LINES", "records", "split"]

LINES = ("lines", "rejects")
MOST_LINES = 20_000
CHUNK = 512 * 1024
# Extended JSON takes at most three times the bytes of its BSON, of which a server takes 16 MiB.
RECORD_LIMIT = 48 * 1024 * 1024
CELL_LIMIT = 16 * 1024 * 1024
_HEAD = 256 * 1024
_SHOWN = 1000
_GLANCE = 4096
_SPACE = b" \t\r\n"
_UTF8_MARK = b"\xef\xbb\xbf"
_LINE_OR_BRACKET = re.compile(rb"\n|(?=[\[{])")

TOO_LONG = "longer than any document can be"
NEVER_CLOSED = "an object that is never closed"
AFTER_ARRAY = "text after the end of the array: not read"
OPEN_ARRAY = "the file ends before its array does: was it cut off?"


def split(
    source: Source,
    reading: Reading | None = None,
    start: Place | None = None,
    part: tuple[int, int] | None = None,
) -> Iterator[Chunk]:
    """Yield the chunks of an input; none when it is empty.

    From `start`, the `end` of one of its chunks, the chunks after that one. With a `part` (i, n), i from 1,
    those of part i of n; `start` is then the end of a chunk of the same part. Parts of lines in a file that
    `is_seekable` are ranges of its bytes, cut at line ends: `Chunk.line` counts from the beginning of the
    range then, and `Source.lines_before` says what is before a chunk. Of any other input, part i is every
    n-th chunk. Raises `UsageError` for a layout that can't be told or a header that can't be used, before
    the first chunk, and what `Source.blocks` raises.
    """
    reading = reading or Reading()
    check_reading(reading)
    feed = None
    place = start
    if place is None:
        feed = Feed(source.blocks(encoding=reading.encoding), 0, 1)
        place = _beginning(feed, source.name, reading)
        if place is None:
            return
    if part is not None and place.layout in LINES and source.is_seekable(reading.encoding):
        begin, stop = _range(source, *part)
        if start is None and begin > place.offset:
            place = place._replace(offset=begin, line=1)
        if stop is not None and place.offset >= stop:
            return
        feed = Feed(source.blocks(place.offset, stop, reading.encoding), place.offset, place.line)
        part = None
    elif feed is None:
        feed = Feed(source.blocks(place.offset, None, reading.encoding), place.offset, place.line)
    chunks = _Splitter(source.name, feed, place, reading.quote).chunks()
    if part is None:
        yield from chunks
    else:
        turn, parts = part
        first = 0 if start is None else turn
        yield from (chunk for number, chunk in enumerate(chunks, first) if number % parts == turn - 1)


def records(chunk: Chunk) -> Iterator[Record]:
    """Yield the records of a chunk one by one, in the order and number in which `decode` counts them."""
    data = chunk.data
    if chunk.broken:
        begin = len(data) - len(data.lstrip(_SPACE))
        line = chunk.line + data.count(b"\n", 0, begin)
        yield Record(data.strip(_SPACE), line, chunk.offset + begin, chunk.broken)
    elif chunk.layout in LINES:
        line, offset = chunk.line, chunk.offset
        for text in data.split(b"\n"):
            if text.strip():
                yield Record(text, line, offset) if chunk.layout == "lines" else entry(text, line, offset)
            line += 1
            offset += len(text) + 1
    elif chunk.layout == "delimited":
        for row in delimited.rows(data, chunk.delimiter, quote=chunk.quote, final=True):
            text = data[row.start : row.end].rstrip(b"\r\n")
            yield Record(text, chunk.line + row.line, chunk.offset + row.start, row.broken)
    else:
        yield from _elements(chunk)


def _elements(chunk: Chunk) -> Iterator[Record]:
    data, seen, line = chunk.data, 0, chunk.line
    for start, end in structure.pieces(data, commas=chunk.layout == "array"):
        text = data[start:end]
        begin = start + len(text) - len(text.lstrip(_SPACE))
        line += data.count(b"\n", seen, begin)
        seen = begin
        yield Record(text.strip(_SPACE), line, chunk.offset + begin)


def _at_most(data: bytes, cut: int) -> int:
    """Cut earlier where very many lines are before `cut`: each may become a reject, of many times its size."""
    if data.count(b"\n", 0, cut) <= MOST_LINES:
        return cut
    return cut - len(data[:cut].split(b"\n", MOST_LINES)[-1])


def _beginning(feed: Feed, file: str, reading: Reading) -> Place | None:
    """Find the place of the first record, and take what is before it; None when there is nothing else."""
    if feed.view(len(_UTF8_MARK))[0] == _UTF8_MARK:
        feed.take(len(_UTF8_MARK))
    while True:
        head, final = feed.view(_HEAD)
        if text := head.lstrip(_SPACE):
            break
        if final:
            return None
        feed.take(len(head))
    feed.take(head.rfind(b"\n", 0, len(head) - len(text)) + 1)
    layout, delimiter = tell_layout(feed.view(_HEAD)[0], file, reading)
    names: tuple[str, ...] = ()
    types: tuple[tuple[str, str], ...] = ()
    if layout == "delimited":
        if delimiter == reading.quote:
            raise UsageError(f"{delimiter!r} can't be both the delimiter and the quote")
        cells = reading.header or _header_line(feed, file, delimiter, reading.quote)
        names, types = header(cells, file, typed=reading.typed_header)
    return Place(feed.offset, feed.line, layout, delimiter, names, types, after=layout == "array")


def _header_line(feed: Feed, file: str, delimiter: str, quote: str) -> tuple[str, ...]:
    size = CHUNK
    while True:
        data, final = feed.view(size)
        for row in delimited.rows(data, delimiter, quote=quote, final=final):
            text = feed.take(row.end)[row.start :].rstrip(b"\r\n")
            return header_cells(text, row.broken, file, delimiter, quote)
        if size >= CELL_LIMIT:
            raise UsageError(f"the header of {file} doesn't end", file=file)
        size = min(2 * size, CELL_LIMIT)


def _range(source: Source, turn: int, parts: int) -> tuple[int, int | None]:
    """The part of a file that holds the lines that begin in range `turn` of `parts`: [begin, end)."""
    first, last = source.size * (turn - 1) // parts, source.size * turn // parts
    begin = source.line_end(first - 1) if first else 0
    if turn == parts:
        return begin, None
    return begin, source.line_end(last - 1) if last else 0


class _Splitter:
    """The state of cutting one input: how its records lie, and the text from the last border on."""

    def __init__(self, file: str, feed: Feed, place: Place, quote: str) -> None:
        self.file = file
        self.feed = feed
        self.place = place
        self.layout = place.layout
        self.quote = quote

    def chunks(self) -> Iterator[Chunk]:
        if self.layout in LINES:
            return self._lines()
        return self._delimited() if self.layout == "delimited" else self._structured()

    def _chunk(self, size: int, broken: str = "", *, after: bool = False) -> Chunk:
        """Take the next bytes as a chunk; of a long broken one only the beginning is kept."""
        offset, line = self.feed.offset, self.feed.line
        data = self.feed.take(size)
        return self._made(
            data[:_SHOWN] if broken and size >= CHUNK else data, line, offset, broken, after=after
        )

    def _made(self, data: bytes, line: int, offset: int, broken: str = "", *, after: bool = False) -> Chunk:
        place = self.place
        return Chunk(
            self.file,
            self.layout,
            data,
            line,
            offset,
            place.header,
            place.delimiter,
            self.quote,
            place.types,
            broken,
            place._replace(offset=self.feed.offset, line=self.feed.line, layout=self.layout, after=after),
        )

    def _lines(self) -> Iterator[Chunk]:
        while True:
            have, final = self.feed.fill(CHUNK)
            if not have:
                return
            if cut := have if final else self.feed.line_end(0, have, last=True):
                yield self._chunk(_at_most(self.feed.view(have)[0], cut))
            else:
                yield from self._long_line(RECORD_LIMIT)

    def _long_line(self, limit: int) -> Iterator[Chunk]:
        """Take a line that is longer than a chunk. One of blanks alone is no record."""
        have, searched, final = 0, 0, False
        while not final and searched < limit:
            have, final = self.feed.fill(min(limit, max(CHUNK, 2 * searched)))
            if cut := self.feed.line_end(searched, have):
                yield self._chunk(cut)
                return
            searched = have
        if final:
            yield self._chunk(have)
            return
        line, offset = self.feed.line, self.feed.offset
        shown, blank, cut = self.feed.view(_SHOWN)[0], True, 0
        while not cut:
            have, final = self.feed.fill(CHUNK)
            cut = self.feed.line_end(0, have) or (have if final else 0)
            blank = not self.feed.take(cut or have).strip() and blank
            if final:
                break
        if not blank:
            yield self._made(shown, line, offset, TOO_LONG)

    def _delimited(self) -> Iterator[Chunk]:
        delimiter, quote = self.place.delimiter, self.quote
        size = CHUNK
        while True:
            data, final = self.feed.view(size)
            if size > CHUNK:
                # No record ends in the first CHUNK bytes: one alone goes, be it ever so broken.
                rows = delimited.rows(data, delimiter, quote=quote, final=final)
                cut = next((row.end for row in rows), len(data) if final else 0)
            else:
                cut = len(data) if final else delimited.last_row(data, delimiter, quote=quote)
            if cut:
                # Where a quote stands, a line's end may be within a cell.
                plain = not quote or quote.encode() not in data
                yield self._chunk(_at_most(data, cut) if plain else cut)
                size = CHUNK
            elif final:
                return
            elif size < CELL_LIMIT:
                size = min(2 * size, CELL_LIMIT)
            else:
                # One quote that nothing closes mustn't take the file into memory: its line alone goes.
                size = CHUNK
                self.feed.take(len(data) - len(data.lstrip(b"\r\n")))
                if cut := self.feed.line_end(0, len(data)):
                    yield self._chunk(cut)
                else:
                    yield from self._long_line(CELL_LIMIT)

    def _structured(self) -> Iterator[Chunk]:
        after = self.place.after
        while True:
            if after and not (yield from self._between()):
                return
            yield from self._inside()
            after = True

    def _between(self) -> Generator[Chunk, None, bool]:
        """Go to the next array or the objects after one, as `cat a.json b.json` makes them, if there is one.

        Anything else is a reject, up to the line's end or the next bracket.
        """
        while True:
            data, final = self.feed.view(_GLANCE)
            text = data.lstrip(_SPACE)
            self.feed.take(len(data) - len(text))
            if text[:1] in {b"[", b"{"}:
                self.layout = "array" if text[:1] == b"[" else "objects"
                if self.layout == "array":
                    self.feed.take(1)
                return True
            if text:
                line, offset = self.feed.line, self.feed.offset
                shown = self.feed.view(_SHOWN)[0]
                match = None
                while match is None and (data := self.feed.view(CHUNK)[0]):
                    match = _LINE_OR_BRACKET.search(data)
                    self.feed.take(match.end() if match else len(data))
                shown = shown[: self.feed.offset - offset]
                yield self._made(shown, line, offset, AFTER_ARRAY, after=True)
            elif final:
                return False

    def _inside(self) -> Iterator[Chunk]:
        """Cut the inside of an array, or objects in a row, to their end."""
        array = self.layout == "array"
        # Small arrays in a row mustn't cost a look at the bytes of a whole chunk each.
        data, final = self.feed.view(min(_GLANCE, CHUNK))
        end, closed = structure.last_border(data, commas=array)
        size = CHUNK
        while True:
            if not closed:
                data, final = self.feed.view(size)
                end, closed = structure.last_border(data, commas=array)
            if data[:end].strip(_SPACE):
                yield self._chunk(end)
            else:
                self.feed.take(end)
            if closed:
                # A brace ends the array too, and is a reject of its own.
                self.feed.take(1 if data[end : end + 1] == b"]" else 0)
                return
            if end:
                size = CHUNK
            elif not data.strip(_SPACE):
                self.feed.take(len(data))
                if final:
                    break
            elif not final and size < RECORD_LIMIT:
                size = min(2 * size, RECORD_LIMIT)
            else:
                size = CHUNK
                if (yield from self._rest(data, final=final)):
                    return
        if array:
            yield self._chunk(0, OPEN_ARRAY, after=True)

    def _rest(self, data: bytes, *, final: bool) -> Generator[Chunk, None, bool]:
        """Take what holds no border: the file's end, or more than a record can be. Tells if that is all."""
        array = self.layout == "array"
        if final and (_is_whole(data) or not structure.opens(data)):
            yield self._chunk(len(data))
            return False
        following = structure.next_object(data, commas=array)
        begin = len(data) - len(data.lstrip(_SPACE))
        # One bracket that nothing closes mustn't take the records after it along.
        if match := following.search(data, begin):
            yield self._chunk(match.end(), NEVER_CLOSED)
            return False
        if final:
            yield self._chunk(len(data), NEVER_CLOSED, after=True)
            return True
        line, offset, shown = self.feed.line, self.feed.offset, data[:_SHOWN]
        state, end = structure.State(), -1
        while end < 0 and not final:
            data, final = self.feed.view(CHUNK)
            if not final and data.rstrip(_SPACE) and (start := data.rfind(b"\n")) > 0:
                # The next object mustn't be missed because a view ends in front of it.
                data = data if data[start:].strip(_SPACE) else data[:start]
            end, state = structure.follow(data, state, commas=array)
            match = following.search(data, 0, end if end >= 0 else len(data))
            end = match.end() if match else end
            self.feed.take(end if end >= 0 else len(data))
        yield self._made(shown, line, offset, TOO_LONG, after=end < 0)
        return end < 0


def _is_whole(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
