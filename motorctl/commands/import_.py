"""`motorctl import`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.app import App
    from motorctl.core.ingest.account import Account
    from motorctl.core.ingest.engine import Options
    from motorctl.core.ingest.source import Source

group = typer.Typer()

Format = Literal["auto", "json", "ndjson", "csv", "tsv"]
Mode = Literal["insert", "upsert"]
COUNTS = ("read", "inserted", "updated", "unchanged", "rejected")


@group.command("import")
def import_(
    ctx: typer.Context,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files, compressed or not (.gz, .bz2); - is stdin.")
    ],
    into: Annotated[str, typer.Option("--into", metavar="COLLECTION", help="Where the documents go.")],
    format: Annotated[Format, typer.Option(help="auto looks at the bytes, not only at the name.")] = "auto",
    mode: Annotated[Mode, typer.Option(help="upsert replaces the document with the same --key.")] = "insert",
    key: Annotated[
        str | None, typer.Option(metavar="FIELD[,FIELD]", help="What upsert finds a document by.")
    ] = None,
    types: Annotated[
        str | None, typer.Option(metavar="FIELD:TYPE,...", help="Types of CSV and TSV columns.")
    ] = None,
    null: Annotated[str | None, typer.Option(metavar="VALUE", help="A cell of this text is null.")] = None,
    ignore_blanks: Annotated[
        bool, typer.Option("--ignore-blanks", help="Leave out the field of an empty cell.")
    ] = False,
    rejects: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Refused records and reasons (NDJSON); an old file goes, even if none is."
        ),
    ] = None,
    max_errors: Annotated[
        str | None, typer.Option(metavar="N|P%", help="Stop when more records than that are refused.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="Documents in one message.")
    ] = 1000,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Write in the order of the input, one batch at a time.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="Drop the collection, its indexes and its validator first; asks.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read, parse and type everything, and write nothing.")
    ] = False,
) -> ExitCode | None:
    """Import NDJSON, JSON or CSV; every record is accounted for.

    read = inserted + updated + unchanged + rejected, also after Ctrl-C or a lost server. A refused
    record is shown with its file, line, field and reason, and doesn't stop the others; the exit code
    is 7 then. JSON is Extended JSON: one object a line, one array, or objects in a row.

    CSV has a header; dotted names make nested documents. A row has as many cells as the header, or is
    refused. Without a type, a cell is a number if writing it back gives the same text (007, 1.50 and
    1e5 stay text), quoted or not. Types: string, int32, int64, double, decimal, bool, date,
    date(FORMAT), date(s), date(ms), objectid, uuid, json, auto. A date without a zone is UTC.

    A record without _id gets one before it is sent: a batch that is sent again inserts nothing twice.
    Upsert replaces whole documents and refuses a record that lacks its key.

    --drop drops right before the first batch is sent: an input that can't be read, or has no record to
    write, costs nothing. The file of --rejects is made at the first refused record; one of an earlier
    run is replaced, and removed when no record is refused. A dry run leaves it alone.

    Example:
      motorctl import orders.ndjson --into orders
      motorctl import students.csv --into students --types 'gpa:double,joined:date(%d/%m/%Y)'
      motorctl import users.json.gz --into users --mode upsert --key email --rejects bad.ndjson
      zcat dump.gz | motorctl import - --into orders --format ndjson --max-errors 1%
    """
    app: App = ctx.obj
    sources = _sources(app, files, rejects)
    options = _options(format, mode, key, types, null, ignore_blanks, batch_size, ordered, dry_run)
    from motorctl.core.ingest.account import Account, ErrorLimit

    limit = ErrorLimit.parse(max_errors) if max_errors else ErrorLimit()
    account = Account(None if dry_run else rejects, limit)
    try:
        app.run(_import(app, sources, options, account, into, drop=drop))
    finally:
        # Also after Ctrl-C or a lost server: what was done is said before the error is.
        if account.opened:
            _report(app, account, dry_run=dry_run)
    return ExitCode.REJECTS if account.total.rejected else None


def _sources(app: App, files: Sequence[str], rejects: str | None) -> list[Source]:
    from motorctl.core.ingest.account import check_rejects_path
    from motorctl.core.ingest.source import check_names, open_source

    check_names(files, rejects, app.stdin)
    if rejects is not None:
        check_rejects_path(rejects)
    return [open_source(name, app.stdin) for name in files]


def _options(
    format: Format,
    mode: Mode,
    key: str | None,
    types: str | None,
    null: str | None,
    ignore_blanks: bool,
    batch_size: int,
    ordered: bool,
    dry_run: bool,
) -> Options:
    from motorctl import arguments
    from motorctl.core.ingest.engine import Options
    from motorctl.core.ingest.model import Plan
    from motorctl.core.ingest.types import parse_types

    if mode == "upsert" and not key:
        raise UsageError("--mode upsert needs --key", hint="--key email, or --key _id")
    if key and mode != "upsert":
        raise UsageError("--key is for --mode upsert")
    plan = Plan(
        mode,
        tuple(arguments.fields(key, "--key")),
        tuple(parse_types(types).items()) if types else (),
        null,
        ignore_blanks,
    )
    return Options(plan, format, batch_size, ordered=ordered, dry_run=dry_run)


async def _import(
    app: App, sources: Sequence[Source], options: Options, account: Account, into: str, *, drop: bool
) -> None:
    from motorctl.core.ingest import engine
    from motorctl.core.ingest.read import reading
    from motorctl.core.ingest.write import check_acknowledged

    engine.check(sources, options)
    size = sum(source.size for source in sources) if all(source.size for source in sources) else None
    started = time.monotonic()
    async with app.connect() as db:
        collection, key = db[into], options.plan.key
        check_acknowledged(collection)
        # Before anything is read: without a server no record is refused.
        await db.command("ping")
        with reading(sources, options.format) as readers:
            what, dropped = "", False
            if drop:
                await engine.peek(readers, options)
                count = await collection.estimated_document_count()
                what = f"collection {into} of database {db.name} with {count:,} documents, its indexes and its validator"
                if not options.dry_run and not app.diagnostics.confirm(f"drop {what}"):
                    app.diagnostics.info("nothing was dropped, nothing imported")
                    return
            # A collection that is dropped has the index of _id, and no other.
            if key and not (key == ("_id",) if drop else await engine.has_index(collection, key)):
                app.diagnostics.warning(
                    f"no index of {into} begins with {', '.join(key)}: each upsert reads the collection"
                )

            async def before() -> None:
                nonlocal dropped
                if drop:
                    await collection.drop()
                    dropped = True

            try:
                with app.diagnostics.progress(f"importing into {into}", size, unit="bytes") as bar:

                    def progress(_: Source) -> None:
                        total = account.total
                        rate = total.read / max(time.monotonic() - started, 0.001)
                        text = f"{total.read:,} documents, {rate:,.0f}/s"
                        if total.rejected:
                            text += f", {total.rejected:,} rejected"
                        bar.update(done=sum(source.consumed for source in sources), text=text)

                    await engine.run(
                        collection,
                        readers,
                        options,
                        account,
                        attempt=app.attempt,
                        before=before,
                        progress=progress,
                    )
            finally:
                # After the bar, which a line would tear apart.
                if drop:
                    kept = "would drop" if options.dry_run else "nothing was sent: kept"
                    app.diagnostics.info(f"{'dropped' if dropped else kept} {what}")


def _report(app: App, account: Account, *, dry_run: bool) -> None:
    """Say what became of the records: the summary on stdout, the first rejects on stderr."""
    total = account.total
    if account.rejects_path is None or account.rejects_error is not None:
        for reject in account.first:
            at = f"{reject.field}: " if reject.field and reject.field not in reject.reason else ""
            app.diagnostics.warning(f"{reject.file}:{reject.line}: {at}{reject.reason}")
        if (more := total.rejected - len(account.first)) > 0:
            app.diagnostics.warning(f"{more:,} more were refused: --rejects PATH keeps them all")
    if account.too_many(final=True):
        app.diagnostics.warning(f"more records were refused than --max-errors {account.limit} allows")
    if dry_run:
        app.diagnostics.info("dry run: nothing was written")
    summary = account.summary()
    if app.output.format in ("json", "ndjson"):
        app.output.emit(summary)
    else:
        _table(app, summary)


def _table(app: App, summary: dict[str, Any]) -> None:
    from motorctl.output import Column

    files = summary["files"]
    if len(files) > 1:
        rows = [*files, {"file": "all", **summary}]
        if app.output.format != "table":
            app.output.emit(
                files, [Column("file"), *(Column(name, right=True) for name in (*COUNTS, "bytes"))]
            )
            return
        shown = [{"file": row["file"], **{name: f"{row[name]:,}" for name in COUNTS}} for row in rows]
        app.output.emit(shown, [Column("file"), *(Column(name, right=True) for name in COUNTS)])
        return
    row: dict[str, Any] = {name: f"{summary[name]:,}" for name in COUNTS}
    size, seconds = summary["bytes"], summary["seconds"]
    row["size"] = (
        f"{size} bytes" if size < 1000 else f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
    )
    taken = f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"
    row["time"] = f"{taken} ({summary['documents_per_second']:,} documents a second)"
    if summary["rejects_file"]:
        row["rejects file"] = summary["rejects_file"]
    app.output.emit(row if app.output.format == "table" else [row])
