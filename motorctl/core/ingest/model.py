"""The plain values that pass between the parts of an import. Picklable, and without behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = ["Chunk", "Decoded", "Failure", "Layout", "Mode", "Outcome", "Plan", "Record", "Reject", "Stage"]

Mode = Literal["insert", "upsert"]
Stage = Literal["parse", "type", "model", "validator", "duplicate", "server"]
# lines: one JSON object a line. array: one JSON array. objects: JSON objects in a row, over many lines.
Layout = Literal["lines", "array", "objects", "delimited"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole records of one file, as they stand in it.

    `line` (from 1) and `offset` (from 0, in the uncompressed bytes) are those of the first byte of
    `data`. `header` and `delimiter` belong to delimited files. `broken`, if any, says why all of the
    chunk is one reject that nobody need parse: an object that is never closed, say.
    """

    file: str
    layout: Layout
    data: bytes
    line: int
    offset: int
    header: tuple[str, ...] = ()
    delimiter: str = ","
    broken: str = ""


class Record(NamedTuple):
    """One record of a chunk: its text, where it begins, and why its borders are doubtful, if they are."""

    text: bytes
    line: int
    offset: int
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """How records become documents. `types` maps a field to a type as the user spells it."""

    mode: Mode = "insert"
    key: tuple[str, ...] = ()
    types: tuple[tuple[str, str], ...] = ()
    null: str | None = None
    ignore_blanks: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was not written, and why. `record` is its text as it stood in the file."""

    file: str
    line: int
    byte_offset: int
    record: str
    stage: Stage
    field: str | None
    reason: str
    code: int | None = None


@dataclass(slots=True)
class Decoded:
    """What a chunk's records became.

    `documents[i]` is the BSON of the chunk's record number `numbers[i]`; in upsert mode `filters[i]` is
    the BSON of the filter that finds it. `generated` says which documents got an `_id` of ours.
    """

    chunk: Chunk
    documents: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    filters: list[bytes] = field(default_factory=list)
    generated: set[int] = field(default_factory=set)
    rejects: list[Reject] = field(default_factory=list)


class Failure(NamedTuple):
    """The server's no to a document: its position in `Decoded.documents`, and why."""

    position: int
    stage: Stage
    field: str | None
    reason: str
    code: int | None


@dataclass(slots=True)
class Outcome:
    """What became of a batch. With `error`, the failures hold the records whose fate is unknown."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    failures: list[Failure] = field(default_factory=list)
    error: Exception | None = None
