"""Records of delimited text by RFC 4180: where they begin and end, and their cells.

A quote opens a cell only as its first character, and closes it only before a delimiter or the line's
end. Anything else is a bare quote: the record is a reject and not a guess, and it never takes the
next line with it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Row", "cells", "rows"]

BARE_QUOTE = "a quote inside a cell that doesn't begin with one"
UNCLOSED = "a quoted cell that is never closed"

_QUOTED = re.compile(r'"(?:[^"]++|"")*+"')


class Row(NamedTuple):
    """One record: [start, end) in the data, how many line ends are before it, and what is wrong."""

    start: int
    end: int
    line: int
    broken: str


@lru_cache(maxsize=8)
def _patterns(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    d = re.escape(delimiter.encode())
    quoted = rb'"(?:[^"]++|"")*+"'
    plain = rb'[^"\n' + d + rb"]*+"
    cell = rb"(?:" + quoted + rb"|" + plain + rb")"
    whole = re.compile(cell + rb"(?:" + d + cell + rb")*+\r?\n?")
    opened = re.compile(rb"(?:" + cell + d + rb')*+"(?:[^"]++|"")*+')
    return whole, opened


def rows(data: bytes, delimiter: str, *, final: bool) -> Iterator[Row]:
    """Yield the records of `data`, which begins at a border; blank lines are none.

    Stops before a record that isn't whole yet, unless `final`: then what is left is a record too.
    """
    whole, opened = _patterns(delimiter)
    start = line = 0
    length = len(data)
    while start < length:
        stop = data.find(b"\n", start)
        if stop < 0:
            if not final:
                return
            stop = length - 1
        end, broken, quotes = stop + 1, "", data.count(b'"', start, stop + 1)
        if quotes % 2 and opened.fullmatch(data, start, end):
            end = _closing_line(data, end, final=final)
            if end < 0:
                if not final:
                    return
                # Nothing closes it: give up this line, not the rest of the file.
                end, broken = stop + 1, UNCLOSED
        if quotes and not broken and not whole.fullmatch(data, start, end):
            broken = BARE_QUOTE
        if data[start:end].strip(b"\r\n"):
            yield Row(start, end, line, broken)
        line += data.count(b"\n", start, end)
        start = end


def _closing_line(data: bytes, position: int, *, final: bool) -> int:
    """The end of the line on which the number of quotes becomes even again; -1 when none does."""
    while (quote := data.find(b'"', position)) >= 0:
        stop = data.find(b"\n", quote)
        if stop < 0:
            odd = data.count(b'"', quote) % 2
            return len(data) if final and odd else -1
        if data.count(b'"', quote, stop) % 2:
            return stop + 1
        position = stop + 1
    return -1


def cells(record: str, delimiter: str) -> list[str]:
    """Split one well-formed record, without its line end, into its cells."""
    if '"' not in record:
        return record.split(delimiter)
    found: list[str] = []
    position = 0
    while True:
        if match := _QUOTED.match(record, position):
            found.append(match[0][1:-1].replace('""', '"'))
            position = match.end()
        else:
            stop = record.find(delimiter, position)
            stop = len(record) if stop < 0 else stop
            found.append(record[position:stop])
            position = stop
        if position >= len(record):
            return found
        position += 1
