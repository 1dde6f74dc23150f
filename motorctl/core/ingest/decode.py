"""Chunk to BSON: parse, type and encode, and say of each record that can't be why.

A pure function of a chunk and a plan, both picklable, and so is what it returns: it runs in another
process as well as in this one. It never waits, connects or counts.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, count, islice
from typing import TYPE_CHECKING, Any, TypeVar

import bson
import orjson
from bson.errors import BSONError

from motorctl.core import extjson
from motorctl.core.ingest import shape, table
from motorctl.core.ingest.model import Chunk, Decoded, Plan, RecordError, Reject
from motorctl.core.ingest.split import records

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from motorctl.core.ingest.model import Record, Stage

__all__ = ["decode", "locate", "reject"]

# What a server takes (`maxBsonObjectSize`).
DOCUMENT_LIMIT = 16 * 1024 * 1024
_ID_ELEMENT = b"\x07_id\x00"
_ID_LENGTH = len(_ID_ELEMENT) + 12
# A document or array within another is a type, a name, a length and an end: seven bytes at least.
_MAYBE_DEEP = 7 * extjson.DEPTH_LIMIT
# The types that hold others: document, array, code with a scope.
_NESTED = (b"\x03", b"\x04", b"\x0f")
_AT_ONCE = ("lines", "array")
_AT_A_TIME = 100
_UNFIT = (BSONError, OverflowError, ValueError, RecursionError)

Document = dict[str, Any]
T = TypeVar("T")
U = TypeVar("U")


def decode(chunk: Chunk, plan: Plan) -> Decoded:
    """Turn a chunk's records into BSON documents and rejects: each record is one or the other.

    In insert mode a document without `_id` gets one here, made of the chunk's `identity` and the place
    of its record: sent again, even by another run, it is the same document.
    """
    at_once = _at_once(chunk, plan)
    documents, encoded, errors = (*at_once, {}) if at_once is not None else _carefully(chunk, plan)
    keys: list[bytes] = []
    if plan.key:
        keyed, errors = _each(
            list(zip(documents, encoded, strict=True)),
            errors,
            lambda pair: (pair[1], _filter(pair[0], plan.key)),
        )
        encoded, keys = [raw for raw, _ in keyed], [key for _, key in keyed]
    numbers = _numbers(len(encoded), errors)
    generated: list[int] = []
    if plan.mode == "insert":
        generated = [position for position, document in enumerate(documents) if "_id" not in document]
        made = _with_ids(chunk, generated, numbers, encoded)
        if len(generated) == len(encoded):
            encoded = made
        else:
            for position, raw in zip(generated, made, strict=True):
                encoded[position] = raw
    return Decoded(
        b"".join(encoded),
        list(accumulate(map(len, encoded))),
        numbers,
        keys,
        frozenset(generated) if len(generated) < len(encoded) else range(len(encoded)),
        [reject(chunk, record, *errors[number].why) for number, record in locate(chunk, errors)]
        if errors
        else [],
    )


def locate(chunk: Chunk, numbers: Container[int]) -> Iterator[tuple[int, Record]]:
    """Find records by their number in the chunk: where they begin, and how they stood."""
    return ((number, record) for number, record in enumerate(records(chunk)) if number in numbers)


def reject(
    chunk: Chunk, record: Record, stage: Stage, field: str | None, reason: str, code: int | None = None
) -> Reject:
    """Make the reject of a record of a chunk."""
    # As it stood; bytes that aren't UTF-8 are shown as `\xNN`.
    text = record.text.rstrip(b"\r").decode(errors="backslashreplace")
    made = Reject(chunk.file, record.line, record.offset, text, stage, field, reason, code)
    if chunk.layout == "delimited":
        return replace(made, columns=chunk.header, delimiter=chunk.delimiter)
    return (
        made if record.columns is None else replace(made, columns=record.columns, delimiter=record.delimiter)
    )


def _numbers(good: int, errors: Container[int]) -> Sequence[int]:
    """The records' numbers that are left: those of no error, in order."""
    if not errors:
        return range(good)
    return list(islice((number for number in count() if number not in errors), good))


def _each(
    items: Sequence[T], errors: dict[int, RecordError], change: Callable[[T], U]
) -> tuple[list[U], dict[int, RecordError]]:
    """Change what is left of the records one by one, and add those that can't be to the errors."""
    changed: list[U] = []
    found = dict(errors)
    for number, item in zip(_numbers(len(items), errors), items, strict=True):
        try:
            changed.append(change(item))
        except RecordError as error:
            found[number] = error
    return changed, found


# -- parsing ----------------------------------------------------------------------------------------------


def _at_once(chunk: Chunk, plan: Plan) -> tuple[list[Document], list[bytes]] | None:
    """Parse and encode a chunk in which nothing is wrong or rare; None when something is, or may be.

    The hot path of an import: no step of it looks at a value in Python but where a typed one stands. A
    hundred documents at a time go all the way: they fit into a processor's own cache, where each step
    finds them.
    """
    # An escaped `$` is one that counting doesn't see.
    if chunk.layout not in _AT_ONCE or chunk.broken or b"\\u0024" in chunk.data:
        return None
    if plan.strict or plan.legacy or shape.shapes(plan):
        return None
    documents: list[Document] = []
    encoded: list[bytes] = []
    layout: extjson.Layout = {}
    try:
        for parsed, marks in _parsed(chunk):
            if not extjson.convert_many(parsed, marks, layout):
                return None
            documents += parsed
            encoded += map(bson.encode, parsed)
        for position, raw in enumerate(encoded):
            if len(raw) > _MAYBE_DEEP:
                _check(documents[position], raw)
    except (orjson.JSONDecodeError, RecordError, *_UNFIT):
        return None
    return documents, encoded


def _parsed(chunk: Chunk) -> Iterator[tuple[list[Document], int]]:
    """Parse the documents of a chunk a few at a time, each with the number of their `"$`."""
    if chunk.layout == "lines":
        lines = list(filter(bytes.strip, chunk.data.split(b"\n")))
        for start in range(0, len(lines), _AT_A_TIME):
            some = lines[start : start + _AT_A_TIME]
            yield list(map(orjson.loads, some)), b"\n".join(some).count(b'"$')
    else:
        inner = chunk.data.strip()
        whole = orjson.loads(b"[%b]" % (inner[:-1] if inner.endswith(b",") else inner))
        yield whole, chunk.data.count(b'"$')


def _carefully(chunk: Chunk, plan: Plan) -> tuple[list[Document], list[bytes], dict[int, RecordError]]:
    """Parse, shape and encode a chunk in which anything may be wrong."""
    documents, errors = _documents(chunk, plan)
    if shape.shapes(plan):
        documents, errors = _each(documents, errors, lambda document: shape.shape(document, plan))
    encoded, found = _each(documents, errors, _encoded)
    if len(found) > len(errors):
        kept = set(_numbers(len(encoded), found))
        numbers = _numbers(len(documents), errors)
        documents = [document for number, document in zip(numbers, documents, strict=True) if number in kept]
    return documents, encoded, found


def _documents(chunk: Chunk, plan: Plan) -> tuple[list[Document], dict[int, RecordError]]:
    """Parse and type a chunk: the documents of the good records in order, and the others' errors."""
    if chunk.broken:
        return [], {0: RecordError("parse", None, chunk.broken)}
    if chunk.layout == "delimited":
        return table.documents(chunk, plan)
    return _each(list(records(chunk)), {}, lambda record: _read(chunk, record, plan))


def _read(chunk: Chunk, record: Record, plan: Plan) -> Document:
    if record.broken:
        raise RecordError("parse", None, record.broken)
    if record.columns is None:
        return _document(record.text, plan)
    row = replace(
        chunk, layout="delimited", data=record.text, header=record.columns, delimiter=record.delimiter
    )
    documents, errors = table.documents(row, plan)
    for error in errors.values():
        raise error
    if len(documents) != 1:
        raise RecordError("parse", None, f"{len(documents)} rows where one was refused")
    return documents[0]


def _document(text: bytes, plan: Plan) -> Document:
    try:
        document = extjson.loads(text, legacy=plan.legacy, strict=plan.strict, deprecated=True)
    except extjson.ExtendedJSONError as error:
        raise RecordError("type", error.field, error.reason) from None
    except orjson.JSONDecodeError as error:
        reason = "nothing stands between two commas" if not text.strip() else _json_reason(error)
        raise RecordError("parse", None, reason) from None
    if type(document) is not dict:
        raise RecordError("parse", None, "not an object")
    return document


def _json_reason(error: orjson.JSONDecodeError) -> str:
    reason = error.msg[:1].lower() + error.msg[1:]
    return f"not JSON: {reason} at character {error.pos + 1}" if error.doc else f"not JSON: {reason}"


# -- encoding ---------------------------------------------------------------------------------------------


def _encoded(document: Document) -> bytes:
    try:
        raw = extjson.encode(document)
    except _UNFIT as error:
        raise RecordError("type", None, str(error)) from None
    _check(document, raw)
    return raw


def _check(document: Document, raw: bytes) -> None:
    """Raise `RecordError` for a document that is larger or deeper than a server takes."""
    if len(raw) > DOCUMENT_LIMIT - _ID_LENGTH:
        reason = f"a document of {len(raw)} bytes: the server takes {DOCUMENT_LIMIT}"
        raise RecordError("type", None, reason)
    # Each level has its mark among the bytes: few marks, few levels. Only many are worth a walk.
    if sum(map(raw.count, _NESTED)) >= extjson.DEPTH_LIMIT and _levels(document) > extjson.DEPTH_LIMIT:
        raise RecordError("type", None, extjson.NestingError().reason)


def _levels(document: Document) -> int:
    """Count how many documents and arrays stand within each other, the outermost too."""
    levels = 0
    inner: list[Any] = [document]
    while inner := [value for value in inner if isinstance(value, dict | list)]:
        levels += 1
        inner = [value for outer in inner for value in (outer.values() if isinstance(outer, dict) else outer)]
    return levels


def _with_ids(
    chunk: Chunk, generated: Sequence[int], numbers: Sequence[int], encoded: Sequence[bytes]
) -> list[bytes]:
    """Put an ObjectId in front of documents: the chunk's identity, and where the record stands.

    Each record takes a byte at least, so no two of a file have the same sum of offset and number.
    """
    element, offset = _ID_ELEMENT + chunk.identity, chunk.offset
    return [
        (len(raw) + _ID_LENGTH).to_bytes(4, "little") + element + (offset + number).to_bytes(5) + raw[4:]
        for raw, number in zip(
            map(encoded.__getitem__, generated), map(numbers.__getitem__, generated), strict=True
        )
    ]


def _filter(document: Document, key: tuple[str, ...]) -> bytes:
    """Encode the filter that finds a document by its key. A record without it is a reject."""
    query = {}
    for name in key:
        value: Any = document
        for part in name.split("."):
            value = value.get(part) if type(value) is dict else None
        if value is None:
            raise RecordError("type", name, f"lacks the key {name}")
        query[name] = {"$eq": value}
    return bson.encode(query)
