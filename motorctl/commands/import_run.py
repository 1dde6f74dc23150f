"""An import, run: files opened, the server reached, the engine started, its progress and its end told."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from motorctl.commands.import_report import report
from motorctl.core.driver import list_indexes
from motorctl.core.ingest import engine
from motorctl.core.ingest.account import Account, ErrorLimit, Tally, check_rejects_path
from motorctl.core.ingest.reading.reader import Reader
from motorctl.core.ingest.reading.source import check_names, open_sources
from motorctl.core.ingest.resuming.checkpoint import Checkpoint
from motorctl.core.ingest.resuming.fingerprint import described, wanted
from motorctl.core.ingest.writing.write import check_acknowledged, serves
from motorctl.core.workers import Workers, default_count
from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.client import Collection, Database
    from motorctl.core.ingest.model import Plan, Reading
    from motorctl.core.ingest.reading.source import Source

__all__ = ["Job", "run"]

# What compressed text takes of its own size, about.
COMPRESSION = 5
COMPRESSED = (".gz", ".zst", ".bz2")


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for. `part` is (number from 1, of how many)."""

    files: tuple[str, ...]
    into: str
    plan: Plan
    reading: Reading
    drop: bool = False
    dry_run: bool = False
    rejects: str | None = None
    max_errors: str | None = None
    batch_size: int = 1000
    ordered: bool = False
    write_concern: str | None = None
    bypass_validation: bool = False
    workers: int | None = None
    resume: bool = False
    part: tuple[int, int] | None = None
    name: str | None = None

    def options(self) -> engine.Options:
        how = (self.ordered, self.dry_run, self.bypass_validation)
        return engine.Options(self.plan, self.reading, self.batch_size, engine.IN_FLIGHT, *how)


def run(app: App, job: Job) -> ExitCode | None:
    """Do a job, and show what became of the records, however it ends."""
    everything = open_sources(job.files, app.stdin)
    check_names([source.name for source in everything], job.rejects, app.stdin)
    if job.rejects is not None:
        check_rejects_path(job.rejects)
    limit = ErrorLimit.parse(job.max_errors) if job.max_errors else ErrorLimit()
    account = Account(None if job.dry_run else job.rejects, limit)
    sources, sliced = _share(everything, job)
    engine.check(sources, job.options())
    count = default_count() if job.workers is None else job.workers
    with ExitStack() as stack:
        pool = stack.enter_context(Workers(count)) if count else None
        if pool is not None and _size(sources) > engine.WORKERS_PAY:
            # They come up while the server is being connected to.
            pool.start()
        try:
            app.run(_import(app, job, _Inputs(sources, [s.name for s in everything], sliced), account, pool))
        finally:
            # Also after Ctrl-C or a lost server: what was done is said before the error is.
            if account.opened:
                report(app, account, dry_run=job.dry_run, deleting=job.plan.mode == "delete")
    return ExitCode.REJECTS if account.total.rejected else None


@dataclass(frozen=True, slots=True)
class _Inputs:
    """A part's own sources, the names of all, and whether the part is a share of each of its own."""

    sources: list[Source]
    names: list[str]
    sliced: bool


def _share(sources: list[Source], job: Job) -> tuple[list[Source], bool]:
    """Give the files of a part: every n-th of many; of few, each, of which it then reads its share."""
    if job.part is None:
        return sources, False
    number, of = job.part
    if job.drop:
        raise UsageError("--part and --drop don't go together: each part would drop the others' documents")
    if any(source.stream is not None for source in sources):
        raise UsageError("--part needs files: what can be read only once can't be shared")
    return (sources[number - 1 :: of], False) if len(sources) >= of > 1 else (sources, of > 1)


def _size(sources: list[Source]) -> int:
    """Estimate the bytes of text in files; a pipe's aren't known."""
    return sum(source.size * (COMPRESSION if source.name.endswith(COMPRESSED) else 1) for source in sources)


async def _import(app: App, job: Job, inputs: _Inputs, account: Account, workers: Workers | None) -> None:
    async with app.connect() as db:
        collection = _collection(db, job)
        check_acknowledged(collection)
        # Before anything is read: without a server no record is refused.
        await db.command("ping")
        checkpoint = None
        if job.resume and not job.dry_run:
            checkpoint = await _claim(app, db, job, inputs, account)
            if checkpoint.done:
                account.open()
                app.diagnostics.info("imported before, and nothing has changed since: nothing to do")
                account.close()
                return
        with ExitStack() as stack:
            readers = [stack.enter_context(closing(reader)) for reader in _readers(job, inputs, checkpoint)]
            identities = [checkpoint.identity(reader.number) for reader in readers] if checkpoint else ()
            await _run(app, job, collection, readers, account, workers, checkpoint, identities)


def _collection(db: Database, job: Job) -> Collection:
    collection = db[job.into]
    if job.write_concern is None:
        return collection
    from pymongo import WriteConcern

    concern = job.write_concern
    return collection.with_options(
        write_concern=WriteConcern(w=int(concern) if concern.isdecimal() else concern)
    )


async def _claim(app: App, db: Database, job: Job, inputs: _Inputs, account: Account) -> Checkpoint:
    """Make the import this process's own, and take over the books that an earlier run has kept."""
    names = [source.name for source in inputs.sources]
    plan = described(job.plan, job.reading, drop=job.drop)
    asked = wanted(
        job.name,
        job.into,
        names,
        plan,
        part=job.part,
        sliced=inputs.sliced,
        rejects_file=job.rejects,
        all_files=inputs.names,
    )
    checkpoint = await Checkpoint.claim(db, asked, attempt=app.attempt)
    if checkpoint.resumed or checkpoint.done:
        for name, mark in zip(names, checkpoint.marks, strict=True):
            counts = (mark.read, mark.inserted, mark.updated, mark.unchanged, mark.rejected)
            account.files[name] = Tally(name, mark.bytes, *counts)
            if mark.place is not None:
                account.places[name] = mark.place
            if mark.done:
                account.read_whole.add(name)
        account.resumed = account.seen = account.total.read
        account.rejects_bytes = checkpoint.rejects_bytes
    if checkpoint.resumed:
        app.diagnostics.info(f"resuming {asked.id}: {account.resumed:,} records are accounted for")
    return checkpoint


def _readers(job: Job, inputs: _Inputs, checkpoint: Checkpoint | None) -> list[Reader]:
    part = job.part if inputs.sliced else None
    readers = []
    for number, source in enumerate(inputs.sources):
        if checkpoint is not None and checkpoint.marks[number].done:
            continue
        start = checkpoint.place(number) if checkpoint is not None else None
        readers.append(Reader(source, job.reading, start, part, number))
    return readers


async def _run(
    app: App,
    job: Job,
    collection: Collection,
    readers: list[Reader],
    account: Account,
    workers: Workers | None,
    checkpoint: Checkpoint | None,
    identities: Any,
) -> None:
    options, into, key = job.options(), job.into, job.plan.key
    drop = job.drop and not (checkpoint and checkpoint.begun)
    what, dropped = "", False
    if drop:
        await engine.peek(readers, options)
        count = await collection.estimated_document_count()
        database = collection.database.name
        what = f"collection {into} of database {database} with {count:,} documents, its indexes and its validator"
        if not job.dry_run and not app.diagnostics.confirm(f"drop {what}"):
            app.diagnostics.info("nothing was dropped, nothing imported")
            if checkpoint is not None:
                await checkpoint.finish("stopped", "not confirmed")
            return
    # A collection that is dropped has the index of _id, and no other.
    if key and not (key == ("_id",) if drop else serves(await list_indexes(collection), key)):
        app.diagnostics.warning(
            f"no index of {into} begins with {', '.join(key)}: each record reads the collection"
        )

    async def before() -> None:
        nonlocal dropped
        if drop:
            await collection.drop()
            dropped = True

    sources = [reader.source for reader in readers]
    size = sum(source.size for source in sources) if all(source.size for source in sources) else None
    started, read_before = time.monotonic(), account.total.read
    try:
        with app.diagnostics.progress(into, size, unit="bytes") as bar:

            def progress(source: Source) -> None:
                total = account.total
                rate = (total.read - read_before) / max(time.monotonic() - started, 0.001)
                text = f"{total.read:,} records, {rate:,.0f}/s"
                if total.rejected:
                    text += f", {total.rejected:,} rejected"
                bar.update(done=sum(each.consumed for each in sources), text=text)
                if len(sources) > 1:
                    place = f"file {sources.index(source) + 1} of {len(sources)}"
                    bar.part(PurePath(source.name).name, source.consumed, source.size or None, place)

            await engine.run(
                collection,
                readers,
                options,
                account,
                workers=workers,
                checkpoint=checkpoint,
                identities=identities,
                attempt=app.attempt,
                before=before,
                progress=progress,
            )
    finally:
        # After the bar, which a line would tear apart.
        if drop:
            kept = "would drop" if job.dry_run else "nothing was sent: kept"
            app.diagnostics.info(f"{'dropped' if dropped else kept} {what}")
