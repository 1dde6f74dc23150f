"""What became of each row: read = committed + replayed + rejected, however a batch ends.

Counts what was taken from the input and what became of it apart from each other. Keeps the rejects in the
order of the input, through the books of an import, so that their file is read again by the same command; and
the results, a line a row, as they are known. Decides nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING, Any

import orjson

from motorctl.core.ingest.account import Account, DefectError, ErrorLimit
from motorctl.core.ingest.decoding.decode import reject
from motorctl.core.ingest.model import Reject
from motorctl.core.private import opener
from motorctl.core.transfers import ledger
from motorctl.core.transfers.batch.model import Part
from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

    from motorctl.core.ingest.model import Chunk, Stage
    from motorctl.core.transfers.batch.model import Row
    from motorctl.core.transfers.plan import Outcome

_SUM = Context(prec=200, traps=[Inexact])
_STOPPED = "the batch stopped there: what is committed stays, and the same command goes on"


@dataclass(frozen=True, slots=True)
class Refused(Reject):
    """A reject with the key that its row had: sent again, mended or not, it is still that one row."""

    key: str | None = None


@dataclass(slots=True)
class Books:
    """The books of one batch. `path` is of the results; `limit` how many rejects are too many."""

    rejects_path: str | None = None
    path: str | None = None
    limit: ErrorLimit = field(default_factory=ErrorLimit)
    account: Account = field(init=False)
    taken: int = 0
    place: int = 0
    """Where the last row that was taken begins, in bytes of text: the reader is far ahead of it."""
    unknown: list[str] = field(default_factory=list)
    """Keys of rows of which the answer of the commit stayed out: the first few of them."""
    unknown_rows: int = 0
    asked_again: bool = False
    """Whether an answer stayed out and rows were sent again: what was replayed may be of this run then."""
    total: int | None = None
    """How many rows the input has; None as long as nobody has counted them."""
    amount: Decimal = Decimal(0)
    """The sum of what was committed, whatever its currencies: a control sum, as ISO 20022 has it (CtrlSum)."""
    _results: FileIO | None = None
    _results_bytes: int = 0
    _error: MotorctlError | None = None
    _ended: bool = False

    def __post_init__(self) -> None:
        self.account = Account(self.rejects_path, self.limit)

    # -- the way of a row -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the clock, and the results anew. Raises UsageError (2) where they can't be written."""
        if self.path is not None:
            try:
                self._results = open(self.path, "wb", buffering=0, opener=opener)  # noqa: SIM115 - closed in close()
            except OSError as error:
                raise UsageError(f"can't write the results {self.path}: {error.strerror or error}") from error
        self.account.open()

    def begin(self, chunk: Chunk) -> Part:
        """Open the books of the next piece of the input."""
        self.account.begun = True
        return Part(self.account.begin(replace(chunk, data=b"") if chunk.end is not None else chunk))

    def take(self, rows: Sequence[Row]) -> None:
        """Count rows that are taken from the input."""
        self.taken += len(rows)
        self.account.seen = self.taken
        self.place = rows[-1].record.offset if rows else self.place
        for row in rows:
            row.part.open += 1

    def whole(self, part: Part) -> None:
        """Say that all rows of a piece are taken: it is settled with the last of them."""
        part.whole = True
        self._settled(part)

    def settle(self, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> None:
        """Book what became of rows, each with its outcome."""
        lines: list[dict[str, Any]] = []
        for row, outcome in zip(rows, outcomes, strict=True):
            tally = row.part.entry.tally
            if outcome.refused is not None:
                self._refuse(row, *why(row, outcome.refused))
                lines.append(_line(row, outcome.refused))
            else:
                assert outcome.record is not None
                tally.read += 1
                if outcome.replayed:
                    tally.unchanged += 1
                else:
                    tally.inserted += 1
                    self.amount = _SUM.add(self.amount, outcome.request.amount)
                if self._results is not None:
                    shown = ledger.shown(outcome.record, replayed=outcome.replayed)
                    lines.append({"row": row.number, "line": row.line, **shown})
            self._close(row)
        self._write(lines)

    def refuse(self, row: Row, stage: Stage, field: str | None, reason: str) -> None:
        """Book a row that never was a request, or that the server's rules refuse."""
        self._refuse(row, stage, field, reason)
        self._close(row)
        self._write([_line(row, reason)])

    def lose(self, rows: Sequence[Row]) -> None:
        """Book rows of which nobody knows whether they are committed."""
        self.unknown_rows += len(rows)
        self.unknown += [row.key for row in rows][: 5 - len(self.unknown)]
        self._write(
            [{"row": row.number, "line": row.line, "key": row.key, "status": "unknown"} for row in rows]
        )

    # -- the end --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the clock and close the files. Raises DefectError where more became of rows than there are."""
        try:
            self.account.close()
        finally:
            if self._results is not None:
                self._results.close()
                self._results = None
        if self.taken < self.account.total.read + self.unknown_rows:
            raise DefectError(
                f"defect: {self.taken:,} rows were read, and {self.account.total.read:,} are accounted for",
                hint="this is a mistake in motorctl: `motorctl transfer verify` before you rely on the books",
            )

    @property
    def opened(self) -> bool:
        """Whether the batch has begun: from then on there is a summary."""
        return self.account.opened

    @property
    def error(self) -> MotorctlError | None:
        """What keeps the books from being kept: a disk that is full."""
        if (error := self.account.rejects_error) is not None:
            return MotorctlError(error.message, hint=_STOPPED)
        return self._error

    @property
    def too_many(self) -> bool:
        """Whether the rejects have passed the limit."""
        return self.account.too_many()

    @property
    def read(self) -> int:
        """How many rows are decided."""
        return self.account.total.read

    @property
    def rejected(self) -> int:
        return self.account.total.rejected

    @property
    def all_replayed(self) -> bool:
        """Whether nothing was new: every row had been sent before this run."""
        total = self.account.total
        return bool(total.read) and total.unchanged == total.read and not self.asked_again

    def summary(self, batch: str | None) -> dict[str, Any]:
        """Give the counts. `left` rows weren't reached (None: nobody has counted them), of `unknown` ones
        nobody knows whether they are committed, `amount` is the sum of those that this run has committed.
        """
        total, times = self.account.total, self.account.summary()
        seconds = times["seconds"]
        return {
            "batch": batch,
            "read": total.read,
            "committed": total.inserted,
            "replayed": total.unchanged,
            "rejected": total.rejected,
            "unknown": self.unknown_rows,
            "left": None if self.total is None else self.total - total.read - self.unknown_rows,
            "amount": self.amount,
            "seconds": seconds,
            "transfers_per_second": round(total.inserted / seconds) if seconds >= 0.001 else 0,
            "rejects_file": times["rejects_file"],
        }

    # -- inside ---------------------------------------------------------------------------------------------

    def _refuse(self, row: Row, stage: Stage, field: str | None, reason: str) -> None:
        entry = row.part.entry
        made = asdict(reject(entry.chunk, row.record, stage, field, reason))
        entry.tally.read += 1
        entry.tally.rejected += 1
        entry.rejects.append(Refused(**made, key=row.key or None))

    def _close(self, row: Row) -> None:
        row.part.open -= 1
        self._settled(row.part)

    def _settled(self, part: Part) -> None:
        if part.whole and not part.open:
            self.account.end(part.entry)

    def _write(self, lines: Sequence[dict[str, Any]]) -> None:
        if self._results is None or self._error is not None or not lines:
            return
        try:
            text = b"".join(
                orjson.dumps(line, str, orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE) for line in lines
            )
            left = memoryview(text)
            while left:
                left = left[self._results.write(left) :]
            self._results_bytes += len(text)
        except OSError as error:
            self._error = MotorctlError(
                f"can't write the results {self.path}: {error.strerror or error}", hint=_STOPPED
            )
            # A line that is torn in two can't be read.
            with suppress(OSError):
                os.truncate(self.path or "", self._results_bytes)


def why(row: Row, error: MotorctlError) -> tuple[Stage, str | None, str]:
    """Say at which stage and for which field a request was refused."""
    request = row.request
    assert request is not None
    if "key" in error.details:
        return "duplicate", "key", error.message
    account = error.details.get("account")
    field = {request.target: "to", request.source: "from"}.get(str(account)) if account is not None else None
    stage: Stage = "type" if isinstance(error, UsageError) else "server"
    if field is None and isinstance(error, UsageError):
        field = "to" if request.source == request.target else "amount"
    return stage, field, error.message


def _line(row: Row, error: MotorctlError | str) -> dict[str, Any]:
    line = {"row": row.number, "line": row.line, "key": row.key or None, "status": "rejected"}
    if isinstance(error, MotorctlError):
        return {**line, "code": error.code, "exit": int(error.exit_code), "reason": error.message}
    return {**line, "code": UsageError.code, "exit": int(UsageError.exit_code), "reason": error}
