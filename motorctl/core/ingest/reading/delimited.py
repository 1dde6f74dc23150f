"""Records of delimited text by RFC 4180: where they begin and end, and their cells.

A quote opens a cell only as its first character, and closes it only before a delimiter or the line's
end. Anything else is a bare quote: the record is a reject and not a guess, and it never takes the
next line with it. A record goes over several lines only where it is well-formed to its end.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BARE_QUOTE", "UNCLOSED", "Row", "cells", "last_row", "rows"]

BARE_QUOTE = "a quote inside a cell that doesn't begin with one"
UNCLOSED = "a quoted cell that is never closed"


class Row(NamedTuple):
    """One record: [start, end) in the data, how many line ends are before it, and what is wrong."""

    start: int
    end: int
    line: int
    broken: str


@lru_cache(maxsize=8)
def _patterns(delimiter: str, quote: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    d, q = re.escape(delimiter.encode()), re.escape(quote.encode())
    inner = rb"(?:(?!%b)[\s\S]|%b%b)*+" % (q, q, q)
    plain = rb"(?:(?!%b|%b|\n)[\s\S])*+" % (d, q)
    if len(quote.encode()) == 1:
        inner = rb"(?:[^%b]++|%b%b)*+" % (q, q, q)
        if len(delimiter.encode()) == 1:
            plain = rb"[^%b%b\n]*+" % (d, q)
    cell = rb"(?:%b%b%b|%b)" % (q, inner, q, plain)
    whole = re.compile(rb"%b(?:%b%b)*+\r?\n?" % (cell, d, cell))
    opened = re.compile(rb"(?:%b%b)*+%b%b" % (cell, d, q, inner))
    return whole, opened


@lru_cache(maxsize=8)
def _quoted(quote: str) -> re.Pattern[str]:
    q = re.escape(quote)
    return re.compile(f"{q}(?:[^{q}]++|{q}{q})*+{q}")


@lru_cache(maxsize=8)
def _not_a_mark(quote: int) -> bytes:
    return bytes(set(range(256)) - {quote, 0x0A})


def rows(data: bytes, delimiter: str, *, quote: str = '"', final: bool) -> Iterator[Row]:
    """Yield the records of `data`, which begins at a border; blank lines are none.

    Stops before a record that isn't whole yet, unless `final`: then what is left is a record too.
    """
    mark = quote.encode()
    whole, opened = _patterns(delimiter, quote) if mark and mark in data else (None, None)
    start = line = 0
    length = len(data)
    while start < length:
        stop = data.find(b"\n", start)
        if stop < 0:
            if not final:
                return
            stop = length - 1
        end, broken, quotes = stop + 1, "", 0
        if whole is not None and opened is not None:
            quotes = data.count(mark, start, end)
            if quotes % 2 and opened.fullmatch(data, start, end):
                close = _closing_line(data, mark, end, final=final)
                if close < 0 and not final:
                    return
                if close >= 0 and whole.fullmatch(data, start, close):
                    end = close
                else:
                    broken = UNCLOSED
            elif quotes and not whole.fullmatch(data, start, end):
                broken = BARE_QUOTE
        if data[start:end].strip(b"\r\n"):
            yield Row(start, end, line, broken)
        line += data.count(b"\n", start, end) if quotes else 1
        start = end


def last_row(data: bytes, delimiter: str, *, quote: str = '"') -> int:
    """Find where the last whole record of `data` ends; 0 when none is whole. More data follows.

    The same as the last of `rows`, found by counting: where each line holds an even number of quotes,
    each line end is a border, whatever is wrong in the lines. The others alone are looked at one by one.
    """
    mark = quote.encode()
    end = data.rfind(b"\n") + 1
    if not mark or mark not in data:
        return end
    if len(mark) > 1:
        return max((row.end for row in rows(data, delimiter, quote=quote, final=False)), default=0)
    marks = data[:end].translate(None, _not_a_mark(mark[0])).replace(mark * 2, b"")
    if mark not in marks:
        return end
    odd = [number for number, rest in enumerate(marks.split(b"\n")) if rest]
    starts = list(accumulate((len(line) + 1 for line in data[:end].split(b"\n")), initial=0))
    whole, opened = _patterns(delimiter, quote)
    position = 0
    while position < len(odd):
        number = odd[position]
        start = starts[number]
        position += 1
        if opened.fullmatch(data, start, starts[number + 1]):
            if position == len(odd):
                return start
            if whole.fullmatch(data, start, starts[odd[position] + 1]):
                position += 1
    return end


def _closing_line(data: bytes, mark: bytes, position: int, *, final: bool) -> int:
    """The end of the line on which the number of quotes becomes even again; -1 when none does."""
    while (quote := data.find(mark, position)) >= 0:
        stop = data.find(b"\n", quote)
        if stop < 0:
            odd = data.count(mark, quote) % 2
            return len(data) if final and odd else -1
        if data.count(mark, quote, stop) % 2:
            return stop + 1
        position = stop + 1
    return -1


def cells(record: str, delimiter: str, quote: str = '"') -> list[str]:
    """Split one well-formed record, without its line end, into its cells."""
    if not quote or quote not in record:
        return record.split(delimiter)
    quoted = _quoted(quote)
    found: list[str] = []
    position = 0
    while True:
        if match := quoted.match(record, position):
            found.append(match[0][1:-1].replace(quote * 2, quote))
            position = match.end()
        else:
            stop = record.find(delimiter, position)
            stop = len(record) if stop < 0 else stop
            found.append(record[position:stop])
            position = stop
        if position >= len(record):
            return found
        position += 1
