"""The records of an input, one after the other: numbered, each with its key and its request, or why it has none.

Reads through the readers of `core.ingest` and holds one piece of the input at a time. Asks no server.
"""

from __future__ import annotations

import re
import time
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import orjson

from motorctl.core import money
from motorctl.core.ingest.model import RecordError
from motorctl.core.ingest.reading.split import records, split
from motorctl.core.transfers.batch import keys, record
from motorctl.core.transfers.batch.model import Row
from motorctl.core.transfers.batch.record import NEEDED, Naming
from motorctl.core.transfers.request import Request, checked_accounts, checked_key, checked_note
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from motorctl.core.ingest.model import Chunk, Reading, Record
    from motorctl.core.ingest.reading.reader import Reader
    from motorctl.core.ingest.reading.source import Source
    from motorctl.core.transfers.batch.books import Books
    from motorctl.core.transfers.batch.model import Part

T = TypeVar("T")

BLOCK = 500
"""Rows that are handed on at once."""

_COMPRESSED = re.compile(r"\.(?:gz|bz2|zst)$", re.IGNORECASE)


class Found(NamedTuple):
    """What a record says: its key if it has one, the request, why there is none."""

    key: str | None
    request: Request | None
    fault: RecordError | None


def batch_name(given: str | None, source: Source) -> str | None:
    """Return the batch's name: `given`, else the file's without its folder and a compression's ending.

    None for what has no name of its own: stdin, a named pipe. Raises UsageError (2) for one that can't be.
    """
    if given is not None:
        return keys.check_name(given)
    return keys.check_name(_COMPRESSED.sub("", PurePath(source.name).name)) if source.stream is None else None


def check(source: Source, reading: Reading, naming: Naming, batch: str | None) -> None:
    """Look at the beginning of a file. Raises UsageError (2) for one whose rows can't be transfers.

    What can be read once only is left alone: `Rows` looks at it.
    """
    if source.stream is None:
        check_chunk(next(split(type(source)(source.name), reading), None), naming, batch)


def check_chunk(chunk: Chunk | None, naming: Naming, batch: str | None) -> None:
    """Raise UsageError (2) where the first piece of an input shows that no row of it can be a transfer."""
    if chunk is None:
        return
    keyed = True
    if chunk.layout == "delimited":
        keyed = "key" in record.columns(chunk.header, naming)
    elif batch is None:
        first = next(_found(chunk, naming), None)
        keyed = first is None or first[1].key is not None
    if batch is None and not keyed:
        raise UsageError(
            "rows without a key need the name of their batch",
            hint="--batch payroll-2026-11: the same rows under the same name are sent once; or add a column key",
        )


def count(source: Source, reading: Reading, seconds: float) -> int | None:
    """Count the rows of a file; None where that would take longer, or it can be read once only."""
    if source.stream is not None:
        return None
    end, found = time.monotonic() + seconds, 0
    for chunk in split(type(source)(source.name), reading):
        found += sum(1 for _ in records(chunk))
        if time.monotonic() > end:
            return None
    return found


class Rows:
    """The rows of an input, a block at a time, booked as they are taken."""

    def __init__(self, reader: Reader, naming: Naming, batch: str | None, books: Books) -> None:
        self._reader = reader
        self._naming = naming
        self._batch = batch
        self._books = books
        self._number = 0
        self._part: Part | None = None
        self._chunk: Iterator[tuple[Record, Found]] | None = None

    async def begin(self) -> None:
        """Wait for the beginning of the input. Raises what `check` raises."""
        check_chunk(await self._reader.peek(), self._naming, self._batch)

    async def next(self) -> list[Row]:
        """Wait for the next rows, at most `BLOCK`; none at the end. Raises what reading raises."""
        while True:
            if self._part is None or self._chunk is None:
                chunk = await anext(self._reader, None)
                if chunk is None:
                    self._reader.source.check_length()
                    self._books.total = self._number
                    return []
                self._part = self._books.begin(chunk)
                self._chunk = _found(chunk, self._naming)
            taken = list(islice(self._chunk, BLOCK))
            rows = [self._row(one, found, self._part) for one, found in taken]
            self._books.take(rows)
            if len(taken) < BLOCK:
                self._books.whole(self._part)
                self._part = self._chunk = None
            if rows:
                return rows

    def _row(self, one: Record, found: Found, part: Part) -> Row:
        self._number += 1
        key, request, fault = found
        if key is not None:
            return Row(self._number, one.line, key, True, request, fault, one, part)
        if self._batch is None:
            fault = fault or RecordError("type", "key", "no key, and --batch gives its rows no name")
            return Row(self._number, one.line, "", False, None, fault, one, part)
        if request is None:
            key = keys.made(self._batch, self._number, keys.unread(one.text))
            return Row(self._number, one.line, key, False, None, fault, one, part)
        said = keys.content(request.source, request.target, request.amount, request.note)
        key = keys.made(self._batch, self._number, said)
        asked = Request(key, request.source, request.target, request.amount, request.note)
        return Row(self._number, one.line, key, False, asked, fault, one, part)


def _found(chunk: Chunk, naming: Naming) -> Iterator[tuple[Record, Found]]:
    """Read the records of a chunk. A line of a rejects file has the key that its row had."""
    fields = record.columns(chunk.header, naming) if chunk.layout == "delimited" else None
    kept = _kept_keys(chunk.data) if chunk.layout == "rejects" else None
    for one in records(chunk):
        key = next(kept, None) if kept is not None else None
        try:
            texts = _texts(one, chunk, fields, naming)
            key = texts.get("key") or key
            yield one, Found(key, _request(key, texts), None)
        except RecordError as error:
            yield one, Found(key, None, RecordError(*error.why))


def _texts(
    one: Record, chunk: Chunk, fields: tuple[str | None, ...] | None, naming: Naming
) -> dict[str, str]:
    if one.broken:
        raise RecordError("parse", None, one.broken)
    if fields is not None:
        return record.from_table(one.text, fields, chunk.delimiter, chunk.quote)
    if one.columns is not None:
        return record.from_table(one.text, _columns(one.columns, naming), one.delimiter, '"')
    return record.from_json(one.text, naming)


def _request(key: str | None, texts: dict[str, str]) -> Request:
    """Make the request of a record, by the rules that one typed by hand has to keep. Raises RecordError."""
    for name in NEEDED:
        if name not in texts:
            raise RecordError("type", name, f"{name} is missing")
    source, target = texts["from"], texts["to"]
    _checked("to", lambda: checked_accounts(source, target))
    amount = _checked("amount", lambda: money.amount(texts["amount"]))
    note = _checked("note", lambda: checked_note(texts.get("note")))
    return Request(
        "" if key is None else _checked("key", lambda: checked_key(key)), source, target, amount, note
    )


def _checked(field: str, check: Callable[[], T]) -> T:
    try:
        return check()
    except UsageError as error:
        reason = f"{error.message}: {error.hint}" if error.hint else error.message
        raise RecordError("type", field, reason) from None


def _columns(header: tuple[str, ...], naming: Naming) -> tuple[str | None, ...]:
    try:
        return record.columns(header, naming)
    except UsageError as error:
        raise RecordError("parse", None, error.message) from None


def _kept_keys(data: bytes) -> Iterator[str | None]:
    """Yield the key of each line of a rejects file, in step with `records`."""
    for line in data.split(b"\n"):
        if line.strip():
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError:
                found = None
            key = found.get("key") if isinstance(found, dict) else None
            yield key if isinstance(key, str) and key else None
