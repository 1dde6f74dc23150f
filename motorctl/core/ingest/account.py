"""What became of every record: the counts, and the rejects.

Counts what was read and what became of it apart from each other, and holds one against the other at the
end: read = inserted + updated + unchanged + rejected. Writes the rejects file; prints nothing.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from motorctl.core.ingest.decoding.decode import locate, reject
from motorctl.core.private import opener
from motorctl.errors import MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO

    from motorctl.core.ingest.model import Chunk, Decoded, Outcome, Place, Reject

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

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        self.bytes += other.bytes
        self.read += other.read
        self.inserted += other.inserted
        self.updated += other.updated
        self.unchanged += other.unchanged
        self.rejected += other.rejected

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
        with suppress(FileNotFoundError, NotADirectoryError):
            place.stat()  # a name that no file can have: from 3.14 on, Python's `exists` keeps that to itself
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
class Entry:
    """The books of one chunk, from when it is read until the last of its records' fate is known.

    Its rejects wait here for those of the chunks before it, so that the rejects file has the order of
    the input.
    """

    chunk: Chunk
    tally: Tally
    lines_before: Callable[[], int]
    rejects: list[Reject] = field(default_factory=list)
    closed: bool = False
    kept: bool = False

    def sent(self, documents: int) -> None:
        """Count documents as read: they are handed to writing now."""
        self.tally.read += documents

    def written(self, decoded: Decoded, outcome: Outcome) -> None:
        """Book a batch and the server's answer to it."""
        self.tally.inserted += outcome.inserted
        self.tally.updated += outcome.updated
        self.tally.unchanged += outcome.unchanged
        self.tally.rejected += len(outcome.failures)
        by_number = {decoded.numbers[failure.position]: failure for failure in outcome.failures}
        made = {
            decoded.numbers[f.position]: decoded.made_id(f.position)
            for f in outcome.failures
            if f.position in decoded.generated
        }
        if by_number:
            self.rejects += [
                replace(reject(self.chunk, record, *by_number[number][1:]), made_id=made.get(number))
                for number, record in locate(self.chunk, by_number)
            ]


@dataclass(slots=True)
class Account:
    """The books of one import: counts by file, the first rejects, the rejects file.

    `files` holds what is settled: all chunks of a file up to `places[file]`, in order. The chunks after
    it have an `Entry` each. `seen` is how many records were decoded, those not yet handed to writing
    included. `resumed` is how many records an earlier run had settled, and
    `rejects_bytes` how long the rejects file is with theirs. `begun` says that an input was there to be
    read: an earlier run's rejects file isn't kept from then on.
    """

    rejects_path: str | None = None
    limit: ErrorLimit = field(default_factory=ErrorLimit)
    files: dict[str, Tally] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    read_whole: set[str] = field(default_factory=set)
    seen: int = 0
    first: list[Reject] = field(default_factory=list)
    resumed: int | None = None
    rejects_bytes: int = 0
    begun: bool = False
    rejects_error: MotorctlError | None = None
    _open: deque[Entry] = field(default_factory=deque)
    _rejects: FileIO | None = None
    _secured: int = 0
    _settled: Tally = field(default_factory=Tally)
    _started: float | None = None
    _ended: float | None = None

    def open(self) -> None:
        """Start the clock, and go on with the rejects file of an earlier run, if there is one."""
        if self.rejects_bytes:
            self._go_on()
        self._started = time.monotonic()

    def begin(self, chunk: Chunk, lines_before: Callable[[], int] = lambda: 0) -> Entry:
        """Open the books of the next chunk. `lines_before` counts the lines before its line 1."""
        size = chunk.end.offset - chunk.offset if chunk.end is not None else len(chunk.data)
        entry = Entry(chunk, Tally(chunk.file, size), lines_before)
        self._open.append(entry)
        return entry

    def decoded(self, entry: Entry, decoded: Decoded) -> None:
        """Book the records that became no document."""
        self.seen += len(decoded.ends) + len(decoded.rejects)
        entry.rejects += decoded.rejects
        entry.tally.read += len(decoded.rejects)
        entry.tally.rejected += len(decoded.rejects)

    def end(self, entry: Entry) -> None:
        """Close the books of a chunk; what is settled up to here is written down."""
        entry.closed = True
        # What can't be kept isn't settled: a run that resumes meets those records again.
        while self._open and self._open[0].closed and self._keep(self._open[0]):
            self._settle(self._open.popleft())

    def _settle(self, entry: Entry) -> None:
        self.tally(entry.chunk.file).add(entry.tally)
        self._settled.add(entry.tally)
        if entry.chunk.end is not None:
            self.places[entry.chunk.file] = entry.chunk.end

    def _keep(self, entry: Entry) -> bool:
        """Write the rejects of a chunk down; whether that could be done, or need not be."""
        if entry.rejects and not entry.kept:
            entry.kept = True
            before = entry.lines_before()
            in_order = sorted(entry.rejects, key=attrgetter("byte_offset"))
            self._reject([replace(refused, line=refused.line + before) for refused in in_order])
        return self.rejects_error is None

    def close(self) -> None:
        """Stop the clock, close the rejects file, and compare what was read with what is booked.

        Without a reject the file of an earlier run is removed: it would look like this one's. Raises
        `DefectError` where a record's fate isn't known, or is known twice.
        """
        self._ended = time.monotonic()
        while self._open:
            # No longer in order: what comes after a chunk that isn't whole doesn't move the place.
            entry = self._open.popleft()
            if entry.tally.read:
                self._keep(entry)
                self._settle(replace(entry, chunk=replace(entry.chunk, end=None)))
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
    def on_their_way(self) -> int:
        """How many chunks aren't settled."""
        return len(self._open)

    def whole(self, file: str) -> bool:
        """Whether a file was read to its end, and all of it is settled."""
        return file in self.read_whole and all(entry.chunk.file != file for entry in self._open)

    @property
    def total(self) -> Tally:
        """The counts of all files together, the chunks that are still open included."""
        total = replace(self._settled)
        for entry in self._open:
            total.add(entry.tally)
        return total

    def take_over(self, tally: Tally) -> None:
        """Begin with what an earlier run has settled of a file."""
        self.files[tally.file] = tally
        self._settled.add(tally)

    def tally(self, file: str) -> Tally:
        """The counts of one file."""
        return self.files.setdefault(file, Tally(file))

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
            # Of this run; a run that found nothing to do has no rate.
            "documents_per_second": round((total.read - (self.resumed or 0)) / seconds)
            if seconds >= 0.001
            else 0,
            "rejects_file": self.rejects_path if total.rejected else None,
            "resumed_from": self.resumed,
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
        self.first += rejects[: FIRST_REJECTS - len(self.first)]
        if self.rejects_path is None or self.rejects_error is not None:
            return
        try:
            if self._rejects is None:
                self._rejects = open(self.rejects_path, "wb", buffering=0, opener=opener)  # noqa: SIM115 - closed in close()
            lines = b"".join(map(_line, rejects))
            left = memoryview(lines)
            while left:
                left = left[self._rejects.write(left) :]
            self.rejects_bytes += len(lines)
        except OSError as error:
            self._keep_error(error)
            # A line that is torn in two can't be mended, nor gone on behind.
            with suppress(OSError):
                os.truncate(self.rejects_path, self.rejects_bytes)

    def _go_on(self) -> None:
        """Cut the rejects file to what an earlier run had settled, and go on behind it."""
        assert self.rejects_path is not None
        try:
            self._rejects = Path(self.rejects_path).open("r+b", buffering=0)  # noqa: SIM115 - closed in close()
            if self._rejects.seek(0, os.SEEK_END) < self.rejects_bytes:
                raise MotorctlError(
                    f"the rejects file {self.rejects_path} is shorter than the earlier run left it",
                    hint="put it back as it was, or import anew after `motorctl import forget`",
                )
            self._rejects.truncate(self.rejects_bytes)
            self._rejects.seek(self.rejects_bytes)
        except OSError as error:
            raise MotorctlError(
                f"can't go on with the rejects file {self.rejects_path}: {error.strerror or error}",
                hint="put it back as it was, or import anew after `motorctl import forget`",
            ) from error

    def secure(self) -> int:
        """Bring the rejects to the disk, before a checkpoint counts on them; return how many bytes they are."""
        if self._rejects is not None and self._secured != self.rejects_bytes:
            try:
                # Of a pipe or /dev/null it is an error, and on each system another one.
                if stat.S_ISREG(os.fstat(self._rejects.fileno()).st_mode):
                    os.fsync(self._rejects.fileno())
            except OSError as error:
                self._keep_error(error)
                assert self.rejects_error is not None
                raise self.rejects_error from error
            self._secured = self.rejects_bytes
        return self.rejects_bytes

    def _keep_error(self, error: OSError) -> None:
        if self.rejects_error is None:
            self.rejects_error = MotorctlError(
                f"can't write the rejects file {self.rejects_path}: {error.strerror or error}",
                hint="the import stopped there: what it had written stays written",
            )


def _line(refused: Reject) -> bytes:
    """Write a reject as a line; columns and an `_id` that was made only where there are any."""
    fields = asdict(refused)
    made = fields.pop("made_id")
    if made is not None:
        fields["_id"] = {"$oid": made}
    if refused.columns is None:
        del fields["columns"], fields["delimiter"]
    return orjson.dumps(fields) + b"\n"
