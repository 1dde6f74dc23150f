"""BSON documents taken apart and put together as bytes: no value is decoded, so none can change.

Pure functions over what the decoder and the server hand over, both well formed. What a value means is
asked of keys alone, to tell which of them the server takes for equal.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

__all__ = [
    "Element",
    "canonical",
    "document",
    "documents",
    "element",
    "elements",
    "equal",
    "holds",
    "value_at",
]

# The value's bytes, and those beside the length that a value begins with (https://bsonspec.org/spec.html).
_FIXED = {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}
_COUNTED = {2: 4, 3: 0, 4: 0, 5: 5, 12: 16, 13: 4, 14: 4, 15: 0}
_OBJECT = 3
_TIMESTAMP = 17
# The server compares these by their bytes, within their type: string, binary, ObjectId, bool, date.
_BY_BYTES = frozenset({2, 5, 7, 8, 9})
_ID = b"_id"

Element = tuple[int, bytes, bytes]
"""A type, a name without its zero byte, and the value's bytes."""


def documents(data: bytes) -> Iterator[bytes]:
    """Cut BSON documents that stand one after the other."""
    at = 0
    while at < len(data):
        end = at + int.from_bytes(data[at : at + 4], "little")
        yield data[at:end]
        at = end


def document(*parts: bytes) -> bytes:
    """Make a document of elements."""
    inner = b"".join(parts)
    return (len(inner) + 5).to_bytes(4, "little") + inner + b"\0"


def element(kind: int, name: bytes, value: bytes) -> bytes:
    """Make one element: its type's number (BSON 1.1), its name and its value, both encoded."""
    return b"%c%b\0%b" % (kind, name, value)


def elements(raw: bytes) -> Iterator[Element]:
    """Yield the elements at a document's top level, in order."""
    at, last = 4, len(raw) - 1
    while at < last:
        kind, named = raw[at], raw.index(0, at + 1)
        name = raw[at + 1 : named]
        at = _end(raw, kind, named + 1)
        yield kind, name, raw[named + 1 : at]


def _end(raw: bytes, kind: int, begin: int) -> int:
    """Find where the value ends that begins there."""
    if (size := _FIXED.get(kind)) is not None:
        return begin + size
    if (beside := _COUNTED.get(kind)) is not None:
        return begin + int.from_bytes(raw[begin : begin + 4], "little") + beside
    return raw.index(0, raw.index(0, begin) + 1) + 1  # a regular expression: two texts


def value_at(raw: bytes, path: Sequence[bytes]) -> tuple[int, bytes] | None:
    """Find the type and the bytes of the value at a path; None where it leads into an array, or nowhere."""
    for kind, name, value in elements(raw):
        if name == path[0]:
            if len(path) == 1:
                return kind, value
            return value_at(value, path[1:]) if kind == _OBJECT else None
    return None


def canonical(kind: int, value: bytes) -> Hashable:
    """Give what is equal for two values if, and only if, the server's simple collation finds them equal.

    None for the types of which that isn't known here: decimals and NaN, null, arrays, documents and so on.
    """
    if kind in _BY_BYTES:
        return kind, value
    if kind in (16, 18):
        return int.from_bytes(value, "little", signed=True)
    if kind == 1:
        number: float = struct.unpack("<d", value)[0]
        return None if math.isnan(number) else number
    return None


def equal(ours: bytes, stored: bytes) -> bool:
    """Whether a stored document is what the server makes of ours.

    It puts `_id` first and the time into empty timestamps; one of ours that has no `_id` fits any.
    """
    if ours == stored:
        return True
    first = next(elements(stored), None)
    if first is not None and first[1] == _ID:
        if ours[4:] == stored[9 + len(first[2]) :]:
            return True
        if len(stored) - len(ours) not in (0, 5 + len(first[2])):
            return False
    mine, theirs = list(elements(ours)), list(elements(stored))
    if not any(name == _ID for _, name, _ in mine):
        theirs = [element for element in theirs if element[1] != _ID]
    if len(mine) != len(theirs):
        return False
    mine.sort(key=_after_id)
    theirs.sort(key=_after_id)
    return all(map(_fits, mine, theirs))


def holds(ours: bytes, stored: bytes) -> bool:
    """Whether each element of ours stands in a stored document as it is."""
    there = {name: (kind, value) for kind, name, value in elements(stored)}
    return all(there.get(name) == (kind, value) for kind, name, value in elements(ours))


def _after_id(element: Element) -> bool:
    return element[1] != _ID


def _fits(ours: Element, stored: Element) -> bool:
    return ours == stored or (
        ours[0] == stored[0] == _TIMESTAMP and ours[1] == stored[1] and not any(ours[2])
    )
