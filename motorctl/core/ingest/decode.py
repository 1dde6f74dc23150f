"""Chunk to BSON: parse, type and encode, and say of each record that can't be why.

A pure function of a chunk and a plan, both picklable, and so is what it returns: it runs as well in
another process. It never waits, connects or counts.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import bson
import orjson
from bson.errors import BSONError

from motorctl.core import extjson
from motorctl.core.ingest import delimited, types
from motorctl.core.ingest.model import Chunk, Decoded, Plan, Reject
from motorctl.core.ingest.split import records
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from motorctl.core.ingest.model import Record, Stage

__all__ = ["columns", "decode", "locate", "text_of"]

# What a server takes (`maxBsonObjectSize`).
DOCUMENT_LIMIT = 16 * 1024 * 1024
_ID_ELEMENT = b"\x07_id\x00"
_ID_LENGTH = len(_ID_ELEMENT) + 12
_MACHINE = os.urandom(5)
_counter = count(int.from_bytes(os.urandom(3)))


class _RejectedError(Exception):
    def __init__(self, stage: Stage, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.stage: Stage = stage
        self.field = field
        self.reason = reason


def decode(chunk: Chunk, plan: Plan) -> Decoded:
    """Turn a chunk's records into BSON documents and rejects.

    Each record is one or the other. In insert mode a document without `_id` gets one here, so that
    sending it again can't insert it twice.
    """
    result = Decoded(chunk)
    errors: dict[int, _RejectedError] = {}
    for number, parsed in _parsed(chunk, plan):
        try:
            if isinstance(parsed, _RejectedError):
                raise parsed
            raw = _encode(parsed)
            if plan.mode == "insert":
                if "_id" not in parsed:
                    result.generated.add(len(result.documents))
                    raw = _with_id(raw)
            else:
                result.filters.append(_filter(parsed, plan.key))
        except _RejectedError as error:
            errors[number] = error
        else:
            result.documents.append(raw)
            result.numbers.append(number)
    if errors:
        for number, record in locate(chunk, errors):
            result.rejects.append(_reject(chunk.file, record, errors[number]))
    return result


def locate(chunk: Chunk, numbers: Container[int]) -> Iterator[tuple[int, Record]]:
    """Find records by their number in the chunk: where they begin, and how they stood."""
    return ((number, record) for number, record in enumerate(records(chunk)) if number in numbers)


def text_of(record: Record) -> str:
    r"""Give a record's text as it stood; bytes that aren't UTF-8 are shown as `\xNN`."""
    return record.text.rstrip(b"\r").decode(errors="backslashreplace")


def _reject(file: str, record: Record, error: _RejectedError) -> Reject:
    return Reject(file, record.line, record.offset, text_of(record), error.stage, error.field, error.reason)


# -- parsing ----------------------------------------------------------------------------------------------


def _parsed(chunk: Chunk, plan: Plan) -> Iterator[tuple[int, dict[str, Any] | _RejectedError]]:
    """Yield each record's number in the chunk, and its document or what is wrong with it."""
    if chunk.broken:
        yield 0, _RejectedError("parse", None, chunk.broken)
    elif chunk.layout == "delimited":
        yield from _rows(chunk, plan)
    elif chunk.layout == "lines":
        yield from enumerate(map(_document, filter(bytes.strip, chunk.data.split(b"\n"))))
    else:
        documents = _whole_array(chunk.data) if chunk.layout == "array" else None
        if documents is not None:
            yield from enumerate(map(_converted, documents))
        else:
            yield from enumerate(_document(record.text) for record in records(chunk))


def _whole_array(data: bytes) -> list[Any] | None:
    """Parse a chunk of an array in one go: None when a record in it is malformed."""
    inner = data.rstrip()
    if inner.endswith(b","):
        inner = inner[:-1]
    try:
        documents: list[Any] = orjson.loads(b"[%b]" % inner)
    except orjson.JSONDecodeError:
        return None
    return documents or None


def _document(text: bytes) -> dict[str, Any] | _RejectedError:
    try:
        return _converted(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        reason = "nothing stands between two commas" if not text.strip() else _json_reason(error)
        return _RejectedError("parse", None, reason)


def _json_reason(error: orjson.JSONDecodeError) -> str:
    reason = error.msg[:1].lower() + error.msg[1:]
    return f"not JSON: {reason} at character {error.pos + 1}" if error.doc else f"not JSON: {reason}"


def _converted(parsed: Any) -> dict[str, Any] | _RejectedError:
    try:
        document = extjson.to_bson_values(parsed)
    except extjson.ExtendedJSONError as error:
        return _RejectedError("type", error.field, error.reason)
    if type(document) is not dict:
        return _RejectedError("parse", None, "not an object")
    return document


def _encode(document: dict[str, Any]) -> bytes:
    try:
        raw = bson.encode(document)
    except (BSONError, OverflowError, ValueError) as error:
        raise _RejectedError("type", None, str(error)) from None
    if len(raw) > DOCUMENT_LIMIT - _ID_LENGTH:
        raise _RejectedError(
            "type", None, f"a document of {len(raw)} bytes: the server takes {DOCUMENT_LIMIT}"
        )
    return raw


def _with_id(raw: bytes) -> bytes:
    """Put a new ObjectId in front of a document: its time, this process, a counter.

    bson's own ObjectId() and a second dictionary cost as much as the rest of encoding.
    """
    identity = int(time.time()).to_bytes(4) + _MACHINE + (next(_counter) & 0xFFFFFF).to_bytes(3)
    return (len(raw) + _ID_LENGTH).to_bytes(4, "little") + _ID_ELEMENT + identity + raw[4:]


def _filter(document: dict[str, Any], key: tuple[str, ...]) -> bytes:
    """Encode the filter that finds a document by its key. A record without it is a reject."""
    query = {}
    for name in key:
        value: Any = document
        for part in name.split("."):
            value = value.get(part) if type(value) is dict else None
        if value is None:
            raise _RejectedError("type", name, f"lacks the key {name}")
        query[name] = {"$eq": value}
    return bson.encode(query)


# -- delimited text ---------------------------------------------------------------------------------------


class _Column(NamedTuple):
    name: str
    path: tuple[str, ...]
    convert: Callable[[str], Any]


@lru_cache(maxsize=8)
def columns(header: tuple[str, ...], plan: Plan) -> tuple[_Column, ...]:
    """Find out how each column is read.

    Raises `UsageError` when a type is given for a field that the header doesn't have.
    """
    kinds = dict(plan.types)
    if missing := [name for name in kinds if name not in header]:
        raise UsageError(
            f"--types names {missing[0]!r}, which no column has", hint=f"columns are {', '.join(header)}"
        )
    return tuple(
        _Column(name, tuple(name.split(".")), types.converter(kinds.get(name, "auto"))) for name in header
    )


def _rows(chunk: Chunk, plan: Plan) -> Iterator[tuple[int, dict[str, Any] | _RejectedError]]:
    layout = columns(chunk.header, plan)
    nested = any(len(column.path) > 1 for column in layout)
    converters = [column.convert for column in layout]
    # Nothing to leave out and nothing to replace: a row becomes a document in one go.
    plain = plan.null is None and not plan.ignore_blanks
    for number, row in enumerate(_cells(chunk)):
        if isinstance(row, _RejectedError):
            yield number, row
        elif len(row) != len(layout):
            reason = f"{len(row)} cells where the header has {len(layout)}"
            yield number, _RejectedError("parse", None, reason)
        else:
            document: dict[str, Any] | _RejectedError
            try:
                values = (
                    [convert(text) for convert, text in zip(converters, row, strict=True)] if plain else ()
                )
                document = dict(zip(chunk.header, values, strict=True))
            except ValueError:
                # Some cell isn't of its type, or cells are to be left out or replaced.
                document = _cell_by_cell(row, layout, plan)
            yield number, _nest(document, layout) if nested and isinstance(document, dict) else document


def _cell_by_cell(row: list[str], layout: tuple[_Column, ...], plan: Plan) -> dict[str, Any] | _RejectedError:
    document: dict[str, Any] = {}
    for column, text in zip(layout, row, strict=True):
        if text == plan.null:
            document[column.name] = None
        elif text or not plan.ignore_blanks:
            try:
                document[column.name] = column.convert(text)
            except ValueError as error:
                return _RejectedError("type", column.name, str(error))
    return document


def _cells(chunk: Chunk) -> Iterable[list[str] | _RejectedError]:
    data, delimiter = chunk.data, chunk.delimiter
    if b'"' not in data:
        try:
            lines = data.decode().split("\n")
        except UnicodeDecodeError:
            pass
        else:
            return [line.rstrip("\r").split(delimiter) for line in lines if line.strip("\r")]
    return (_row(record, delimiter) for record in records(chunk))


def _row(record: Record, delimiter: str) -> list[str] | _RejectedError:
    if record.broken:
        return _RejectedError("parse", None, record.broken)
    try:
        return delimited.cells(record.text.decode(), delimiter)
    except UnicodeDecodeError as error:
        return _RejectedError("parse", None, f"not UTF-8 at byte {error.start + 1} of the record")


def _nest(document: dict[str, Any], layout: tuple[_Column, ...]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for column in layout:
        if column.name in document:
            inner = result
            for part in column.path[:-1]:
                inner = inner.setdefault(part, {})
            inner[column.path[-1]] = document[column.name]
    return result
