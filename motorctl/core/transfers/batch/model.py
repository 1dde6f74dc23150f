"""What a batch is made of: a row of the input, and the piece that it stands in. Data alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motorctl.core.ingest.account import Entry
    from motorctl.core.ingest.model import Record, RecordError
    from motorctl.core.transfers.request import Request


@dataclass(slots=True, eq=False)
class Part:
    """A piece of the input, and how many of its rows are on their way."""

    entry: Entry
    open: int = 0
    whole: bool = False
    """Whether all its rows have been read."""


@dataclass(slots=True, eq=False)
class Row:
    """A record of the input: `request` is what it asks for, or `fault` says why it asks for nothing.

    `number` counts the records from 1, `line` the lines of the file. `own` says that the key came with it,
    `refused_before` that it comes from a rejects file.
    """

    number: int
    line: int
    key: str
    own: bool
    request: Request | None
    fault: RecordError | None
    record: Record
    part: Part

    @property
    def refused_before(self) -> bool:
        return self.part.entry.chunk.layout == "rejects"
