"""Exporting documents by their `_id`s: reading a list of them, asking for many at a time.

A line of the list is one JSON value: a document with `_id` or `id` (what `export` and the lists of this
program write), or an `_id` itself. Extended JSON says what JSON has no word for.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motorctl.core import extjson
from motorctl.core.driver import once
from motorctl.core.export.read import raw_batches
from motorctl.core.export.text import pieces
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt
    from motorctl.core.export.model import Export

__all__ = ["batches_of", "open_ids", "read_ids"]

TOGETHER = 1000
"""So many are asked for in one query."""
_MOST_BYTES = 4 * 1024 * 1024


def open_ids(name: str | None, stdin: BinaryIO) -> AbstractContextManager[BinaryIO | None]:
    """Open a list: a file, stdin for `-`, none for None. Raises UsageError."""
    if name is None or name == "-":
        return nullcontext(stdin if name else None)
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise UsageError(f"--ids: cannot read {name}: {(error.strerror or str(error)).lower()}") from error


def read_ids(lines: Iterable[bytes]) -> Iterator[tuple[Any, int]]:
    """Yield the `_id` that each line holds, and its length; empty lines hold none.

    Raises UsageError, naming the line.
    """
    for number, line in enumerate(lines, 1):
        if not (text := line.strip()):
            continue
        try:
            value = extjson.loads(text)
            yield (_id(value) if isinstance(value, dict) else value), len(text)
        except ValueError as error:
            raise UsageError(
                f"--ids: line {number} holds no _id: {error}",
                hint='a line is {"_id": …}, {"id": …}, or the _id itself, in Extended JSON: {"$oid": "…"}',
                line=number,
            ) from error


def _id(document: Mapping[str, Any]) -> Any:
    name = next((name for name in ("_id", "id") if name in document), None)
    if name is None:
        raise ValueError("neither _id nor id is a key of this document")
    identity = document[name]
    # A DBRef is a document of these, and a value.
    names = set(identity) - {"$ref", "$id", "$db"} if isinstance(identity, dict) else set()
    if operator := next((key for key in names if key.startswith("$")), None):
        raise ValueError(f"{operator} is an operator, no value")
    return identity


async def batches_of(
    collection: Collection, export: Export, lines: Iterable[bytes], *, attempt: Attempt = once
) -> AsyncGenerator[bytes]:
    """Yield batches of the documents that have these `_id`s and fit the filter, a thousand after another.

    Counts in `export` how many were asked for and are missing. A line may be waited for as long as it
    takes: it may come from another program. Raises what `read_ids` and `raw_batches` raise.
    """
    ids = read_ids(lines)
    while wanted := await asyncio.to_thread(_taken, ids):
        both: list[Any] = [{"_id": {"$in": wanted}}, *([export.query.filter] if export.query.filter else [])]
        query = replace(export.query, filter={"$and": both})
        found = 0
        async with aclosing(raw_batches(collection, query, attempt=attempt)) as batches:
            async for batch in batches:
                found += sum(1 for _ in pieces(batch, 1))
                yield batch
        asked = len({extjson.dumps({"": one}, canonical=True) for one in wanted})
        export.asked += asked
        export.missing += max(0, asked - found)


def _taken(ids: Iterator[tuple[Any, int]]) -> list[Any]:
    """Take what one query asks for."""
    wanted: list[Any] = []
    size = 0
    for value, length in islice(ids, TOGETHER):
        wanted.append(value)
        size += length
        if size > _MOST_BYTES:
            break
    return wanted
