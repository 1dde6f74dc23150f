"""Where JSON records begin and end, found from brackets and quotes alone.

For a JSON array and for objects that span lines. It parses nothing: what lies between two borders may
still be wrong, and is then a reject of its own instead of the end of the file. The rules are those of
`_walk`, token by token; everything else here is a way to reach the same answer at memory speed, and gives
way to it where the text isn't what JSON is.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["State", "follow", "last_border", "next_object", "opens", "pieces"]

# A string holds no line end: one whose quote is missing spoils its own line, not the rest of the file.
_TOKEN = re.compile(rb'"(?:[^"\\\n]++|\\.)*+"|["\[\]{},]')
_REST_OF_STRING = re.compile(rb'(?:[^"\\\n]++|\\.)*+"')
_SPACE = b" \t\r\n"
_WINDOW = 4096

# An escaped quote or backslash, of which only is of interest whether it stands in a string.
_ESCAPED = b"\x01"
_SAME = bytes.maketrans(b"{}", b"[]")
_NOT_A_MARK = bytes(set(range(256)) - set(b'"[]{}\n' + _ESCAPED))
_NOT_A_MARK_OR_COMMA = bytes(set(_NOT_A_MARK) - set(b","))


class State(NamedTuple):
    """Where a scan stands: open brackets, whether within a string, whether behind its open escape."""

    depth: int = 0
    inside: bool = False
    escaped: bool = False


class _Skimmed(NamedTuple):
    """What a stretch of text that begins outside a string does to the number of open brackets."""

    lowest: int
    depth: int
    inside: bool


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
    """Find where the last whole record of `data`, which begins at a border, ends: (its end, is that all).

    The end is 0 when no record is whole yet. With `commas` it is just past a comma, or at the `]` that
    ends the array: then that is all. Without, it is just past a closing bracket, or at a `[` that follows
    one: there objects end and an array begins. The bulk is counted, and only the tail read token by token.
    """
    first = _skim(data[:_WINDOW], commas=commas) if len(data) > 2 * _WINDOW else None
    if first is not None and first.lowest < 0:
        # Small arrays in a row mustn't cost a look at all the bytes each.
        return _walk(data, 0, State(), commas=commas)[:2]
    window = _WINDOW
    while window < len(data):
        begin = len(data[: len(data) - window].rstrip(b"\\"))
        bulk = _skim(data[:begin], commas=commas)
        if bulk is None or bulk.lowest < 0:
            break
        position = begin
        if bulk.inside:
            match = _REST_OF_STRING.match(data, begin)
            if match is None and data.find(b"\n", begin) >= 0:
                break
            position = match.end() if match else len(data)
        end, closed, _ = _walk(data, position, State(bulk.depth), commas=commas)
        if end or closed:
            return end, closed
        if window == _WINDOW and _is_one_record(data):
            return 0, False
        window *= 8
    return _walk(data, 0, State(), commas=commas)[:2]


def follow(data: bytes, state: State, *, commas: bool) -> tuple[int, State]:
    """Go on from `state` through `data` to the first border: (its place, or -1 for none, the new state)."""
    position = int(state.escaped)
    if state.inside:
        match = _REST_OF_STRING.match(data, position)
        line_end = data.find(b"\n", position)
        if match is None and line_end < 0:
            return -1, State(state.depth, inside=True, escaped=_ends_in_escape(data, position))
        position = match.end() if match else line_end
    rest = data[position:]
    skimmed = _skim(rest, commas=True)
    if skimmed is not None and state.depth + skimmed.lowest > 0:
        escaped = skimmed.inside and _ends_in_escape(rest, 0)
        return -1, State(state.depth + skimmed.depth, skimmed.inside, escaped)
    end, closed, state = _walk(data, position, State(state.depth), commas=commas, first=True)
    return (end if end or closed else -1), state


def next_object(data: bytes, *, commas: bool) -> re.Pattern[bytes]:
    """Make the pattern, to be searched for, at whose end an object opens a line after the record of `data`.

    Lines that are indented further than the record's own don't count: they are within it.
    """
    begin = len(data) - len(data.lstrip(_SPACE))
    indent = begin - data.rfind(b"\n", 0, begin) - 1
    any_indent = commas and b"\n" not in data[:begin]
    return re.compile(rb"\n[ \t\r]%b(?=\{)" % (b"*" if any_indent else b"{0,%d}" % indent))


def opens(data: bytes) -> bool:
    """Whether `data`, which begins at a border, opens a bracket that isn't closed by its like."""
    expected = bytearray()
    for match in _TOKEN.finditer(data):
        token = data[match.start()]
        if token in b"{[":
            expected.append(token + 2)
        elif token in b"}]" and (not expected or expected.pop() != token):
            return True
    return bool(expected)


def _walk(
    data: bytes, begin: int, state: State, *, commas: bool, first: bool = False
) -> tuple[int, bool, State]:
    """Read token by token, from outside a string on: (last border, whether that is all, the last state).

    Stops at the `first` border, if told so.
    """
    depth, border, inside = state.depth, 0, False
    for match in _TOKEN.finditer(data, begin):
        token = data[match.start()]
        if token in b"{[":
            if token == 0x5B and depth == 0 and not commas:
                before = data[max(border, begin) : match.start()].strip(_SPACE)
                if not before and (border or data[:begin].rstrip(_SPACE)[-1:] in {b"", b"}", b"]"}):
                    return match.start(), True, State()
            depth += 1
        elif token in b"}]":
            depth -= 1
            if commas and depth < 0:
                return match.start(), True, State()
            if not commas and depth <= 0:
                border, depth = match.end(), 0
        elif token == 0x2C:
            if commas and depth == 0:
                border = match.end()
        elif match.end() - match.start() == 1 and data.find(b"\n", match.end()) < 0:
            inside = True  # a string that the next bytes will close
            break
        if first and border:
            break
    return border, False, State(depth, inside, inside and _ends_in_escape(data, begin))


def _skim(data: bytes, *, commas: bool) -> _Skimmed | None:
    """Count brackets from a place outside a string on; None where only `_walk` can tell.

    Adjacent quotes go away in pairs: whichever of them opens, the ones after them mean the same.
    """
    if b"\\" in data:
        data = data.replace(b"\\\\", _ESCAPED).replace(b'\\"', _ESCAPED)
    marks = data.translate(_SAME, _NOT_A_MARK) if commas else data.translate(None, _NOT_A_MARK_OR_COMMA)
    parts = marks.replace(b'""', b"").split(b'"')
    bare = b"".join(parts[::2])
    if b"\n" in b"".join(parts[1::2]) or _ESCAPED in bare:
        return None
    if not commas:
        bare = bare.translate(None, b"\n")
        if bare.startswith(b"[") or b"}[" in bare or b"][" in bare:
            # Within an object a comma stands between the two: this is an array after an object.
            return None
    bare = bare.translate(_SAME, b"\n,")
    while True:
        shorter = bare.replace(b"[]", b"")
        removed, bare = len(bare) - len(shorter), shorter
        if removed * 16 <= len(bare):
            break
    if b"]" not in bare:
        return _Skimmed(0, len(bare), len(parts) % 2 == 0)
    depths = list(accumulate(1 if mark == 0x5B else -1 for mark in bare))
    return _Skimmed(min(0, *depths), depths[-1], len(parts) % 2 == 0)


def _is_one_record(data: bytes) -> bool:
    """Whether the first bracket of `data` is open to its end: then there is no border, however long it is."""
    for match in _TOKEN.finditer(data):
        token = data[match.start()]
        if token in b"{[":
            skimmed = _skim(data[match.end() :], commas=True)
            return skimmed is not None and skimmed.lowest >= 0
        if token != 0x22 or match.end() - match.start() == 1:
            break
    return False


def _ends_in_escape(data: bytes, begin: int) -> bool:
    return (len(data) - max(begin, len(data.rstrip(b"\\")))) % 2 == 1
