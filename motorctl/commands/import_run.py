"""An import, run: files opened, the server reached, the engine started, its progress and its end told."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import PurePath
from typing import TYPE_CHECKING

from motorctl.commands.import_job import Inputs, estimated_size, share
from motorctl.commands.import_report import report
from motorctl.core.driver import list_collections, list_indexes, once
from motorctl.core.ingest import engine
from motorctl.core.ingest.account import Account, ErrorLimit, Tally, check_rejects_path
from motorctl.core.ingest.reading.reader import Reader
from motorctl.core.ingest.reading.source import check_names, open_sources
from motorctl.core.ingest.resuming.checkpoint import Checkpoint
from motorctl.core.ingest.resuming.fingerprint import described, wanted
from motorctl.core.ingest.writing.write import check_acknowledged, once_only, serves
from motorctl.core.workers import Workers, default_count
from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.client import Collection, Database
    from motorctl.commands.import_job import Job
    from motorctl.core.ingest.reading.source import Source

__all__ = ["run"]


def run(app: App, job: Job) -> ExitCode | None:
    """Do a job, and show what became of the records, however it ends."""
    everything = open_sources(job.files, app.stdin)
    check_names([source.name for source in everything], job.rejects, app.stdin)
    if job.rejects is not None:
        check_rejects_path(job.rejects)
    limit = ErrorLimit.parse(job.max_errors) if job.max_errors else ErrorLimit()
    account = Account(None if job.dry_run else job.rejects, limit)
    sources, sliced = share(everything, job)
    engine.check(sources, job.options())
    count = default_count() if job.workers is None else job.workers
    with ExitStack() as stack:
        pool = stack.enter_context(Workers(count)) if count else None
        if pool is not None and estimated_size(sources) > engine.WORKERS_PAY:
            # They come up while the server is being connected to.
            pool.start()
        try:
            app.run(_import(app, job, Inputs(sources, [s.name for s in everything], sliced), account, pool))
        finally:
            # Also after Ctrl-C or a lost server: what was done is said before the error is.
            if account.opened:
                report(app, account, dry_run=job.dry_run, deleting=job.plan.mode == "delete")
    return ExitCode.REJECTS if account.total.rejected else None


async def _import(app: App, job: Job, inputs: Inputs, account: Account, workers: Workers | None) -> None:
    async with app.connect() as db:
        collection = _collection(db, job)
        check_acknowledged(collection)
        # Before anything is read: without a server no record is refused.
        await app.attempt(db.command, "ping")
        checkpoint = None
        if job.resume and not job.dry_run:
            checkpoint = await _claim(app, db, job, inputs, account)
            if checkpoint.done:
                account.open()
                app.diagnostics.info("imported before, and nothing has changed since: nothing to do")
                account.close()
                return
        try:
            with ExitStack() as stack:
                readers = [
                    stack.enter_context(closing(reader)) for reader in _readers(job, inputs, checkpoint)
                ]
                await _run(app, db, job, collection, readers, account, workers, checkpoint)
        except BaseException as error:
            if checkpoint is not None:
                # Whatever ended it, nobody works on it any more; where the engine has said so, this does nothing.
                await checkpoint.finish("stopped", str(error) or type(error).__name__)
            raise


def _collection(db: Database, job: Job) -> Collection:
    collection = db[job.into]
    if job.write_concern is None:
        return collection
    from pymongo import WriteConcern

    concern = job.write_concern
    return collection.with_options(
        write_concern=WriteConcern(w=int(concern) if concern.isdecimal() else concern)
    )


async def _claim(app: App, db: Database, job: Job, inputs: Inputs, account: Account) -> Checkpoint:
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
        typed=job.files[0],
    )
    checkpoint = await Checkpoint.claim(db, asked, attempt=app.attempt)
    if checkpoint.resumed or checkpoint.done or checkpoint.carried:
        for name, mark in zip(names, checkpoint.marks, strict=True):
            counts = (mark.read, mark.inserted, mark.updated, mark.unchanged, mark.rejected)
            account.take_over(Tally(name, mark.bytes, *counts))
            if mark.place is not None:
                account.places[name] = mark.place
            if mark.done:
                account.read_whole.add(name)
        account.resumed = account.seen = account.total.read
        # A finished import touches no file.
        account.rejects_bytes = checkpoint.rejects_bytes if checkpoint.resumed else 0
    if checkpoint.replaced:
        left = len(names) - checkpoint.carried
        app.diagnostics.warning(
            f"{asked.id} was imported before; {left} of {len(names)} files are new or have changed, and are imported"
        )
    if checkpoint.resumed:
        app.diagnostics.info(f"resuming {asked.id}: {account.resumed:,} records are accounted for")
    return checkpoint


def _readers(job: Job, inputs: Inputs, checkpoint: Checkpoint | None) -> list[Reader]:
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
    db: Database,
    job: Job,
    collection: Collection,
    readers: list[Reader],
    account: Account,
    workers: Workers | None,
    checkpoint: Checkpoint | None,
) -> None:
    identities = [checkpoint.identity(reader.number) for reader in readers] if checkpoint else ()
    kinds = [one.get("type") for one in await list_collections(db) if one["name"] == job.into]
    reason = once_only(job.into, kinds[0] if kinds else None, await list_indexes(collection), job.plan)
    if reason and job.resume:
        raise UsageError(f"--resume isn't possible: {reason}", hint="import it without --resume")
    if reason:
        app.diagnostics.note(f"{reason}: a batch without an answer isn't sent again")
    options, into, key = job.options(), job.into, job.plan.key
    drop = job.drop and not (checkpoint and checkpoint.begun)
    what, dropped = "", "nothing was sent: kept"
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
            dropped = "no answer: look whether it is there still, "
            await collection.drop()
            dropped = "dropped"

    sources = [reader.source for reader in readers]
    size = sum(source.size for source in sources) if all(source.size for source in sources) else None
    started, read_before, shown = time.monotonic(), account.total.read, 0.0
    places = {source.name: number for number, source in enumerate(sources, 1)}
    try:
        with app.diagnostics.progress(into, size, unit="bytes") as bar:

            def progress(source: Source) -> None:
                nonlocal shown
                if time.monotonic() - shown < 0.1:
                    return
                shown, total = time.monotonic(), account.total
                rate = (total.read - read_before) / max(time.monotonic() - started, 0.001)
                text = f"{total.read:,} records, {rate:,.0f}/s"
                if total.rejected:
                    text += f", {total.rejected:,} rejected"
                bar.update(done=sum(each.consumed for each in sources), text=text)
                if len(sources) > 1:
                    place = f"file {places[source.name]} of {len(sources)}"
                    bar.part(PurePath(source.name).name, source.consumed, source.size or None, place)

            await engine.run(
                collection,
                readers,
                options,
                account,
                workers=workers,
                checkpoint=checkpoint,
                identities=identities,
                attempt=once if reason else app.attempt,
                before=before,
                progress=progress,
            )
    finally:
        # After the bar, which a line would tear apart.
        if drop:
            app.diagnostics.info(f"{'would drop' if job.dry_run else dropped} {what}")
