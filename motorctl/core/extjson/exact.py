"""BSON walked by hand, for what the driver's decoder and orjson lose or change.

A symbol comes out of the driver as a string, undefined as null, a DBPointer as a DBRef, a DBRef with its
fields in another order, a regular expression without the options that Python doesn't know; orjson makes null
of a double that isn't finite. Takes only bytes that the driver has decoded before, so nothing is checked
twice. Follows https://bsonspec.org/spec.html.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["decode", "differs", "may_have_symbol"]

_DOUBLE, _DOCUMENT, _ARRAY, _UNDEFINED, _REGEX, _DB_POINTER, _SYMBOL, _SCOPED = 1, 3, 4, 6, 11, 12, 14, 15
_FIXED = {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}
# Type, name and length of a symbol; a document with none passes nearly always.
_MAYBE_SYMBOL = re.compile(rb"\x0e[^\0]*+\0...\0", re.DOTALL)
# The last two bytes of a double that is an infinity or a NaN: an exponent of nothing but ones.
_NOT_FINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")
# A document whole, made of elements that nothing happens to. Text with a zero byte would be misread.
_PLAIN = re.compile(
    rb"""....(?:
        \x02[^\0]*+\0....[^\0]*+\0
      | [\x03\x04][^\0]*+\0....
      | \0
      | \x10[^\0]*+\0....
      | \x01[^\0]*+\0......(?![\xf0-\xff][\x7f\xff])..
      | [\x09\x11\x12][^\0]*+\0........
      | \x07[^\0]*+\0............
      | \x08[^\0]*+\0.
      | \x0a[^\0]*+\0
      | \x13[^\0]*+\0................
      | \x05[^\0]*+\0\x10\0\0\0.................
    )*+""",
    re.DOTALL | re.VERBOSE,
)


def may_have_symbol(batch: bytes, start: int, stop: int) -> bool:
    """Say quickly whether a symbol may stand in the document between two places of a batch."""
    return batch.find(b"\x0e", start, stop) >= 0 and _MAYBE_SYMBOL.search(batch, start, stop) is not None


def differs(raw: bytes, line: bytes) -> bool:
    """Say whether `line`, which the driver and orjson made of a document, lacks a type of it.

    Looks for symbols, undefined, and doubles that aren't finite. The others of this module's docstring show
    in what the driver returns.
    """
    if _PLAIN.fullmatch(raw) and b"\\u0000" not in line:
        return False
    levels, position = 1, 4
    while levels:
        kind = raw[position]
        if not kind:
            levels -= 1
            position += 1
            continue
        start = raw.index(0, position + 1) + 1
        if kind in {_SYMBOL, _UNDEFINED} or (
            kind == _DOUBLE and _NOT_FINITE.fullmatch(raw, start + 6, start + 8)
        ):
            return True
        if kind in {_DOCUMENT, _ARRAY, _SCOPED}:
            levels += 1
            # Code with its scope: the length of both, the code, then a document.
            position = start + 4 + (4 + _int32(raw, start + 4) + 4 if kind == _SCOPED else 0)
        else:
            position = start + _size(raw, kind, start)
    return False


def decode(raw: bytes, scalar: Callable[[bytes], Any]) -> dict[str, Any]:
    """Turn a document into what `json` can write.

    `scalar` is given a document of one element, without a name, for each value that the driver can be
    trusted with, and returns what is to be written.
    """
    return dict(_fields(raw, scalar))


def _fields(raw: bytes, scalar: Callable[[bytes], Any]) -> Iterator[tuple[str, Any]]:
    position = 4
    while kind := raw[position]:
        start = raw.index(0, position + 1) + 1
        stop = start + _size(raw, kind, start)
        yield raw[position + 1 : start - 1].decode(), _value(kind, raw[start:stop], scalar)
        position = stop


def _value(kind: int, data: bytes, scalar: Callable[[bytes], Any]) -> Any:
    if kind == _DOCUMENT:
        return dict(_fields(data, scalar))
    if kind == _ARRAY:
        return [item for _, item in _fields(data, scalar)]
    if kind == _SYMBOL:
        return {"$symbol": data[4:-1].decode()}
    if kind == _UNDEFINED:
        return {"$undefined": True}
    if kind == _DB_POINTER:
        return {"$dbPointer": {"$ref": data[4:-13].decode(), "$id": {"$oid": data[-12:].hex()}}}
    if kind == _REGEX:
        pattern, options, _ = data.decode().split("\0")
        return {"$regularExpression": {"pattern": pattern, "options": "".join(sorted(options))}}
    if kind == _SCOPED:
        end = 8 + _int32(data, 4)
        return {"$code": data[8 : end - 1].decode(), "$scope": dict(_fields(data[end:], scalar))}
    return scalar((len(data) + 7).to_bytes(4, "little") + bytes((kind, 0)) + data + b"\0")


def _size(raw: bytes, kind: int, start: int) -> int:
    """Count the bytes of a value that starts there."""
    if kind in _FIXED:
        return _FIXED[kind]
    if kind == _REGEX:
        return raw.index(0, raw.index(0, start) + 1) + 1 - start
    length = _int32(raw, start)
    if kind in {_DOCUMENT, _ARRAY, _SCOPED}:
        return length
    return 4 + length + (12 if kind == _DB_POINTER else 1 if kind == 5 else 0)


def _int32(raw: bytes, start: int) -> int:
    return int.from_bytes(raw[start : start + 4], "little")
