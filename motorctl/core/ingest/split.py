"""Bytes to chunks: whole records, cut at their borders without being parsed.

Memory is bounded by CHUNK and, for one record that is longer, by RECORD_LIMIT: what is longer still is
one reject, of which only the beginning is kept.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

import orjson

from motorctl.core.ingest import delimited, structure
from motorctl.core.ingest.model import Chunk, Record
from motorctl.core.ingest.source import tell_layout
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from motorctl.core.ingest.model import Layout
    from motorctl.core.ingest.source import Source

__all__ = ["records", "split"]

CHUNK = 512 * 1024
# Extended JSON takes at most three times the bytes of its BSON, of which a server takes 16 MiB.
RECORD_LIMIT = 48 * 1024 * 1024
CELL_LIMIT = 16 * 1024 * 1024
_HEAD = 1024 * 1024
_SHOWN = 1000
_SPACE = b" \t\r\n"

TOO_LONG = "longer than any document can be"
NEVER_CLOSED = "an object that is never closed"
AFTER_ARRAY = "text after the end of the array: this line of it was not read"
OPEN_ARRAY = "the file ends before its array does: was it cut off?"


def split(source: Source, wanted: str = "auto") -> Iterator[Chunk]:
    """Yield the chunks of an input; none when it is empty.

    `wanted` is one of `source.FORMATS`. Raises `UsageError` for a layout that can't be told or a header
    that can't be used, before the first chunk.
    """
    blocks = source.blocks()
    head, line, offset = b"", 1, 0
    for block in blocks:
        head += block
        if not head.strip(_SPACE):
            line += head.count(b"\n")
            offset += len(head)
            head = b""
        elif len(head) >= _HEAD or head.strip(_SPACE).count(b"\n") > 1:
            break
    if head:
        layout, delimiter = tell_layout(head, source.name, wanted)
        splitter = _Splitter(source.name, layout, delimiter, line, source.skipped + offset)
        yield from splitter.chunks(head, blocks)


def records(chunk: Chunk) -> Iterator[Record]:
    """Yield the records of a chunk one by one, in the order and number in which `decode` counts them."""
    data = chunk.data
    if chunk.broken:
        begin = len(data) - len(data.lstrip(_SPACE))
        line = chunk.line + data.count(b"\n", 0, begin)
        yield Record(data.strip(_SPACE), line, chunk.offset + begin, chunk.broken)
    elif chunk.layout == "lines":
        line, offset = chunk.line, chunk.offset
        for text in data.split(b"\n"):
            if text.strip():
                yield Record(text, line, offset)
            line += 1
            offset += len(text) + 1
    elif chunk.layout == "delimited":
        for row in delimited.rows(data, chunk.delimiter, final=True):
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


class _Splitter:
    """The state of cutting one input: where the next chunk begins."""

    def __init__(self, file: str, layout: Layout, delimiter: str, line: int, offset: int) -> None:
        self.file = file
        self.layout = layout
        self.delimiter = delimiter
        self.header: tuple[str, ...] = ()
        self.line = line
        self.offset = offset

    def chunks(self, head: bytes, blocks: Iterator[bytes]) -> Iterator[Chunk]:
        if self.layout == "lines":
            yield from self._lines(head, blocks)
        elif self.layout == "delimited":
            yield from self._delimited(head, blocks)
        else:
            yield from self._structured(head, blocks)

    def _chunk(self, data: bytes, broken: str = "", shown: int | None = None) -> Chunk:
        """Make a chunk of `data`, or of the `shown` bytes it begins with, and step over all of it."""
        chunk = Chunk(
            self.file, self.layout, data[:shown], self.line, self.offset, self.header, self.delimiter, broken
        )
        self._step(data)
        return chunk

    def _step(self, data: bytes) -> None:
        self.line += data.count(b"\n")
        self.offset += len(data)

    def _lines(self, buffer: bytes, blocks: Iterator[bytes]) -> Iterator[Chunk]:
        parts = [buffer]
        size = len(buffer)
        for block in blocks:
            parts.append(block)
            size += len(block)
            if size < CHUNK or b"\n" not in block:
                if size > RECORD_LIMIT:
                    yield from self._overlong(b"".join(parts), blocks)
                    parts, size = [], 0
                continue
            data = b"".join(parts)
            cut = data.rfind(b"\n") + 1
            yield self._chunk(data[:cut])
            parts, size = [data[cut:]], len(data) - cut
        if size:
            yield self._chunk(b"".join(parts))

    def _overlong(self, data: bytes, blocks: Iterator[bytes]) -> Iterator[Chunk]:
        """Give up the line that `data` begins within: pass over it, and go on with the lines after it."""
        cut = data.rfind(b"\n") + 1
        if cut:
            yield self._chunk(data[:cut])
            data = data[cut:]
        yield self._chunk(data, TOO_LONG, _SHOWN)
        yield from self._lines(self._pass_line(blocks), blocks)

    def _pass_line(self, blocks: Iterator[bytes]) -> bytes:
        """Pass over the rest of a line, and return what was read beyond it."""
        for block in blocks:
            stop = block.find(b"\n") + 1
            self._step(block[:stop] if stop else block)
            if stop:
                return block[stop:]
        return b""

    def _delimited(self, buffer: bytes, blocks: Iterator[bytes]) -> Iterator[Chunk]:
        final = False
        while True:
            if not self.header:
                row = next(delimited.rows(buffer, self.delimiter, final=final), None)
                if row is not None:
                    self.header = self._names(buffer[row.start : row.end].rstrip(b"\r\n"), row.broken)
                    self._step(buffer[: row.end])
                    buffer = buffer[row.end :]
            if self.header and (cut := self._last_row(buffer, final=final)):
                yield self._chunk(buffer[:cut])
                buffer = buffer[cut:]
            if final:
                return
            if len(buffer) > CELL_LIMIT:
                if not self.header:
                    raise UsageError(f"the header of {self.file} doesn't end", file=self.file)
                # One quote that nothing closes mustn't take the file into memory: its line alone goes.
                stop = buffer.find(b"\n") + 1 or len(buffer)
                yield self._chunk(buffer[:stop], delimited.UNCLOSED if stop < len(buffer) else TOO_LONG)
                buffer = buffer[stop:]
            buffer, final = self._fill(buffer, blocks)

    @staticmethod
    def _fill(buffer: bytes, blocks: Iterator[bytes]) -> tuple[bytes, bool]:
        """Add at least a chunk's worth of bytes, and as much again as there is: (buffer, is this all)."""
        parts, size, wanted = [buffer], 0, max(CHUNK, len(buffer))
        for block in blocks:
            parts.append(block)
            size += len(block)
            if size >= wanted:
                return b"".join(parts), False
        return b"".join(parts), True

    def _last_row(self, data: bytes, *, final: bool) -> int:
        """The end of the last whole record."""
        if final:
            return len(data)
        if b'"' not in data:
            return data.rfind(b"\n") + 1
        end = 0
        for row in delimited.rows(data, self.delimiter, final=False):
            end = row.end
        return end

    def _names(self, text: bytes, broken: str) -> tuple[str, ...]:
        file = self.file
        if broken:
            raise UsageError(f"the header of {file}: {broken}", file=file)
        try:
            names = tuple(delimited.cells(text.decode(), self.delimiter))
        except UnicodeDecodeError as error:
            raise UsageError(f"the header of {file} isn't UTF-8", file=file) from error
        for position, name in enumerate(names, 1):
            if not name or "" in name.split("."):
                raise UsageError(f"the header of {file}: name {position} is empty ({name!r})", file=file)
            if name in names[: position - 1]:
                raise UsageError(f"the header of {file} names {name!r} twice", file=file)
        known = set(names)
        for name in names:
            for match in re.finditer(r"\.", name):
                if (outer := name[: match.start()]) in known:
                    raise UsageError(
                        f"the header of {file} has both {outer!r} and {name!r}: a field can't be a value and "
                        "a document",
                        file=file,
                    )
        return names

    def _structured(self, buffer: bytes, blocks: Iterator[bytes]) -> Iterator[Chunk]:
        while buffer:
            if self.layout == "array":
                begin = buffer.index(b"[") + 1
                self._step(buffer[:begin])
                buffer = buffer[begin:]
            rest = yield from self._elements(buffer, blocks)
            buffer = yield from self._after(rest, blocks)

    def _elements(self, buffer: bytes, blocks: Iterator[bytes]) -> Generator[Chunk, None, bytes]:
        """Cut the inside of an array, or objects in a row, and return what was read beyond the end."""
        array, final = self.layout == "array", False
        while True:
            end, closed = structure.last_border(buffer, commas=array)
            if end or closed:
                if buffer[:end].strip(_SPACE):
                    yield self._chunk(buffer[:end])
                else:
                    self._step(buffer[:end])
                buffer = buffer[end:]
            if closed:
                self._step(buffer[:1])
                return buffer[1:]
            if final or len(buffer) > RECORD_LIMIT:
                rest = buffer.strip(_SPACE)
                if final and array and (not rest or _whole(rest)):
                    if rest:
                        yield self._chunk(buffer)
                    yield self._chunk(b"", OPEN_ARRAY)
                    return b""
                if not rest:
                    return b""
                # One bracket that nothing closes mustn't take the records after it along.
                stop = structure.next_object(buffer)
                lost = buffer if stop < 0 else buffer[:stop]
                yield self._chunk(lost, NEVER_CLOSED, None if len(lost) < CHUNK else _SHOWN)
                buffer = buffer[len(lost) :]
                if buffer:
                    continue
                if final:
                    return b""
            buffer, final = self._fill(buffer, blocks)

    def _after(self, buffer: bytes, blocks: Iterator[bytes]) -> Generator[Chunk, None, bytes]:
        """Find the next array or the objects after one, as `cat a.json b.json` makes them.

        Each line of anything else is a reject.
        """
        for block in chain((buffer,), blocks):
            text = block.lstrip(_SPACE)
            while text[:1] not in {b"", b"[", b"{"}:
                self._step(block[: len(block) - len(text)])
                while b"\n" not in text and len(text) < _SHOWN and (more := next(blocks, b"")):
                    text += more
                stop = text.find(b"\n") + 1
                yield self._chunk(text[:stop] if stop else text, AFTER_ARRAY, _SHOWN)
                block = text[stop:] if stop else self._pass_line(blocks)  # noqa: PLW2901
                text = block.lstrip(_SPACE)
            self._step(block[: len(block) - len(text)])
            if text:
                self.layout = "array" if text[:1] == b"[" else "objects"
                return text
        return b""


def _whole(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
