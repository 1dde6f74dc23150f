"""A batch of transfers, run: the file opened, the server reached, the engine started, its progress and its end told."""

from __future__ import annotations

import shlex
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motorctl.core.ingest.account import ErrorLimit, check_rejects_path
from motorctl.core.ingest.reading.reader import Reader
from motorctl.core.ingest.reading.source import check_names, open_source
from motorctl.core.transfers import ready
from motorctl.core.transfers.batch import engine, rehearsal, rows, whole
from motorctl.core.transfers.batch.books import Books
from motorctl.errors import ExitCode, MotorctlError, RefusedError, UsageError
from motorctl.output import Column

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.ingest.model import Reading
    from motorctl.core.ingest.reading.source import Source
    from motorctl.core.transfers.batch.record import Naming
    from motorctl.progress import Progress

COUNTS = ("read", "committed", "replayed", "rejected", "unknown", "left")
COUNTING_SECONDS = 1.0
"""How long the rows that were not reached are counted for, after a stop."""


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for."""

    file: str
    batch: str | None
    reading: Reading
    naming: Naming
    whole: bool = False
    dry_run: bool = False
    rejects: str | None = None
    max_errors: str | None = None
    results: str | None = None
    workers: int | None = None


def run(app: App, job: Job) -> ExitCode | None:
    """Do a job, and show what became of the rows, however it ends."""
    source = open_source(job.file, app.stdin)
    if job.rejects is not None:
        check_rejects_path(job.rejects)
    check_names([source.name], job.rejects, app.stdin)
    _check_results(app, source, job)
    batch = rows.batch_name(job.batch, source)
    rows.check(source, job.reading, job.naming, batch)
    limit = ErrorLimit.parse(job.max_errors) if job.max_errors else ErrorLimit()
    books = Books(None if job.dry_run else job.rejects, job.results, limit)
    done = False
    try:
        app.run(_run(app, job, source, batch, books))
        done = True
    finally:
        # Also after Ctrl-C or a lost server: what was done is said before the error is.
        if books.opened:
            if books.total is None:
                # What can't be read to its end has said so already.
                with suppress(MotorctlError):
                    books.total = rows.count(source, job.reading, COUNTING_SECONDS)
            _report(app, job, batch, books, done=done)
    if not books.rejected:
        return None
    if job.whole:
        raise RefusedError(
            f"nothing would be written: {books.rejected:,} of {books.taken:,} rows are refused"
        )
    return ExitCode.REJECTS


def _check_results(app: App, source: Source, job: Job) -> None:
    if job.results is None:
        return
    if job.rejects is not None and Path(job.results).resolve() == Path(job.rejects).resolve():
        raise UsageError("--results and --rejects name the same file")
    try:
        check_names([source.name], job.results, app.stdin)
    except UsageError as error:
        raise UsageError(f"--results {job.results} would overwrite the input", hint=error.hint) from error


async def _run(app: App, job: Job, source: Source, batch: str | None, books: Books) -> None:
    async with app.connect() as db:
        # Before anything is read: without a server that has transactions no row is refused.
        for warning in await app.attempt(ready.check, db):
            app.diagnostics.warning(warning)
        with closing(Reader(source, job.reading)) as reader:
            found = rows.Rows(reader, job.naming, batch, books)
            await found.begin()
            books.open()
            title = batch or "transfers"
            with app.diagnostics.progress(title, source.size or None, unit="bytes") as bar:
                progress = _Shown(bar, source, books)
                if job.dry_run:
                    await rehearsal.run(db, found, batch, books, attempt=app.attempt, progress=progress)
                    return
                options = engine.Options(
                    workers=job.workers or engine.WORKERS,
                    seconds=app.settings.timeout,
                    attempts=max(1, app.settings.retries),
                )
                how = whole.run if job.whole else engine.run
                busy = _Busy(app)
                await how(db, found, batch, options, books, attempt=app.attempt, progress=progress, busy=busy)


class _Shown:
    """Shows how far a batch is, at most ten times a second."""

    def __init__(self, bar: Progress, source: Source, books: Books) -> None:
        self._bar = bar
        self._source = source
        self._books = books
        self._started = time.monotonic()
        self._last = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last < 0.1:
            return
        self._last = now
        read = self._books.read
        text = f"{read:,} rows, {read / max(now - self._started, 0.001):,.0f}/s"
        if self._books.rejected:
            text += f", {self._books.rejected:,} rejected"
        # Of a compressed file's own bytes only the reader knows.
        self._bar.update(done=min(self._source.consumed, self._books.place), text=text)


class _Busy:
    """Says once that others are working on the same accounts."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._said = False

    def __call__(self) -> None:
        if not self._said:
            self._said = True
            self._app.diagnostics.info(
                "waiting for another process that has the same accounts; "
                "one that was killed holds them for up to 90 s"
            )


def _report(app: App, job: Job, batch: str | None, books: Books, *, done: bool) -> None:
    """Say what became of the rows: the summary on stdout, the first rejects and what to do on stderr."""
    say = app.diagnostics
    if books.account.rejects_path is None or books.account.rejects_error is not None:
        for reject in books.account.first:
            say.warning(f"{reject.file}:{reject.line}: {reject.reason}")
        if (more := books.rejected - len(books.account.first)) > 0:
            keeps = "" if job.dry_run or books.account.rejects_error else ": --rejects PATH keeps them all"
            say.warning(f"{more:,} more were refused{keeps}")
    summary = books.summary(batch)
    if books.account.too_many(final=True):
        say.warning(f"more rows were refused than --max-errors {books.limit} allows")
    if job.dry_run:
        say.dry_run()
    elif done and not summary["left"] and not books.taken:
        say.warning("nothing was read: the input is empty")
    elif books.all_replayed and done:
        say.warning(
            "nothing was new: this batch was sent before, and every row of it is done; "
            "if it is another one, it needs another --batch name"
        )
    elif (summary["left"] != 0 or books.unknown_rows) and not job.whole:
        say.info("the same command goes on where this one stopped: nothing is done twice")
    for key in books.unknown:
        say.warning(f"not known whether it is committed: `motorctl transfer show {shlex.quote(key)}` tells")
    counts = ", ".join(f"{summary[name] or 0:,} {name}" for name in COUNTS[:5])
    with app.output.after(
        None if job.dry_run else f"the batch has ended ({counts})", "motorctl transfer list"
    ):
        _emit(app, summary)


def _emit(app: App, summary: dict[str, Any]) -> None:
    if app.output.format in ("json", "ndjson"):
        app.output.emit(summary)
        return
    if app.output.format == "csv":
        app.output.emit([summary], [Column(name) for name in summary])
        return
    row: dict[str, Any] = {"batch": summary["batch"] or ""}
    for name in COUNTS:
        count = summary[name]
        if name in COUNTS[:4] or count != 0:
            row[name] = "not counted" if count is None else f"{count:,}"
    row["amount"] = f"{summary['amount']:,f}"
    seconds, rate = summary["seconds"], summary["transfers_per_second"]
    taken = f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"
    row["time"] = f"{taken} ({rate:,} transfers a second)" if rate else taken
    if summary["rejects_file"]:
        row["rejects file"] = summary["rejects_file"]
    app.output.emit(row if app.output.format == "table" else [row])
