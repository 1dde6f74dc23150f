"""Where JSON records begin and end, found from brackets and quotes alone.

For a JSON array and for objects that span lines. It parses nothing: what lies between two borders may
still be wrong, and is then a reject of its own instead of the end of the file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["last_border", "next_object", "pieces"]

# A string holds no line end: one whose quote is missing spoils its own line, not the rest of the file.
_TOKEN = re.compile(rb'"(?:[^"\\\n]++|\\.)*+"|["\[\]{},]')
_REST_OF_STRING = re.compile(rb'(?:[^"\\\n]++|\\.)*+"')
# What never follows an array that stands within another value: the outermost one ended before this.
_AFTER_THE_LAST = re.compile(rb"\][ \t\r\n]*+[^ \t\r\n,\]}]")
_NEXT_OBJECT = re.compile(rb"\n[ \t\r]*(?=\{)")
_WINDOW = 16 * 1024


def pieces(data: bytes, *, commas: bool) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each record in `data`, which begins at a border.

    With `commas`, as inside an array, records stand between commas, an empty one too; otherwise each
    ends with the bracket that closes it. What is left at the end, or follows a bracket that closes more
    than was opened, is the last piece.
    """
    start = depth = 0
    for match in _TOKEN.finditer(data):
        token = data[match.start()]
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
            if not commas and depth <= 0:
                yield start, match.end()
                start, depth = match.end(), 0
            elif depth < 0:
                break
        elif token == 0x2C and commas and depth == 0:
            yield start, match.start()
            start = match.end()
    if data[start:].strip():
        yield start, len(data)


def last_border(data: bytes, *, commas: bool) -> tuple[int, bool]:
    """Find where the last whole record of `data` ends: (its end, whether the array ends there).

    The end is 0 when no record is whole yet. With `commas` it is just past a comma, or at the `]` that
    ends the array. Reads the bulk by counting, which runs at memory speed, and only the tail token by
    token.
    """
    window = _WINDOW
    while True:
        begin = max(0, len(data) - window)
        while begin and data[begin - 1] == 0x5C:
            begin -= 1
        end, closed = _scan(data, begin, commas=commas)
        if end or closed or not begin:
            return end, closed
        window *= 8


def next_object(data: bytes) -> int:
    """Find where the next object that opens a line begins, after the first line; -1 when none does."""
    match = _NEXT_OBJECT.search(data, 1)
    return match.end() if match else -1


def _state(data: bytes) -> tuple[bool, int, bool]:
    """Count in `data`, from a border on: (ends within a string, open brackets, an array has ended).

    The last is true where text follows that only the end of an outermost array lets follow. Counting
    alone would take `]` and `[` for each other's.
    """
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    parts = data.split(b'"')
    bare = b'""'.join(parts[::2])
    depth = bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")
    return len(parts) % 2 == 0, depth, _AFTER_THE_LAST.search(bare) is not None


def _scan(data: bytes, begin: int, *, commas: bool) -> tuple[int, bool]:
    inside, depth, ended = _state(data[:begin]) if begin else (False, 0, False)
    if commas and (ended or depth < 0):
        return _scan(data, 0, commas=commas)
    position, border = begin, 0
    if inside:
        match = _REST_OF_STRING.match(data, begin)
        if match is None:
            return 0, False
        position = match.end()
    if depth < 0:
        return 0, False
    for match in _TOKEN.finditer(data, position):
        token = data[match.start()]
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
            if commas and depth < 0:
                return match.start(), True
            if not commas and depth <= 0:
                border, depth = match.end(), 0
        elif token == 0x2C:
            if commas and depth == 0:
                border = match.end()
        elif match.end() - match.start() == 1 and data.find(b"\n", match.end()) < 0:
            break  # a string that the next bytes will close
    return border, False
