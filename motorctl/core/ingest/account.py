"""What became of every record: the counts, and the rejects.

Counts what was read and what became of it apart from each other, and holds one against the other at the
end: read = inserted + updated + unchanged + rejected. Writes the rejects file; prints nothing.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from motorctl.core.ingest.decode import locate, text_of
from motorctl.core.ingest.model import Reject
from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    from motorctl.core.ingest.model import Decoded, Outcome

__all__ = ["Account", "DefectError", "ErrorLimit", "Tally", "check_rejects_path"]

FIRST_REJECTS = 5
# A percentage means nothing over the first few records.
PERCENT_FROM = 1000


class DefectError(MotorctlError):
    """The books don't balance: the program's mistake, and not the data's."""

    code = "defect"


@dataclass(slots=True)
class Tally:
    """The counts of one file, or of all."""

    file: str = ""
    bytes: int = 0
    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0

    @property
    def booked(self) -> int:
        """How many records' fate is known."""
        return self.inserted + self.updated + self.unchanged + self.rejected


@dataclass(frozen=True, slots=True)
class ErrorLimit:
    """How many rejects are too many: more than `count`, or more than `percent` of those read."""

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> ErrorLimit:
        """Read `N` or `P%`. Raises `UsageError`."""
        try:
            limit = cls(percent=float(text[:-1])) if text.endswith("%") else cls(count=int(text))
        except ValueError:
            limit = cls(count=-1)
        if (limit.count or 0) < 0 or not 0 <= (limit.percent or 0) <= 100:
            raise UsageError(f"--max-errors {text!r} is neither a number nor a percentage")
        return limit

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.count is None else str(self.count)

    def passed(self, rejected: int, read: int, *, final: bool) -> bool:
        """Whether there are too many rejects; a percentage is judged from 1,000 records on, and at the end."""
        if self.count is not None and rejected > self.count:
            return True
        judged = self.percent is not None and (final or read >= PERCENT_FROM)
        return judged and rejected * 100 > (self.percent or 0) * read


def check_rejects_path(path: str) -> None:
    """Raise `UsageError` where no rejects file could be written. Creates and changes nothing."""
    place = Path(path)
    try:
        there, directory = place.exists(), place.parent
        if place.is_dir():
            reason = "it is a directory"
        elif not there and not directory.is_dir():
            reason = f"there is no directory {directory}"
        elif not os.access(place if there else directory, os.W_OK):
            reason = "not permitted"
        else:
            return
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error)
    raise UsageError(f"can't write the rejects file {path}: {reason}")


@dataclass(slots=True)
class Account:
    """The books of one import: counts by file, the first rejects, the rejects file.

    `seen` is how many records were decoded, those not yet handed to writing included. `begun` says that
    an input was there to be read: an earlier run's rejects file isn't kept from then on.
    """

    rejects_path: str | None = None
    limit: ErrorLimit = field(default_factory=ErrorLimit)
    files: dict[str, Tally] = field(default_factory=dict)
    first: list[Reject] = field(default_factory=list)
    seen: int = 0
    begun: bool = False
    rejects_error: MotorctlError | None = None
    _rejects: BinaryIO | None = None
    _started: float | None = None
    _ended: float | None = None

    def open(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def close(self) -> None:
        """Stop the clock, close the rejects file, and compare what was read with what is booked.

        Without a reject the file of an earlier run is removed: it would look like this one's. Raises
        `DefectError` where a record's fate isn't known, or is known twice.
        """
        self._ended = time.monotonic()
        if self._rejects is not None:
            try:
                self._rejects.close()
            except OSError as error:
                self._keep_error(error)
            self._rejects = None
        elif self.rejects_path is not None and self.begun and not self.total.rejected:
            old = Path(self.rejects_path)
            # Never what isn't a file of its own: /dev/stdout is a link to wherever the output goes.
            if old.is_file() and not old.is_symlink():
                with suppress(OSError):
                    old.unlink()
        for tally in self.files.values():
            if tally.read != tally.booked:
                raise DefectError(
                    f"defect: of {tally.read:,} records read of {tally.file} {tally.booked:,} are accounted for",
                    hint="this is a mistake in motorctl: count the documents before you rely on them",
                    file=tally.file,
                )

    @property
    def opened(self) -> bool:
        """Whether the import has begun: from then on there is a summary."""
        return self._started is not None

    @property
    def total(self) -> Tally:
        """The counts of all files together."""
        total = Tally()
        for tally in self.files.values():
            total.bytes += tally.bytes
            total.read += tally.read
            total.inserted += tally.inserted
            total.updated += tally.updated
            total.unchanged += tally.unchanged
            total.rejected += tally.rejected
        return total

    def tally(self, file: str) -> Tally:
        """The counts of one file."""
        return self.files.setdefault(file, Tally(file))

    def decoded(self, decoded: Decoded) -> None:
        """Book what decoding refused."""
        self.seen += len(decoded.documents) + len(decoded.rejects)
        self.tally(decoded.chunk.file).read += len(decoded.rejects)
        self._reject(decoded.rejects)

    def sent(self, decoded: Decoded, start: int, stop: int) -> None:
        """Count documents `start` to `stop` as read: they are handed to writing now."""
        self.tally(decoded.chunk.file).read += stop - start

    def written(self, decoded: Decoded, outcome: Outcome) -> None:
        """Book a batch and the server's answer to it."""
        tally = self.tally(decoded.chunk.file)
        tally.inserted += outcome.inserted
        tally.updated += outcome.updated
        tally.unchanged += outcome.unchanged
        if outcome.failures:
            by_number = {decoded.numbers[failure.position]: failure for failure in outcome.failures}
            self._reject(
                [
                    Reject(
                        decoded.chunk.file,
                        record.line,
                        record.offset,
                        text_of(record),
                        by_number[number].stage,
                        by_number[number].field,
                        by_number[number].reason,
                        by_number[number].code,
                    )
                    for number, record in locate(decoded.chunk, by_number)
                ]
            )

    def too_many(self, *, final: bool = False) -> bool:
        """Whether the rejects have passed the limit."""
        # Against all that was seen: the good records of a chunk are booked after its bad ones.
        return self.limit.passed(self.total.rejected, self.seen, final=final)

    def summary(self) -> dict[str, Any]:
        """Give the counts as the command line's contract names them."""
        total = self.total
        now = time.monotonic()
        seconds = (self._ended or now) - (self._started or now)
        return {
            "read": total.read,
            "inserted": total.inserted,
            "updated": total.updated,
            "unchanged": total.unchanged,
            "rejected": total.rejected,
            "bytes": total.bytes,
            "seconds": round(seconds, 3),
            "documents_per_second": round(total.read / seconds) if seconds > 0 else 0,
            "rejects_file": self.rejects_path if total.rejected else None,
            "resumed_from": None,
            "files": [
                {
                    "file": tally.file,
                    "read": tally.read,
                    "inserted": tally.inserted,
                    "updated": tally.updated,
                    "unchanged": tally.unchanged,
                    "rejected": tally.rejected,
                    "bytes": tally.bytes,
                }
                for tally in self.files.values()
            ],
        }

    def _reject(self, rejects: list[Reject]) -> None:
        for reject in rejects:
            self.tally(reject.file).rejected += 1
            if len(self.first) < FIRST_REJECTS:
                self.first.append(reject)
        if rejects and self.rejects_path is not None and self.rejects_error is None:
            try:
                if self._rejects is None:
                    self._rejects = Path(self.rejects_path).open("wb")  # noqa: SIM115  # closed in close()
                self._rejects.write(b"".join(orjson.dumps(asdict(reject)) + b"\n" for reject in rejects))
                self._rejects.flush()
            except OSError as error:
                self._keep_error(error)

    def _keep_error(self, error: OSError) -> None:
        if self.rejects_error is None:
            self.rejects_error = MotorctlError(
                f"can't write the rejects file {self.rejects_path}: {error.strerror or error}",
                hint="the import stopped there: what it had written stays written",
            )
