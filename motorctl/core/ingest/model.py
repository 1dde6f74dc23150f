"""The plain values that pass between the parts of an import. Picklable, and next to no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Chunk",
    "Decoded",
    "Failure",
    "Format",
    "Layout",
    "Mode",
    "Outcome",
    "Place",
    "Plan",
    "Reading",
    "Record",
    "RecordError",
    "Reject",
    "Stage",
]

Format = Literal["auto", "json", "ndjson", "csv", "tsv"]
Mode = Literal["insert", "upsert", "merge", "replace", "skip", "delete"]
Stage = Literal["parse", "type", "model", "validator", "duplicate", "server"]
# lines: one JSON object a line. array: one JSON array. objects: JSON objects in a row, over many lines.
# rejects: what an import refused, one entry a line, mended; the records are in the entries.
Layout = Literal["lines", "rejects", "array", "objects", "delimited"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How an input's bytes are to be read, as far as the user says; the rest is told from the bytes.

    `delimiter` and `quote` (one character each; "" quote: none is special) and `header` (the columns'
    names, when the file has no header line) are for delimited text; `typed_header`: the header line
    spells types too, as mongoimport's `--columnsHaveTypes`. `encoding` is a Python codec's name; None is
    UTF-8, or what a byte order mark says.
    """

    format: Format = "auto"
    delimiter: str | None = None
    quote: str = '"'
    encoding: str | None = None
    header: tuple[str, ...] | None = None
    typed_header: bool = False


class Place(NamedTuple):
    """A border between two chunks of an input, and all that is needed to go on from it.

    `line` (from 1) and `offset` (from 0, in the decompressed bytes, in UTF-8) are those of the first byte
    after it. `after`: a JSON array has ended before it.
    """

    offset: int
    line: int
    layout: Layout
    delimiter: str = ","
    header: tuple[str, ...] = ()
    types: tuple[tuple[str, str], ...] = ()
    after: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole records of one file, as they stand in it.

    `line` and `offset` are those of the first byte of `data`, counted as `Place` counts. `header`,
    `delimiter`, `quote` and `types` (of a typed header) belong to delimited files. `broken`, if any, says
    why all of the chunk is one reject that nobody need parse: an object that is never closed, say. `end`
    is where reading goes on after the chunk. `identity` begins each `_id` that is made for its records.
    """

    file: str
    layout: Layout
    data: bytes
    line: int
    offset: int
    header: tuple[str, ...] = ()
    delimiter: str = ","
    quote: str = '"'
    types: tuple[tuple[str, str], ...] = ()
    broken: str = ""
    end: Place | None = None
    identity: bytes = b""


class Record(NamedTuple):
    """One record of a chunk: its text, where it begins, and why its borders are doubtful, if they are.

    `columns` are the header that a row in a rejects file had, `delimiter` what is between its cells, and
    `made_id` the `_id` (24 hexadecimal digits) that it was sent with.
    """

    text: bytes
    line: int
    offset: int
    broken: str = ""
    columns: tuple[str, ...] | None = None
    delimiter: str = ","
    made_id: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How records become documents.

    `types` maps a column to a type as the user spells it. `null` is the text of a cell that is null.
    `rename` maps an old name to a new one, then `only` keeps and `omit` drops fields, then `key` is looked
    up and `model` (students, users, orders) asked. `strict` refuses an object that names a key twice;
    `legacy` reads the Extended JSON that mongoexport 3.x wrote.
    """

    mode: Mode = "insert"
    key: tuple[str, ...] = ()
    types: tuple[tuple[str, str], ...] = ()
    null: str | None = None
    ignore_blanks: bool = False
    rename: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    model: str | None = None
    strict: bool = False
    legacy: bool = False


class RecordError(Exception):
    """Why a record becomes no document: at which stage, because of which field (dotted), in words."""

    def __init__(self, stage: Stage, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.stage: Stage = stage
        self.field = field
        self.reason = reason

    @property
    def why(self) -> tuple[Stage, str | None, str]:
        """Stage, field and reason."""
        return self.stage, self.field, self.reason


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was not written, and why. `record` is its text as it stood in the file.

    `columns` and `delimiter` are those of a row of delimited text: with them it can be read without its file.
    `made_id` is the `_id` that it was sent with and had not of its own: should it be there after all, sending
    it again inserts it no second time.
    """

    file: str
    line: int
    byte_offset: int
    record: str
    stage: Stage
    field: str | None
    reason: str
    code: int | None = None
    columns: tuple[str, ...] | None = None
    delimiter: str | None = None
    made_id: str | None = None


@dataclass(slots=True)
class Decoded:
    """What a chunk's records became.

    `data` holds the BSON documents one after the other, `ends[i]` is where number i ends in it, and
    `numbers[i]` its record's number in the chunk. In the modes with a key `keys[i]` is the BSON of the
    filter that finds it. `generated` holds the positions of those that had no `_id`, and got one that begins
    with the chunk's identity.
    """

    data: bytes = b""
    ends: list[int] = field(default_factory=list)
    numbers: Sequence[int] = ()
    keys: list[bytes] = field(default_factory=list)
    generated: frozenset[int] | range = frozenset()
    rejects: list[Reject] = field(default_factory=list)

    def cut(self, start: int, stop: int) -> bytes:
        """Return the BSON of documents `start` to `stop`, one after the other."""
        return self.data[self.ends[start - 1] if start else 0 : self.ends[stop - 1] if stop else 0]

    def made_id(self, position: int) -> str:
        """Return the `_id` that was made for a document, which is its first element."""
        return self.cut(position, position + 1)[9:21].hex()


class Failure(NamedTuple):
    """The server's no to a document: its position in `Decoded.ends`, and why."""

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
