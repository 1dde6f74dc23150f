"""The plain values that pass between the parts of an export. Picklable, and no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BATCH", "SAMPLE", "Block", "Column", "Compression", "Export", "Format", "Query", "Style"]

Format = Literal["ndjson", "json", "csv"]
Compression = Literal["gzip", "zstd", "bz2"]

SAMPLE = 1000
"""In so many documents the columns of a CSV file are looked for."""
BATCH = 4000
"""So many documents the server sends at a time, unless they are more than 16 MB."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which documents, in what order, and how the server is to find and send them.

    The values are the driver's own. `snapshot`: all of them as they were at one point in time.
    """

    filter: Mapping[str, Any] = field(default_factory=dict)
    projection: Mapping[str, Any] | None = None
    sort: Sequence[tuple[str, int]] = ()
    limit: int = 0
    skip: int = 0
    hint: str | Mapping[str, Any] | None = None
    batch_size: int = BATCH
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Style:
    """How documents become text. `columns` are those of CSV; `found`: in a sample, not given by the user."""

    format: Format = "ndjson"
    canonical: bool = False
    columns: tuple[str, ...] = ()
    found: bool = False
    compression: Compression | None = None


class Column(NamedTuple):
    """What a CSV column held, in bits: the types that each of its values can be read back with, blanks.

    `literal`: some of its values are those of a field whose own name holds the dot.
    """

    types: int
    blanks: int
    literal: bool = False


class Block(NamedTuple):
    """The text of a batch; see `Export` for what is counted."""

    data: bytes
    documents: int = 0
    partial: int = 0
    columns: tuple[Column, ...] = ()


@dataclass(slots=True)
class Export:
    """What is asked for, and then what was done.

    `fields` are the CSV columns; when none are given they are found in the first documents. `workers` is
    how many processes may help.

    `documents` counts what was written, `bytes` its text (compressed, if it is to be), `partial` the
    documents that had more fields than columns. `columns` are the names of the CSV columns, and what was in
    them. `before` and `after` are how many the server said that there are. Of the `asked` ones of a list of
    `_id`s, `missing` are not there.
    """

    format: Format = "ndjson"
    query: Query = field(default_factory=Query)
    canonical: bool = False
    fields: tuple[str, ...] = ()
    header: bool = True
    compression: Compression | None = None
    workers: int = 0
    documents: int = 0
    bytes: int = 0
    partial: int = 0
    columns: dict[str, Column] = field(default_factory=dict)
    before: int | None = None
    after: int | None = None
    asked: int = 0
    missing: int = 0
