"""Three types that BSON has given up, and the driver can't write: symbol, undefined, DBPointer.

Old collections hold them still. Here is what stands for them in Python, and BSON written by hand around
them. Never used for a document that the driver can write by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bson
from bson import Code, ObjectId
from bson.errors import InvalidDocument

__all__ = ["DBPointer", "Symbol", "Undefined", "encode"]


@dataclass(frozen=True, slots=True)
class Symbol:
    """Text of the type symbol. No `str`: the driver would write that, and lose the type."""

    text: str


@dataclass(frozen=True, slots=True)
class Undefined:
    """The one value of the type undefined."""


@dataclass(frozen=True, slots=True)
class DBPointer:
    """A collection's name and an `_id` in it."""

    name: str
    id: ObjectId


def encode(document: dict[str, Any]) -> bytes:
    """Encode a document to BSON, with symbols, undefined and DBPointers in it if there are any.

    Raises what `bson.encode` raises: `bson.errors.InvalidDocument` for what BSON has no type for,
    OverflowError for an integer beyond 64 bits.
    """
    try:
        return bson.encode(document)
    except InvalidDocument:
        return _document(document.items())


def _document(items: Any) -> bytes:
    body = b"".join([_element(name, value) for name, value in items])
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"


def _element(name: str, value: Any) -> bytes:
    kind = type(value)
    head = bson.encode({name: None})[5:-1]
    if kind is dict:
        return b"\x03" + head + _document(value.items())
    if kind is list:
        return b"\x04" + head + _document((str(index), item) for index, item in enumerate(value))
    if kind is Symbol:
        return b"\x0e" + head + _string(value.text)
    if kind is Undefined:
        return b"\x06" + head
    if kind is DBPointer:
        identity: bytes = value.id.binary
        return b"\x0c" + head + _string(value.name) + identity
    if kind is Code and value.scope is not None:
        inner = _string(value) + _document(value.scope.items())
        return b"\x0f" + head + (len(inner) + 4).to_bytes(4, "little") + inner
    raw: bytes = bson.encode({name: value})
    return raw[4:-1]


def _string(text: str) -> bytes:
    # As an element without a name, whose type and name take two bytes.
    raw: bytes = bson.encode({"": str(text)})
    return raw[6:-1]
