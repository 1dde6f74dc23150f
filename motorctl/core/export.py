"""A collection as text: NDJSON, a JSON array or CSV, in blocks as the cursor delivers them.

Reads raw batches and writes Extended JSON that `import` reads back. A file appears under its name whole
or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import bson
import orjson
from bson import DatetimeMS, Decimal128, Int64, ObjectId
from pymongo.errors import CursorNotFound

from motorctl.core import extjson
from motorctl.errors import MotorctlError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from motorctl.client import Collection

__all__ = ["Export", "Format", "Query", "blocks", "cell", "open_whole", "row"]

Format = Literal["ndjson", "json", "csv"]

BATCH = 1000
_SPECIAL = re.compile(r'[",\r\n]')


@dataclass(frozen=True, slots=True)
class Query:
    """Which documents, and in what order. The values are the driver's own."""

    filter: Mapping[str, Any] = field(default_factory=dict)
    projection: Mapping[str, Any] | None = None
    sort: Sequence[tuple[str, int]] = ()
    limit: int = 0
    skip: int = 0


@dataclass(slots=True)
class Export:
    """What is asked for, and then what was done.

    `fields` are the CSV columns; when none are given they are found in the first documents.
    `documents` counts what was written, `partial` those of them that had more fields than columns.
    """

    format: Format = "ndjson"
    query: Query = field(default_factory=Query)
    canonical: bool = False
    fields: tuple[str, ...] = ()
    documents: int = 0
    partial: int = 0


async def blocks(collection: Collection, export: Export) -> AsyncGenerator[bytes]:
    """Yield the text of an export, a thousand documents at a time, and count them in `export`.

    Each block ends with a line end. Raises `UnreachableError` when the server has closed the cursor.
    """
    batches = _batches(collection, export.query)
    if export.format == "csv":
        async for block in _csv(batches, export):
            yield block
        return
    array = export.format == "json"
    separator = b",\n" if array else b"\n"
    # Held back until it is known whether a comma follows.
    pending = b"[" if array else b""
    async for batch in batches:
        if pending:
            yield pending + (separator if export.documents else b"\n")
        pending = separator.join([extjson.bson_to_json(raw, canonical=export.canonical) for raw in batch])
        export.documents += len(batch)
    if pending:
        yield pending + (b"\n]\n" if array else b"\n")


async def _batches(collection: Collection, query: Query) -> AsyncIterator[list[bytes]]:
    """Yield lists of BSON documents; the next batch is on its way while one is being worked on."""
    cursor: Any = collection.find_raw_batches(
        query.filter,
        query.projection,
        sort=list(query.sort) or None,
        limit=query.limit,
        skip=query.skip,
        batch_size=BATCH,
    )
    following = asyncio.ensure_future(anext(cursor, None))
    try:
        while (batch := await following) is not None:
            following = asyncio.ensure_future(anext(cursor, None))
            if documents := list(_cut(batch)):
                yield documents
    except CursorNotFound as error:
        # After ten idle minutes, too: a reader of stdout that pauses.
        raise UnreachableError(
            "the server has closed the cursor: the export is not whole", hint="export again, without a pause"
        ) from error
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await following
        await cursor.close()


def _cut(batch: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(batch):
        stop = start + int.from_bytes(batch[start : start + 4], "little")
        yield batch[start:stop]
        start = stop


# -- CSV --------------------------------------------------------------------------------------------------


async def _csv(batches: AsyncIterator[list[bytes]], export: Export) -> AsyncIterator[bytes]:
    header = export.fields
    found = not header
    paths: list[tuple[str, ...]] = []
    async for batch in batches:
        documents = [bson.decode(raw, extjson.BSON_OPTIONS) for raw in batch]
        lines: list[str] = []
        if not paths:
            header = header or _columns(documents)
            paths = [tuple(name.split(".")) for name in header]
            lines.append(row(header))
        known = set(header)
        for document in documents:
            lines.append(row([cell(_at(document, path)) for path in paths]))
            export.partial += found and not known.issuperset(document) and not _covered(document, "", known)
        export.documents += len(documents)
        yield "".join(lines).encode()
    if not paths and header:
        yield row(header).encode()


def _columns(documents: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Find the columns of some documents: dotted paths to their values, in order of appearance.

    Where a field is a value in one document and a document in another, it is one column.
    """
    names: dict[str, None] = {}
    for document in documents:
        names.update(dict.fromkeys(_paths(document, "")))
    return tuple(
        name
        for name in names
        if not any(name[:at] in names for at, letter in enumerate(name) if letter == ".")
    )


def _paths(document: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in document.items():
        # A name that holds a dot can't be told from a path: such a document is one cell of JSON.
        if isinstance(value, dict) and value and not any("." in name or not name for name in value):
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _covered(document: Mapping[str, Any], prefix: str, known: set[str]) -> bool:
    return all(
        prefix + key in known
        or (isinstance(value, dict) and bool(value) and _covered(value, f"{prefix}{key}.", known))
        for key, value in document.items()
    )


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(document, dict) or part not in document:
            return None
        document = document[part]
    return document


def cell(value: Any) -> str:
    """Write a value as a CSV cell: text that `--types` reads back; arrays and documents as JSON."""
    write = _CELLS.get(type(value))
    if write is not None:
        return write(value)
    plain = extjson.to_json_value(value)
    if isinstance(plain, dict) and len(plain) == 1 and isinstance(inner := next(iter(plain.values())), str):
        return inner
    return orjson.dumps(plain).decode()


def _float(value: float) -> str:
    return (
        repr(value)
        if math.isfinite(value)
        else "NaN"
        if math.isnan(value)
        else f"{'-' * (value < 0)}Infinity"
    )


def _date(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: Any) -> str:
    return orjson.dumps(extjson.to_json_value(value)).decode()


_CELLS: dict[type, Callable[[Any], str]] = {
    str: lambda text: text,
    NoneType: lambda _: "",
    bool: lambda value: "true" if value else "false",
    int: str,
    Int64: str,
    float: _float,
    ObjectId: str,
    Decimal128: str,
    datetime: _date,
    DatetimeMS: _json,
    bytes: _json,
    dict: _json,
    list: _json,
}


def row(cells: Iterable[str]) -> str:
    """Write cells as a line of CSV by RFC 4180, with a line feed at its end."""
    # The csv module leaves a lone carriage return bare where lines end with \n.
    text = ",".join(
        ['"' + value.replace('"', '""') + '"' if _SPECIAL.search(value) else value for value in cells]
    )
    return (text or '""') + "\n"


# -- files ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name when the block ends well, and not at all otherwise.

    What isn't a regular file (a pipe, `/dev/null`) is written as it comes. Raises `UsageError` when the
    place can't be written and `MotorctlError` when the disk is full.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory", hint=f"name a file in it: {path / 'export.ndjson'}")
    try:
        if path.exists() and not path.is_file():
            direct: BinaryIO | None = path.open("wb")
        else:
            direct = None
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}", file=str(path)) from error
    try:
        if direct is not None:
            with direct:
                yield direct
            return
    except OSError as error:
        raise _cannot_write(path, error) from error
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> MotorctlError:
    return MotorctlError(f"can't write {path}: {error.strerror or error}", file=str(path))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
