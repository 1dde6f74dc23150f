"""Chunk to BSON: parse, type and encode, and say of each record that can't be why.

A pure function of a chunk and a plan, both picklable, and so is what it returns: it runs in another
process as well as in this one. It never waits, connects or counts.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, compress, count, islice
from typing import TYPE_CHECKING, Any, TypeVar

import bson
import orjson
from bson import ObjectId
from bson.errors import BSONError

from motorctl.core import extjson
from motorctl.core.ingest.decoding import shape, table
from motorctl.core.ingest.model import Chunk, Decoded, Plan, RecordError, Reject
from motorctl.core.ingest.reading.split import records
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from motorctl.core.ingest.model import Record, Stage

__all__ = ["decode", "locate", "reject"]

FILE_LIMIT = 2**40
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
    if chunk.offset + len(chunk.data) >= FILE_LIMIT:
        raise MotorctlError(
            f"{chunk.file} is longer than {FILE_LIMIT:,} bytes of text",
            hint="split it: the `_id`s that are made have no room for places beyond that",
            file=chunk.file,
        )
    made, errors = _at_once(chunk, plan) or _carefully(chunk, plan)
    return Decoded(
        b"".join(made.pieces),
        list(accumulate(made.sizes)),
        _numbers(len(made.sizes), errors),
        made.keys,
        frozenset(made.generated) if len(made.generated) < len(made.sizes) else range(len(made.sizes)),
        [reject(chunk, record, *errors[number].why) for number, record in locate(chunk, errors)]
        if errors
        else [],
    )


class _Made:
    """What was made of a chunk's records so far. It keeps no document: those would fill the cache."""

    def __init__(self, chunk: Chunk, plan: Plan) -> None:
        self._id_begin = _ID_ELEMENT + chunk.identity
        self._offset = chunk.offset
        self._plan = plan
        # An empty cell is no key: all rows without one would be the same document.
        self.blank = "" if chunk.layout == "delimited" else None
        self.pieces: list[bytes] = []
        self.sizes: list[int] = []
        self.keys: list[bytes] = []
        self.generated: list[int] = []

    def add(self, documents: Sequence[Document], encoded: list[bytes], numbers: Iterator[int]) -> None:
        """Add documents, in order, and their BSON; `numbers` are those of their records in the chunk.

        Raises `RecordError` for one that lacks its key.
        """
        if self._plan.key:
            self.keys += [_filter(document, self._plan.key, blank=self.blank) for document in documents]
        elif self._plan.mode == "insert":
            encoded = self._with_ids(documents, encoded, numbers)
        self.sizes += map(len, encoded)
        self.pieces.append(b"".join(encoded))

    def _with_ids(
        self, documents: Sequence[Document], encoded: list[bytes], numbers: Iterator[int]
    ) -> list[bytes]:
        """Put an ObjectId in front of each document that has none: the chunk's identity, and its place.

        Each record takes a byte at least, so no two of a file have the same sum of offset and number.
        """
        begin, offset, position = self._id_begin, self._offset, len(self.sizes)
        without = ["_id" not in document for document in documents]
        self.generated += compress(range(position, position + len(without)), without)
        return [
            (len(raw) + _ID_LENGTH).to_bytes(4, "little") + begin + (offset + number).to_bytes(5) + raw[4:]
            if lacks
            else raw
            for raw, lacks, number in zip(encoded, without, numbers, strict=False)
        ]


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
            # A new one: that which was raised holds the frames that raised it, and they hold the chunk.
            found[number] = RecordError(*error.why)
    return changed, found


# -- parsing ----------------------------------------------------------------------------------------------


def _at_once(chunk: Chunk, plan: Plan) -> tuple[_Made, dict[int, RecordError]] | None:
    """Make documents of a chunk in which nothing is wrong or rare; None when something is, or may be.

    The hot path of an import: no step of it looks at a value in Python but where a typed one stands. A
    hundred records at a time go all the way: they fit into a processor's own cache, where each step
    finds them.
    """
    if chunk.broken or plan.strict or plan.legacy or shape.shapes(plan):
        return None
    made = _Made(chunk, plan)
    errors: dict[int, RecordError] = {}
    try:
        if chunk.layout == "delimited":
            groups, errors = table.in_groups(chunk, plan, _AT_A_TIME)
            numbers = (number for number in count() if number not in errors) if errors else count()
        elif chunk.layout in _AT_ONCE and b"\\u0024" not in chunk.data:
            groups, numbers = _parsed(chunk), count()
        else:
            return None  # one by one; or an escaped `$`, which counting doesn't see
        for documents in groups:
            encoded = list(map(bson.encode, documents))
            for document, raw in zip(documents, encoded, strict=True):
                if len(raw) > _MAYBE_DEEP:
                    _check(document, raw)
            made.add(documents, encoded, numbers)
    except (orjson.JSONDecodeError, extjson.ExtendedJSONError, RecordError, *_UNFIT):
        return None
    return made, errors


def _parsed(chunk: Chunk) -> Iterator[list[Document]]:
    """Parse and type the documents of a chunk a few at a time. Raises for what isn't plain."""
    layout: extjson.Layout = {}
    texts = list(filter(bytes.strip, chunk.data.split(b"\n")))
    if chunk.layout == "array" and not (texts := _elements(texts)):
        inner = chunk.data.strip()
        whole = orjson.loads(b"[%b]" % (inner[:-1] if inner.endswith(b",") else inner))
        yield _typed(whole, chunk.data, layout)
    for start in range(0, len(texts), _AT_A_TIME):
        some = texts[start : start + _AT_A_TIME]
        yield _typed(list(map(orjson.loads, some)), b"\n".join(some), layout)


def _typed(parsed: list[Document], text: bytes, layout: extjson.Layout) -> list[Document]:
    if not extjson.convert_many(parsed, text.count(b'"$'), layout):
        raise RecordError("type", None, "not to be converted at once")
    return parsed


def _elements(lines: list[bytes]) -> list[bytes]:
    """Return the elements of an array that stand a line each, without their commas; none, if they don't.

    A line that is an element and a comma, from a border on, ends at a border: so do all, by and by.
    """
    stripped = list(map(bytes.strip, lines))
    if not all(line.endswith(b"},") for line in stripped[:-1]):
        return []
    return [line[:-1] for line in stripped[:-1]] + [line.removesuffix(b",") for line in stripped[-1:]]


def _carefully(chunk: Chunk, plan: Plan) -> tuple[_Made, dict[int, RecordError]]:
    """Parse, shape and encode a chunk in which anything may be wrong; and the errors of what was."""
    made = _Made(chunk, plan)

    def whole(document: Document) -> tuple[Document, bytes]:
        if shape.shapes(plan):
            document = shape.shape(document, plan)
        raw = _encoded(document)
        if plan.key:
            _filter(document, plan.key, blank=made.blank)
        return document, raw

    pairs, errors = _each(*_documents(chunk, plan), whole)
    made.add(
        [document for document, _ in pairs], [raw for _, raw in pairs], iter(_numbers(len(pairs), errors))
    )
    return made, errors


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
    document = _document(record.text, plan) if record.columns is None else _row(chunk, record, plan)
    if record.made_id is not None and plan.mode == "insert" and "_id" not in document:
        document = {"_id": ObjectId(record.made_id), **document}
    return document


def _row(chunk: Chunk, record: Record, plan: Plan) -> Document:
    row = replace(
        chunk, layout="delimited", data=record.text, header=record.columns or (), delimiter=record.delimiter
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


def _filter(document: Document, key: tuple[str, ...], *, blank: str | None) -> bytes:
    """Encode the filter that finds a document by its key. A record without it, or with `blank`, is a reject."""
    query = {}
    for name in key:
        value: Any = document
        for part in name.split("."):
            value = value.get(part) if type(value) is dict else None
        if value is None or value == blank:
            raise RecordError("type", name, f"lacks the key {name}")
        query[name] = {"$eq": value}
    return bson.encode(query)
